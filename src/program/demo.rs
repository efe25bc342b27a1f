//! Lends the demo what it does not know: the clock, the API and the live view.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use serin::cli::{self, ClientCommand, DemoArgs, DemoScenario, Global, Output, RolloutCommand};
use serin::clock::SystemClock;
use serin::core::ids::RolloutId;
use serin::demo::{self, Scenario, Surroundings};
use serin::{api, telemetry};

/// Plays the demo. Exit codes: 0 everything went as the scenario says, 1 it did not, 3 it could not be
/// played to its end.
pub async fn run(args: &DemoArgs) -> ExitCode {
    let scenario = match args.scenario {
        DemoScenario::Errors => Scenario::Errors,
        DemoScenario::Latency => Scenario::Latency,
        DemoScenario::Healthy => Scenario::Healthy,
    };
    match play(scenario).await {
        Ok(report) => {
            tell(&format!("\n{}", report.render(width())));
            if report.is_as_told() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(error) => {
            eprintln!("serin: {error:#}");
            ExitCode::from(3)
        }
    }
}

async fn play(scenario: Scenario) -> anyhow::Result<demo::Report> {
    // The terminal belongs to the picture; what goes wrong is told all the same.
    telemetry::init_log("error", telemetry::LogFormat::Text)?;
    let metrics = telemetry::install_metrics()?;
    let renderer = metrics.renderer();
    tokio::spawn(async move { metrics.upkeep().await });
    let surroundings = Surroundings {
        clock: Arc::new(SystemClock::new()),
        serve_api: Box::new(|handle, listener, shutdown| {
            Box::pin(async move {
                let served = api::serve(listener, api::router(handle, renderer), shutdown.cancelled_owned());
                if let Err(error) = served.await {
                    tracing::error!("the API: {error}");
                }
            })
        }),
        watch: Box::new(|api, id| Box::pin(watch(api, id))),
        tell: Box::new(|line| tell(&format!("{line}\n"))),
    };
    demo::run(scenario, surroundings).await
}

/// As `serin rollout watch` does, over the API.
async fn watch(api: String, id: RolloutId) {
    match api.parse() {
        Ok(server) => {
            let command = ClientCommand::Rollout(RolloutCommand::Watch { id: id.0, wait_for: None });
            // How it ended is read from the store.
            let _ = cli::run(command, &Global::new(server, Output::Text)).await;
        }
        Err(error) => tracing::error!("the API's address {api}: {error}"),
    }
}

/// A reader that went away (`| head`) is no fault.
fn tell(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Of the summary: the terminal's, as far as lines can be read well.
fn width() -> usize {
    terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0).min(110))
}
