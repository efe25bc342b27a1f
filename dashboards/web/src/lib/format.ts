// Figures as people read them. The terminal (`serin watch`) writes them in exactly the same form: see
// src/cli/text.rs and src/core/words.rs.

/** A ratio of the canary to the baseline with its interval; `null` where it is not bounded or known. */
export interface Ratio {
  low: number | null;
  estimate: number | null;
  high: number | null;
}

/** A duration in at most two units: `0.4 s`, `45 s`, `3 min 20 s`, `24 h`, `1 h 5 min`, `2 d 3 h`. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) seconds = 0;
  if (seconds > 0 && seconds < 0.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const two = (big: number, bigName: string, small: number, smallName: string): string =>
    small === 0 ? `${big} ${bigName}` : `${big} ${bigName} ${small} ${smallName}`;
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return two(Math.floor(whole / 60), "min", whole % 60, "s");
  if (whole < 172_800) return two(Math.floor(whole / 3600), "h", Math.floor((whole % 3600) / 60), "min");
  return two(Math.floor(whole / 86_400), "d", Math.floor((whole % 86_400) / 3600), "h");
}

/** A duration as a clock ticks: whole seconds, so that it does not flicker. */
export function ticking(seconds: number): string {
  return duration(Math.max(0, Math.floor(seconds)));
}

/** A whole number with separators: `36,140`. */
export function thousands(number: number): string {
  const digits = BigInt(Math.trunc(number)).toString();
  return digits.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

function bare(percent: number): string {
  const size = Math.abs(percent);
  if (size === 0 || Math.abs(size - 100) < 1e-9) return percent.toFixed(0);
  if (size >= 10) return percent.toFixed(1);
  if (size >= 0.1) return percent.toFixed(2);
  return percent.toFixed(3);
}

/** A share to the precision that matters: `1.14%`, `12.3%`, `0.021%`. */
export function share(percent: number): string {
  return `${bare(percent)}%`;
}

/** A share with its interval: `1.14% [1.03 – 1.26]`. */
export function shareWithInterval(percent: number, interval: readonly [number, number] | null): string {
  return interval ? `${share(percent)} [${bare(interval[0])} – ${bare(interval[1])}]` : share(percent);
}

/** A weight: `25%`, `12.5%`. */
export function weight(percent: number): string {
  return `${percent.toFixed(2).replace(/\.?0+$/, "")}%`;
}

/** A weight that was measured, which is never a round number: `24.9%`. */
export function measured(percent: number): string {
  if (percent === 0 || percent === 100) return `${percent}%`;
  return `${percent.toFixed(percent < 10 ? 2 : 1)}%`;
}

/** A latency: `7.2 ms`, `253 ms`, `1.23 s`. */
export function latency(seconds: number): string {
  const ms = seconds * 1000;
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${ms.toFixed(0)} ms`;
  if (seconds < 9.995) return `${seconds.toFixed(2)} s`;
  return `${seconds.toFixed(1)} s`;
}

/** The interval of a latency, its unit said once where both ends have the same: `[71 – 74 ms]`. */
export function latencyInterval(low: number, high: number): string {
  const [from, to] = [latency(low).split(" "), latency(high).split(" ")];
  return from[1] === to[1] ? `[${from[0]} – ${to.join(" ")}]` : `[${from.join(" ")} – ${to.join(" ")}]`;
}

/** A share that somebody chose, as it was written: `5%`, `0.02%`. */
export function chosen(percent: number): string {
  return `${Number(percent.toPrecision(6))}%`;
}

/** `×2.7 [1.9 – 3.6]`, with as many decimals as the estimate deserves; an end that is not bounded is `…`. */
export function ratio(view: Ratio): string {
  const leading = view.estimate ?? view.high;
  const decimals = leading !== null && leading >= 1.995 ? 1 : 2;
  const figure = (x: number): string => x.toFixed(x >= 9.95 ? 0 : decimals);
  const end = (x: number | null): string => (x === null ? "…" : figure(x));
  const estimate = view.estimate === null ? "" : figure(view.estimate);
  return `×${estimate} [${end(view.low)} – ${end(view.high)}]`;
}

/**
 * Evidence as odds: `1:4,100`, and no figure beyond a billion: `>1:10^9`. Rounded down, so that it
 * never says that a bound is reached that is not.
 */
export function odds(e: number): string {
  // A hair more than the exact value, so that 1/0.05 is 20 and not 19.
  e *= 1 + 1e-9;
  if (!(e >= 1)) return "<1:1";
  if (e < 10) return `1:${(Math.floor(e * 10) / 10).toFixed(1)}`;
  if (e < 1000) return `1:${Math.floor(e)}`;
  if (e < 1e9) {
    const unit = 10 ** (Math.floor(Math.log10(e)) - 1);
    return `1:${thousands(Math.floor(e / unit) * unit)}`;
  }
  return ">1:10^9";
}

/** A bound or a tick of an axis, which is a round number: `1:10`, `1:100`, beyond a million `1:10^7`. */
export function bound(e: number): string {
  const near = Math.round(e);
  if (near <= 1) return "1:1";
  return near > 1e6 ? `1:10^${Math.round(Math.log10(e))}` : `1:${thousands(near)}`;
}

/** Evidence against its bound: `1:12 of 1:20`. */
export function evidence(view: { odds: number; bound_odds: number }): string {
  return `${odds(view.odds)} of ${odds(view.bound_odds)}`;
}

/** A name of the API as people say it: `rolling_back` is `rolling back`. */
export function words(name: string): string {
  return name.replaceAll("_", " ");
}

/** `a`, `a and b`, `a, b and c`. */
export function list(names: readonly string[]): string {
  if (names.length < 2) return names[0] ?? "";
  return `${names.slice(0, -1).join(", ")} and ${names.at(-1) ?? ""}`;
}

/** One or many of something: `1 proxy`, `3 proxies`. */
export function count(number: number, one: string, many: string): string {
  return `${thousands(number)} ${number === 1 ? one : many}`;
}

/** A value with its unit, as a chart's axis or a table has it. */
export function valueWithUnit(value: number, unit: string): string {
  if (unit === "percent") return share(value);
  if (unit === "seconds") return latency(value);
  const size = Math.abs(value);
  const text = size >= 1000 ? thousands(Math.round(value)) : size >= 10 ? value.toFixed(1) : value.toPrecision(3);
  const units: Record<string, string> = {
    per_second: "/s",
    per_instance_second: "/s per instance",
    each: " each",
  };
  return text + (units[unit] ?? "");
}
