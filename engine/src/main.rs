//! The engine's process: arguments to assembly.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use contract::role::Role;
use engine::assembly::{self, Flags, Surroundings};
use engine::base::{NodeId, RealClock, SeededRng, TaskSet};
use engine::ctl;
use engine::obs::{self, Health, Metrics};
use tracing::{info, warn};

/// Redkite: a vector database that speaks Milvus's API.
#[derive(Parser)]
#[command(name = "redkite", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a role until it is told to stop.
    Run(Run),
    /// Looks into a running Redkite and changes how it runs.
    Ctl(Box<Ctl>),
    /// Prints the table of settings as Markdown.
    Settings,
    /// Prints the reference of `ctl` as Markdown.
    #[command(hide = true)]
    CtlReference,
}

#[derive(clap::Args)]
#[command(after_help = ctl::EXIT_CODES)]
struct Ctl {
    #[command(flatten)]
    flags: ctl::Flags,
    #[command(subcommand)]
    command: CtlCommand,
}

#[derive(Subcommand)]
enum CtlCommand {
    /// What a running process is asked; a command that does without one is a row beside it.
    #[command(flatten)]
    Ask(ctl::Command),
}

#[derive(clap::Args)]
struct Run {
    /// What to run: `standalone`, or a role of a cluster (`proxy`, `mixcoord`, `streamingnode`, `querynode`, `datanode`).
    role: String,
    /// File of settings; later ones win over earlier ones.
    #[arg(long = "config", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Directory of everything kept locally.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address for clients, gRPC and REST alike.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Address of `/healthz` and `/metrics`.
    #[arg(long, value_name = "ADDR")]
    metrics_listen: Option<String>,
    /// Address of calls between nodes and of the admin API.
    #[arg(long, value_name = "ADDR")]
    internal_listen: Option<String>,
    /// Accepted because Milvus's own manifests carry it; every role is one process here.
    #[arg(long, hide = true)]
    run_with_subprocess: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::Run(run) => start(run).await?,
        Command::Ctl(ctl) => return Ok(operate(*ctl).await),
        Command::Settings => print(&contract::settings::markdown(assembly::default_of)),
        Command::CtlReference => print(&ctl_page()),
    }
    Ok(ExitCode::SUCCESS)
}

async fn operate(ctl: Ctl) -> ExitCode {
    match ctl.command {
        CtlCommand::Ask(command) => {
            let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
            ctl::run(ctl.flags, command, &mut out, &mut err).await.into()
        }
    }
}

fn ctl_page() -> String {
    ctl::markdown(<Ctl as clap::Args>::augment_args(clap::Command::new("redkite ctl")))
}

#[expect(clippy::print_stdout, reason = "the page is the command's output")]
fn print(page: &str) {
    print!("{page}");
}

async fn start(run: Run) -> anyhow::Result<()> {
    let role = Role::from_name(&run.role).with_context(|| format!("there is no role {}", run.role))?;
    let flags = Flags {
        files: run.files,
        data_dir: run.data_dir,
        listen: run.listen,
        metrics_listen: run.metrics_listen,
        internal_listen: run.internal_listen,
    };
    let assembly::Loaded { settings, unknown } = assembly::load(&flags, std::env::vars())?;
    obs::start_tracing(&assembly::trace_settings(&settings))?;
    if !unknown.is_empty() {
        warn!(
            count = unknown.len(),
            keys = unknown.join(","),
            "settings unknown to this version are ignored"
        );
    }
    let (tasks, health, metrics) = (TaskSet::new(), Health::new(), Metrics::new(NodeId(1)));
    let around = Surroundings {
        clock: RealClock::new(),
        rng: SeededRng::from_system(),
        tasks: tasks.clone(),
        health: health.clone(),
        metrics: Arc::clone(&metrics),
        sources: Arc::new(move || Ok(assembly::load(&flags, std::env::vars())?.settings)),
    };
    let started = tokio::select! {
        started = assembly::run(role, &settings, around) => started.context("the node did not start")?,
        signal = told_to_stop() => {
            signal?;
            info!("told to stop before the start was complete");
            return Ok(());
        }
    };
    let stopping = tasks.clone();
    tasks.start("wait for a signal", |stop| async move {
        tokio::select! {
            () = stop.cancelled() => {}
            signal = told_to_stop() => {
                signal?;
                info!("told to stop");
                tokio::select! {
                    () = started.hand_over() => {}
                    // A second signal means now.
                    again = told_to_stop() => again?,
                }
                stopping.stop();
            }
        }
        Ok(())
    });
    tasks.join().await?;
    info!("stopped");
    Ok(())
}

async fn told_to_stop() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::ctl_page;

    #[test]
    fn every_command_of_ctl_is_on_the_page_that_is_kept() {
        assert_eq!(ctl_page(), include_str!("../../config/ctl.md"), "run make gen");
    }
}
