//! A standalone in this process, and `redkite ctl` asking it.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser as _;
use contract::role::Role;
use contract::settings::Settings;
use engine::assembly::{self, Surroundings};
use engine::base::{NodeId, RealClock, SeededRng, TaskSet};
use engine::ctl;
use engine::obs::{Health, Lines, Metrics, TraceSettings};
use serde_json::Value;
use tempfile::TempDir;

/// A standalone on ports of its own, with its data in a folder that goes with it.
pub struct Standalone {
    pub clients: String,
    pub inside: String,
    pub folder: TempDir,
    pub metrics: Arc<Metrics>,
    tasks: TaskSet,
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    flags: ctl::Flags,
    #[command(subcommand)]
    command: ctl::Command,
}

/// What a command came to.
pub struct Answered {
    pub code: u8,
    pub out: String,
    pub err: String,
}

impl Answered {
    pub fn ok_lines(self) -> Vec<String> {
        assert_eq!((self.code, self.err.as_str()), (0, ""));
        self.out.lines().map(str::to_owned).collect()
    }
}

/// What a command comes to that is asked at `address`, unless it names another one.
pub async fn ctl_at(address: &str, command: &str) -> Answered {
    let words: Vec<&str> = command.split_whitespace().collect();
    let mut line = vec!["ctl"];
    if !words.contains(&"--address") {
        line.extend(["--address", address]);
    }
    line.extend(words);
    let Line { flags, command } = Line::try_parse_from(line).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = ctl::run(flags, command, &mut out, &mut err).await;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Answered { code, out: text(out), err: text(err) }
}

impl Standalone {
    pub async fn start(change: impl FnOnce(&mut Settings, &std::path::Path)) -> Self {
        let folder = TempDir::new().unwrap();
        let mut settings = Settings::default();
        settings.local_storage.path = folder.path().join("data").to_str().unwrap().to_owned();
        settings.proxy.listen = "127.0.0.1:0".to_owned();
        settings.redkite.metrics_listen = "127.0.0.1:0".to_owned();
        settings.redkite.internal_listen = "127.0.0.1:0".to_owned();
        change(&mut settings, folder.path());
        let (tasks, metrics) = (TaskSet::new(), Metrics::new(NodeId(0)));
        let same = settings.clone();
        let around = Surroundings {
            clock: RealClock::new(),
            rng: SeededRng::new(1),
            tasks: tasks.clone(),
            health: Health::new(),
            metrics: Arc::clone(&metrics),
            sources: Arc::new(move || Ok(same.clone())),
            lines: Lines::unstarted(&TraceSettings::default(), RealClock::new()),
        };
        let running = assembly::run(Role::Standalone, &settings, around).await.unwrap();
        let (clients, inside) = (running.clients.unwrap().to_string(), running.inside.unwrap().to_string());
        let standalone = Self { clients, inside, folder, metrics, tasks };
        // It serves clients before the coordinator has heard of its only node.
        for _ in 0..1_000 {
            if standalone.is_there().await {
                return standalone;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the node did not join");
    }

    async fn is_there(&self) -> bool {
        let answer = self.ctl("process -o json").await;
        let ready = serde_json::from_str(&answer.out).is_ok_and(|shown: Value| shown["ready"] == true);
        // With credentials in force only the port can be seen from here.
        ready || answer.code == 4
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub async fn ctl(&self, command: &str) -> Answered {
        ctl_at(&self.inside, command).await
    }

    /// What a command answers once that is as `check` wants it.
    pub async fn ctl_until(&self, command: &str, check: impl Fn(&Value) -> bool) -> Value {
        let mut answer = self.ctl_json(command).await;
        for _ in 0..2_000 {
            if check(&answer) {
                return answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            answer = self.ctl_json(command).await;
        }
        panic!("{command}: {answer}");
    }

    pub async fn ctl_json(&self, command: &str) -> Value {
        let answer = self.ctl(&format!("{command} -o json")).await;
        assert_eq!((answer.code, answer.err.as_str()), (0, ""), "{command}");
        serde_json::from_str(&answer.out).unwrap()
    }

    pub async fn stop(self) {
        self.tasks.stop();
        self.tasks.join().await.unwrap();
    }
}
