// One simulated rollout: it is stepped and judged about as the daemon would.

import { chance, duration, fall, odds, slowShare } from "./figures.mjs";
import { policy } from "./policies.mjs";

export const LN_HARM = Math.log(100);
export const LN_NO_HARM = Math.log(20);
const ENDS = ["succeeded", "rolled_back", "cancelled", "failed"];

export class Rollout {
  /** `options`: {id, target, version, stable, policy, by, at (ms), seed, rps, worse, slower, hold, nodes, stuck, blind}. */
  constructor(options, listener = () => {}) {
    Object.assign(this, { rps: 800, worse: 1, slower: 1, nodes: 3, blind: false, stuck: false, hold: null }, options);
    this.listener = listener;
    this.rule = policy(this.policy);
    this.random = chance(this.seed ?? 1);
    this.base = 0.004 + 0.004 * this.random();
    this.state = "preflight";
    this.stage = null;
    this.step = 0;
    this.holds = [];
    this.wanted = 0;
    this.seen = { percent: 0, at: this.at };
    this.phaseAt = this.at;
    this.analysed = 0;
    this.reason = null;
    this.endedAt = null;
    this.events = [];
    this.ticks = [];
    this.marks = [];
    this.spark = [];
    this.compared = null;
    this.fresh();
    this.log(this.at, "created", `Asked for: ${this.version} on ${this.target} under policy ${this.policy}.`, this.by);
    this.log(this.at, "started", `Started: ${this.stable} runs.`);
  }

  get ended() {
    return ENDS.includes(this.state);
  }

  get revision() {
    return this.events.length;
  }

  fresh() {
    const arm = () => ({ requests: 0, bad: 0 });
    this.sums = this.rule.metrics.map(() => ({ canary: arm(), baseline: arm(), harm: 0, noHarm: 0 }));
  }

  log(at, kind, sentence, by = null) {
    const event = { seq: this.events.length + 1, at: new Date(at).toISOString(), kind, by, sentence };
    this.events.push(event);
    this.listener("log", this, event);
  }

  enter(step, at) {
    this.closeMark(at, "advanced", null);
    this.step = step;
    const weight = this.rule.steps[step].weight_percent;
    this.wanted = weight;
    this.state = weight === 100 ? "finalizing" : "progressing";
    this.stage = weight === 100 ? null : "settling";
    this.phaseAt = at;
    this.analysed = 0;
    if (step > 0 && this.ticks.length > 0) this.compared = { weight: this.rule.steps[step - 1].weight_percent, sums: this.sums };
    if (weight < 100) this.fresh();
    this.marks.push({ index: step + 1, weight_percent: weight, from: at, to: null, outcome: "in progress", sentence: null });
    this.log(at, "step_entered", `Step ${step + 1} of ${this.rule.steps.length}: the canary gets ${weight}% of the traffic.`);
  }

  closeMark(at, outcome, sentence) {
    const mark = this.marks.at(-1);
    if (mark && mark.to === null) Object.assign(mark, { to: at, outcome, sentence });
  }

  back(at, code, sentence, by = null) {
    this.compared ??= { weight: this.wanted, sums: this.sums };
    if (this.state === "progressing") this.compared = { weight: this.wanted, sums: this.sums };
    this.closeMark(at, "rolled back", sentence);
    this.reason = { code, sentence };
    this.wanted = 0;
    this.state = "rolling_back";
    this.stage = null;
    this.holds = [];
    this.phaseAt = at;
    this.log(at, "rollback_started", `The canary goes to 0%: ${sentence}`, by);
  }

  end(at, state, kind, sentence) {
    this.state = state;
    this.endedAt = at;
    this.holds = [];
    this.log(at, kind, sentence);
  }

