// The mock's /api/v1.

import { gzipSync } from "node:zlib";
import { audit, note, tokens } from "./access.mjs";
import { outbox } from "./outbox.mjs";
import { check, plan, POLICIES, policy } from "./policies.mjs";
import { markdown, report } from "./report.mjs";
import { series } from "./views.mjs";

const TOKENS = {
  operator: { name: "olga", role: "operator", operate: true },
  admin: { name: "anna", role: "admin", operate: true },
  viewer: { name: "viktor", role: "viewer", operate: false },
};
const OPEN = { name: null, role: "admin", operate: true };
const HEARTBEAT_MS = 15_000;

class Refusal extends Error {
  constructor(status, code, detail, more = {}) {
    super(detail);
    this.body = { type: `urn:serin:problem:${code}`, title: code, status, detail, code, ...more };
  }
}

function answer(request, response, status, body, headers = {}) {
  const type = status >= 400 ? "application/problem+json" : "application/json";
  const text = Buffer.from(JSON.stringify(body));
  const zip = text.length > 1000 && /\bgzip\b/.test(request.headers["accept-encoding"] ?? "");
  response.writeHead(status, { "Content-Type": type, ...(zip ? { "Content-Encoding": "gzip" } : {}), ...headers });
  response.end(zip ? gzipSync(text) : text);
}

async function bodyOf(request) {
  let text = "";
  for await (const part of request) text += part;
  return text === "" ? {} : JSON.parse(text);
}

function who(context, request) {
  if (!context.auth) return OPEN;
  const token = /(?:^|;\s*)serin_session=([^;]*)/.exec(request.headers.cookie ?? "")?.[1];
  const person = TOKENS[token];
  if (!person) throw new Refusal(401, "unauthenticated", "nobody is logged in");
  return person;
}

export async function handle(context, request, response, url) {
  try {
    const path = url.pathname.replace("/api/v1", "");
    if (request.method !== "GET" && request.headers["x-serin"] !== "1") {
      throw new Refusal(403, "csrf", "the header `X-Serin: 1` is missing");
    }
    if (path === "/session") return await session(context, request, response);
    const person = who(context, request);
    if (request.method !== "GET") note(person, request.method, path);
    if (path === "/me") return answer(request, response, 200, me(context, person));
    if (path === "/stream") return stream(context, request, response, url);
    const body = request.method === "GET" ? null : await bodyOf(request);
    const parts = path.split("/").slice(1).map(decodeURIComponent);
    const [status, value, headers] = route(context, request, person, parts, url.searchParams, body);
    if (typeof value === "string") {
      response.writeHead(status, { "Content-Type": "text/plain; charset=utf-8" });
      return response.end(value);
    }
    return answer(request, response, status, value, headers);
  } catch (error) {
    if (!(error instanceof Refusal)) console.error(error);
    const problem = error instanceof Refusal ? error.body : { status: 500, code: "internal", detail: String(error) };
    return answer(request, response, problem.status, problem);
  }
}

async function session(context, request, response) {
  if (request.method === "DELETE") {
    response.writeHead(204, { "Set-Cookie": "serin_session=; Path=/; Max-Age=0" });
    return response.end();
  }
  const { token } = await bodyOf(request);
  if (!TOKENS[token]) throw new Refusal(401, "unauthenticated", "the token is not known");
  response.writeHead(204, { "Set-Cookie": `serin_session=${token}; HttpOnly; SameSite=Strict; Path=/` });
  return response.end();
}

function me(context, person) {
  const may = { view: true, operate: person.operate, approve: person.role === "admin", administer: person.role === "admin" };
  return { name: person.name, role: person.role, services: ["*"], open: !context.auth, may };
}

function route(context, request, person, parts, query, body) {
  const { world } = context;
  const [kind, name, what] = parts;
  if (kind === "overview") return [200, world.overview()];
  if (kind === "targets") return [200, { items: world.targets() }];
  if (kind === "tokens" || kind === "audit") {
    if (person.role !== "admin") throw new Refusal(403, "forbidden", `${person.name} may not do this`);
    if (kind === "audit") return audit(query);
    return tokens(request.method, name, body, person, Refusal);
  }
  if (kind === "outbox") return outbox(world, request.method, name, what, query, person, Refusal);
  if (kind === "reload") return [200, { at: null, file: null, ok: true, problems: [], restart_needed: [] }];
  if (kind === "policies" && name === "check" && request.method === "POST") return [200, check(body.yaml)];
  if (kind === "policies") return policies(name, what, query);
  if (kind !== "rollouts") throw new Refusal(404, "not_found", "nothing is at this address");
  if (!name && request.method === "POST") return start(context, request, person, body);
  if (!name) return [200, list(world, query)];
  const rollout = world.find(name);
  if (!rollout) throw new Refusal(404, "unknown_rollout", `there is no rollout ${name}`);
  if (what === undefined) return [200, world.view(rollout), { ETag: `"${rollout.revision}"` }];
  if (what === "events") {
    const after = Number(query.get("after") ?? 0);
    return [200, { items: rollout.events.filter((event) => event.seq > after) }];
  }
  if (what === "series") {
    const seconds = (text, fallback) => (text ? Date.parse(text) / 1000 : fallback);
    const points = context.uncapped ? 1e9 : Math.min(2000, Number(query.get("points") ?? 400));
    return [200, series(rollout, { from: seconds(query.get("from"), 0), to: seconds(query.get("to"), 1e12), points })];
  }
  if (what === "report") {
    const made = report(rollout, Date.now());
    return [200, query.get("form") === "markdown" ? markdown(made) : made];
  }
  if (what === "commands") return command(context, request, person, rollout, body);
  throw new Refusal(404, "not_found", "nothing is at this address");
}

