// Addresses and views: the History API, and nothing more.

import { useLayoutEffect, useState } from "preact/hooks";

const listeners = new Set<() => void>();

addEventListener("popstate", () => listeners.forEach((listener) => listener()));

/** Goes to an address of this page. `replace` leaves no step in the history. */
export function navigate(to: string, replace = false): void {
  if (to === location.pathname + location.search) return;
  const elsewhere = new URL(to, location.href).pathname !== location.pathname;
  if (replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  listeners.forEach((listener) => listener());
  if (elsewhere) {
    scrollTo(0, 0);
    // The next thing that a screen reader reads is the new view, from its beginning.
    requestAnimationFrame(() => document.getElementById("main")?.focus({ preventScroll: true }));
  }
}

/** Where the page is. */
export function useAddress(): URL {
  const [address, setAddress] = useState(location.href);
  useLayoutEffect(() => {
    const listener = (): void => setAddress(location.href);
    listener();
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }, []);
  return new URL(address);
}

/** Clicks on links within the page change the view instead of loading the page again. */
export function followLinks(): void {
  addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
    if (link.pathname.startsWith("/api/") || link.hash) return;
    event.preventDefault();
    navigate(link.pathname + link.search);
  });
}
