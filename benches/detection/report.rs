//! The page.

use crate::figures::Rate;
use crate::plan::{PICTURED_SHAPE, PICTURED_STUDY, Results, SEED};
use crate::sooner::{Compared, compare};
use crate::study::{PHI_1, PHI_3, SERIN, Study};
use crate::tables;

/// The whole page in Markdown.
pub fn page(results: &Results) -> String {
    let compared = compare(results);
    let (expected, cells, missed) = tables::against_expected(&results.errors);
    let mut page = String::new();
    let mut say = |text: &str| {
        page.push_str(text.trim_end());
        page.push_str("\n\n");
    };
    say(HEAD);
    say(&summary(results, &compared, cells, missed));
    say(&picture_words(results));
    say(&method(results));
    say(
        "## Tuning\n\nA score is the highest one of a run; the threshold is the least that at most 1% of the harmless runs reach. \"Any score\": the burst gate alone keeps within 1%.",
    );
    say(&tables::tuning(all_studies(results)));
    say("## Error rates");
    say(DELAYS);
    for study in &results.errors {
        say(&format!("### {}", study.name));
        say(&tables::study(study));
    }
    say(
        "### When Serin lets a harmless canary advance\n\nFrom 5% to 25% or less: no harm up to ×2 and 0.1 points. Seconds from the start of the step.",
    );
    say(&tables::advancing(&results.errors));
    say(
        "## Serin against its table\n\nWhat an independent simulation of the method had → what this code has. ▼: worse by more than two standard errors of the difference.",
    );
    say(&expected);
    say(INFORMATION);
    say(&tables::information(&results.errors));
    say("## Where a tuned rival is sooner than Serin");
    say(&sooner(&compared));
    say(SHAPES);
    for (index, shaped) in &results.shapes {
        let study = &results.errors[*index];
        say(&format!("### {}", study.name));
        say(&tables::shapes(study, shaped));
    }
    say(
        "## Latency\n\nLog-normal with a median of 80 ms and σ = 0.8, in Prometheus' default buckets. Serin's margin is 10% on the latency axis, so ×1.1 is no harm by its policy. The rivals that count take a request above 250 ms as bad.",
    );
    for study in &results.latency {
        say(&format!("### {}", study.name));
        say(&tables::study(study));
    }
    for (index, shaped) in &results.slow_shapes {
        let study = &results.latency[*index];
        say(&format!("### {}, other shapes", study.name));
        say(&tables::shapes(study, shaped));
    }
    say(
        "## Ten metrics\n\nTen error rates at 2000/s and 0.4%, of which one shows what is wrong; tuned on ten.",
    );
    say(&tables::study(&results.ten));
    say("With the thresholds that were tuned for one metric:");
    say(&tables::shaped(&results.ten, &results.ten_untuned));
    say(
        "## Steps 5 → 25 → 50\n\nTen minutes each at 100/s and 1%; the warm-up of each step is used by nobody. Evidence is carried on, as each rule has it: the z-test and mSPRT pool the counts of all steps.",
    );
    say(&tables::study(&results.steps));
    say("The same thresholds while the base rate drifts (a day in two hours, ×½ to ×2):");
    say(&tables::shaped(&results.steps, &results.steps_drifting));
    page.trim_end().to_owned() + "\n"
}

const HEAD: &str = "# Detection: false alarms and delays

Made by `benches/detection`; not edited by hand.";

const DELAYS: &str = "Delays are in seconds from the start of the step, 60 s of warm-up in them: \"median ± standard error / 90th percentile ± standard error\" where 90% of the runs are found within the half hour; \"share found, median\" where half of them are; else the share found; \"–\" is none. Late regressions count from the start of the step too. Tuned rivals that are sooner than Serin are **bold**.";

const INFORMATION: &str = "## The information limit

ln(1/α)/KL with α = 1%: no test that is wrong with probability at most α finds the regression sooner on average (Wald). KL is per second, of both arms' Poisson counts against the nearest null hypothesis over all base rates: against equality of the arms it is the conditional binomial of the two arms with the base rate unknown; against Serin's margin, p_canary ≤ 1.1·p_base + 0.05 points, it is what a test with this margin can have at best. The limit is of an average and Serin's figure is a median, on ticks of 10 s of which the burst gate needs three.";

const SOONER: &str = "By more than two standard errors of the difference, in the share found or else in the median. The rivals know the traffic that they are judged on; what the same thresholds do on other traffic is in the next section. The reasons:

- **A**, α is not spent. Serin keeps 1% over all looks, metrics and steps, whatever traffic comes; on independent requests it has far fewer false alarms. With a threshold tuned to 1% here, like theirs, it is not later than some or all of those rivals.
- **M**, the margin. Serin accepts p_canary ≤ 1.1·p_base + 0.05 points, or 10% of latency, by its policy, and the rivals accept nothing. In brackets what no test with this margin can be sooner than on average (at the first weight), against one without.
- **G**, the burst gate. It needs at least three windows, so no alarm comes before 90 s except by the catastrophe lane, and more of them where each is only a little above the margin; without it one burst is an alarm. G stands where a lower threshold makes Serin no sooner.
- **L**, late starts. Half of Serin's evidence is held back for starts after every minute, and each gets a small part of it; a rule that sees only the last minute has nothing to forget. Rules that sum up from the start are later still.
- **Φ**. The φ that Serin measured in two hours of history is above the 1 that is true here.
- **P**, the prior: a fifth of the evidence is for the catastrophe lane and half of the rest for later starts, together 0.9 of the 4.6 nats of α = 1%, and several ratios share what is left.";

