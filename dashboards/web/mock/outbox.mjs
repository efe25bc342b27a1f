// The mock's outbox: notices that were given up, and those on their way.

const MINUTE = 60_000;
const iso = (ms) => new Date(ms).toISOString();
let all = null;

// state, queue, kind, target, minutes ago, attempts, what came back
const SCENES = [
  ["dead", "ops-mail", "rolled_back", "orders", 1500, 41, "the server `mail.example.org:587` did not answer within 10 s"],
  ["dead", "chat-release", "held", "payments", 1460, 1, "404 Not Found: channel_not_found"],
  ["dead", "hook/smoke-test", "started", "search", 21, 1, "the daemon ended while the command ran; whether it did its work is not known"],
  ["running", "hook/warm-up", "step", "checkout", 1, 0, null],
  ["pending", "pager", "alert", "search", 12, 6, "503 Service Unavailable"],
  ["pending", "pager", "warning", "mailer", 4, 0, null],
  ["pending", "ops-mail#digest", "step", "catalog", -180, 0, null],
];

function made(world, [state, queue, kind, target, minutes, attempts, detail], id) {
  const rollout = [...world.rollouts.values()].find((each) => each.target === target)?.id ?? "";
  const sentence = `${kind.replaceAll("_", " ")}: the rollout of ${target}, as it was then.`;
  const key = `${rollout}/${kind}/${id}`;
  const since = iso(Date.now() - minutes * MINUTE);
  return { id, channel: queue.split("#")[0], queue, state, key, kind, rollout, target, sentence, attempts, since, detail };
}

/** So many more wait that they come in pages. */
function scenes() {
  const many = Array.from({ length: 130 }, (_, i) => ["pending", "audit-stream", "progress", "images", 100 - i / 2, 0, null]);
  return [...SCENES, ...many];
}

export function outbox(world, method, id, what, query, person, Refusal) {
  all ??= scenes().map((scene, i) => made(world, scene, i + 1));
  if (method === "POST" && what === "retry") return retry(id, person, Refusal);
  if (method !== "GET" || id !== undefined) throw new Refusal(404, "not_found", "nothing is at this address");
  const state = query.get("state") ?? "dead";
  if (!["dead", "pending", "running"].includes(state)) {
    const detail = "`state` must be `dead`, `pending` or `running`";
    throw new Refusal(400, "invalid_parameter", detail, { errors: [{ field: "state", detail }] });
  }
  const rest = all.filter((each) => each.state === state && each.id > Number(query.get("after") ?? 0));
  const items = rest.slice(0, Number(query.get("limit") ?? 100));
  return [200, { items, next: rest.length > items.length ? String(items.at(-1).id) : null }];
}

function retry(id, person, Refusal) {
  if (person.role !== "admin") throw new Refusal(403, "forbidden", `${person.name} may not do this`);
  const entry = all.find((each) => String(each.id) === id);
  if (!entry) throw new Refusal(404, "not_found", `there is no outbox entry "${id}"`);
  if (entry.state !== "dead") {
    const detail = `the entry ${id} is delivered or on its way; only what is \`dead\` can be retried`;
    throw new Refusal(409, "not_given_up", detail);
  }
  Object.assign(entry, { state: "pending", attempts: 0, since: iso(Date.now()) });
  return [202, entry];
}
