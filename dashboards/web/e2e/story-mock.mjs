// The story against the mock, with and without authentication.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { join } from "node:path";

const here = import.meta.dirname;

async function run(port, options, environment) {
  const mock = spawn(process.execPath, [join(here, "../mock/server.mjs"), "--port", String(port), ...options], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    await new Promise((resolve, reject) => {
      mock.stdout.once("data", resolve);
      mock.once("exit", () => reject(new Error("the mock did not start")));
    });
    const story = spawn(process.execPath, [join(here, "story.mjs"), `http://127.0.0.1:${port}`], {
      env: { ...process.env, ...environment },
      stdio: ["ignore", "pipe", "inherit"],
    });
    for await (const line of createInterface(story.stdout)) {
      console.log(line);
      if (line === "RESTART NOW") mock.kill("SIGUSR2");
    }
    const code = story.exitCode ?? (await new Promise((resolve) => story.once("exit", resolve)));
    if (code !== 0) throw new Error(`the story ended with ${code}`);
  } finally {
    mock.kill();
  }
}

await run(8093, ["--auth"], { SERIN_OPERATOR_TOKEN: "operator", SERIN_VIEWER_TOKEN: "viewer", SERIN_ADMIN_TOKEN: "admin" });
await run(8094, [], {});
