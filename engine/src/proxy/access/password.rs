//! Passwords: hashed slowly when they are set and when one is seen first, compared in constant time after that; and who
//! guesses is held up.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;

use crate::base::Clock;
use crate::model::access::PasswordHash;
use crate::proxy::Error;

/// Hashes computed at once: each takes a processor for some tens of milliseconds.
const AT_ONCE: usize = 2;
/// Failed logins of one user from one address, after which more are refused unseen.
const FAILURES: u32 = 10;
/// For how long.
const HELD_UP: Duration = Duration::from_secs(60);
/// Addresses and users that are remembered for their failures.
const REMEMBERED: usize = 10_000;
/// A hash that no password has. Comparing with it takes as long as with a real one, so that nobody learns who exists.
const NOBODY: &str = "$2b$10$.....................................................";

/// What a password is compared with.
pub enum Stored<'a> {
    /// The hash that the user set.
    Hash(&'a PasswordHash),
    /// Text in the settings.
    Text(&'a str),
    /// There is no such user.
    Nobody,
}

/// A password that was seen to be right.
struct Verified {
    hash: PasswordHash,
    tag: hmac::Tag,
}

/// Failed logins of late.
#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    since: Duration,
}

/// Compares passwords.
pub struct Passwords {
    cost: u32,
    clock: Arc<dyn Clock>,
    /// Made at the start and never shown: what is remembered of a password is of no use without it.
    key: Option<hmac::Key>,
    verified: Mutex<HashMap<String, Verified>>,
    failed: Mutex<HashMap<(Option<IpAddr>, String), Failures>>,
    hashing: Arc<Semaphore>,
}

