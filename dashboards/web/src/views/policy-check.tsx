// Is a policy right? It is pasted, and everything that is wrong with it is told with its line.

import { useRef, useState } from "preact/hooks";
import { change } from "../lib/api";
import { count, duration, list, weight } from "../lib/format";
import type { Policy } from "../lib/policy-types";
import { Scroll, Told, Trouble } from "../ui/parts";

interface Problem {
  line: number | null;
  field: string | null;
  detail: string;
}

interface Checked {
  ok: boolean;
  problems: Problem[];
  warnings: Problem[];
  policy: Policy | null;
}

export function PolicyCheck() {
  const [yaml, setYaml] = useState("");
  const [checked, setChecked] = useState<Checked | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const field = useRef<HTMLTextAreaElement>(null);

  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    setError(null);
    try {
      setChecked((await change<Checked>("POST", "/policies/check", { yaml })).body);
    } catch (failed) {
      setChecked(null);
      setError(failed);
    }
    setBusy(false);
  };
  /** Marks a line of the text and goes there. */
  const show = (line: number): void => {
    const element = field.current;
    if (!element) return;
    const lines = element.value.split("\n");
    const start = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
    element.focus();
    element.setSelectionRange(start, start + (lines[line - 1]?.length ?? 0));
    const height = element.scrollHeight / Math.max(1, lines.length);
    element.scrollTop = Math.max(0, (line - 4) * height);
  };

  return (
    <section class="card policy-check">
      <h2 id="policy-check">Check a policy</h2>
      <form onSubmit={(event) => void submit(event)}>
        <label>
          The policy's YAML; nothing of it is kept
          <textarea
            ref={field}
            name="yaml"
            class="mono"
            rows={12}
            spellcheck={false}
            autocomplete="off"
            wrap="off"
            value={yaml}
            placeholder={"name: mine\nsteps:\n  - {weight: 5%, min: 10m}\n  …"}
            onInput={(event) => setYaml(event.currentTarget.value)}
            required
          />
        </label>
        <div class="buttons">
          <button type="submit" class="strong" disabled={busy || yaml.trim() === ""}>
            {busy ? "Checking …" : "Check it"}
          </button>
        </div>
      </form>
      {error !== null && <Trouble error={error} />}
      <div role="status">{checked && <Result checked={checked} show={show} />}</div>
    </section>
  );
}

function Result(props: { checked: Checked; show: (line: number) => void }) {
  const { ok, problems, warnings, policy } = props.checked;
  return (
    <div class="checked" data-ok={ok}>
      {ok && policy && (
        <p class="sentence good">
          <strong>{policy.name} is right:</strong> {policy.steps.map((step) => weight(step.weight_percent)).join(" → ")}
          {policy.bake_seconds > 0 && `, bake ${duration(policy.bake_seconds)}`}, judges{" "}
          {list(policy.metrics.map((metric) => metric.name)) || "nothing"}.
        </p>
      )}
      {!ok && <p class="sentence bad">{count(problems.length, "thing is", "things are")} wrong with it.</p>}
      {problems.length > 0 && <Problems label="What is wrong" problems={problems} show={props.show} />}
      {warnings.length > 0 && (
        <>
          <h3>Worth a thought</h3>
          <Problems label="Worth a thought" problems={warnings} show={props.show} />
        </>
      )}
    </div>
  );
}

function Problems(props: { label: string; problems: Problem[]; show: (line: number) => void }) {
  return (
    <Scroll label={props.label}>
      <table>
        <thead>
          <tr>
            <th scope="col">line</th>
            <th scope="col">field</th>
            <th scope="col">what, and what would be right</th>
          </tr>
        </thead>
        <tbody>
          {props.problems.map((problem, i) => (
            <tr key={i}>
              <td>
                {problem.line === null ? (
                  "–"
                ) : (
                  <button type="button" class="quiet" onClick={() => props.show(problem.line ?? 1)}>
                    <span class="hidden">Show line </span>
                    {problem.line}
                  </button>
                )}
              </td>
              <th scope="row" class="mono">
                {problem.field ?? "–"}
              </th>
              <td>
                <Told text={problem.detail} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}