const SHAPES: &str = "## Other shapes of traffic

The thresholds are those that were tuned on independent requests at the same traffic: nobody can tune on what comes. \"Serin\" measures φ from two hours of history of the same shape, some of the pods against the others.";

fn all_studies(results: &Results) -> impl Iterator<Item = &Study> {
    results.errors.iter().chain(&results.latency).chain([&results.ten, &results.steps])
}

fn summary(results: &Results, compared: &[Compared<'_>], cells: usize, missed: usize) -> String {
    let most = |column: usize| {
        let rates = all_studies(results).map(move |study| study.harmless.rates[column]);
        rates.max_by(|a, b| a.share().total_cmp(&b.share()))
    };
    let words = |rate: Option<Rate>| {
        rate.map_or_else(String::new, |rate| {
            format!("{} of {} (95% upper bound {:.2}%)", rate.hits, rate.runs, 100.0 * rate.upper())
        })
    };
    // Cells in which none is sooner, and all of them.
    let ahead = |behind: Vec<bool>| (behind.iter().filter(|behind| !**behind).count(), behind.len());
    let peers = || compared.iter().filter(|cell| cell.peers_find());
    let same = ahead(peers().map(|cell| cell.has_peer(&cell.still)).collect());
    let as_it_is = ahead(peers().map(|cell| cell.has_peer(&cell.sooner)).collect());
    let any = ahead(compared.iter().map(|cell| !cell.still.is_empty()).collect());
    format!(
        "In short:\n\n- False alarms of Serin at α = 1%, independent requests, the most of any traffic: {} with history, {} with φ = 3, {} with φ = 1.\n- Against the method's own table: {} of {cells} cells reached, {missed} missed.\n- At the same rate of false alarms (Serin's threshold tuned like theirs): in {} of {} cells in which Kayenta's, Flagger's or Argo's rule finds anything, none of the three is sooner than Serin; and none of all rivals in {} of {}.\n- Serin as it is, which knows nothing of the traffic and has fewer false alarms, against the three rules as tuned on that very traffic: none is sooner in {} of {}. What that tuning costs on any other traffic is under \"Other shapes\".\n- Every cell in which some rival is sooner is listed below with the reason.",
        words(most(SERIN)),
        words(most(PHI_3)),
        words(most(PHI_1)),
        cells - missed,
        same.0,
        same.1,
        any.0,
        any.1,
        as_it_is.0,
        as_it_is.1,
    )
}

fn picture_words(results: &Results) -> String {
    let study = &results.errors[PICTURED_STUDY];
    format!(
        "![False alarms against delay](detection.svg)\n\nThe picture: {}, errors ×2. Each line is a method over all its thresholds; left on independent requests, right under {PICTURED_SHAPE}. The dots are the thresholds that are used: Serin's α = 1%, the rivals as tuned on the left. What is lower and further left is better.",
        study.name
    )
}

fn method(results: &Results) -> String {
    format!(
        "## How it is made

- {power} runs a cell and {harmless} harmless runs, of half an hour; looks every 10 s; 5% of the traffic on the canary; all methods see the same ticks. Requests are Poisson, and each fails for itself, unless a shape says otherwise. Standard errors are binomial for shares, from order statistics for times (at least half a tick).
- Seeds: {SEED} + 1000 × study + cell; the first cell of a study is for tuning, the second for counting false alarms.
- **Serin** is the judge of this repository with its default rule (r0 = 1.1, δ0 = 0.05 points, α = 1%, burst gate, catastrophe lane). Three of it: with φ measured from two hours of history, which is how it runs; φ = 3, which it takes without history; φ = 1, to compare with the method's table. \"Serin, tuned\" is the first one with a threshold tuned like those of the rivals.
- **z-test**: two proportions, all counts so far, one-sided. Tuned: z.
- **Kayenta**: Mann-Whitney on the windows' error rates (or p95, p99), `High` if the lower end of the confidence interval is above a quarter of the Hodges-Lehmann estimate. Tuned: the confidence, as z; its default is 98%.
- **Flagger**: the canary's error rate (or p99) of the last minute against a fixed limit, rolled back at the fifth failed check. Tuned: the limit.
- **Argo**: the canary's error rate (or p95) of the last minute less the baseline's, failed at the fourth failed measurement (`failureLimit: 3`). Tuned: the limit.
- **Dirichlet**: how the bad requests fall on the arms, against the weights; prior of 100 requests. Tuned: ln E.
- **mSPRT**: normal mixture on the difference of the proportions, with a typical difference of once the base rate (latency: 2 points). Tuned: ln E.
- All are spared the warm-up of 60 s and look at every tick. The rivals know the very traffic that they are judged on, which nobody does; Serin knows nothing of it but its history.

To reproduce: `make bench-detection` (or `cargo bench --bench detection -- --runs 40` for a quick look); the same seeds give the same figures, on however many cores.",
        power = results.runs.power,
        harmless = results.runs.harmless,
    )
}

fn sooner(compared: &[Compared<'_>]) -> String {
    let head = tables::words(&[
        "traffic",
        "wrong",
        "Serin",
        "tuned rivals that are sooner",
        "Serin, tuned",
        "sooner than that",
        "reasons",
    ]);
    let rows: Vec<Vec<String>> = compared.iter().filter_map(Compared::row).collect();
    if rows.is_empty() {
        "Nowhere.".to_owned()
    } else {
        format!("{SOONER}\n\n{}", tables::table(&head, &rows))
    }
}