impl Passwords {
    /// Compares with hashes that are made at `cost`: each step doubles their time.
    #[must_use]
    pub fn new(cost: u32, clock: Arc<dyn Clock>) -> Self {
        Self {
            cost,
            clock,
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok(),
            verified: Mutex::default(),
            failed: Mutex::default(),
            hashing: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// The hash of a password. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Hash`] if it cannot be made.
    pub async fn hash(&self, password: &str) -> Result<PasswordHash, Error> {
        let (password, cost) = (password.to_owned(), self.cost);
        let made = self.slowly(move || bcrypt::hash(password, cost)).await;
        match made {
            Some(Ok(text)) => Ok(PasswordHash::new(text)),
            Some(Err(error)) => Err(Error::Hash { reason: error.to_string() }),
            None => Err(Error::Hash { reason: "the work was broken off".to_owned() }),
        }
    }

    /// Whether `password` is the one of `user`. One that was right before is known again at once; others are hashed, unless
    /// the user failed too often from this address. Cancel safe.
    pub async fn is_right(
        &self,
        user: &str,
        password: &str,
        stored: Stored<'_>,
        from: Option<IpAddr>,
    ) -> bool {
        if let Stored::Hash(hash) = &stored
            && self.is_known(user, password, hash)
        {
            return true;
        }
        let place = (from, user.to_owned());
        if self.is_held_up(&place) {
            return false;
        }
        let right = match stored {
            Stored::Hash(hash) => {
                let right = self.matches(password, hash.reveal()).await;
                if right {
                    self.remember(user, password, hash);
                }
                right
            }
            Stored::Text(text) => self.is_same(password, text),
            Stored::Nobody => {
                self.matches(password, NOBODY).await;
                false
            }
        };
        if right {
            self.failed.lock().remove(&place);
        } else {
            self.note_failure(place);
        }
        right
    }

    async fn matches(&self, password: &str, hash: &str) -> bool {
        let (password, hash) = (password.to_owned(), hash.to_owned());
        let compared = self.slowly(move || bcrypt::verify(password, &hash)).await;
        matches!(compared, Some(Ok(true)))
    }

    /// Whether two texts are the same, in a time that does not tell where they differ.
    fn is_same(&self, one: &str, other: &str) -> bool {
        let Some(key) = &self.key else { return false };
        hmac::verify(key, one.as_bytes(), hmac::sign(key, other.as_bytes()).as_ref()).is_ok()
    }

    fn is_known(&self, user: &str, password: &str, hash: &PasswordHash) -> bool {
        let Some(key) = &self.key else { return false };
        let known = self.verified.lock().get(user).filter(|known| known.hash == *hash).map(|known| known.tag);
        known.is_some_and(|tag| hmac::verify(key, password.as_bytes(), tag.as_ref()).is_ok())
    }

    fn remember(&self, user: &str, password: &str, hash: &PasswordHash) {
        let Some(key) = &self.key else { return };
        let verified = Verified { hash: hash.clone(), tag: hmac::sign(key, password.as_bytes()) };
        // Only of users that exist, of which there are not many; those that were dropped may stay.
        self.verified.lock().insert(user.to_owned(), verified);
    }

    fn is_held_up(&self, place: &(Option<IpAddr>, String)) -> bool {
        let now = self.clock.monotonic();
        let failed = self.failed.lock();
        failed
            .get(place)
            .is_some_and(|past| past.count >= FAILURES && now.saturating_sub(past.since) < HELD_UP)
    }

    fn note_failure(&self, place: (Option<IpAddr>, String)) {
        let now = self.clock.monotonic();
        let mut failed = self.failed.lock();
        if failed.len() >= REMEMBERED {
            failed.retain(|_, past| now.saturating_sub(past.since) < HELD_UP);
        }
        if failed.len() >= REMEMBERED {
            failed.clear();
        }
        let past = failed.entry(place).or_insert(Failures { count: 0, since: now });
        if now.saturating_sub(past.since) >= HELD_UP {
            *past = Failures { count: 0, since: now };
        }
        past.count += 1;
    }

    /// Does what takes long on a thread that may, a few at a time. Who goes away meanwhile keeps the turn until it is done.
    async fn slowly<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let turn = Arc::clone(&self.hashing).acquire_owned().await.ok()?;
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        done.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::TestClock;

    /// As cheap as the library allows.
    const COST: u32 = 4;

    async fn is_right(passwords: &Passwords, password: &str, hash: &PasswordHash) -> bool {
        passwords.is_right("ann", password, Stored::Hash(hash), None).await
    }

    #[tokio::test]
    async fn a_password_is_right_or_wrong_however_often_it_is_asked() {
        let passwords = Passwords::new(COST, TestClock::starting_at(1));
        let hash = passwords.hash("secret-1").await.unwrap();

        for _ in 0..2 {
            assert!(is_right(&passwords, "secret-1", &hash).await);
            assert!(!is_right(&passwords, "secret-2", &hash).await);
        }
        let other = passwords.hash("secret-2").await.unwrap();
        assert!(
            !is_right(&passwords, "secret-1", &other).await && is_right(&passwords, "secret-2", &other).await
        );
        assert!(!hash.reveal().contains("secret"));
    }

    #[tokio::test]
    async fn text_of_the_settings_and_nobody_are_compared_too() {
        let passwords = Passwords::new(COST, TestClock::starting_at(1));

        assert!(passwords.is_right("root", "Milvus", Stored::Text("Milvus"), None).await);
        assert!(!passwords.is_right("root", "milvus", Stored::Text("Milvus"), None).await);
        assert!(!passwords.is_right("eve", "Milvus", Stored::Nobody, None).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_guesses_is_held_up_and_who_was_right_before_is_not() {
        let clock = TestClock::starting_at(1);
        let passwords = Passwords::new(COST, clock.clone());
        let hash = passwords.hash("secret-1").await.unwrap();
        let guess = async |passwords: &Passwords| {
            for _ in 0..FAILURES {
                is_right(passwords, "guess", &hash).await;
            }
        };
        guess(&passwords).await;

        assert!(!is_right(&passwords, "secret-1", &hash).await);
        let elsewhere = Some(IpAddr::from([10, 0, 0, 1]));
        assert!(passwords.is_right("ann", "secret-1", Stored::Hash(&hash), elsewhere).await);
        guess(&passwords).await;
        assert!(is_right(&passwords, "secret-1", &hash).await);
        let fresh = Passwords::new(COST, clock.clone());
        guess(&fresh).await;
        tokio::time::advance(HELD_UP).await;
        assert!(is_right(&fresh, "secret-1", &hash).await);
    }

    #[tokio::test]
    async fn nobody_takes_as_long_as_a_user() {
        assert!(!bcrypt::verify("anything", NOBODY).unwrap());
    }
}
