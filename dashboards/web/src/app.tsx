// The frame around the views: who is logged in, where one can go, whether the page is live.

import { useState } from "preact/hooks";
import { sentence } from "./lib/api";
import { navigate, useAddress } from "./lib/router";
import { ask, logOut, session } from "./lib/session";
import { connection, outdated } from "./lib/stream";
import { useStore } from "./lib/store";
import { isDark, theme } from "./lib/theme";
import type { Me } from "./lib/types";
import { Trouble } from "./ui/parts";
import { LoginView } from "./views/login";
import { AuditView } from "./views/audit";
import { NoticesView } from "./views/notices";
import { OverviewView } from "./views/overview";
import { PoliciesView, PolicyView } from "./views/policies";
import { ReportView } from "./views/report";
import { ReportsView } from "./views/reports";
import { RolloutView } from "./views/rollout/view";
import { TargetsView } from "./views/targets";
import { TokensView } from "./views/tokens";

const PLACES: [string, string][] = [
  ["/", "Overview"],
  ["/targets", "Targets"],
  ["/policies", "Policies"],
  ["/reports", "Reports"],
  ["/notices", "Notices"],
];
const FOR_ADMINS: [string, string][] = [
  ["/tokens", "Tokens"],
  ["/audit", "Audit log"],
];

export function App() {
  const now = useStore(session);
  return (
    <>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <Head me={now.is === "in" ? now.me : null} />
      <main id="main" tabIndex={-1}>
        {now.is === "failed" && <Trouble error={now.error} retry={() => void ask()} />}
        {now.is === "out" && <LoginView />}
        {/* Who it is and what there is are asked at once: whoever may not see it is shown the login instead. */}
        {(now.is === "in" || now.is === "asking") && <View />}
      </main>
    </>
  );
}

function View() {
  const path = useAddress().pathname.replace(/(?<=.)\/$/, "");
  const [, first, second, third] = path.split("/").map(decodeURIComponent);
  if (path === "/" || path === "/rollouts") return <OverviewView />;
  if (third === undefined && second) {
    // The key makes a new view of each address, so that nothing of the last one shows through.
    if (first === "rollouts") return <RolloutView key={second} id={second} />;
    if (first === "reports") return <ReportView key={second} id={second} />;
    if (first === "policies") return <PolicyView key={second} name={second} />;
  }
  if (path === "/targets") return <TargetsView />;
  if (path === "/policies") return <PoliciesView />;
  if (path === "/reports") return <ReportsView />;
  if (path === "/notices") return <NoticesView />;
  if (path === "/tokens") return <TokensView />;
  if (path === "/audit") return <AuditView />;
  return (
    <section class="card">
      <h1>Nothing is at this address</h1>
      <p>
        <code>{path}</code> is no view of this page. <a href="/">To the overview</a>
      </p>
    </section>
  );
}

function Head(props: { me: Me | null }) {
  const path = useAddress().pathname;
  const at = (place: string): boolean =>
    place === "/" ? path === "/" || path.startsWith("/rollouts") : path.startsWith(place);
  return (
    <header class="head">
      <a class="brand" href="/">
        serin
      </a>
      {props.me && (
        <nav aria-label="Views">
          {[...PLACES, ...(props.me.may.administer ? FOR_ADMINS : [])].map(([place, name]) => (
            <a key={place} href={place} aria-current={at(place) ? (path === place ? "page" : "true") : undefined}>
              {name}
            </a>
          ))}
        </nav>
      )}
      <span class="grow" />
      <Connection />
      {props.me && <Who me={props.me} />}
      <ThemeButton />
    </header>
  );
}

function Connection() {
  const state = useStore(connection);
  const old = useStore(outdated);
  const text = {
    none: "",
    connecting: "connecting …",
    live: "live",
    lost: "connection lost, trying again",
  }[state];
  return (
    <>
      <span class={`connection ${state}`} role="status" aria-live="polite" data-state={state}>
        {text}
      </span>
      {old && (
        <button type="button" class="quiet" onClick={() => location.reload()}>
          Serin was updated: load the page again
        </button>
      )}
    </>
  );
}

function Who(props: { me: Me }) {
  const [error, setError] = useState<unknown>(null);
  const { me } = props;
  if (me.open) {
    return (
      <span class="who faint" title="Anybody who reaches this address may do everything.">
        runs without authentication
      </span>
    );
  }
  const leave = (): void => {
    logOut().then(
      () => navigate("/"),
      (failed: unknown) => setError(failed),
    );
  };
  return (
    <span class="who">
      <span>
        signed in as <strong>{me.name ?? "nobody"}</strong> ({me.role})
      </span>
      <button type="button" class="quiet" onClick={leave}>
        Log out
      </button>
      {error !== null && <span role="alert">{sentence(error)}</span>}
    </span>
  );
}

function ThemeButton() {
  useStore(theme);
  const dark = isDark();
  return (
    <button
      type="button"
      class="quiet theme"
      aria-label={dark ? "Use light colours" : "Use dark colours"}
      title={dark ? "Use light colours" : "Use dark colours"}
      onClick={() => theme.set(dark ? "light" : "dark")}
    >
      <svg viewBox="0 0 20 20" aria-hidden="true">
        <circle cx="10" cy="10" r="7" />
        <path d="M10 3a7 7 0 0 1 0 14z" />
      </svg>
    </button>
  );
}