  /** One look at `at` (ms). */
  tick(at) {
    if (this.ended) return;
    const inPhase = (at - this.phaseAt) / 1000;
    const every = this.rule.interval_seconds;
    if (this.state === "preflight") {
      if (inPhase >= every) this.enter(0, at);
    } else if (this.state === "progressing") this.progress(at, inPhase);
    else if (this.state === "finalizing") {
      this.seen = { percent: 100, at };
      this.observe(at);
      this.state = "baking";
      this.phaseAt = at;
      this.analysed = 0;
      this.log(at, "bake_started", `Bake: ${this.version} has all traffic and is watched for ${duration(this.rule.bake_seconds)}.`);
    } else if (this.state === "baking") {
      this.analysed += every;
      if (this.analysed >= this.rule.bake_seconds) {
        this.closeMark(at, "promoted", null);
        this.end(at, "succeeded", "succeeded", `${this.version} has all traffic; the bake is over.`);
      }
    } else if (this.state === "rolling_back" && !this.stuck) {
      if (this.seen.percent !== 0) {
        this.seen = { percent: 0, at };
        this.log(at, "split_seen", `Weight 0% seen at ${this.nodes} of ${this.nodes} proxies.`);
      } else if (inPhase >= 2 * every) {
        this.end(at, "rolled_back", "rolled_back", `${this.stable} has all traffic again, ${duration(inPhase)} after the decision.`);
      }
    }
    this.listener("rollout", this);
  }

  progress(at, inPhase) {
    if (this.stage === "settling") {
      this.seen = { percent: this.wanted, at };
      this.stage = "analysing";
      this.log(at, "split_seen", `Weight ${this.wanted}% seen at ${this.nodes} of ${this.nodes} proxies.`);
      return;
    }
    if (this.blind) {
      if (!this.holds.includes("blind")) this.holdBy(at, "blind", "neither arm has been seen");
      return;
    }
    this.observe(at);
    if (inPhase < this.rule.warm_up_seconds) return;
    this.analysed += this.rule.interval_seconds;
    const step = this.rule.steps[this.step];
    const harm = this.sums.findIndex((sum) => sum.harm >= LN_HARM);
    if (harm >= 0) return this.back(at, "harm", this.harmSentence(harm, at));
    if (this.holds.length > 0) return;
    if (this.hold && this.step === this.hold.step && this.analysed >= step.min_seconds) {
      return this.holdBy(at, this.hold.name, this.hold.why);
    }
    if (this.analysed >= step.min_seconds && this.sums.every((sum) => sum.noHarm >= LN_NO_HARM)) {
      this.log(at, "advanced", `On to ${this.rule.steps[this.step + 1].weight_percent}%: errors and latency are not worse than the margin (1:20).`);
      this.enter(this.step + 1, at);
    }
  }

  holdBy(at, hold, why, by = null) {
    if (this.holds.includes(hold)) return;
    this.holds.push(hold);
    this.log(at, "hold_added", `Held (${hold}): ${why}`, by);
  }

  harmSentence(index, at) {
    const sum = this.sums[index];
    const [canary, baseline] = [sum.canary, sum.baseline].map((arm) => (arm.bad / arm.requests) * 100);
    const { name } = this.rule.metrics[index];
    return (
      `Rolled back at ${this.wanted}% after ${duration((at - this.at) / 1000)}: ${name} of the canary are ` +
      `${(canary / baseline).toFixed(1)} times those of the baseline (${canary.toFixed(2)}% against ${baseline.toFixed(2)}%; ` +
      `${sum.canary.bad} of ${sum.canary.requests.toLocaleString("en-US")} requests). ` +
      `Evidence ${odds(sum.harm)} at a bound of 1:100.`
    );
  }

