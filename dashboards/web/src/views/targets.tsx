// Targets: what is steered, and whether every proxy follows.

import { useEffect, useState } from "preact/hooks";
import { count, duration, weight } from "../lib/format";
import { useLoaded, useThrottled } from "../lib/load";
import { mayOperate } from "../lib/session";
import { follow } from "../lib/stream";
import type { Page, Split, Target } from "../lib/types";
import { Badge, Trouble, useTitle, Waiting } from "../ui/parts";
import { StartDialog } from "./start-dialog";

export function TargetsView() {
  useTitle("Targets");
  const { value, error, reload } = useLoaded<Page<Target>>("/targets");
  const soon = useThrottled(reload, 1_500);
  const [starting, setStarting] = useState<string | null>(null);
  useEffect(() => follow("", { event: ({ name }) => name !== "hello" && soon(), again: reload }), []);
  const may = value?.items.some((target) => mayOperate(target.name)) ?? false;
  return (
    <>
      <div class="title-row">
        <h1>Targets</h1>
        {may && (
          <button type="button" class="strong" onClick={() => setStarting("")}>
            Start a rollout …
          </button>
        )}
      </div>
      {error !== null && <Trouble error={error} retry={reload} />}
      {value === null && error === null && <Waiting what="the targets" />}
      {value?.items.length === 0 && <p class="card empty">No target is configured.</p>}
      <div class="cards">
        {value?.items.map((target) => (
          <TargetCard key={target.name} target={target} start={() => setStarting(target.name)} />
        ))}
      </div>
      {starting !== null && (
        <StartDialog {...(starting ? { target: starting } : {})} onClose={() => setStarting(null)} />
      )}
    </>
  );
}

function TargetCard(props: { target: Target; start: () => void }) {
  const { target } = props;
  const unconfirmed = target.unconfirmed_nodes.length;
  return (
    <section class="card" data-target={target.name}>
      <div class="card-head">
        <h2>{target.name}</h2>
        {!target.configured && <Badge tone="warn">no longer configured</Badge>}
        {target.seen === null ? (
          <Badge tone="plain">not seen yet</Badge>
        ) : target.seen.as_wanted && unconfirmed === 0 ? (
          <Badge tone="good">as wanted</Badge>
        ) : (
          <Badge tone="warn">not as wanted</Badge>
        )}
      </div>
      <p class="faint">
        {[target.router, target.route].filter(Boolean).join(" / ") || "no router"}
        {target.provider && ` · figures from ${target.provider}`}
        {" · runs "}
        {target.stable_version ?? "an unknown version"}
      </p>
      <div class="splits">
        <span class="faint">wanted</span>
        <SplitBar split={target.wanted} />
        <span>{splitWords(target.wanted)}</span>
        <span class="faint">seen</span>
        {target.seen ? <SplitBar split={target.seen} /> : <span class="faint">–</span>}
        <span>{target.seen ? splitWords(target.seen) : "not seen yet"}</span>
      </div>
      {target.nodes.length > 0 && <Nodes target={target} />}
      <div class="buttons">
        {target.active_rollout && (
          <a class="button" href={`/rollouts/${target.active_rollout}`}>
            Show its rollout
          </a>
        )}
        {target.configured && mayOperate(target.name) && (
          <button type="button" onClick={props.start}>
            Start a rollout …
          </button>
        )}
      </div>
    </section>
  );
}

function splitWords(split: Split): string {
  const parts = [`canary ${weight(split.canary_percent)}`];
  if (split.baseline_percent > 0) parts.push(`baseline ${weight(split.baseline_percent)}`);
  parts.push(`stable ${weight(split.stable_percent)}`);
  return parts.join(" · ");
}

function SplitBar(props: { split: Split }) {
  const { split } = props;
  return (
    <span class="split" aria-hidden="true">
      <span class="of-canary" style={{ width: `${split.canary_percent}%` }} />
      <span class="of-baseline" style={{ width: `${split.baseline_percent}%` }} />
      <span class="of-stable" style={{ width: `${split.stable_percent}%` }} />
    </span>
  );
}

function Nodes(props: { target: Target }) {
  const { nodes, unconfirmed_nodes: unconfirmed } = props.target;
  const wrong = nodes.filter((node) => unconfirmed.includes(node.id) || node.refused !== null || !node.connected);
  const confirmed = nodes.length - unconfirmed.length;
  return (
    <>
      <p>
        {confirmed} of {count(nodes.length, "proxy", "proxies")} {confirmed === 1 ? "follows" : "follow"} the wanted
        split.
      </p>
      {wrong.length > 0 && (
        <ul class="nodes">
          {wrong.map((node) => (
            <li key={node.id}>
              <span class="mono">{node.id}</span>{" "}
              <Badge tone={node.refused ? "bad" : "warn"}>
                {node.refused ? "refused" : node.connected ? "unconfirmed" : "away"}
              </Badge>{" "}
              <span class="faint small">
                {node.refused ??
                  (node.connected
                    ? `it has generation ${node.generation} of ${props.target.generation}`
                    : `last seen ${duration((Date.now() - Date.parse(node.last_seen)) / 1000)} ago`)}
              </span>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}
