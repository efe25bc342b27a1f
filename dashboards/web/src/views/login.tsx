// Login by token. The address stays as it is, so that a deep link is there afterwards.

import { useState } from "preact/hooks";
import { ApiError, sentence } from "../lib/api";
import { logIn } from "../lib/session";
import { useTitle } from "../ui/parts";

export function LoginView() {
  useTitle("Log in");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (!(event.currentTarget instanceof HTMLFormElement)) return;
    const token = String(new FormData(event.currentTarget).get("token") ?? "").trim();
    if (token === "") return setError("Paste a token first.");
    setBusy(true);
    setError(null);
    try {
      await logIn(token);
    } catch (failed) {
      const wrong = failed instanceof ApiError && failed.status === 401;
      setError(wrong ? "This token is not known, or it was revoked." : sentence(failed));
      setBusy(false);
    }
  };
  return (
    <section class="card login">
      <h1>Log in</h1>
      <p class="faint">
        {location.pathname === "/"
          ? "The rollouts are shown to those with a token."
          : "What you asked for is shown after you log in."}
      </p>
      <form onSubmit={(event) => void submit(event)}>
        <label>
          Token
          <input
            name="token"
            type="password"
            autocomplete="current-password"
            spellcheck={false}
            autoFocus
            aria-describedby={error ? "login-error" : undefined}
            aria-invalid={error !== null}
          />
        </label>
        {error && (
          <p id="login-error" class="trouble" role="alert">
            {error}
          </p>
        )}
        <button type="submit" class="strong" disabled={busy}>
          {busy ? "Logging in …" : "Log in"}
        </button>
      </form>
      <p class="faint small">
        Whoever administers Serin makes tokens. The token itself is not kept in the page: the daemon keeps the login in a
        cookie that scripts cannot read.
      </p>
    </section>
  );
}
