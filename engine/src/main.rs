//! The engine's process: arguments to assembly.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use contract::role::Role;
use engine::assembly::{self, Flags, Surroundings};
use engine::base::{NodeId, RealClock, SeededRng, TaskSet, chain};
use engine::ctl;
use engine::obs::{Health, Lines, Metrics, TraceSettings};
use tracing::{info, warn};

/// Loads and flushes come in waves, on threads that then wait. Allocators that give back only what the thread itself frees,
/// or frees next, keep what they needed at their highest, and the kernel kills a process with little memory for it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
    /// Looks into a running Redkite and changes how it runs; makes catalogs anew and moves them while nothing runs.
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
    /// Makes the metadata of a cluster anew from its bucket, after it was lost. All processes must be stopped. Asks none, so
    /// it needs no address and no credentials of the admin API.
    Rebuild(Rebuild),
    /// Moves the data directory of a standalone to the bucket and the metadata store that the settings name. Asks no
    /// process either.
    Move(Move),
}

#[derive(clap::Args)]
struct Rebuild {
    /// File of settings; later ones win over earlier ones. They name the bucket and the empty metadata store.
    #[arg(long = "config", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Data directory of a standalone whose metadata file was lost.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Move {
    /// The data directory. It may be served while most is copied; then it has to be stopped.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// File of settings; later ones win over earlier ones. They name the bucket and metadata store to move to.
    #[arg(long = "config", value_name = "FILE")]
    files: Vec<PathBuf>,
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
        Command::Run(run) => return Ok(run_role(run).await),
        Command::Ctl(ctl) => return Ok(operate(*ctl).await),
        Command::Settings => print(&contract::settings::markdown(assembly::default_of)),
        Command::CtlReference => print(&ctl_page()),
    }
    Ok(ExitCode::SUCCESS)
}

