// One line on the overview: the configuration file is not valid, or needs a restart.

import { useEffect } from "preact/hooks";
import { list } from "../lib/format";
import { useLoaded } from "../lib/load";
import type { Configuration } from "../lib/types";

const READ_EVERY_MS = 30_000;
const SHOWN = 5;

/** Nothing while the file is in force as it is, and nothing where that cannot be read. */
export function ConfigurationLine() {
  const { value, error, reload } = useLoaded<Configuration>("/reload");
  useEffect(() => {
    const timer = setInterval(() => document.hidden || reload(), READ_EVERY_MS);
    return () => clearInterval(timer);
  }, [reload]);
  if (error !== null || value === null) return null;
  if (!value.ok) {
    return (
      <div class="notice urgent" data-configuration="wrong">
        <p>The configuration file is not valid; the previous configuration stays in force.</p>
        <ul>
          {value.problems.slice(0, SHOWN).map((problem) => (
            <li key={problem}>{problem}</li>
          ))}
        </ul>
        {value.problems.length > SHOWN && <p>and {value.problems.length - SHOWN} more</p>}
      </div>
    );
  }
  if (value.restart_needed.length === 0) return null;
  return (
    <p class="notice" data-configuration="restart">
      Restart Serin to apply {list(value.restart_needed.map(({ field }) => field))}.
    </p>
  );
}
