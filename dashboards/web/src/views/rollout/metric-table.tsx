// The figures of one metric, both arms below one another.

import { latency, latencyInterval, shareWithInterval, thousands, valueWithUnit } from "../../lib/format";
import { Scroll } from "../../ui/parts";
import type { Arm, Metric, Quantile } from "../../lib/types";

const QUANTILES = [0.5, 0.95, 0.99];

/** What stands over the values of an arm, by their unit. */
const VALUES: Record<string, string> = {
  per_second: "a second at full traffic",
  per_instance_second: "a second and instance",
  each: "for each of the others",
  value: "mean, in the query's unit",
};

export function MetricTable(props: { metric: Metric; canary?: Quantile[]; baseline?: Quantile[] }) {
  const { metric } = props;
  const isLatency = metric.kind === "latency";
  const share = isLatency ? (metric.bound_seconds === null ? "slow" : `> ${latency(metric.bound_seconds)}`) : "bad";
  const shares = metric.canary.share_percent !== null || metric.baseline.share_percent !== null;
  const values = [metric.canary, metric.baseline].some((arm) => arm.value != null || arm.rate != null);
  // A mean is of samples, which are no requests; a rate's events happen in an exposure.
  const counted = [metric.canary, metric.baseline].some((arm) => arm.requests > 0);
  const row = (name: "canary" | "baseline", arm: Arm, quantiles: Quantile[] | undefined) => (
    <tr>
      <th scope="row" class={name}>
        {name}
      </th>
      {isLatency && QUANTILES.map((wanted) => <QuantileCell key={wanted} arm={arm} wanted={wanted} more={quantiles} />)}
      {shares && (
        <td class="number">
          {arm.share_percent === null ? "–" : <Share percent={arm.share_percent} interval={arm.share_interval_percent} />}
        </td>
      )}
      {values && <td class="number">{valueWords(arm, metric.unit)}</td>}
      {counted && <td class="number">{thousands(arm.requests)}</td>}
    </tr>
  );
  return (
    <Scroll label="Figures of both arms">
      <table class="arms">
        <thead>
          <tr>
            <th scope="col">
              <span class="hidden">arm</span>
            </th>
            {isLatency &&
              QUANTILES.map((quantile) => (
                <th scope="col" class="number" key={quantile}>
                  p{quantile * 100}
                </th>
              ))}
            {shares && (
              <th scope="col" class="number">
                {share}
              </th>
            )}
            {values && (
              <th scope="col" class="number">
                {VALUES[metric.unit ?? "value"] ?? metric.kind}
              </th>
            )}
            {counted && (
              <th scope="col" class="number">
                requests
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {row("baseline", metric.baseline, props.baseline)}
          {row("canary", metric.canary, props.canary)}
        </tbody>
      </table>
    </Scroll>
  );
}

/** A share, and below it its interval: `[1.03 – 1.26]`. */
function Share(props: { percent: number; interval: [number, number] | null }) {
  const whole = shareWithInterval(props.percent, props.interval);
  const [figure, interval] = [whole.split(" [")[0], whole.split(" [")[1]];
  return (
    <>
      {figure}
      {interval && <span class="faint small interval">[{interval}</span>}
    </>
  );
}

function valueWords(arm: Arm, unit: string | undefined): string {
  const value = arm.rate ?? arm.value ?? null;
  return value === null ? "–" : valueWithUnit(value, unit ?? "value");
}

function QuantileCell(props: { arm: Arm; wanted: number; more: Quantile[] | undefined }) {
  const { arm, wanted } = props;
  const found = [...(arm.quantiles ?? []), ...(props.more ?? [])].find((each) => each.quantile === wanted);
  const bare = { 0.5: arm.p50_seconds, 0.95: arm.p95_seconds, 0.99: arm.p99_seconds }[wanted] ?? null;
  const seconds = found?.seconds ?? bare;
  if (seconds === null) return <td class="number">–</td>;
  return (
    <td class="number">
      {latency(seconds)}
      {found && (
        <span class="faint small interval">
          {latencyInterval(found.low_seconds, found.high_seconds)}
        </span>
      )}
    </td>
  );
}
