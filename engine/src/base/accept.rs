//! Taking connections.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::Clock;

/// Before the next try where one connection was lost, or there was no room for it.
const PAUSE: Duration = Duration::from_millis(5);

/// The next connection. Those that are lost before they begin are passed over; where the process or the system has no more files or
/// memory for one, it waits until there is. May be dropped at any time: no connection is lost by that.
///
/// # Errors
/// What broke the listener.
pub async fn accept(listener: &TcpListener, clock: &dyn Clock) -> std::io::Result<(TcpStream, SocketAddr)> {
    loop {
        match listener.accept().await {
            Err(error) if !is_of_the_listener(&error) => {
                tracing::debug!(%error, "lost a connection before it began");
                clock.sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

/// Whether no connection will ever come again: Linux, where what else `accept(2)` says is of one connection or of the moment.
fn is_of_the_listener(error: &std::io::Error) -> bool {
    /// EBADF, EFAULT, EINVAL, ENOTSOCK.
    const BROKEN: [i32; 4] = [9, 14, 22, 88];
    error.raw_os_error().is_none_or(|code| BROKEN.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_broken_listener_ends_the_taking_of_connections() {
        // ECONNABORTED, EINTR, EMFILE, ENFILE, ENOMEM, ENOBUFS, EPROTO, ENETDOWN, EPERM.
        let passing = [103, 4, 24, 23, 12, 105, 71, 100, 1];
        let broken = [9, 22, 88];

        let ends = |code: &i32| is_of_the_listener(&std::io::Error::from_raw_os_error(*code));
        assert_eq!((passing.iter().any(ends), broken.iter().all(ends)), (false, true));
    }
}
