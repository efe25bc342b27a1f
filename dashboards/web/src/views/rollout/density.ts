// From the counts of a histogram's buckets to a curve that can be compared by eye.

import type { LatencyCounts } from "../../lib/types";

export function log10(seconds: number): number {
  return Math.log10(Math.max(seconds, 1e-6));
}

export interface Density {
  /** The buckets' lower bounds as powers of ten seconds, and the last one's upper bound. */
  at: number[];
  canary: number[];
  baseline: number[];
  canaryShare: number[];
  baselineShare: number[];
}

/** Counts of each bucket by itself, whether they were summed up from the lowest one or not. */
function single(counts: readonly number[]): number[] {
  const summed = counts.length > 2 && counts.every((each, i) => i === 0 || each >= (counts[i - 1] ?? 0));
  return summed ? counts.map((each, i) => each - (i === 0 ? 0 : (counts[i - 1] ?? 0))) : [...counts];
}

/** Shares per factor of latency. Empty buckets at both ends are left out. */
export function density(counts: LatencyCounts): Density {
  const bounds = counts.le.map((bound, i) => bound ?? (counts.le[i - 1] ?? 1) * 2);
  const [canary, baseline] = [single(counts.canary), single(counts.baseline)];
  const used = bounds.map((_, i) => (canary[i] ?? 0) + (baseline[i] ?? 0) > 0);
  const first = Math.max(0, used.indexOf(true) - 1);
  const last = Math.min(bounds.length - 1, used.lastIndexOf(true) + 1);
  const at: number[] = [];
  for (let i = first; i <= last; i += 1) {
    const upper = bounds[i] ?? 1;
    at.push(log10(i === 0 ? upper / 2 : (bounds[i - 1] ?? upper / 2)));
  }
  at.push(log10(bounds[last] ?? 1));
  const total = (arm: number[]): number => arm.reduce((sum, each) => sum + each, 0) || 1;
  const shares = (arm: number[]): number[] => arm.slice(first, last + 1).map((each) => each / total(arm));
  // The curve is closed with the last bucket's height, so that the step of it is drawn.
  const heights = (share: number[]): number[] => {
    const all = share.map((each, i) => each / Math.max(1e-9, (at[i + 1] ?? 0) - (at[i] ?? 0)));
    return all.concat(all.at(-1) ?? 0);
  };
  const [canaryShare, baselineShare] = [shares(canary), shares(baseline)];
  return { at, canary: heights(canaryShare), baseline: heights(baselineShare), canaryShare, baselineShare };
}
