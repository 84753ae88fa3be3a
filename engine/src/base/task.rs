//! Supervised tasks: every long-lived future has a name, a stop token and someone who waits for it.

use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::JoinSet;
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

/// The long-lived futures of one process or of one duty. The first failure stops the rest.
///
/// Cloning shares the set. Dropping the last clone aborts what still runs.
#[derive(Clone)]
pub struct TaskSet {
    running: Arc<Mutex<JoinSet<Outcome>>>,
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
        Self { running: Arc::new(Mutex::new(JoinSet::new())), stop: CancellationToken::new() }
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
        self.running.lock().spawn(async move { (name, future.await) });
    }

    /// Tells every task to stop; [`Self::join`] waits for that.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Ends every task where it waits, as the end of the process would.
    pub fn abort(&self) {
        self.running.lock().abort_all();
    }

    /// Waits until all tasks have ended. The first failure stops the others and is returned once they have ended.
    ///
    /// # Errors
    /// [`TaskError`] of the first task that failed. Cancel safe: a later call goes on waiting.
    pub async fn join(&self) -> Result<(), TaskError> {
        let mut first_failure = None;
        while let Some(ended) = self.next_ended().await {
            let failure = match ended {
                Ok((_, Ok(()))) => None,
                Ok((name, Err(source))) => Some(TaskError::Failed { name, source }),
                Err(broken) => Some(TaskError::Broke { name: "unnamed", cause: broken.to_string() }),
            };
            if failure.is_some() {
                self.stop.cancel();
                first_failure = first_failure.or(failure);
            }
        }
        first_failure.map_or(Ok(()), Err)
    }

    /// The next task to end, `None` when none is left. Polls under the lock and never holds it across a wait.
    async fn next_ended(&self) -> Option<Result<Outcome, tokio::task::JoinError>> {
        std::future::poll_fn(|context| self.running.lock().poll_join_next(context)).await
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
