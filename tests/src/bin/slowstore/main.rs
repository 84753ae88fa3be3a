//! An object store that is as far away as a real one: hands requests on to another server after a pause, and counts them.
//!
//! `slowstore --listen ADDR --to ADDR [--median-ms 0] [--p99-ms 0]` pauses by a log-normal law with these two quantiles.
//! `GET /figures` on the same port says what came since the last such question, as JSON: requests by method, and the
//! times of PUTs, each for keys of the log and for all others.

mod figures;

use anyhow::{Context, Result, bail};
use figures::{Figures, Kind};
use http::{Request, Response};
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};

/// Where the 99th percentile of the normal law is, in standard deviations.
const P99_AT: f64 = 2.326_347_9;

/// What every connection shares.
struct Store {
    to: String,
    median_ms: f64,
    sigma: f64,
    rng: Mutex<StdRng>,
    figures: Mutex<Figures>,
}

impl Store {
    fn pause(&self) -> Duration {
        if self.median_ms <= 0.0 {
            return Duration::ZERO;
        }
        let (one, other): (f64, f64) = {
            let mut rng = self.rng.lock();
            (rng.random(), rng.random())
        };
        // Box and Muller's way to a normal law.
        let normal = (-2.0 * (1.0 - one).ln()).sqrt() * (std::f64::consts::TAU * other).cos();
        Duration::from_secs_f64(self.median_ms * (self.sigma * normal).exp() / 1e3)
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        server: &mut SendRequest<Incoming>,
    ) -> Result<Response<Either<Incoming, Full<Bytes>>>> {
        if request.uri().path() == "/figures" {
            let text = std::mem::take(&mut *self.figures.lock()).into_json().to_string();
            return Ok(Response::new(Either::Right(Full::new(Bytes::from(text)))));
        }
        let kind = Kind::of(request.method(), request.uri());
        let began = Instant::now();
        tokio::time::sleep(self.pause()).await;
        server.ready().await?;
        let answer = server.send_request(request).await?;
        self.figures.lock().add(kind, began.elapsed());
        Ok(answer.map(Either::Left))
    }
}

/// One connection of a client and its own one to the server: requests on it come one after the other.
async fn converse(store: Arc<Store>, stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let onward = TcpStream::connect(&store.to).await?;
    onward.set_nodelay(true)?;
    let (server, driving) = hyper::client::conn::http1::handshake(TokioIo::new(onward)).await?;
    let server = Arc::new(tokio::sync::Mutex::new(server));
    let service = service_fn(move |request| {
        let (store, server) = (Arc::clone(&store), Arc::clone(&server));
        async move { store.answer(request, &mut *server.lock().await).await }
    });
    let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // If the server hangs up, what it sent last is still to be handed on; the next request then ends the connection.
    let driving = async {
        let _ = driving.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = serving => ended?,
        () = driving => {}
    }
    Ok(())
}

fn flags() -> Result<BTreeMap<String, String>> {
    let mut flags = BTreeMap::new();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let Some(name) = word.strip_prefix("--") else { bail!("unexpected argument {word}") };
        flags.insert(name.to_owned(), words.next().with_context(|| format!("--{name} needs a value"))?);
    }
    Ok(flags)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let flags = flags()?;
    let required = |name: &str| flags.get(name).with_context(|| format!("--{name} is missing"));
    let number = |name: &str| flags.get(name).map_or(Ok(0.0), |text| text.parse::<f64>());
    let (median_ms, p99_ms) = (number("median-ms")?, number("p99-ms")?);
    let sigma = if median_ms > 0.0 { (p99_ms / median_ms).max(1.0).ln() / P99_AT } else { 0.0 };
    let (rng, figures) = (Mutex::new(StdRng::seed_from_u64(1)), Mutex::default());
    let store = Arc::new(Store { to: required("to")?.clone(), median_ms, sigma, rng, figures });
    let listener = TcpListener::bind(required("listen")?).await?;
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                connections.spawn(converse(Arc::clone(&store), accepted?.0));
            }
            // A connection that broke is its client's business, who sees it.
            Some(_) = connections.join_next() => {}
        }
    }
}
