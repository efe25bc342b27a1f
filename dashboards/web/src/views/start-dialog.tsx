// Starts a rollout.

import { useMemo, useState } from "preact/hooks";
import { change, idempotencyKey } from "../lib/api";
import { duration, weight } from "../lib/format";
import { useLoaded } from "../lib/load";
import { navigate } from "../lib/router";
import { mayOperate } from "../lib/session";
import type { Policy } from "../lib/policy-types";
import type { Page, Rollout, Target } from "../lib/types";
import { Dialog, Trouble } from "../ui/parts";

export function StartDialog(props: { target?: string; policy?: string; onClose: () => void }) {
  const targets = useLoaded<Page<Target>>("/targets");
  const policies = useLoaded<Page<Policy>>("/policies");
  const [target, setTarget] = useState(props.target ?? "");
  const [policy, setPolicy] = useState(props.policy ?? "");
  const [version, setVersion] = useState("");
  const [supersede, setSupersede] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  // The same request again, after an answer that was lost, starts nothing twice.
  const key = useMemo(idempotencyKey, [target, policy, version, supersede]);

  const names = (targets.value?.items ?? []).filter((each) => each.configured && mayOperate(each.name));
  const chosen = names.find((each) => each.name === target);
  const plan = policies.value?.items.find((each) => each.name === policy);
  const ready = target !== "" && policy !== "" && version.trim() !== "";

  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (!ready || busy) return;
    setBusy(true);
    setError(null);
    try {
      const body = { target, policy, version: version.trim(), ...(supersede ? { supersede } : {}) };
      const answer = await change<Rollout>("POST", "/rollouts", body, { "Idempotency-Key": key });
      props.onClose();
      if (answer.body) navigate(`/rollouts/${answer.body.id}`);
    } catch (failed) {
      setError(failed);
      setBusy(false);
    }
  };

  return (
    <Dialog title="Start a rollout" onClose={props.onClose}>
      <form onSubmit={(event) => void submit(event)}>
        <label>
          Target
          <select name="target" value={target} onChange={(event) => setTarget(event.currentTarget.value)} required>
            <option value="">choose …</option>
            {names.map((each) => (
              <option key={each.name} value={each.name}>
                {each.name}
                {each.stable_version ? ` (runs ${each.stable_version})` : ""}
              </option>
            ))}
          </select>
        </label>
        <label>
          Policy
          <select name="policy" value={policy} onChange={(event) => setPolicy(event.currentTarget.value)} required>
            <option value="">choose …</option>
            {policies.value?.items.map((each) => (
              <option key={each.name} value={each.name}>
                {each.name}
              </option>
            ))}
          </select>
        </label>
        <label>
          New version
          <input
            name="version"
            value={version}
            maxLength={200}
            autocomplete="off"
            spellcheck={false}
            placeholder="as your registry has it, for example v1.5.0"
            onInput={(event) => setVersion(event.currentTarget.value)}
            required
          />
        </label>
        {chosen?.active_rollout && (
          <label>
            <input
              type="checkbox"
              name="supersede"
              checked={supersede}
              onChange={(event) => setSupersede(event.currentTarget.checked)}
            />{" "}
            Take {chosen.name} over: <a href={`/rollouts/${chosen.active_rollout}`}>the rollout that has it</a> is taken
            back first. Without this, the new one waits.
          </label>
        )}
        {ready && plan && <p class="consequence">{consequence(target, version.trim(), chosen, plan)}</p>}
        {error !== null && <Trouble error={error} />}
        {targets.error !== null && <Trouble error={targets.error} retry={targets.reload} />}
        {policies.error !== null && <Trouble error={policies.error} retry={policies.reload} />}
        <div class="buttons">
          <button type="button" onClick={props.onClose}>
            Cancel
          </button>
          <button type="submit" class="strong" disabled={!ready || busy}>
            {busy ? "Starting …" : "Start"}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

function consequence(target: string, version: string, chosen: Target | undefined, plan: Policy): string {
  const steps = plan.steps.map((step) => weight(step.weight_percent)).join(", then ");
  if (plan.mode === "observe") {
    return `Policy ${plan.name} observes only: ${version} of ${target} is judged, and no traffic is moved.`;
  }
  const from = chosen?.stable_version ? ` instead of ${chosen.stable_version}` : "";
  const bake = plan.bake_seconds > 0 ? `, and is watched there for ${duration(plan.bake_seconds)}` : "";
  return `${version} of ${target} gets ${steps} of the traffic${from}${bake}. It goes back by itself if it is found worse.`;
}
