// The buttons of a rollout. Each says what it will do before it does it.

import { useMemo, useState } from "preact/hooks";
import { ApiError, change, get, idempotencyKey, sentence } from "../../lib/api";
import { list } from "../../lib/format";
import { me } from "../../lib/session";
import type { Rollout } from "../../lib/types";
import { Dialog } from "../../ui/parts";
import { type Against, against, type Command, consequence, deed, type Force, label, possible } from "./commands";

export function CommandBar(props: { view: Rollout; changed: (view: Rollout) => void }) {
  // The dialog speaks of the rollout as it was when it was opened: that is what the person agrees to.
  const [open, setOpen] = useState<{ command: Command; view: Rollout } | null>(null);
  const { view } = props;
  return (
    <div class="buttons commands">
      {possible(view).map((command) => (
        <button
          key={command}
          type="button"
          class={command === "rollback" ? "danger" : ""}
          data-command={command}
          onClick={() => setOpen({ command, view })}
        >
          {label(command, view)}
        </button>
      ))}
      {open && <CommandDialog {...open} changed={props.changed} onClose={() => setOpen(null)} />}
    </div>
  );
}

function CommandDialog(props: {
  command: Command;
  view: Rollout;
  changed: (view: Rollout) => void;
  onClose: () => void;
}) {
  const { command } = props;
  const [view, setView] = useState(props.view);
  const [reason, setReason] = useState("");
  const [force, setForce] = useState<Force>({ override: false, even_if_worse: false });
  const [busy, setBusy] = useState(false);
  const [told, setTold] = useState<string | null>(null);
  const raises = command === "advance" || command === "promote";
  const none: Against = { pauses: [], unready: null, suspects: [] };
  const { pauses, unready, suspects } = raises ? against(view, me()?.name ?? null) : none;
  const asks: [keyof Force, string][] = [];
  const barred = pauses.length > 0 ? [`the pause by ${list(pauses)}, who is notified`] : [];
  if (unready !== null) barred.push(`that only ${unready}`);
  if (barred.length > 0) asks.push(["override", `Override ${list(barred)}`]);
  if (suspects.length > 0) asks.push(["even_if_worse", `Even if it is worse: ${list(suspects)}`]);
  const needed = asks.length > 0;
  const lacking = needed && (reason.trim() === "" || asks.some(([name]) => !force[name]));
  // Sent again after an answer that was lost, it is still one command.
  const key = useMemo(idempotencyKey, [view.revision]);
  const still = possible(view).includes(command);
  const path = `/rollouts/${encodeURIComponent(view.id)}`;

  const look = async (): Promise<void> => {
    const fresh = await get<Rollout>(path);
    setView(fresh);
    props.changed(fresh);
  };
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    setTold(null);
    try {
      const forced = Object.fromEntries(asks.map(([name]) => [name, force[name]]));
      const body = { command, ...forced, ...(reason.trim() ? { reason: reason.trim() } : {}) };
      const headers = { "If-Match": `"${view.revision}"`, "Idempotency-Key": key };
      await change("POST", `${path}/commands`, body, headers);
      props.onClose();
      await look().catch(() => undefined);
    } catch (error) {
      setTold(await explain(error, look));
      setBusy(false);
    }
  };

  return (
    <Dialog title={`${deed(command, view)}: ${view.target} ${view.version}`} onClose={props.onClose}>
      <form onSubmit={(event) => void submit(event)}>
        {still ? (
          <p class="consequence">{consequence(command, view)}</p>
        ) : (
          <p class="consequence">This is not possible any more: the rollout is {view.state.replaceAll("_", " ")}.</p>
        )}
        {still &&
          asks.map(([name, text]) => (
            <label key={name} class="check">
              <input
                type="checkbox"
                name={name}
                checked={force[name]}
                onChange={(event) => setForce({ ...force, [name]: event.currentTarget.checked })}
              />{" "}
              {text}
            </label>
          ))}
        {still && (
          <label>
            Reason <span class="faint">({needed ? "required" : "optional"}; it stands in the log and the report)</span>
            <textarea
              name="reason"
              rows={2}
              maxLength={2000}
              required={needed}
              value={reason}
              onInput={(event) => setReason(event.currentTarget.value)}
            />
          </label>
        )}
        {told && (
          <p class="trouble" role="alert">
            {told}
          </p>
        )}
        <div class="buttons">
          <button type="button" onClick={props.onClose}>
            Leave it as it is
          </button>
          {still && (
            <button type="submit" class={command === "rollback" ? "danger" : "strong"} disabled={busy || lacking}>
              {busy ? "Asking …" : deed(command, view)}
            </button>
          )}
        </div>
      </form>
    </Dialog>
  );
}

/** What the daemon says against it. After a change in between, the dialog shows the rollout as it is now. */
async function explain(error: unknown, look: () => Promise<void>): Promise<string> {
  if (!(error instanceof ApiError)) return sentence(error);
  if (error.status === 412) {
    await look().catch(() => undefined);
    return "It has changed since you looked. Nothing was done. Read again what this will do now.";
  }
  if (error.status === 403) return `You may not do this. ${sentence(error)}`;
  if (error.status === 409) {
    await look().catch(() => undefined);
    return `Refused. ${sentence(error)}`;
  }
  if (error.status === 0) return `${sentence(error)} Whether it was done is not known: trying again does it only once.`;
  return sentence(error);
}
