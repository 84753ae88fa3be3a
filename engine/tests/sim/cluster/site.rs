//! One machine of the simulated cluster: its clock, whether it is stopped, and the process that runs on it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use contract::role::Role;
use engine::agent::Agent;
use engine::assembly::Door;
use engine::base::{Clock, TaskSet};
use engine::rpc::Served;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// Whether a machine's processes run. While it is closed nothing comes in, goes out or wakes up: the process is stopped, and
/// the world goes on.
#[derive(Debug)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(true)))
    }

    /// Completes once the process runs.
    pub async fn open(&self) {
        if !*self.0.borrow() {
            // The sender lives as long as this gate.
            let _ = self.0.subscribe().wait_for(|open| *open).await;
        }
    }

    pub fn is_open(&self) -> bool {
        *self.0.borrow()
    }

    pub fn set(&self, open: bool) {
        self.0.send_replace(open);
    }
}

/// How a machine's clocks are wrong. Lives as long as the machine.
#[derive(Debug, Default)]
pub struct Error {
    /// The wall clock is ahead by this. Unit: ms.
    pub ahead_ms: AtomicI64,
    /// Both clocks run too fast. Unit: millionths.
    pub fast_ppm: AtomicI64,
}

/// The clock of one process: the monotonic one begins with the process.
pub struct SiteClock {
    began: tokio::time::Instant,
    /// The true wall time when the process began. Unit: ms.
    began_at_ms: u64,
    error: Arc<Error>,
    fast_ppm: i64,
    gate: Arc<Gate>,
    /// Every reading moves the clock by a microsecond, so that who waits for time to pass sees it pass.
    readings: AtomicU64,
}

impl SiteClock {
    fn elapsed(&self) -> Duration {
        let truly = self.began.elapsed().as_nanos() as i128;
        let shown = truly + truly * i128::from(self.fast_ppm) / 1_000_000;
        let readings = self.readings.fetch_add(1, Ordering::Relaxed);
        Duration::from_nanos(shown as u64) + Duration::from_micros(readings)
    }
}

#[async_trait]
impl Clock for SiteClock {
    fn unix_ms(&self) -> u64 {
        let ahead = self.error.ahead_ms.load(Ordering::Relaxed);
        (self.began_at_ms + self.elapsed().as_millis() as u64).saturating_add_signed(ahead)
    }

    fn monotonic(&self) -> Duration {
        self.elapsed()
    }

    /// What computing costs is not simulated, and would differ from run to run.
    fn thread_cpu(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep(&self, span: Duration) {
        let span = span.min(Duration::from_secs(100_000_000));
        let truly = span.as_nanos() as i128 * 1_000_000 / (1_000_000 + i128::from(self.fast_ppm));
        tokio::time::sleep(Duration::from_nanos(truly as u64)).await;
        self.gate.open().await;
    }
}

/// A running process.
pub struct Life {
    /// Counts the processes of the machine.
    pub number: u64,
    pub tasks: TaskSet,
    pub clock: Arc<SiteClock>,
    /// Calls that it serves.
    calls: Mutex<JoinSet<()>>,
    pub served: Mutex<Option<Served>>,
    pub door: Mutex<Option<Door>>,
    pub agent: Mutex<Option<Arc<Agent>>>,
}

impl Life {
    /// Runs a call in this process; it ends with it.
    pub fn serve(&self, call: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut calls = self.calls.lock();
        while calls.try_join_next().is_some() {}
        calls.spawn(call)
    }
}

/// One machine.
pub struct Site {
    /// Its place among the machines.
    pub number: usize,
    pub address: String,
    pub role: Role,
    pub gate: Arc<Gate>,
    pub error: Arc<Error>,
    life: Mutex<(u64, Option<Arc<Life>>)>,
}

impl Site {
    pub fn new(number: usize, role: Role) -> Self {
        let address = format!("{}-{number}", role.name());
        let life = Mutex::new((0, None));
        Self { number, address, role, gate: Gate::new(), error: Arc::default(), life }
    }

    /// The process that runs, if one does.
    pub fn life(&self) -> Option<Arc<Life>> {
        self.life.lock().1.clone()
    }

    /// A new process, without anything in it yet.
    pub fn begin(&self, true_unix_ms: u64) -> Arc<Life> {
        let mut life = self.life.lock();
        life.0 += 1;
        let clock = Arc::new(SiteClock {
            began: tokio::time::Instant::now(),
            began_at_ms: true_unix_ms,
            error: Arc::clone(&self.error),
            fast_ppm: self.error.fast_ppm.load(Ordering::Relaxed),
            gate: Arc::clone(&self.gate),
            readings: AtomicU64::new(0),
        });
        let begun = Arc::new(Life {
            number: life.0,
            tasks: TaskSet::new(),
            clock,
            calls: Mutex::default(),
            served: Mutex::default(),
            door: Mutex::default(),
            agent: Mutex::default(),
        });
        life.1 = Some(Arc::clone(&begun));
        begun
    }

    /// Ends the process where it stands; whether there was one.
    pub fn kill(&self) -> bool {
        let Some(life) = self.life.lock().1.take() else { return false };
        life.tasks.abort();
        life.calls.lock().abort_all();
        life.served.lock().take();
        life.door.lock().take();
        life.agent.lock().take();
        self.gate.set(true);
        true
    }
}
