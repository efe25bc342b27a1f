//! A rollout as a picture in a terminal: where it is, what the figures say, and what it waits for.

use super::text::{Line, Style, bar, evidence, latency, odds, ratio, share_with_interval, weight, wrap};
use crate::contract::{ArmView, AssessmentView, ComparedView, MetricView, RolloutView, StableView};
use crate::core::judge::{GuardrailStatus, Verdict};
use crate::core::policy::Mode;
use crate::core::words::{count, seconds};

/// Where the text after a label begins.
const COLUMN: usize = 12;
/// Narrower terminals get lines that are cut.
const NARROWEST: usize = 30;

/// The rollout in lines of at most `width` columns, each with its line end; with colours if `colour`.
pub fn render(view: &RolloutView, width: usize, colour: bool) -> String {
    let width = width.max(NARROWEST);
    let mut picture = Picture { lines: Vec::new(), width };
    picture.head(view);
    picture.progress(view);
    let left = left(view);
    if let Some(compared) = left {
        picture.labelled("Compared", Style::Plain, format!("at {}", weight(compared.weight_percent)));
    }
    if let Some(assessment) = left.map(|left| &left.assessment).or(view.assessment.as_ref()) {
        for metric in &assessment.metrics {
            picture.metric(metric, view.ended);
        }
        picture.together(assessment, view.ended);
    }
    if let Some(assessment) = &view.assessment {
        picture.guardrails(assessment);
    }
    if let Some(stable) = &view.stable {
        picture.stable(stable);
    }
    for gate in &view.gates.items {
        let text =
            format!("{} ({}): {}, {}", gate.name, gate.kind, gate.status, super::text::clean(&gate.detail));
        picture.labelled("Gate", Style::Plain, text);
    }
    if let Some(gate) = &view.gates.no_return {
        picture.labelled("No return", Style::Bad, format!("past {gate}: a person decides about a rollback"));
    }
    if let Some(waiting) = &view.waiting_for {
        picture.gap();
        picture.sentence("", Style::Plain, Style::Strong, &waiting.sentence);
    }
    let mut text = String::new();
    for line in &picture.lines {
        text.push_str(&line.fit(width, colour));
        text.push('\n');
    }
    text
}

/// The comparison to show where nothing is compared any more.
fn left(view: &RolloutView) -> Option<&ComparedView> {
    let at_a_step = matches!(view.state.as_str(), "preparing" | "progressing");
    view.last_compared.as_ref().filter(|_| !at_a_step)
}

/// `8 of 10 min`; where the units differ, both with their own.
fn part(done: &str, whole: &str) -> String {
    match (done.split_once(' '), whole.split_once(' ')) {
        (Some((number, unit)), Some((_, same))) if unit == same => format!("{number} of {whole}"),
        _ => format!("{done} of {whole}"),
    }
}

/// The state as people say it: `rolling back`.
pub fn state_words(state: &str) -> String {
    state.replace('_', " ")
}

fn state_style(state: &str) -> Style {
    match state {
        "succeeded" => Style::Good,
        "rolling_back" | "rolled_back" | "failed" => Style::Bad,
        _ => Style::Strong,
    }
}

struct Picture {
    lines: Vec<Line>,
    width: usize,
}

