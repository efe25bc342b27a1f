// The reports of all rollouts that have ended, newest first. The filters live in the address.

import { duration } from "../lib/format";
import { useLoaded } from "../lib/load";
import { navigate, useAddress } from "../lib/router";
import type { Policy } from "../lib/policy-types";
import type { Page, Rollout, Target } from "../lib/types";
import { Moment, Scroll, StateBadge, Told, Trouble, useTitle, Waiting } from "../ui/parts";
import { usePaged } from "./paged";

const KEYS = ["service", "state", "policy"] as const;
const STATES: [string, string][] = [
  ["succeeded", "succeeded"],
  ["rolled_back", "rolled back"],
  ["cancelled", "cancelled"],
  ["failed", "failed"],
];

export function ReportsView() {
  useTitle("Reports");
  const address = useAddress();
  const filters = KEYS.map((key): [string, string] => [key, address.searchParams.get(key) ?? ""]);
  const query = new URLSearchParams([["active", "false"], ["limit", "50"], ...filters.filter(([, value]) => value !== "")]);
  const { items, error, more, busy, reload } = usePaged<Rollout>(`/rollouts?${query}`);
  return (
    <>
      <div class="title-row">
        <h1>Reports</h1>
      </div>
      <ReportFilters filters={new Map(filters)} />
      {error !== null && <Trouble error={error} retry={reload} />}
      {items === null && error === null && <Waiting what="the reports" />}
      {items?.length === 0 && <p class="card empty">No rollout that has ended fits.</p>}
      {items !== null && items.length > 0 && (
        <section class="card">
          <Scroll label="Reports">
            <table class="reports">
              <thead>
                <tr>
                  <th scope="col">report</th>
                  <th scope="col">verdict</th>
                  <th scope="col">ended</th>
                  <th scope="col">took</th>
                  <th scope="col">policy</th>
                  <th scope="col">started by</th>
                  <th scope="col">why</th>
                </tr>
              </thead>
              <tbody>
                {items.map((rollout) => (
                  <Line key={rollout.id} rollout={rollout} />
                ))}
              </tbody>
            </table>
          </Scroll>
          {more && (
            <button type="button" class="quiet more" onClick={more} disabled={busy}>
              {busy ? "Reading …" : "Older ones"}
            </button>
          )}
        </section>
      )}
    </>
  );
}

function Line(props: { rollout: Rollout }) {
  const { rollout } = props;
  const end = rollout.ended_at;
  const took = end === null ? null : (Date.parse(end) - Date.parse(rollout.created_at)) / 1000;
  return (
    <tr data-report={rollout.id}>
      <th scope="row">
        <a href={`/reports/${rollout.id}`}>
          {rollout.target} {rollout.version}
        </a>
      </th>
      <td>
        <StateBadge row={rollout} />
      </td>
      <td class="figure">{end === null ? "–" : <Moment at={end} date />}</td>
      <td class="figure">{took === null ? "–" : duration(took)}</td>
      <td>{rollout.policy.name}</td>
      <td>{rollout.created_by}</td>
      <td class="why">{rollout.reason ? <Told text={rollout.reason.sentence} /> : <span class="faint">–</span>}</td>
    </tr>
  );
}

function ReportFilters(props: { filters: Map<string, string> }) {
  const targets = useLoaded<Page<Target>>("/targets");
  const policies = useLoaded<Page<Policy>>("/policies");
  const { filters } = props;
  const set = (key: string, value: string): void => {
    const query = new URLSearchParams(location.search);
    if (value === "") query.delete(key);
    else query.set(key, value);
    navigate(`/reports${query.size > 0 ? `?${query}` : ""}`, true);
  };
  const names = (page: Page<{ name: string }> | null): [string, string][] =>
    (page?.items ?? []).map((each) => [each.name, each.name]);
  const choices: [string, string, string, [string, string][]][] = [
    ["service", "Service", "any service", names(targets.value)],
    ["state", "Verdict", "any verdict", STATES],
    ["policy", "Policy", "any policy", names(policies.value)],
  ];
  return (
    <form class="filters" role="search" aria-label="Filter the reports" onSubmit={(event) => event.preventDefault()}>
      {choices.map(([key, label, all, options]) => {
        const value = filters.get(key) ?? "";
        const known = value === "" || options.some(([each]) => each === value);
        return (
          <label key={key}>
            <span class="hidden">{label}</span>
            <select name={key} value={value} onChange={(event) => set(key, event.currentTarget.value)}>
              <option value="">{all}</option>
              {options.map(([each, name]) => (
                <option key={each} value={each}>
                  {name}
                </option>
              ))}
              {!known && <option value={value}>{value}</option>}
            </select>
          </label>
        );
      })}
    </form>
  );
}
