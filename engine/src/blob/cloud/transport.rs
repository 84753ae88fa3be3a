//! The HTTP client below Google's and Azure's protocols: time limits, repeated attempts within a budget, and
//! failures that keep their status.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use parking_lot::Mutex;

use crate::base::{Clock, Rng};
use crate::blob::{Error, trust};

use super::settings::CloudSettings;

/// Longest pause before the second attempt; it doubles with each one. Unit: ms.
const FIRST_PAUSE_MS: u64 = 20;
/// Longest pause at all. Unit: ms.
const LONGEST_PAUSE_MS: u64 = 5_000;
/// What a body has to travel at; longer ones get more time. Unit: bytes per second.
const SLOWEST_BYTES_PER_SECOND: u64 = 4 << 20;
/// Repetitions that may be had at once.
const BUDGET_REPEATS: u64 = 100;
/// Requests that have to succeed for one more repetition.
const SUCCESSES_PER_REPEAT: u64 = 5;

/// Longest text of an answer that is kept. Unit: characters.
const MAX_TEXT_CHARS: usize = 300;

/// Every answer but success. The library above hides the status of some of them, so none gets there as an answer. The
/// text is the server's, cut off.
#[derive(Debug, thiserror::Error)]
#[error("status {status}: {text}")]
pub(super) struct Refused {
    pub status: u16,
    pub text: String,
}

/// An attempt that took too long.
#[derive(Debug, thiserror::Error)]
#[error("no whole answer after {after_ms} ms")]
struct TooSlow {
    after_ms: u64,
}

/// How many repetitions are left: one for every five requests that succeed, at most a hundred. When a store fails for
/// long, a client so sends hardly more requests than when it works.
#[derive(Debug)]
struct Budget(Mutex<u64>);

impl Budget {
    const FULL: u64 = BUDGET_REPEATS * SUCCESSES_PER_REPEAT;

    fn new() -> Self {
        Self(Mutex::new(Self::FULL))
    }

    fn earn(&self) {
        let mut left = self.0.lock();
        *left = Self::FULL.min(*left + 1);
    }

    fn spend(&self) -> bool {
        let mut left = self.0.lock();
        let after = left.checked_sub(SUCCESSES_PER_REPEAT);
        *left = after.unwrap_or(*left);
        after.is_some()
    }
}

/// The time that goes with a body of that length, besides what is set. Unit: ms.
pub(super) fn extra_ms(body_bytes: u64) -> u64 {
    body_bytes.saturating_mul(1000) / SLOWEST_BYTES_PER_SECOND
}

/// Sends requests. Cloning shares connections and budget.
#[derive(Clone)]
pub(super) struct Transport {
    client: reqwest::Client,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    budget: Arc<Budget>,
    attempts: u32,
    attempt_timeout_ms: u64,
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Transport").field("attempts", &self.attempts).finish_non_exhaustive()
    }
}

impl Transport {
    /// A client with the certificates and time limits of `settings`. Does not connect yet.
    pub fn new(settings: &CloudSettings, clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Result<Self, Error> {
        let mut tls = trust::client_config(settings.ca_pem.as_deref())?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(Duration::from_millis(settings.connect_timeout_ms))
            .redirect(reqwest::redirect::Policy::none())
            // What the environment says about proxies is nobody's setting here.
            .no_proxy()
            .user_agent(concat!("redkite/", env!("CARGO_PKG_VERSION")))
            .build();
        let client =
            client.map_err(|error| Error::BadSetting { setting: "ca_pem", why: error.to_string() })?;
        let attempts = settings.attempts.max(1);
        let attempt_timeout_ms = settings.attempt_timeout_ms;
        Ok(Self { client, clock, rng, budget: Arc::new(Budget::new()), attempts, attempt_timeout_ms })
    }

    /// One attempt with its whole body, so that a body that breaks off is asked for again, too.
    async fn attempt(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let after_ms =
            self.attempt_timeout_ms.saturating_add(extra_ms(request.body().content_length() as u64));
        let whole = async {
            let (head, body) = self.client.call(request).await?.into_parts();
            let body = body.bytes().await?;
            Ok::<_, HttpError>((head, body))
        };
        let (head, body) = tokio::select! {
            whole = whole => whole?,
            () = self.clock.sleep(Duration::from_millis(after_ms)) => {
                return Err(HttpError::new(HttpErrorKind::Timeout, TooSlow { after_ms }));
            }
        };
        if head.status.is_success() {
            return Ok(HttpResponse::from_parts(head, body.into()));
        }
        // Azure has the code in a header, too; that of a HEAD stands nowhere else.
        let code =
            head.headers.get("x-ms-error-code").and_then(|code| code.to_str().ok()).unwrap_or_default();
        let body = String::from_utf8_lossy(&body);
        let text = [code, &*body].join(" ").trim().chars().take(MAX_TEXT_CHARS).collect();
        let refused = Refused { status: head.status.as_u16(), text };
        Err(HttpError::new(HttpErrorKind::Unknown, refused))
    }

    /// The pause after so many attempts: drawn between nothing and a bound that doubles, so that clients that failed
    /// together do not come back together.
    fn pause(&self, attempts: u32) -> Duration {
        let bound = FIRST_PAUSE_MS.saturating_mul(1 << (attempts - 1).min(10)).min(LONGEST_PAUSE_MS);
        Duration::from_millis(self.rng.below(bound + 1))
    }
}

/// Whether the same request may get another answer. Every request of this room may be repeated: creates know their own
/// object again, and deletes end the same.
fn may_pass(error: &HttpError) -> bool {
    match find::<Refused>(error) {
        Some(refused) => matches!(refused.status, 408 | 429 | 500 | 502..=504),
        None => true,
    }
}

/// The cause of that type.
pub(super) fn find<'error, T: std::error::Error + 'static>(
    error: &'error (dyn std::error::Error + 'static),
) -> Option<&'error T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

#[async_trait]
impl HttpService for Transport {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        for attempts in 1.. {
            match self.attempt(request.clone()).await {
                Ok(response) => {
                    self.budget.earn();
                    return Ok(response);
                }
                Err(error) if attempts >= self.attempts || !may_pass(&error) || !self.budget.spend() => {
                    return Err(error);
                }
                Err(_) => self.clock.sleep(self.pause(attempts)).await,
            }
        }
        Err(HttpError::new(HttpErrorKind::Unknown, TooSlow { after_ms: 0 }))
    }
}

impl HttpConnector for Transport {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_and_earned_back_slowly() {
        let budget = Budget::new();

        let spent = (0..200).filter(|_| budget.spend()).count();
        (0..9).for_each(|_| budget.earn());

        assert_eq!(spent, 100);
        assert!(budget.spend());
        assert!(!budget.spend());
    }

    #[test]
    fn answers_that_may_pass_are_repeated() {
        let may = |status| {
            may_pass(&HttpError::new(HttpErrorKind::Unknown, Refused { status, text: String::new() }))
        };
        assert!([408, 429, 500, 502, 503, 504].into_iter().all(may));
        assert!(![400, 405, 416, 501, 507].into_iter().any(may));
        assert!(may_pass(&HttpError::new(HttpErrorKind::Connect, TooSlow { after_ms: 1 })));
    }
}
