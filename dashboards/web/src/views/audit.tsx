// The audit log: who did what, from where, and what came of it.

import { Badge, Moment, Scroll, Trouble, useTitle, Waiting } from "../ui/parts";
import type { AuditLine } from "../lib/types";
import { words } from "../lib/format";
import { usePaged } from "./paged";

const PAGE = 100;

export function AuditView() {
  useTitle("Audit log");
  const { items, error, more, busy, reload } = usePaged<AuditLine>(`/audit?limit=${PAGE}`);
  return (
    <>
      <div class="title-row">
        <h1>Audit log</h1>
        <button type="button" onClick={reload} disabled={busy}>
          Read again
        </button>
      </div>
      <p class="faint">Every command and every refusal, newest first. Nothing is ever changed in it.</p>
      {error !== null && <Trouble error={error} retry={reload} />}
      {items === null && error === null && <Waiting what="the audit log" />}
      {items?.length === 0 && <p class="card empty">Nothing was done yet.</p>}
      {items !== null && items.length > 0 && (
        <section class="card">
          <Scroll label="Audit log">
            <table class="audit">
              <thead>
                <tr>
                  <th scope="col">when</th>
                  <th scope="col">who</th>
                  <th scope="col">what</th>
                  <th scope="col">to what</th>
                  <th scope="col">result</th>
                  <th scope="col">from</th>
                </tr>
              </thead>
              <tbody>
                {items.map((line) => (
                  <tr key={line.id} data-audit={line.id}>
                    <td class="figure">
                      <Moment at={line.at} date />
                    </td>
                    <th scope="row">
                      {line.by ?? <span class="faint">nobody</span>}{" "}
                      {line.via !== "none" && <span class="faint small">by {line.via}</span>}
                    </th>
                    <td>{line.action}</td>
                    <td class="subject">{line.subject || "–"}</td>
                    <td>
                      <Result line={line} />
                    </td>
                    <td class="mono small">{line.from}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Scroll>
          {more && (
            <button type="button" class="quiet more" onClick={more} disabled={busy}>
              {busy ? "Reading …" : "Older ones"}
            </button>
          )}
        </section>
      )}
    </>
  );
}

function Result(props: { line: AuditLine }) {
  const { result, status } = props.line;
  const good = result === "done" || result === "accepted";
  const tone = good ? "good" : status === 401 || status === 403 || status === 429 ? "warn" : "bad";
  return (
    <>
      <Badge tone={tone}>{words(result)}</Badge> {status > 0 && <span class="faint small">{status}</span>}
    </>
  );
}
