// A daemon for the page's development: the contract of /api/v1 with simulated rollouts, and the page.
//
//   node mock/server.mjs [--port 8090] [--rollouts 40] [--auth] [--uncapped]
//
// With --auth the tokens are `operator`, `viewer` and `admin`. --uncapped gives a series' every point. SIGUSR2 takes
// it away for two seconds, as a restart would.

import { createReadStream, existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { createGzip } from "node:zlib";
import { handle } from "./api.mjs";
import { World } from "./world.mjs";

const option = (name, fallback) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : process.argv[at + 1];
};
const dist = join(dirname(fileURLToPath(import.meta.url)), "..", "dist");
const port = Number(option("port", "8090"));
const context = {
  world: new World(Number(option("rollouts", "40"))),
  auth: process.argv.includes("--auth"),
  uncapped: process.argv.includes("--uncapped"),
  keys: new Map(),
};
const sockets = new Set();

const CSP =
  "default-src 'self'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; " +
  "frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

function page(request, response, path) {
  const name = normalize(path).replace(/^[/.]+/, "");
  const asset = name.startsWith("assets/") && existsSync(join(dist, name));
  if (!asset && extname(name) !== "") return response.writeHead(404).end();
  const headers = { "Content-Type": TYPES[asset ? extname(name) : ".html"], "Content-Security-Policy": CSP };
  if (asset) headers["Cache-Control"] = "public, max-age=31536000, immutable";
  if (!/\bgzip\b/.test(request.headers["accept-encoding"] ?? "")) {
    response.writeHead(200, headers);
    return response.end(readFileSync(join(dist, asset ? name : "index.html")));
  }
  response.writeHead(200, { ...headers, "Content-Encoding": "gzip" });
  return createReadStream(join(dist, asset ? name : "index.html"))
    .pipe(createGzip())
    .pipe(response);
}

const server = createServer((request, response) => {
  const url = new URL(request.url, "http://mock");
  if (url.pathname.startsWith("/api/")) return void handle(context, request, response, url);
  return page(request, response, url.pathname);
});
server.on("connection", (socket) => {
  sockets.add(socket);
  socket.on("close", () => sockets.delete(socket));
});
const listen = () => server.listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${port}`));

process.on("SIGUSR2", () => {
  server.close();
  for (const socket of sockets) socket.destroy();
  setTimeout(listen, 2_000);
});

context.world.run();
listen();
