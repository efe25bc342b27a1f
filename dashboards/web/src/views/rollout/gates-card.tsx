// Gates: what else has to say yes, who has, and the buttons for those who may.

import { useMemo, useState } from "preact/hooks";
import { change, get, idempotencyKey } from "../../lib/api";
import { TAKEN_IN } from "../../lib/core-words";
import { list, ticking, words } from "../../lib/format";
import { mayAdminister, mayApprove, mayOperate } from "../../lib/session";
import { useNow } from "../../lib/store";
import type { Gate, Rollout } from "../../lib/types";
import { Badge, Dialog, Moment, Scroll, Told, type Tone, Trouble } from "../../ui/parts";

type GateCommand = "approve" | "refuse" | "override_gate" | "retry_gate";

const TONES: Record<string, Tone> = { open: "good", refused: "bad", lost: "warn", waiting: "info", running: "info" };
const LABELS: Record<GateCommand, string> = {
  approve: "Approve",
  refuse: "Refuse",
  retry_gate: "Ask again",
  override_gate: "Override",
};
const DEADLINE: Record<string, string> = {
  hold: "it is held",
  roll_back: "it is rolled back",
  go_on: "it goes on without",
};

/** What somebody who is here may say to a gate now. */
function possible(view: Rollout, gate: Gate): GateCommand[] {
  if (view.ended) return [];
  const commands: GateCommand[] = [];
  const pending = gate.status === "waiting" || gate.status === "running";
  if (gate.kind === "approval" && pending && mayApprove(view.target)) commands.push("approve", "refuse");
  if ((gate.status === "refused" || gate.status === "lost") && mayOperate(view.target)) commands.push("retry_gate");
  if (gate.status !== "open" && mayAdminister()) commands.push("override_gate");
  return commands.filter((command) => TAKEN_IN[command].includes(view.state));
}

function consequence(command: GateCommand, view: Rollout, gate: Gate): string {
  const before = view.gates?.before;
  const next = before === "start" ? "begin" : before === "finish" ? "be finished" : before ? `go on to ${before}` : "go on";
  switch (command) {
    case "approve":
      return `You say yes at ${gate.name}. With all that are asked, ${view.version} of ${view.target} may ${next}.${
        gate.point_of_no_return ? " From then on nothing is rolled back without a person." : ""
      }`;
    case "refuse":
      return `You say no at ${gate.name}: ${view.version} of ${view.target} does not ${next}.`;
    case "retry_gate":
      return `${gate.name} is asked anew.`;
    case "override_gate":
      return `${gate.name} is opened whatever it says, and the log has your name with it.`;
  }
}

