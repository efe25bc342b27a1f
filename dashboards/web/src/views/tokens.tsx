// Tokens: who has one, a new one (shown once), and taking one back.

import { useState } from "preact/hooks";
import { change } from "../lib/api";
import { useLoaded } from "../lib/load";
import type { NewToken, Page, Token } from "../lib/types";
import { Badge, Dialog, Moment, Scroll, type Tone, Trouble, useTitle, Waiting } from "../ui/parts";

const ROLES: [string, string][] = [
  ["viewer", "viewer: looks"],
  ["approver", "approver: says yes or no at gates"],
  ["operator", "operator: starts rollouts and gives commands"],
  ["admin", "admin: everything, tokens too"],
];
const DAYS: [string, string][] = [
  ["30", "30 days"],
  ["90", "90 days"],
  ["365", "a year"],
  ["", "never"],
];
const TONES: Record<string, Tone> = { active: "good", expired: "warn", revoked: "plain" };

export function TokensView() {
  useTitle("Tokens");
  const { value, error, reload } = useLoaded<Page<Token>>("/tokens");
  const [making, setMaking] = useState(false);
  const [revoking, setRevoking] = useState<Token | null>(null);
  const tokens = [...(value?.items ?? [])].sort((a, b) => Number(a.state !== "active") - Number(b.state !== "active"));
  return (
    <>
      <div class="title-row">
        <h1>Tokens</h1>
        <button type="button" class="strong" onClick={() => setMaking(true)}>
          New token …
        </button>
      </div>
      <p class="faint">What people and programs log in with. Serin keeps no token, so none can be shown again.</p>
      {error !== null && <Trouble error={error} retry={reload} />}
      {value === null && error === null && <Waiting what="the tokens" />}
      {value !== null && tokens.length === 0 && <p class="card empty">There is none yet.</p>}
      {tokens.length > 0 && (
        <section class="card">
          <Scroll label="Tokens">
            <table class="tokens">
              <thead>
                <tr>
                  <th scope="col">name</th>
                  <th scope="col">role</th>
                  <th scope="col">services</th>
                  <th scope="col">state</th>
                  <th scope="col">made</th>
                  <th scope="col">expires</th>
                  <th scope="col">
                    <span class="hidden">what can be done</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {tokens.map((token) => (
                  <Line key={`${token.name} ${token.created_at}`} token={token} revoke={() => setRevoking(token)} />
                ))}
              </tbody>
            </table>
          </Scroll>
        </section>
      )}
      {making && <NewDialog onClose={() => setMaking(false)} made={reload} />}
      {revoking && <RevokeDialog token={revoking} onClose={() => setRevoking(null)} done={reload} />}
    </>
  );
}

function Line(props: { token: Token; revoke: () => void }) {
  const { token } = props;
  return (
    <tr data-token={token.name} data-state={token.state}>
      <th scope="row">{token.name}</th>
      <td>{token.role}</td>
      <td>{token.services.includes("*") ? "all" : token.services.join(", ")}</td>
      <td>
        <Badge tone={TONES[token.state] ?? "plain"}>{token.state}</Badge>
        {token.revoked_at && (
          <span class="faint small">
            {" "}
            <Moment at={token.revoked_at} date />
          </span>
        )}
      </td>
      <td>
        <Moment at={token.created_at} date /> <span class="faint small">by {token.created_by}</span>
      </td>
      <td>{token.expires_at ? <Moment at={token.expires_at} date /> : "never"}</td>
      <td class="number">
        {token.state === "active" && (
          <button type="button" aria-label={`Revoke ${token.name}`} onClick={props.revoke}>
            Revoke …
          </button>
        )}
      </td>
    </tr>
  );
}