impl Picture {
    fn push(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// An empty line, unless there is one already.
    fn gap(&mut self) {
        if self.lines.last().is_some_and(|line| !line.is_empty()) {
            self.push(Line::new());
        }
    }

    fn labelled(&mut self, label: &str, style: Style, text: impl AsRef<str>) {
        self.push(Line::new().with(Style::Faint, label).to(COLUMN).with(style, text));
    }

    /// A sentence in as many lines as it takes, its label before the first one.
    fn sentence(&mut self, label: &str, label_style: Style, style: Style, sentence: &str) {
        let indent = if label.is_empty() { 0 } else { COLUMN };
        for (index, text) in wrap(sentence, self.width.saturating_sub(indent)).iter().enumerate() {
            let line = match (index, indent) {
                (_, 0) => Line::new(),
                (0, _) => Line::new().with(label_style, label).to(indent),
                _ => Line::new().with(Style::Plain, " ".repeat(indent)),
            };
            self.push(line.with(style, text));
        }
    }

    /// The servers that a rollback would go to.
    fn stable(&mut self, stable: &StableView) {
        if let (Some(up), Some(servers)) = (stable.up, stable.servers) {
            let before = stable.up_at_step.map_or(String::new(), |up| format!(", {up} when the step began"));
            let few = u64::from(up) * 2 < u64::from(stable.up_at_step.unwrap_or(servers));
            let style = if few { Style::Bad } else { Style::Plain };
            self.labelled("Stable", style, format!("{up} of {servers} servers up{before}"));
        }
        if let Some(kept) = stable.staged_percent {
            let text = format!("in stages: the canary keeps {kept}% until more servers of stable are up");
            self.sentence("Rollback", Style::Bad, Style::Plain, &text);
        }
        if let Some(reason) = &stable.rollback_waits {
            let text = format!("waits for a server of stable: {}", reason.sentence);
            self.sentence("Rollback", Style::Bad, Style::Plain, &super::text::clean(&text));
        }
    }

    fn head(&mut self, view: &RolloutView) {
        let mut line = Line::new().with(Style::Strong, &view.target).with(Style::Plain, "  ");
        if let Some(stable) = &view.stable_version {
            line = line.with(Style::Baseline, stable).with(Style::Plain, " → ");
        }
        line = line.with(Style::Canary, &view.version).with(Style::Plain, "  ");
        line = line.with(state_style(&view.state), state_words(&view.state));
        if let Some(stage) = &view.stage {
            line = line.with(Style::Faint, format!(", {stage}"));
        }
        self.push(line);
        let version: String = view.policy.version.chars().take(6).collect();
        let about = format!(
            "policy {}@{version} · by {} · since {} · {}",
            view.policy.name,
            view.created_by,
            view.created_at.get(..19).unwrap_or(&view.created_at).replace('T', " "),
            view.id
        );
        self.push(Line::new().with(Style::Faint, about));
        if view.policy.mode == Mode::Observe {
            self.sentence(
                "",
                Style::Plain,
                Style::Faint,
                "Observe mode: evaluated and reported; no traffic is moved.",
            );
        }
        if let Some(reason) = &view.reason {
            self.gap();
            self.sentence("", Style::Plain, Style::Strong, &reason.sentence);
        }
        self.gap();
    }

    fn progress(&mut self, view: &RolloutView) {
        if let Some(steps) = steps(view) {
            self.push(steps);
        }
        if let Some(wanted) = &view.wanted {
            let mut line = Line::new().with(Style::Faint, "Weight").to(COLUMN);
            line = line.with(Style::Canary, "canary");
            line = line.with(Style::Plain, format!(" {} wanted, ", weight(wanted.canary_percent)));
            line = match &view.seen {
                Some(seen) => line.with(Style::Plain, format!("{} seen", weight(seen.split.canary_percent))),
                None => line.with(Style::Plain, "not seen yet"),
            };
            match view.unconfirmed_nodes.len() {
                0 => {}
                1 => line = line.with(Style::Strong, " · 1 proxy has not confirmed it"),
                more => line = line.with(Style::Strong, format!(" · {more} proxies have not confirmed it")),
            }
            self.push(line);
        }
        if let Some(step) = view.step.filter(|_| view.state == "progressing") {
            let mut text = part(&seconds(view.timers.analysed_seconds), &seconds(step.min_seconds));
            if step.min_requests > 0 {
                text.push_str(&format!(
                    ", {} of {} requests",
                    count(step.requests.min(step.min_requests)),
                    count(step.min_requests)
                ));
            }
            if let Some(max) = step.max_seconds {
                text.push_str(&format!(", at most {}", seconds(max)));
            }
            self.labelled("Time", Style::Plain, text);
        }
        if view.state == "baking" {
            let text = format!("{} watched at 100%", seconds(view.timers.analysed_seconds));
            self.labelled("Time", Style::Plain, text);
        }
        if let Some(instances) = &view.instances {
            let style = if instances.ready < instances.least { Style::Bad } else { Style::Plain };
            self.labelled("Instances", style, instances.words());
        }
        if let Some(text) = view.restarts.words() {
            self.labelled("Restarts", Style::Plain, text);
        }
        if !view.holds.is_empty() {
            let names: Vec<&str> = view.holds.iter().map(|hold| hold.name()).collect();
            self.labelled("Held", Style::Strong, state_words(&names.join(", ")));
        }
    }

    fn metric(&mut self, metric: &MetricView, ended: bool) {
        self.gap();
        let (style, word) = verdict(metric.verdict);
        let mut line = Line::new().with(Style::Strong, &metric.name).to(COLUMN).with(style, word);
        if let Some(found) = &metric.ratio {
            line = line.with(Style::Plain, format!("  {}", ratio(found)));
        }
        self.push(line);
        self.arm("canary", Style::Canary, metric, &metric.canary);
        self.arm("baseline", Style::Baseline, metric, &metric.baseline);
        self.above_bound(metric);
        if !ended {
            let cells = self.bar_cells();
            let line = Line::new().with(Style::Faint, "  not worse").to(COLUMN + 2);
            let line = line.with(Style::Plain, bar(&metric.no_harm, cells));
            let line = line.with(Style::Plain, format!("  {}", evidence(&metric.no_harm)));
            self.push(line.with(Style::Faint, format!(" · worse {}", odds(metric.harm.odds))));
        }
    }

    fn arm(&mut self, name: &str, style: Style, metric: &MetricView, arm: &ArmView) {
        let mut line = Line::new().with(style, format!("  {name}")).to(COLUMN + 2);
        if metric.kind == "latency" {
            for (label, quantile) in
                [("p50", arm.p50_seconds), ("p95", arm.p95_seconds), ("p99", arm.p99_seconds)]
            {
                if let Some(quantile) = quantile {
                    line = line
                        .with(Style::Faint, label)
                        .with(Style::Plain, format!(" {:<9}", latency(quantile)));
                }
            }
        } else if let Some(share) = share(arm) {
            line = line.with(Style::Plain, format!("{share:<24}"));
        }
        let own = arm.rate.map(|rate| format!("{rate:.4} per unit")).or(arm.value.map(|v| format!("{v:.4}")));
        self.push(match own {
            Some(own) => line.with(Style::Plain, own),
            None => line.with(Style::Faint, format!("{} requests", count(arm.requests))),
        });
    }

    /// Latency only: the shares above the bound that the ratio speaks of.
    fn above_bound(&mut self, metric: &MetricView) {
        let (Some(bound), Some(canary), Some(baseline)) =
            (metric.bound_seconds, share(&metric.canary), share(&metric.baseline))
        else {
            return;
        };
        let line = Line::new().with(Style::Faint, format!("  > {}", latency(bound))).to(COLUMN + 2);
        let line = line.with(Style::Canary, "canary").with(Style::Plain, format!(" {canary}, "));
        self.push(line.with(Style::Baseline, "baseline").with(Style::Plain, format!(" {baseline}")));
    }

    /// The combined evidence, which decides on the way back.
    fn together(&mut self, assessment: &AssessmentView, ended: bool) {
        if assessment.metrics.is_empty() {
            return;
        }
        self.gap();
        let label = if ended { "Harm" } else { "Roll back" };
        let mut line = Line::new().with(Style::Faint, label).to(COLUMN + 2);
        let style = if assessment.harm.reached { Style::Bad } else { Style::Plain };
        if !ended {
            line = line.with(style, bar(&assessment.harm, self.bar_cells())).with(Style::Plain, "  ");
        }
        line = line.with(style, evidence(&assessment.harm));
        self.push(line.with(Style::Faint, if ended { " at the end" } else { " over all metrics" }));
    }

    fn guardrails(&mut self, assessment: &AssessmentView) {
        let all = assessment.guardrails.len();
        if all == 0 {
            return;
        }
        let clear = assessment
            .guardrails
            .iter()
            .filter(|guardrail| guardrail.status == GuardrailStatus::Clear)
            .count();
        self.labelled("Guardrails", Style::Plain, format!("{clear} of {all} clear"));
        for guardrail in &assessment.guardrails {
            let (style, word) = match guardrail.status {
                GuardrailStatus::Clear => continue,
                GuardrailStatus::NoData => (Style::Faint, "no data"),
                GuardrailStatus::Breaching => (Style::Strong, "breaching"),
                GuardrailStatus::Fired => (Style::Bad, "fired"),
                GuardrailStatus::BothBreach => (Style::Bad, "both arms breach"),
            };
            let mut line = Line::new().with(Style::Plain, format!("  {}", guardrail.name)).to(COLUMN + 2);
            line = line.with(style, word);
            if guardrail.status == GuardrailStatus::Breaching {
                line = line.with(Style::Plain, format!(" for {}", seconds(guardrail.breaching_for_seconds)));
                if let Some(limit) = guardrail.hold_for_seconds {
                    line = line.with(Style::Plain, format!(" of {}", seconds(limit)));
                }
            }
            self.push(line);
            if guardrail.status != GuardrailStatus::NoData {
                self.sentence("  ", Style::Plain, Style::Faint, &guardrail.sentence);
            }
        }
    }

    fn bar_cells(&self) -> usize {
        self.width.saturating_sub(COLUMN + 42).clamp(8, 40)
    }
}

fn share(arm: &ArmView) -> Option<String> {
    arm.share_percent.map(|share| share_with_interval(share, arm.share_interval_percent))
}

fn verdict(verdict: Verdict) -> (Style, &'static str) {
    match verdict {
        Verdict::Worse => (Style::Bad, "worse"),
        Verdict::NotWorse => (Style::Good, "not worse"),
        Verdict::Undecided => (Style::Plain, "undecided"),
        Verdict::NoData => (Style::Faint, "no data"),
    }
}

/// `✓ 5%   ● 25%   ○ 100%   ○ bake`, for rollouts that are on their way forward.
fn steps(view: &RolloutView) -> Option<Line> {
    let count = view.steps.len();
    // How many places have been passed, and whether the next one is where the rollout is.
    let (passed, here) = match view.state.as_str() {
        "scheduled" | "preflight" => (0, false),
        "preparing" | "progressing" => (view.step?.index - 1, true),
        "finalizing" => (count.saturating_sub(1), true),
        "baking" => (count, true),
        "succeeded" => (count + 1, false),
        _ => return None,
    };
    let names = view.steps.iter().map(|step| weight(step.weight_percent)).chain(["bake".to_owned()]);
    let mut line = Line::new().with(Style::Faint, "Steps").to(COLUMN);
    for (index, name) in names.enumerate() {
        let (style, sign) = match index {
            index if index < passed => (Style::Plain, "✓"),
            index if index == passed && here => (Style::Strong, "●"),
            _ => (Style::Faint, "○"),
        };
        if index > 0 {
            line = line.with(Style::Plain, "   ");
        }
        line = line.with(style, format!("{sign} {name}"));
    }
    Some(line)
}
