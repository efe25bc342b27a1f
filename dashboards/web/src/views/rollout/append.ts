// What is new of a series, after what is there.

import type { Numbers, Series, SeriesMetric } from "../../lib/types";

const BARE: (keyof Pick<SeriesMetric, "ln_harm" | "ln_no_harm">)[] = ["ln_harm", "ln_no_harm"];

/** `more` after `base`, from the first point of it that is new. */
export function append(base: Series, more: Series): Series {
  const last = base.times.at(-1) ?? Number.NEGATIVE_INFINITY;
  const from = more.times.findIndex((time) => time > last);
  if (from < 0) return base;
  const join = (a: Numbers, b: Numbers): Numbers => a.concat(b.slice(from));
  const metrics = base.metrics.map((metric): SeriesMetric => {
    const added = more.metrics.find((each) => each.name === metric.name);
    const gap: Numbers = more.times.map(() => null);
    const columns = <K extends string>(a: Record<K, Numbers>, b: Record<K, Numbers> | undefined): Record<K, Numbers> => {
      const keys = Object.keys(a) as K[];
      return Object.fromEntries(keys.map((key) => [key, join(a[key], b?.[key] ?? gap)])) as Record<K, Numbers>;
    };
    const joined = {
      ...metric,
      canary: columns(metric.canary, added?.canary),
      baseline: columns(metric.baseline, added?.baseline),
      ratio: columns(metric.ratio, added?.ratio),
      ln_bound_harm: added?.ln_bound_harm ?? metric.ln_bound_harm,
      ln_bound_no_harm: added?.ln_bound_no_harm ?? metric.ln_bound_no_harm,
    };
    for (const key of BARE) joined[key] = join(metric[key], added?.[key] ?? gap);
    return joined;
  });
  return {
    ...base,
    to: more.to,
    times: base.times.concat(more.times.slice(from)),
    step: join(base.step, more.step),
    wanted_percent: join(base.wanted_percent, more.wanted_percent),
    seen_percent: join(base.seen_percent, more.seen_percent),
    ...(base.ln_harm_combined
      ? { ln_harm_combined: join(base.ln_harm_combined, more.ln_harm_combined ?? more.times.map(() => null)) }
      : {}),
    metrics: metrics.concat(more.metrics.filter((each) => !base.metrics.some((old) => old.name === each.name))),
  };
}
