// The filters of the overview. They live in the address, so that they can be sent to somebody.

import { useMemo } from "preact/hooks";
import { navigate } from "../lib/router";
import { words } from "../lib/format";
import { PHASES } from "../lib/core-words";
import type { Row } from "../lib/types";
import type { Received } from "./overview-row";

export interface FilterValues {
  state: string;
  service: string;
  policy: string;
  q: string;
}

const GROUPS: [string, string][] = [
  ["needs_you", "needs you"],
  ["active", "in progress"],
  ["ended", "ended"],
];

export function readFilters(address: URL): FilterValues {
  const value = (name: string): string => address.searchParams.get(name) ?? "";
  return { state: value("state"), service: value("service"), policy: value("policy"), q: value("q") };
}

/** Whether a row is one of those asked for. */
export function fits(row: Row, filters: FilterValues): boolean {
  if (filters.service !== "" && row.target !== filters.service) return false;
  if (filters.policy !== "" && row.policy !== filters.policy) return false;
  if (!fitsState(row, filters.state)) return false;
  if (filters.q === "") return true;
  const text = [row.target, row.version, row.policy, row.created_by, row.id, row.waiting_for?.sentence, row.reason];
  const found = text.join(" ").toLowerCase();
  return filters.q
    .toLowerCase()
    .split(/\s+/)
    .every((word) => found.includes(word));
}

function fitsState(row: Row, state: string): boolean {
  if (state === "") return true;
  if (state === "needs_you") return row.needs_you;
  if (state === "active") return !row.ended && row.state !== "baking";
  if (state === "ended") return row.ended;
  return row.state === state;
}

export function Filters(props: { filters: FilterValues; rows: Received[] }) {
  const { filters, rows } = props;
  const names = (pick: (row: Row) => string): string[] => [...new Set(rows.map(({ row }) => pick(row)))].sort();
  // The rows change all the time, their names hardly ever.
  const services = useMemo(() => names((row) => row.target), [rows.length]);
  const policies = useMemo(() => names((row) => row.policy), [rows.length]);
  const set = (name: keyof FilterValues, value: string): void => {
    const query = new URLSearchParams();
    for (const [key, old] of Object.entries({ ...filters, [name]: value })) if (old !== "") query.set(key, old);
    const text = query.toString();
    navigate(text === "" ? "/" : `/?${text}`, true);
  };
  const any = Object.values(filters).some((value) => value !== "");
  return (
    <form class="filters" role="search" aria-label="Filter the rollouts" onSubmit={(event) => event.preventDefault()}>
      <Choice label="State" value={filters.state} all="any state" set={(value) => set("state", value)}>
        {[...GROUPS, ...PHASES.map((state): [string, string] => [state, words(state)])]}
      </Choice>
      <Choice label="Service" value={filters.service} all="any service" set={(value) => set("service", value)}>
        {services.map((name) => [name, name])}
      </Choice>
      <Choice label="Policy" value={filters.policy} all="any policy" set={(value) => set("policy", value)}>
        {policies.map((name) => [name, name])}
      </Choice>
      <label class="search">
        <span class="hidden">Search</span>
        <input
          type="search"
          placeholder="Search version, person, reason …"
          value={filters.q}
          onInput={(event) => set("q", event.currentTarget.value)}
        />
      </label>
      {any && (
        <button type="button" class="quiet" onClick={() => navigate("/", true)}>
          Show all
        </button>
      )}
    </form>
  );
}

function Choice(props: {
  label: string;
  value: string;
  all: string;
  set: (value: string) => void;
  children: [string, string][];
}) {
  const known = props.value === "" || props.children.some(([value]) => value === props.value);
  return (
    <label>
      <span class="hidden">{props.label}</span>
      <select value={props.value} onChange={(event) => props.set(event.currentTarget.value)}>
        <option value="">{props.all}</option>
        {props.children.map(([value, name]) => (
          <option key={value} value={value}>
            {name}
          </option>
        ))}
        {!known && <option value={props.value}>{props.value}</option>}
      </select>
    </label>
  );
}