export function GatesCard(props: { view: Rollout; at: number; changed: (view: Rollout) => void }) {
  const { view } = props;
  const [open, setOpen] = useState<{ command: GateCommand; gate: Gate } | null>(null);
  const gates = view.gates?.items ?? [];
  const waits = gates.some((gate) => gate.deadline_seconds !== null && gate.status === "waiting");
  const now = useNow(waits);
  if (gates.length === 0) return null;
  const before = view.gates?.before;
  return (
    <section class="card gates">
      <div class="card-head">
        <h2>Gates</h2>
        {before && <p class="faint">asked before {before === "start" ? "it begins" : before === "finish" ? "the end" : before}</p>}
      </div>
      {view.gates?.no_return && (
        <p class="notice">After the gate {view.gates.no_return} Serin rolls nothing back by itself: a person has to.</p>
      )}
      <Scroll label="Gates">
        <table>
          <thead>
            <tr>
              <th scope="col">gate</th>
              <th scope="col">says</th>
              <th scope="col">who and why</th>
              <th scope="col">deadline</th>
              <th scope="col">
                <span class="hidden">what can be done</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {gates.map((gate) => (
              <tr key={gate.name} data-gate={gate.name} data-status={gate.status}>
                <th scope="row">
                  {gate.name} <span class="faint small">{words(gate.kind)}</span>
                  {gate.during && <span class="faint small"> · asked all along</span>}
                </th>
                <td>
                  <Badge tone={TONES[gate.status] ?? "plain"}>{words(gate.status)}</Badge>{" "}
                  <span class="small">
                    <Told text={gate.detail} />
                  </span>
                </td>
                <td>
                  <Said gate={gate} />
                </td>
                <td>{deadline(gate, Math.max(0, now - props.at))}</td>
                <td>
                  <div class="buttons">
                    {possible(view, gate).map((command) => (
                      <button
                        key={command}
                        type="button"
                        class={command === "approve" ? "strong" : ""}
                        data-gate-command={command}
                        aria-label={`${LABELS[command]}: ${gate.name}`}
                        onClick={() => setOpen({ command, gate })}
                      >
                        {LABELS[command]} …
                      </button>
                    ))}
                  </div>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      {open && <GateDialog {...open} view={view} changed={props.changed} onClose={() => setOpen(null)} />}
    </section>
  );
}

function deadline(gate: Gate, since: number): string {
  if (gate.deadline_seconds === null) return "none";
  const then = DEADLINE[gate.at_deadline] ?? words(gate.at_deadline);
  if (gate.status !== "waiting" && gate.status !== "running") return `then ${then}`;
  const left = gate.deadline_seconds - gate.waited_seconds - since;
  return left > 0 ? `in ${ticking(left)}, then ${then}` : `over: ${then}`;
}

function Said(props: { gate: Gate }) {
  const { gate } = props;
  if (gate.approvals.length === 0) {
    if (!gate.by) return <span class="faint">–</span>;
    return (
      <>
        {gate.by}
        {gate.at && (
          <>
            {" "}
            <Moment at={gate.at} date />
          </>
        )}
      </>
    );
  }
  return (
    <ul class="plain">
      {gate.approvals.map((approval) => (
        <li key={`${approval.by} ${approval.at}`}>
          <strong>{approval.by}</strong>
          {approval.teams.length > 0 && <span class="faint"> ({list(approval.teams)})</span>} said yes{" "}
          <Moment at={approval.at} date />
          {approval.reason && `: ${approval.reason}`}
        </li>
      ))}
    </ul>
  );
}

function GateDialog(props: {
  command: GateCommand;
  gate: Gate;
  view: Rollout;
  changed: (view: Rollout) => void;
  onClose: () => void;
}) {
  const { command, gate, view } = props;
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  // Sent again after an answer that was lost, it is still one answer.
  const key = useMemo(idempotencyKey, []);
  const path = `/rollouts/${encodeURIComponent(view.id)}`;
  const needed = command !== "retry_gate";
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    setError(null);
    try {
      const said = reason.trim();
      const body = { command, gate: gate.name, ...(said ? { reason: said } : {}) };
      await change("POST", `${path}/commands`, body, { "Idempotency-Key": key });
      props.onClose();
      props.changed(await get<Rollout>(path));
    } catch (failed) {
      setError(failed);
      setBusy(false);
    }
  };
  return (
    <Dialog title={`${LABELS[command]}: ${gate.name}`} onClose={props.onClose}>
      <form onSubmit={(event) => void submit(event)}>
        <p class="consequence">{consequence(command, view, gate)}</p>
        <label>
          Why <span class="faint">({needed ? "it" : "optional; it"} stands in the log and the report)</span>
          <textarea
            name="reason"
            rows={2}
            maxLength={500}
            required={needed}
            value={reason}
            onInput={(event) => setReason(event.currentTarget.value)}
          />
        </label>
        {error !== null && <Trouble error={error} />}
        <div class="buttons">
          <button type="button" onClick={props.onClose}>
            Leave it as it is
          </button>
          <button
            type="submit"
            class={command === "refuse" || command === "override_gate" ? "danger" : "strong"}
            disabled={busy || (needed && reason.trim() === "")}
          >
            {busy ? "Asking …" : LABELS[command]}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
