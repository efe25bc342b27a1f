// Notices that could not be delivered, and those that are on their way.

import { useState } from "preact/hooks";
import { change } from "../lib/api";
import { count, words } from "../lib/format";
import { mayAdminister, session } from "../lib/session";
import { useStore } from "../lib/store";
import type { OutboxEntry } from "../lib/types";
import { Badge, Dialog, Moment, Scroll, Told, Trouble, useTitle, Waiting } from "../ui/parts";
import { type Paged, usePaged } from "./paged";

const PAGE = 100;

type State = OutboxEntry["state"];
const TITLES: Record<State, string> = {
  dead: "Could not be delivered",
  running: "Commands that are running",
  pending: "Still to be delivered",
};

export function NoticesView() {
  useTitle("Notices");
  const dead = useOutbox("dead");
  const running = useOutbox("running");
  const pending = useOutbox("pending");
  const [retrying, setRetrying] = useState<OutboxEntry | null>(null);
  const [said, setSaid] = useState("");
  useStore(session);
  const reload = (): void => [dead, running, pending].forEach((each) => each.reload());
  const done = (entry: OutboxEntry): void => {
    setSaid(`The notice to ${entry.channel} is on its way again.`);
    reload();
  };
  return (
    <>
      <div class="title-row">
        <h1>Notices</h1>
        <button type="button" onClick={reload} disabled={dead.busy || running.busy || pending.busy}>
          Read again
        </button>
      </div>
      <p class="faint">
        What Serin tells channels and hooks, oldest first. What fails is tried again by itself, at the latest after 5 min
        unless the receiver asks for more time. After 24 h, or where trying again cannot help, it is given up: then an
        admin can retry it.
      </p>
      <p class="hidden" role="status">
        {said}
      </p>
      <List state="dead" paged={dead} retry={mayAdminister() ? setRetrying : null} />
      <List state="running" paged={running} retry={null} />
      <List state="pending" paged={pending} retry={null} />
      {retrying && <RetryDialog entry={retrying} onClose={() => setRetrying(null)} done={done} />}
    </>
  );
}

function useOutbox(state: State): Paged<OutboxEntry> {
  return usePaged<OutboxEntry>(`/outbox?state=${state}&limit=${PAGE}`, "after");
}

type Retry = ((entry: OutboxEntry) => void) | null;

/** The entries of one state. Running commands are rare: without any, nothing is said of them. */
function List(props: { state: State; paged: Paged<OutboxEntry>; retry: Retry }) {
  const { state, retry } = props;
  const { items, error, more, busy, reload } = props.paged;
  if (state === "running" && error === null && !items?.length && !more) return null;
  return (
    <section class="card" data-notices={state}>
      <h2>{TITLES[state]}</h2>
      {error !== null && <Trouble error={error} retry={reload} />}
      {items === null && error === null && <Waiting what="the notices" />}
      {items?.length === 0 && !more && (
        <p class="faint">{state === "dead" ? "None: no notice was given up." : "None is on its way."}</p>
      )}
      {items !== null && items.length > 0 && <Table state={state} items={items} retry={retry} />}
      {more && (
        <button type="button" class="quiet more" onClick={more} disabled={busy}>
          {busy ? "Reading …" : "Newer ones"}
        </button>
      )}
    </section>
  );
}

function Table(props: { state: State; items: OutboxEntry[]; retry: Retry }) {
  const { state, items, retry } = props;
  return (
    <Scroll label={TITLES[state]}>
      <table class="notices">
        <caption class="hidden">{TITLES[state]}</caption>
        <thead>
          <tr>
            <th scope="col">channel</th>
            <th scope="col">notice</th>
            <th scope="col">rollout of</th>
            <th scope="col">since</th>
            <th scope="col">tried</th>
            <th scope="col">last error</th>
            {state === "pending" && <th scope="col">tried next</th>}
            {retry && (
              <th scope="col">
                <span class="hidden">what can be done</span>
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {items.map((entry) => (
            <Line key={entry.id} entry={entry} retry={retry} />
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

function Line(props: { entry: OutboxEntry; retry: Retry }) {
  const { entry, retry } = props;
  return (
    <tr data-outbox={entry.id} data-state={entry.state}>
      <th scope="row">
        {entry.channel} <Waits queue={entry.queue} />
      </th>
      <td class="what">
        <Badge tone={entry.state === "dead" ? "bad" : "plain"}>{words(entry.kind)}</Badge>{" "}
        <span class="small">
          <Told text={entry.sentence} />
        </span>
      </td>
      <td>{entry.rollout ? <a href={`/rollouts/${entry.rollout}`}>{entry.target}</a> : entry.target || "–"}</td>
      <td class="figure">{waitsForItsTime(entry) ? "–" : <Moment at={entry.since} date />}</td>
      <td class="figure">{entry.attempts === 0 ? "not yet" : count(entry.attempts, "time", "times")}</td>
      <td class="error small">{entry.detail ? <Told text={entry.detail} /> : "–"}</td>
      {entry.state === "pending" && (
        <td>
          <Next entry={entry} />
        </td>
      )}
      {retry && (
        <td class="number">
          <button
            type="button"
            aria-label={`Retry ${words(entry.kind)} of ${entry.target} to ${entry.channel}`}
            onClick={() => retry(entry)}
          >
            Retry …
          </button>
        </td>
      )}
    </tr>
  );
}

/** What of a queue's name is not the channel's: `#digest`, `#quiet`. */
function Waits(props: { queue: string }) {
  const why = props.queue.split("#")[1];
  const names: Record<string, string> = { digest: "in a digest", quiet: "after quiet hours" };
  return why ? <span class="faint small">{names[why] ?? why}</span> : null;
}

/** Whether it was put off: then `since` is when it is delivered first. */
function waitsForItsTime(entry: OutboxEntry): boolean {
  return entry.state === "pending" && entry.attempts === 0 && Date.parse(entry.since) > Date.now();
}

/** When it is tried next, as far as the daemon tells it. */
function Next(props: { entry: OutboxEntry }) {
  const { entry } = props;
  if (waitsForItsTime(entry)) return <Moment at={entry.since} date />;
  return <>{entry.attempts === 0 ? "in its turn" : "soon, by itself"}</>;
}

function RetryDialog(props: { entry: OutboxEntry; onClose: () => void; done: (entry: OutboxEntry) => void }) {
  const { entry } = props;
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const retry = async (): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      await change("POST", `/outbox/${entry.id}/retry`, undefined);
      props.done(entry);
      props.onClose();
    } catch (failed) {
      setError(failed);
      setBusy(false);
    }
  };
  const hook = entry.channel.startsWith("hook/");
  return (
    <Dialog title={`Try ${entry.channel} again?`} onClose={props.onClose}>
      <p>
        {entry.target}, {words(entry.kind)}: <Told text={entry.sentence} />
      </p>
      <p class="consequence">
        {hook
          ? "The hook is begun again. If it had begun before, it runs a second time."
          : `It is sent now, after what ${entry.channel} still has before it. It tells what was so then, not what is so now.`}
      </p>
      {error !== null && <Trouble error={error} />}
      <div class="buttons">
        <button type="button" onClick={props.onClose}>
          Leave it
        </button>
        <button type="button" class="strong" disabled={busy} onClick={() => void retry()}>
          {busy ? "Trying …" : "Try it again"}
        </button>
      </div>
    </Dialog>
  );
}
