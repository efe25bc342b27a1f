// On the overview: the configuration file is not valid, or something in it needs a restart.

import { useEffect } from "preact/hooks";
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
        <p>The last reload failed: the configuration file is not valid. The previous configuration stays in force.</p>
        <Few lines={value.problems} />
      </div>
    );
  }
  if (value.restart_needed.length === 0) return null;
  return (
    <div class="notice" data-configuration="restart">
      <p>Restart Serin to apply changes of the configuration file:</p>
      <Few lines={value.restart_needed.map(({ field, why }) => `${field}: ${why}`)} />
    </div>
  );
}

/** The first lines, and how many more there are; nothing where there is none to be seen. */
function Few(props: { lines: string[] }) {
  const more = props.lines.length - SHOWN;
  if (props.lines.length === 0) return null;
  return (
    <ul>
      {props.lines.slice(0, SHOWN).map((line) => (
        <li key={line}>{line}</li>
      ))}
      {more > 0 && <li>and {more} more</li>}
    </ul>
  );
}