  observe(at) {
    const every = this.rule.interval_seconds;
    const weight = this.seen.percent / 100;
    const wave = 1 + 0.15 * Math.sin(at / 600_000);
    const all = this.rps * every;
    const arms = [weight, 1 - weight].map((share) => (share === 0 ? 0 : fall(this.random, all * share)));
    const harmful = this.step >= 1 || this.policy === "demo";
    const metrics = this.rule.metrics.map((metric, i) => {
      if (metric.kind === "rate" || metric.kind === "mean") return this.other(metric, i, weight, every);
      const slow = metric.kind === "latency";
      const base = slow ? slowShare(1) : this.base * wave;
      const factor = harmful ? (slow ? slowShare(this.slower) / slowShare(1) : this.worse) : 1;
      const canary = { requests: arms[0], bad: fall(this.random, arms[0] * base * factor) };
      const baseline = { requests: arms[1], bad: fall(this.random, arms[1] * base) };
      const sum = this.sums[i];
      if (this.state === "progressing") {
        for (const [name, arm] of Object.entries({ canary, baseline })) {
          sum[name].requests += arm.requests;
          sum[name].bad += arm.bad;
        }
        const share = sum.baseline.bad / Math.max(1, sum.baseline.requests);
        const llr = (r) => (canary.bad * Math.log(r) - canary.requests * share * (r - 1)) / this.rule.dispersion;
        sum.harm = Math.max(-8, sum.harm + llr(1.8));
        sum.noHarm = Math.max(-8, sum.noHarm - llr(1.5));
      }
      return { canary, baseline, harm: sum.harm, noHarm: sum.noHarm };
    });
    const seen = arms[0] + arms[1] === 0 ? null : (arms[0] / (arms[0] + arms[1])) * 100;
    this.ticks.push({ at: at / 1000, step: this.step + 1, wanted: this.wanted, seen, metrics });
    const { canary, baseline } = this.sums[0];
    if (baseline.bad > 0 && canary.requests > 0) {
      this.spark.push((canary.bad + 0.5) / canary.requests / (baseline.bad / baseline.requests));
      if (this.spark.length > 40) this.spark.shift();
    }
  }

  /** A look at a rate (about two events a second at full traffic) or at a mean; neither arm is worse. */
  other(metric, i, weight, every) {
    const arm = (share) => {
      if (share === 0) return { requests: 0, bad: 0 };
      if (metric.kind === "mean") return { requests: 1, bad: 42 + 4 * (this.random() - 0.5) };
      return { requests: every * share, bad: fall(this.random, 2 * every * share) };
    };
    const [canary, baseline] = [arm(weight), arm(1 - weight)];
    const sum = this.sums[i];
    if (this.state === "progressing") {
      for (const [name, of] of Object.entries({ canary, baseline })) {
        sum[name].requests += of.requests;
        sum[name].bad += of.bad;
      }
      sum.harm = Math.max(-3, sum.harm - 0.03);
      sum.noHarm += 0.05;
    }
    return { canary, baseline, harm: sum.harm, noHarm: sum.noHarm };
  }

  /** A command; what is said against it, or null. */
  command(kind, by, reason, at) {
    const why = reason ? `requested by ${by}: ${reason}` : `requested by ${by}.`;
    const no = `\`${kind}\` is not possible while the rollout is ${this.state}`;
    if (this.ended || this.state === "rolling_back") return no;
    if (kind === "pause") this.holdBy(at, "user", why, by);
    else if (kind === "resume") {
      this.log(at, "command", `Resumed: ${why}`, by);
      if (this.hold) this.hold = null;
      this.holds = [];
    } else if (kind === "rollback") this.back(at, "command", why, by);
    else if (kind === "advance" && this.state === "progressing") {
      this.holds = [];
      this.log(at, "advanced", `On to the next step: ${why}`, by);
      this.enter(this.step + 1, at);
    } else if (kind === "promote" && this.state === "progressing") {
      this.holds = [];
      this.log(at, "promoted", `On to 100%: ${why}`, by);
      this.enter(this.rule.steps.length - 1, at);
    } else if (kind === "promote" && this.state === "baking") {
      this.end(at, "succeeded", "succeeded", `${this.version} has all traffic; the bake was ended early: ${why}`);
    } else return no;
    this.listener("rollout", this);
    return null;
  }
}
