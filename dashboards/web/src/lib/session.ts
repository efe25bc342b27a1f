// Who is looking, and what they may do.

import { ApiError, change, get, onSignedOut } from "./api";
import { store } from "./store";
import type { Me } from "./types";

export type Session = { is: "asking" } | { is: "out" } | { is: "in"; me: Me } | { is: "failed"; error: unknown };

export const session = store<Session>({ is: "asking" });

onSignedOut(() => session.set({ is: "out" }));

/** Asks the daemon who is logged in. */
export async function ask(): Promise<void> {
  try {
    session.set({ is: "in", me: await get<Me>("/me") });
  } catch (error) {
    const out = error instanceof ApiError && error.status === 401;
    session.set(out ? { is: "out" } : { is: "failed", error });
  }
}

/** Logs in. Throws what the daemon says against it. */
export async function logIn(token: string): Promise<void> {
  await change("POST", "/session", { token });
  await ask();
}

export async function logOut(): Promise<void> {
  await change("DELETE", "/session", undefined);
  session.set({ is: "out" });
}

/** Whether a service is one of theirs: `*`, a name, or a name with `*` or `?` in it. */
export function covers(services: readonly string[], target: string): boolean {
  return services.some((pattern) => {
    const escaped = pattern.replace(/[\\^$.|+()[\]{}]/g, "\\$&").replaceAll("*", ".*").replaceAll("?", ".");
    return new RegExp(`^${escaped}$`).test(target);
  });
}

/** Whether whoever is logged in may say yes or no at the gates of this target. */
export function mayApprove(target: string): boolean {
  const now = session.get();
  return now.is === "in" && now.me.may.approve && covers(now.me.services, target);
}

/** Who is logged in. */
export function me(): Me | null {
  const now = session.get();
  return now.is === "in" ? now.me : null;
}

/** Whether whoever is logged in may do everything. */
export function mayAdminister(): boolean {
  const now = session.get();
  return now.is === "in" && now.me.may.administer;
}

/** Whether whoever is logged in may start rollouts and give commands to this target. */
export function mayOperate(target: string): boolean {
  const now = session.get();
  return now.is === "in" && now.me.may.operate && covers(now.me.services, target);
}
