// Numbers for the mock: repeatable chance, and figures that look like those of the daemon.

/** A generator of repeatable chance in [0, 1). */
export function chance(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** A count with this mean, about as it would fall. */
export function fall(random, mean) {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal));
}

/** 95% interval of a share (Wilson), in percent. */
export function wilson(bad, all) {
  if (all === 0) return null;
  const z2 = 3.8416;
  const share = bad / all;
  const centre = (share + z2 / (2 * all)) / (1 + z2 / all);
  const half = Math.sqrt(z2 * ((share * (1 - share)) / all + z2 / (4 * all * all))) / (1 + z2 / all);
  return [Math.max(0, centre - half) * 100, Math.min(1, centre + half) * 100];
}

/** Ratio of two shares with its interval. */
export function ratioOf(canary, baseline) {
  if (canary.requests === 0 || baseline.requests === 0 || baseline.bad === 0) return null;
  const estimate = (canary.bad + 0.5) / canary.requests / ((baseline.bad + 0.5) / baseline.requests);
  const spread = 1.96 * Math.sqrt(1 / (canary.bad + 0.5) + 1 / (baseline.bad + 0.5));
  return { low: estimate * Math.exp(-spread), estimate, high: estimate * Math.exp(spread) };
}

export function evidence(ln, bound) {
  return {
    ln_e: ln,
    odds: Math.min(1e15, Math.exp(ln)),
    ln_bound: bound,
    bound_odds: Math.exp(bound),
    reached: ln >= bound,
  };
}

/** `1:4,100`, as the daemon's sentences have it. */
export function odds(ln) {
  const e = Math.exp(ln) * (1 + 1e-9);
  if (e < 1) return "<1:1";
  if (e < 10) return `1:${(Math.floor(e * 10) / 10).toFixed(1)}`;
  if (e >= 1e9) return `1:10^${Math.floor(Math.log10(e))}`;
  const unit = e < 1000 ? 1 : 10 ** (Math.floor(Math.log10(e)) - 1);
  return `1:${(Math.floor(e / unit) * unit).toLocaleString("en-US")}`;
}

export function duration(seconds) {
  const whole = Math.round(seconds);
  const two = (big, bigName, small, smallName) =>
    small === 0 ? `${big} ${bigName}` : `${big} ${bigName} ${small} ${smallName}`;
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return two(Math.floor(whole / 60), "min", whole % 60, "s");
  return two(Math.floor(whole / 3600), "h", Math.floor((whole % 3600) / 60), "min");
}

// ------------------------------------------------------------------------------------------ latencies

export const BUCKETS = [0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.75, 1, 2, 5, null];

/** Share of requests up to `seconds`: most about 70 ms, some about 400 ms. */
function upTo(seconds, shift) {
  const normal = (x) => 1 / (1 + Math.exp(-1.702 * x));
  const part = (median, sigma) => normal(Math.log(seconds / (median * shift)) / sigma);
  return 0.94 * part(0.07, 0.45) + 0.06 * part(0.4, 0.5);
}

export function histogram(requests, shift) {
  let before = 0;
  return BUCKETS.map((le) => {
    const all = le === null ? 1 : upTo(le, shift);
    const count = Math.round((all - before) * requests);
    before = all;
    return count;
  });
}

export function quantiles(requests, shift) {
  return [0.5, 0.9, 0.95, 0.99].map((quantile) => {
    let [low, high] = [0.001, 60];
    for (let i = 0; i < 50; i += 1) {
      const middle = Math.sqrt(low * high);
      if (upTo(middle, shift) < quantile) low = middle;
      else high = middle;
    }
    const width = Math.min(0.3, 2 / Math.sqrt(Math.max(1, requests) * (1 - quantile)));
    return { quantile, seconds: low, low_seconds: low * (1 - width), high_seconds: low * (1 + width) };
  });
}

export const SLOW_SECONDS = 0.25;
export function slowShare(shift) {
  return 1 - upTo(SLOW_SECONDS, shift);
}
