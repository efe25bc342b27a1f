//! Serin against the rules of its peers: false alarms, and how soon what is wrong is found.
//!
//! `cargo bench --bench detection -- --full` writes `benches/results/detection.md` and `.svg`; `--runs N`
//! does the same with N runs a cell, and five times as many harmless ones. Without either a few runs show
//! that it works, and nothing is written.
//!
//! `cargo bench --bench detection -- --hostile --runs N` writes `benches/results/hostile.md`: false rollbacks
//! of the whole shipped rule in hostile traffic, with N harmless runs a cell.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// How long it has taken is told on the way.
#![allow(clippy::disallowed_methods)]

mod expected;
mod figures;
mod hostile;
mod information;
#[allow(dead_code)]
#[path = "../../tests/quick/judge/kit.rs"]
mod kit;
mod methods;
mod parallel;
mod picture;
mod plan;
mod report;
#[allow(dead_code)]
mod rivals;
mod scene;
mod sooner;
mod study;
mod tables;
mod tuning;

use std::path::Path;
use std::process::ExitCode;

use study::Runs;

const FULL: Runs = Runs { power: 400, harmless: 2000 };
/// Of `cargo test --benches`: seconds.
const SMALL: Runs = Runs { power: 4, harmless: 6 };

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let count = arguments.len();
    arguments.retain(|argument| argument != "--hostile");
    let is_hostile = arguments.len() < count;
    let runs = match wanted(&arguments) {
        Ok(runs) => runs,
        Err(wrong) => {
            eprintln!("{wrong}");
            return ExitCode::FAILURE;
        }
    };
    if is_hostile {
        return match runs {
            None => print(&hostile::small(&shipped())),
            Some(runs) => write("hostile.md", &hostile::page(&shipped(), runs.power)),
        };
    }
    let results = plan::run(runs.unwrap_or(SMALL), runs.is_none());
    let (page, picture) = (report::page(&results), picture::picture(&results));
    if runs.is_none() {
        println!("{}", hostile::small(&shipped()));
        return print(&page);
    }
    let (page, picture) = (write("detection.md", &page), write("detection.svg", &picture));
    if page == ExitCode::SUCCESS { picture } else { page }
}

/// The policy whose whole rule is measured.
fn shipped() -> serin::core::policy::Policy {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(hostile::POLICY);
    serin::config::load_policy(path).expect("the repository's policy is valid")
}

fn print(page: &str) -> ExitCode {
    println!("{page}");
    ExitCode::SUCCESS
}

fn write(name: &str, text: &str) -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results");
    match std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(folder.join(name), text)) {
        Ok(()) => {
            println!("written: {}", folder.join(name).display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

/// `None`: only a few, to see that it works.
fn wanted(arguments: &[String]) -> Result<Option<Runs>, String> {
    let mut runs = None;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // What cargo says to every benchmark.
            "--bench" => {}
            "--test" => return Ok(None),
            "--full" => runs = Some(FULL),
            "--runs" => {
                let number = arguments.next().and_then(|number| number.parse().ok());
                let power = number.filter(|number| *number > 0).ok_or("--runs needs a number above 0")?;
                runs = Some(Runs { power, harmless: 5 * power });
            }
            other => return Err(format!("{other}: there are --full, --runs N and --test")),
        }
    }
    Ok(runs)
}
