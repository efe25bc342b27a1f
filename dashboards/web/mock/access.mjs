// The mock's tokens and its audit log.

const TEXT = "serin_mock0mock1mock2mock3mock4mock5mock6mock7moc";
const iso = (ms) => new Date(ms).toISOString();
const made = (name, role, services, more = {}) => ({
  name,
  role,
  services,
  state: "active",
  created_at: iso(Date.now() - 86_400_000 * 12),
  created_by: "anna",
  expires_at: null,
  revoked_at: null,
  ...more,
});
const ALL = [
  made("anna", "admin", ["*"]),
  made("ci-shop", "operator", ["shop-*", "search"], { expires_at: iso(Date.now() + 86_400_000 * 60) }),
  made("wall-display", "viewer", ["*"]),
  made("old-ci", "operator", ["*"], { state: "revoked", revoked_at: iso(Date.now() - 86_400_000) }),
];
const LINES = [];

function line(by, action, subject, result, status, at = Date.now()) {
  LINES.push({ id: LINES.length + 1, at: iso(at), by, via: by ? "token" : "none", from: "10.1.2.3", action, subject, result, status });
}
for (let i = 240; i > 0; i -= 1) {
  const at = Date.now() - i * 600_000;
  if (i % 11 === 0) line(null, "login", "", "invalid_credentials", 401, at);
  else if (i % 7 === 0) line("viktor", "pause", `rollout ${i} of shop`, "forbidden", 403, at);
  else line(i % 2 ? "olga" : "ci-shop", i % 3 ? "start" : "rollback", "shop", "done", 200, at);
}

/** Writes down what somebody is about to do. */
export function note(person, method, path) {
  line(person.name, `${method} ${path}`, "", "done", 200);
}

export function audit(query) {
  const before = Number(query.get("before") ?? Infinity);
  const all = LINES.filter((each) => each.id < before).reverse();
  const items = all.slice(0, Number(query.get("limit") ?? 100));
  return [200, { items, next: all.length > items.length ? String(items.at(-1).id) : null }];
}

export function tokens(method, name, body, person, Refusal) {
  if (method === "GET") return [200, { items: ALL }];
  const known = ALL.find((each) => each.name === (name ?? body.name) && each.state === "active");
  if (method === "DELETE") {
    if (!known) throw new Refusal(404, "not_found", `there is no token \`${name}\``);
    Object.assign(known, { state: "revoked", revoked_at: iso(Date.now()) });
    return [200, null];
  }
  if (known) throw new Refusal(409, "token_exists", `there is a token \`${body.name}\` already; revoke it first, or take another name`);
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(body.name)) {
    throw new Refusal(422, "invalid_field", "`name` must be letters, digits, `.`, `_` and `-`");
  }
  const until = body.expires_in_seconds ? iso(Date.now() + body.expires_in_seconds * 1000) : null;
  const token = made(body.name, body.role, body.services ?? ["*"], { created_by: person.name ?? "api", created_at: iso(Date.now()), expires_at: until });
  ALL.push(token);
  return [201, { token: TEXT, ...token }];
}