async fn operate(ctl: Ctl) -> ExitCode {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let done = match ctl.command {
        CtlCommand::Ask(command) => return ctl::run(ctl.flags, command, &mut out, &mut err).await.into(),
        CtlCommand::Rebuild(rebuild) => rebuild_catalog(rebuild, &mut out).await,
        CtlCommand::Move(moved) => move_directory(moved, &mut out).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to be told if this cannot be written either.
            let _ = writeln!(err, "redkite ctl: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn rebuild_catalog(rebuild: Rebuild, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let role = if rebuild.data_dir.is_some() { Role::Standalone } else { Role::Coordinator };
    let flags = Flags { files: rebuild.files, data_dir: rebuild.data_dir, ..Flags::default() };
    let assembly::Loaded { settings, .. } = assembly::load(&flags, std::env::vars())?;
    let (clock, rng, tasks) = (RealClock::new(), SeededRng::from_system(), TaskSet::new());
    let metrics = Metrics::new(NodeId(0));
    let made = assembly::rebuild_catalog(role, &settings, clock, rng, &metrics, &tasks).await;
    let made = made.context("the catalog was not made anew")?;
    writeln!(out, "{made}").context("cannot write the answer")
}

async fn move_directory(moved: Move, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let flags = Flags { files: moved.files, ..Flags::default() };
    let assembly::Loaded { settings, .. } = assembly::load(&flags, std::env::vars())?;
    let (clock, rng) = (RealClock::new(), SeededRng::from_system());
    let source = assembly::Idle::new(&moved.from, Arc::clone(&clock) as _, Arc::clone(&rng) as _);
    let parts = assembly::MoveParts {
        from: &moved.from,
        source: &source,
        settings: &settings,
        pause: Duration::from_secs(10),
        clock,
        rng,
    };
    let done = assembly::move_directory(&parts, out).await;
    let done = done.context("the directory was not moved")?;
    writeln!(out, "{done}").context("cannot write the answer")
}

fn ctl_page() -> String {
    ctl::markdown(<Ctl as clap::Args>::augment_args(clap::Command::new("redkite ctl")))
}

#[expect(clippy::print_stdout, reason = "the page is the command's output")]
fn print(page: &str) {
    print!("{page}");
}

/// Runs a role, and says in the format of its log lines why it does not run any more, if that was not wanted.
async fn run_role(run: Run) -> ExitCode {
    // First of all: as the first process of a container it would not even be ended by a signal that nobody waits for.
    let told = Told::wait();
    let clock = RealClock::new();
    // Until all settings are read, what the environment says has to do.
    let settings = assembly::load(&Flags::default(), std::env::vars())
        .map(|loaded| assembly::trace_settings(Role::Standalone, &loaded.settings));
    let mut lines = Lines::unstarted(&settings.unwrap_or_else(|_| TraceSettings::default()), clock);
    let done = match told {
        Ok(told) => start(run, told, &mut lines).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let causes = error.chain().skip(1).map(ToString::to_string);
            lines.fatal(&error.to_string(), &causes.collect::<Vec<_>>().join(": "));
            ExitCode::FAILURE
        }
    }
}

async fn start(run: Run, mut told: Told, lines: &mut Lines) -> anyhow::Result<()> {
    let role = Role::from_name(&run.role).with_context(|| format!("there is no role {}", run.role))?;
    let flags = Flags {
        files: run.files,
        data_dir: run.data_dir,
        listen: run.listen,
        metrics_listen: run.metrics_listen,
        internal_listen: run.internal_listen,
    };
    let assembly::Loaded { settings, unknown } = assembly::load(&flags, std::env::vars())?;
    let trace = assembly::trace_settings(role, &settings);
    *lines = Lines::unstarted(&trace, RealClock::new());
    *lines = Lines::start(&trace, RealClock::new())?;
    if !unknown.is_empty() {
        warn!(
            count = unknown.len(),
            keys = unknown.join(","),
            "settings unknown to this version are ignored"
        );
    }
    let (tasks, health, metrics) = (TaskSet::new(), Health::new(), Metrics::new(NodeId(0)));
    let mut reopens = reopens()?;
    let reopened = lines.clone();
    tasks.start("reopen log files", |stop| async move {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                Some(()) = reopens.recv() => match reopened.reopen() {
                    Ok(()) => info!("log files are opened anew"),
                    Err(error) => warn!(error = chain(&error), "log lines go on into the old file"),
                },
            }
        }
        Ok(())
    });
    let around = Surroundings {
        clock: RealClock::new(),
        rng: SeededRng::from_system(),
        tasks: tasks.clone(),
        health: health.clone(),
        metrics: Arc::clone(&metrics),
        sources: Arc::new(move || Ok(assembly::load(&flags, std::env::vars())?.settings)),
        lines: lines.clone(),
    };
    let started = tokio::select! {
        started = assembly::run(role, &settings, around) => started.context("the node did not start")?,
        () = told.asked() => {
            info!("told to stop before the start was complete");
            return Ok(());
        }
    };
    let stopping = tasks.clone();
    tasks.start("wait for a signal", |stop| async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = async {
                tokio::select! {
                    () = told.asked() => info!("told to stop"),
                    () = started.asked_to_stop.cancelled() => info!("an administrator asks this process to stop"),
                }
            } => {
                tokio::select! {
                    () = started.hand_over() => {}
                    // A second signal means now.
                    () = told.asked() => {}
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

/// What tools that rename log files send: SIGUSR1. It would end the process if nobody waited for it.
fn reopens() -> anyhow::Result<tokio::signal::unix::Signal> {
    use tokio::signal::unix::{SignalKind, signal};
    signal(SignalKind::user_defined1()).context("cannot wait for SIGUSR1")
}

/// SIGTERM and SIGINT, from when the process began: each is heard of once, whether or not somebody waits at that moment.
struct Told {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Told {
    fn wait() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
        })
    }

    /// Until the process is told to stop, or was since the last time. Cancel safe.
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ctl_page;

    #[test]
    fn every_command_of_ctl_is_on_the_page_that_is_kept() {
        assert_eq!(ctl_page(), include_str!("../../config/ctl.md"), "run make gen");
    }
}
