//! Supervised tasks: every long-lived future has a name, a stop token and someone who waits for it.

use std::future::Future;
use std::sync::Arc;
use std::task::Poll;

use parking_lot::Mutex;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// Why a set of tasks ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A task returned an error.
    #[error("the task {name} failed")]
    Failed {
        /// The task's name.
        name: &'static str,
        /// What it reported.
        #[source]
        source: anyhow::Error,
    },
    /// A task ended by a defect.
    #[error("the task {name} broke off: {cause}")]
    Broke {
        /// The task's name.
        name: &'static str,
        /// What the runtime said.
        cause: String,
    },
}

/// Does `work` that keeps a processor busy for long on a thread of its own, so that others get on meanwhile.
///
/// On a runtime that has one thread only it is done at once and in place: nothing then depends on which thread is faster,
/// and a simulation takes the same course each time.
///
/// # Errors
/// [`TaskError::Broke`] if it ended by a defect.
pub async fn heavy<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, TaskError> {
    let broke = |cause| TaskError::Broke { name, cause };
    if tokio::runtime::Handle::current().runtime_flavor() == tokio::runtime::RuntimeFlavor::CurrentThread {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        return done.map_err(|_| broke("it panicked".to_owned()));
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| broke(error.to_string()))
}

type Outcome = (&'static str, anyhow::Result<()>);

/// What of a set has not been waited for.
#[derive(Default)]
struct Running {
    tasks: JoinSet<Outcome>,
    /// The first failure among those that were let go of, until somebody is told.
    failure: Option<TaskError>,
}

impl Running {
    /// Lets go of tasks that have ended: while nobody waits for the set, each would stay.
    fn reap(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            self.failure = self.failure.take().or_else(|| failure_of(ended));
        }
    }
}

fn failure_of(ended: Result<Outcome, JoinError>) -> Option<TaskError> {
    match ended {
        Ok((_, Ok(()))) => None,
        Ok((name, Err(source))) => Some(TaskError::Failed { name, source }),
        Err(broken) => Some(TaskError::Broke { name: "unnamed", cause: broken.to_string() }),
    }
}

/// The long-lived futures of one process or of one duty. The first failure stops the rest.
///
/// Cloning shares the set. Dropping the last clone aborts what still runs. Of a task that has ended only a failure is kept
/// once the next one starts, whether anybody waits for the set or not.
#[derive(Clone)]
pub struct TaskSet {
    running: Arc<Mutex<Running>>,
    stop: CancellationToken,
}

impl Default for TaskSet {
    fn default() -> Self {
        Self::new()
    }
}

impl TaskSet {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self { running: Arc::default(), stop: CancellationToken::new() }
    }

    /// The token that tells every task of this set to stop.
    #[must_use]
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts `work` under `name`; it should end soon after its token is cancelled. Call it inside a runtime.
    pub fn start<F, W>(&self, name: &'static str, work: F)
    where
        F: FnOnce(CancellationToken) -> W,
        W: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let future = work(self.stop.clone());
        let mut running = self.running.lock();
        running.reap();
        running.tasks.spawn(async move { (name, future.await) });
    }

    /// Tells every task to stop; [`Self::join`] waits for that.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Ends every task where it waits, as the end of the process would.
    pub fn abort(&self) {
        self.running.lock().tasks.abort_all();
    }

    /// Waits until all tasks have ended. The first failure stops the others and is returned once they have ended.
    ///
    /// # Errors
    /// [`TaskError`] of the first task that failed. Cancel safe: a later call goes on waiting.
    pub async fn join(&self) -> Result<(), TaskError> {
        let mut first_failure = None;
        while let Some(failure) = self.next_ended().await {
            if failure.is_some() {
                self.stop.cancel();
                first_failure = first_failure.or(failure);
            }
        }
        first_failure.map_or(Ok(()), Err)
    }

    /// How the next task ended, `None` when none is left. Polls under the lock and never holds it across a wait.
    async fn next_ended(&self) -> Option<Option<TaskError>> {
        std::future::poll_fn(|context| {
            let mut running = self.running.lock();
            // Whoever waits was woken by a task that may have been let go of since.
            if let Some(failure) = running.failure.take() {
                return Poll::Ready(Some(Some(failure)));
            }
            running.tasks.poll_join_next(context).map(|ended| ended.map(failure_of))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{TaskError, TaskSet, heavy};

    #[tokio::test]
    async fn heavy_work_on_a_runtime_of_one_thread_is_done_in_place_and_its_defects_are_told() {
        let here = std::thread::current().id();

        let there = heavy("look", || std::thread::current().id()).await.unwrap();
        let broken = heavy("break", || panic!("a defect")).await;

        assert_eq!(there, here);
        assert!(matches!(broken, Err::<(), _>(TaskError::Broke { name: "break", .. })));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn heavy_work_leaves_the_threads_that_serve() {
        let served = std::thread::current().id();

        let there = heavy("look", || std::thread::current().id()).await.unwrap();

        assert_ne!(there, served);
    }

    #[tokio::test]
    async fn a_set_that_nobody_waits_for_keeps_nothing_of_tasks_that_have_ended() {
        let tasks = TaskSet::new();
        for _ in 0..100 {
            let (held, ended) = tokio::sync::oneshot::channel::<()>();
            tasks.start("end", |_| async move {
                drop(held);
                Ok(())
            });
            drop(ended.await);
        }

        assert_eq!(tasks.running.lock().tasks.len(), 1, "the last one, until another starts");
        tasks.join().await.unwrap();
    }

    #[tokio::test]
    async fn a_failure_that_nobody_waited_for_is_told_although_others_have_started_since() {
        let tasks = TaskSet::new();
        for name in ["the first", "the second"] {
            tasks.start(name, |_| async { Err(anyhow::anyhow!("it failed")) });
            tokio::task::yield_now().await;
        }
        tasks.start("wait to be stopped", |stop| async move {
            stop.cancelled().await;
            Ok(())
        });

        assert_eq!(tasks.running.lock().tasks.len(), 1, "both that failed are let go of");
        let ended = tasks.join().await;

        assert!(matches!(ended, Err(TaskError::Failed { name: "the first", .. })), "{ended:?}");
    }

    #[tokio::test]
    async fn an_aborted_set_ends_where_it_waits() {
        let (tasks, shared) = (TaskSet::new(), Arc::new(()));
        let held = Arc::clone(&shared);
        tasks.start("wait for ever", |_| async move {
            std::future::pending::<()>().await;
            drop(held);
            Ok(())
        });
        tokio::task::yield_now().await;

        tasks.abort();
        drop(tasks.join().await);

        assert_eq!(Arc::strong_count(&shared), 1);
    }
}