function NewDialog(props: { onClose: () => void; made: () => void }) {
  const [name, setName] = useState("");
  const [role, setRole] = useState("viewer");
  const [services, setServices] = useState("");
  const [days, setDays] = useState("90");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [token, setToken] = useState<NewToken | null>(null);

  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    setError(null);
    const patterns = services.split(/[\s,]+/).filter((pattern) => pattern !== "");
    const body = {
      name: name.trim(),
      role,
      ...(patterns.length > 0 && role !== "admin" ? { services: patterns } : {}),
      ...(days === "" ? {} : { expires_in_seconds: Number(days) * 86_400 }),
    };
    try {
      setToken((await change<NewToken>("POST", "/tokens", body)).body);
      props.made();
    } catch (failed) {
      setError(failed);
    }
    setBusy(false);
  };

  // One dialog for both: a second one would be closed by the end of the first.
  if (token) {
    return (
      <Dialog title={`The token of ${token.name}`} onClose={props.onClose}>
        <Once token={token} onClose={props.onClose} />
      </Dialog>
    );
  }
  return (
    <Dialog title="New token" onClose={props.onClose}>
      <form onSubmit={(event) => void submit(event)}>
        <label>
          Name, which stands in the logs
          <input
            name="name"
            value={name}
            maxLength={63}
            autocomplete="off"
            spellcheck={false}
            placeholder="for example ci-shop"
            onInput={(event) => setName(event.currentTarget.value)}
            required
          />
        </label>
        <label>
          Role
          <select name="role" value={role} onChange={(event) => setRole(event.currentTarget.value)}>
            {ROLES.map(([value, told]) => (
              <option key={value} value={value}>
                {told}
              </option>
            ))}
          </select>
        </label>
        {role !== "admin" && (
          <label>
            Services, as names or patterns; all if it is empty
            <input
              name="services"
              value={services}
              autocomplete="off"
              spellcheck={false}
              placeholder="shop-*, search"
              onInput={(event) => setServices(event.currentTarget.value)}
            />
          </label>
        )}
        <label>
          Expires after
          <select name="days" value={days} onChange={(event) => setDays(event.currentTarget.value)}>
            {DAYS.map(([value, told]) => (
              <option key={value} value={value}>
                {told}
              </option>
            ))}
          </select>
        </label>
        {error !== null && <Trouble error={error} />}
        <div class="buttons">
          <button type="button" onClick={props.onClose}>
            Cancel
          </button>
          <button type="submit" class="strong" disabled={busy || name.trim() === ""}>
            {busy ? "Making it …" : "Make it"}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

/** The token itself, this once. */
function Once(props: { token: NewToken; onClose: () => void }) {
  const { token } = props;
  const [copied, setCopied] = useState(false);
  // Over plain HTTP there is no clipboard: then it is marked and copied by hand.
  const copy = (): void => void navigator.clipboard?.writeText(token.token).then(() => setCopied(true), () => undefined);
  return (
    <>
      <p>Copy it now: it is shown this once and kept nowhere.</p>
      <input
        class="mono once"
        aria-label="The token"
        readOnly
        value={token.token}
        onFocus={(event) => event.currentTarget.select()}
      />
      <p class="hidden" role="status">
        {copied ? "The token is copied." : ""}
      </p>
      <div class="buttons">
        {"clipboard" in navigator && (
          <button type="button" onClick={copy}>
            {copied ? "Copied" : "Copy"}
          </button>
        )}
        <button type="button" class="strong" onClick={props.onClose}>
          I have it
        </button>
      </div>
    </>
  );
}

function RevokeDialog(props: { token: Token; onClose: () => void; done: () => void }) {
  const { token } = props;
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const revoke = async (): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      await change("DELETE", `/tokens/${encodeURIComponent(token.name)}`, undefined);
      props.done();
      props.onClose();
    } catch (failed) {
      setError(failed);
      setBusy(false);
    }
  };
  return (
    <Dialog title={`Revoke ${token.name}?`} onClose={props.onClose}>
      <p class="consequence">
        Whoever uses it ({token.role}, {token.services.includes("*") ? "all services" : token.services.join(", ")}) is shut
        out at once. This cannot be undone: they need a new token.
      </p>
      {error !== null && <Trouble error={error} />}
      <div class="buttons">
        <button type="button" onClick={props.onClose}>
          Keep it
        </button>
        <button type="button" class="danger" disabled={busy} onClick={() => void revoke()}>
          {busy ? "Revoking …" : "Revoke it"}
        </button>
      </div>
    </Dialog>
  );
}
