// Dark, light, or as the system has it.

import { store } from "./store";

const KEY = "serin-theme";
export type Theme = "auto" | "light" | "dark";

function storedTheme(): Theme {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : "auto";
  } catch {
    return "auto";
  }
}

/** Dark, light, or as the system has it. */
export const theme = store<Theme>(storedTheme());
const system = matchMedia("(prefers-color-scheme: dark)");

/** What `auto` comes to. */
export function isDark(): boolean {
  return theme.get() === "dark" || (theme.get() === "auto" && system.matches);
}

/** Counts the changes of colours, for what is drawn on a canvas. */
export const colours = store(0);

function applyTheme(): void {
  document.documentElement.dataset["theme"] = isDark() ? "dark" : "light";
  colours.set(colours.get() + 1);
}

theme.subscribe(() => {
  try {
    localStorage.setItem(KEY, theme.get());
  } catch {
    // Without storage the choice lasts as long as the page.
  }
  applyTheme();
});
system.addEventListener("change", applyTheme);
applyTheme();