function policies(name, what, query) {
  if (!name) return [200, { items: POLICIES }];
  const found = policy(name);
  if (!found) throw new Refusal(404, "unknown_policy", `there is no policy ${name}`);
  if (what !== "plan") return [200, found];
  const rps = Number(query.get("rps") ?? 100);
  if (!(rps > 0)) {
    const detail = "`rps` must be above 0";
    throw new Refusal(400, "invalid_parameter", detail, { errors: [{ field: "rps", detail }] });
  }
  return [200, plan(name, rps, Number(query.get("error_rate_percent") ?? 0.1) / 100)];
}

function list(world, query) {
  const fits = (key, value) => !query.get(key) || query.get(key) === value;
  const all = [...world.rollouts.values()]
    .filter((each) => each.ended === (query.get("active") === "false"))
    .filter((each) => fits("service", each.target) && fits("state", each.state) && fits("policy", each.policy))
    .sort((a, b) => (a.id < b.id ? 1 : -1))
    .filter((each) => !query.get("before") || each.id < query.get("before"));
  const items = all.slice(0, Number(query.get("limit") ?? 50)).map((each) => world.view(each));
  return { items, next: all.length > items.length ? items.at(-1).id : null };
}

function start(context, request, person, body) {
  const { world } = context;
  if (!person.operate) throw new Refusal(403, "forbidden", `${person.name} may not do this to ${body.target}`);
  const key = request.headers["idempotency-key"];
  const known = context.keys.get(key);
  if (known) return [201, world.view(known)];
  const target = world.targets().find((each) => each.name === body.target);
  if (!target) throw new Refusal(422, "unknown_target", `there is no target ${body.target}`);
  if (target.active_rollout) {
    const more = { rollout: target.active_rollout };
    throw new Refusal(409, "target_busy", `rollout ${target.active_rollout} has the target ${body.target}`, more);
  }
  const rollout = world.add({
    target: body.target,
    version: body.version,
    policy: body.policy,
    stable: target.stable_version,
    by: person.name ?? "api",
    at: Date.now(),
    rps: 4000,
    worse: /bad|broken/.test(body.version) ? 3 : 1,
  });
  context.keys.set(key, rollout);
  world.tell("rollout", rollout);
  return [201, world.view(rollout)];
}

function command(context, request, person, rollout, body) {
  if (!person.operate) throw new Refusal(403, "forbidden", `${person.name} may not do this to ${rollout.target}`);
  const wanted = /"(\d+)"/.exec(request.headers["if-match"] ?? "")?.[1];
  if (wanted !== undefined && Number(wanted) !== rollout.revision) {
    const detail = `the rollout has changed: expected revision ${wanted}, it is at ${rollout.revision}`;
    throw new Refusal(412, "revision_changed", detail, { rollout: rollout.id });
  }
  if (body.command === "approve" || body.command === "refuse") {
    if (person.role !== "admin") throw new Refusal(403, "forbidden", `${person.name} may not do this to ${rollout.target}`);
    const yes = body.command === "approve";
    rollout.said = yes ? "open" : "refused";
    rollout.approvals = yes ? [{ by: person.name ?? "api", teams: [], at: new Date().toISOString(), reason: body.reason }] : [];
    rollout.log(Date.now(), "command", `${person.name ?? "api"} said ${yes ? "yes" : "no"}: ${body.reason}`, person.name);
    world.tell("rollout", rollout);
    return [200, { key: null, rollout: rollout.id, command: body.command, result: "done" }];
  }
  const against = rollout.command(body.command, person.name ?? "api", body.reason, Date.now());
  if (against) throw new Refusal(409, "refused", against, { rollout: rollout.id });
  return [200, { key: request.headers["idempotency-key"], rollout: rollout.id, command: body.command, result: "done" }];
}

function stream(context, request, response, url) {
  const { world } = context;
  const only = url.searchParams.get("rollout");
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  const send = (name, data, id) => {
    response.write(`event: ${name}\n${id === undefined ? "" : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`);
  };
  const shown = (rollout) => (only ? world.view(rollout) : world.row(rollout));
  send("hello", { version: "0.1.0", revision: "mock" });
  for (const rollout of world.rollouts.values()) {
    if (only ? rollout.id === only : !rollout.ended) send("rollout", shown(rollout));
  }
  const listener = (name, rollout, event, position) => {
    if (only && rollout.id !== only) return;
    if (name === "rollout") send("rollout", shown(rollout));
    else send("log", { rollout: rollout.id, target: rollout.target, ...event }, position);
  };
  world.listeners.add(listener);
  const heartbeat = setInterval(() => response.write(": heartbeat\n\n"), HEARTBEAT_MS);
  request.on("close", () => {
    clearInterval(heartbeat);
    world.listeners.delete(listener);
  });
}

