//! Which traffic, and what is wrong with it.

use serin::core::policy::Metric;
use serin::montecarlo::traffic::{Bursts, Shape, Traffic, Truth};

use crate::kit;
use crate::scene::Scene;
use crate::study::{Runs, Shaped, Study, Task, Wrong, shaped, study};

/// All seeds come from this one: a study has a thousand of its own, a cell one.
pub const SEED: u64 = 20_260_000_000;

/// Everything that was run.
pub struct Results {
    pub runs: Runs,
    pub errors: Vec<Study>,
    pub latency: Vec<Study>,
    /// Traffic of other shapes, of the studies of errors with these indices.
    pub shapes: Vec<(usize, Vec<Shaped>)>,
    /// The same of the latencies.
    pub slow_shapes: Vec<(usize, Vec<Shaped>)>,
    pub ten: Study,
    /// Of one metric's thresholds on ten metrics.
    pub ten_untuned: Shaped,
    pub steps: Study,
    pub steps_drifting: Shaped,
}

/// The cell whose scores the picture shows, and the shape beside it.
pub const PICTURED: &str = "×2";
pub const PICTURED_SHAPE: &str = "bursts, variance ×3";
/// The study of errors that it is of.
pub const PICTURED_STUDY: usize = 2;

/// Requests a second and error rate of a study.
struct Load(&'static str, f64, f64);

const ERRORS: [Load; 6] = [
    Load("2000/s, 0.4%", 2000.0, 0.004),
    Load("2000/s, 0.1%", 2000.0, 0.001),
    Load("100/s, 1%", 100.0, 0.01),
    Load("20/s, 0.4%", 20.0, 0.004),
    Load("10/s, 1%", 10.0, 0.01),
    Load("1/s, 1%", 1.0, 0.01),
];
const LATENCY: [Load; 3] =
    [Load("2000/s", 2000.0, 0.004), Load("100/s", 100.0, 0.01), Load("10/s", 10.0, 0.01)];
/// What is looked for among slow requests: 7.7% are above 250 ms.
const TYPICAL_SLOW: f64 = 0.02;

/// Runs everything; with `small` only enough to see that it works.
pub fn run(runs: Runs, small: bool) -> Results {
    let task = |number: u64| Task { wrongs: &[], keep: None, runs, seed: SEED + 1000 * number };
    let loads = if small { &ERRORS[..3] } else { &ERRORS[..] };
    let errors: Vec<Study> = loads.iter().zip(0..).map(|(load, i)| of_errors(load, task(i))).collect();
    let loads = if small { &LATENCY[1..2] } else { &LATENCY[..] };
    let latency: Vec<Study> = loads.iter().zip(10..).map(|(load, i)| of_latency(load, task(i))).collect();

    let few = |mut shapes: Vec<(&'static str, Shape)>| {
        shapes.truncate(if small { 2 } else { usize::MAX });
        shapes
    };
    let under = |study: &Study, shapes: &[(&str, Shape)], wrongs: &[Wrong], number: u64| {
        all_shapes(study, shapes, Task { wrongs, ..task(number) })
    };
    let of: &[usize] = if small { &[PICTURED_STUDY] } else { &[0, PICTURED_STUDY] };
    let some = [worse(2.0, 0.0), worse(5.0, 0.0)];
    let all = few(shapes());
    let shapes = of.iter().zip(20..).map(|(i, n)| (*i, under(&errors[*i], &all, &some, n))).collect();
    let slow = few(slow_shapes());
    let of = if small { 0 } else { 1 };
    let slow_shapes = vec![(of, under(&latency[of], &slow, &[slower(1.3)], 30))];
    let (ten, ten_untuned) = of_ten(&errors[0], task(40));
    let (steps, steps_drifting) = of_steps(task(50));
    Results { runs, errors, latency, shapes, slow_shapes, ten, ten_untuned, steps, steps_drifting }
}

fn all_shapes(study: &Study, shapes: &[(&str, Shape)], task: Task<'_>) -> Vec<Shaped> {
    let all = shapes.iter().zip((task.seed..).step_by(20));
    all.map(|((name, shape), seed)| {
        let keep = (*name == PICTURED_SHAPE).then_some(PICTURED);
        shaped(&study.field, name, &[*shape], Task { keep, seed, ..task })
    })
    .collect()
}

fn of_errors(Load(name, rps, rate): &Load, task: Task<'_>) -> Study {
    let wrongs = [
        worse(1.2, 0.0),
        worse(1.5, 0.0),
        worse(2.0, 0.0),
        worse(3.0, 0.0),
        worse(5.0, 0.0),
        worse(3.0, 600.0),
        worse(3.0, 1200.0),
    ];
    let scene = Scene::new(Traffic::new(*rps, *rate), vec![kit::errors()]);
    study(name, scene, *rate, Task { wrongs: &wrongs, keep: Some(PICTURED), ..task })
}

fn of_latency(Load(name, rps, rate): &Load, task: Task<'_>) -> Study {
    let tail = Truth { tail_share: 0.01, tail_seconds: 1.0, ..Truth::default() };
    let tail = Wrong { name: "1% of requests + 1 s".to_owned(), truth: tail };
    let wrongs = [slower(1.1), slower(1.3), slower(2.0), tail];
    let scene = Scene::new(Traffic::new(*rps, *rate), vec![kit::latency()]);
    study(name, scene, TYPICAL_SLOW, Task { wrongs: &wrongs, ..task })
}

/// Ten metrics of which one shows what is wrong: tuned anew, and with the thresholds of one metric.
fn of_ten(one: &Study, task: Task<'_>) -> (Study, Shaped) {
    let metrics = (0..10).map(|i| Metric { name: format!("errors-{i}"), ..kit::errors() }).collect();
    let scene = Scene { metrics, ..one.field.scene.clone() };
    let only = |wrong: Wrong| {
        let truth = Truth { only: Some("errors-0".to_owned()), ..wrong.truth };
        Wrong { name: wrong.name, truth }
    };
    let wrongs = [only(worse(1.5, 0.0)), only(worse(2.0, 0.0)), only(worse(5.0, 0.0))];
    let mut ten = study("ten metrics", scene, 0.004, Task { wrongs: &wrongs, ..task });
    let tuned = std::mem::replace(&mut ten.field.columns, one.field.columns.clone());
    let untuned = shaped(&ten.field, "ten, tuned for one", &[], Task { seed: task.seed + 100, ..task });
    ten.field.columns = tuned;
    (ten, untuned)
}

/// Ten minutes each at 5%, 25% and 50%; then the same while the base rate drifts.
fn of_steps(task: Task<'_>) -> (Study, Shaped) {
    let mut scene = Scene::new(Traffic::new(100.0, 0.01), vec![kit::errors()]);
    scene.steps = vec![(500, 600), (2500, 600), (5000, 600)];
    let wrongs = [worse(1.2, 0.0), worse(1.5, 0.0), worse(2.0, 0.0)];
    let task = Task { wrongs: &wrongs, ..task };
    let steps = study("5 → 25 → 50", scene, 0.01, task);
    let (name, drift) = shapes().swap_remove(0);
    let drifting = shaped(&steps.field, name, &[drift], Task { seed: task.seed + 100, ..task });
    (steps, drifting)
}

fn worse(ratio: f64, onset: f64) -> Wrong {
    let from = if onset > 0.0 { format!(" from minute {:.0}", onset / 60.0) } else { String::new() };
    Wrong {
        name: format!("×{ratio}{from}"),
        truth: Truth { error_ratio: ratio, onset_seconds: onset, ..Truth::default() },
    }
}

fn slower(factor: f64) -> Wrong {
    Wrong { name: format!("×{factor}"), truth: Truth { latency_factor: factor, ..Truth::default() } }
}

/// Those that latency feels.
fn slow_shapes() -> Vec<(&'static str, Shape)> {
    let mut all = shapes();
    all.retain(|(_, shape)| !matches!(shape, Shape::Bursts(_) | Shape::BadPod { .. }));
    all
}

/// What real traffic does.
pub fn shapes() -> Vec<(&'static str, Shape)> {
    let bursts = |variance_factor| Shape::Bursts(Bursts::Gamma { variance_factor });
    vec![
        (
            "a day's drift in two hours, errors ×½ to ×2",
            Shape::Drift { period: 7200.0, error_factor: 2.0, traffic_share: 0.5 },
        ),
        (PICTURED_SHAPE, bursts(3.0)),
        ("bursts, variance ×10", bursts(10.0)),
        (
            "shared shocks, errors ×10 for 30 s every 10 min",
            Shape::Shocks { every: 600.0, lasts: 30.0, error_factor: 10.0, latency_factor: 2.0 },
        ),
        (
            "AR noise of the canary, log-sd 0.5 (latency 0.15), 60 s",
            Shape::Noise { error_sd: 0.5, latency_sd: 0.15, correlation: 60.0 },
        ),
        ("cold start, ×3 for 60 s", Shape::ColdStart { lasts: 60.0, error_factor: 3.0, latency_factor: 3.0 }),
        ("one bad pod, log-sd 0.2", Shape::BadPod { pods: 1, error_sd: 0.2 }),
    ]
}
