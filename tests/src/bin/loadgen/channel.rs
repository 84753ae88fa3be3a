//! Sends encoded messages as they are and hands answers back undecoded, and keeps the times of a closed loop.

use anyhow::{Context, Result};
use std::time::{Duration, Instant};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::Bytes;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// The largest answer taken, in bytes.
const LARGEST_ANSWER: usize = 256 << 20;

/// One connection that calls one method again and again.
pub struct Caller {
    grpc: Grpc<Channel>,
    path: PathAndQuery,
}

impl Caller {
    /// Connects to `uri` for calls of `method` of the Milvus service.
    pub async fn connect(uri: &str, method: &str) -> Result<Self> {
        let endpoint = Endpoint::from_shared(uri.to_owned())?.tcp_nodelay(true);
        let channel = endpoint.connect().await.with_context(|| format!("cannot connect to {uri}"))?;
        let path = PathAndQuery::try_from(format!("/milvus.proto.milvus.MilvusService/{method}"))?;
        Ok(Self { grpc: Grpc::new(channel).max_decoding_message_size(LARGEST_ANSWER), path })
    }

    /// Sends one encoded message and returns the encoded answer.
    pub async fn call(&mut self, message: Bytes) -> Result<Bytes> {
        self.grpc.ready().await?;
        let answer = self.grpc.unary(Request::new(message), self.path.clone(), AsIs).await?;
        Ok(answer.into_inner())
    }
}

/// The codec of messages that are encoded already.
#[derive(Clone, Copy)]
struct AsIs;

impl Codec for AsIs {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for AsIs {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        use prost::bytes::BufMut;
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for AsIs {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        use prost::bytes::Buf;
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// How long each call took, and the whole.
#[derive(Default)]
pub struct Times {
    each: Vec<Duration>,
}

impl Times {
    /// Adds one call that began at `start`.
    pub fn add(&mut self, start: Instant) {
        self.each.push(start.elapsed());
    }

    /// Takes over what another client measured.
    pub fn append(&mut self, mut other: Self) {
        self.each.append(&mut other.each);
    }

    /// The number of calls.
    pub fn count(&self) -> usize {
        self.each.len()
    }

    /// The `fraction` quantile in milliseconds (nearest rank), 0 when nothing was measured.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "ranks of few samples"
    )]
    pub fn quantile(&mut self, fraction: f64) -> f64 {
        self.each.sort_unstable();
        let rank = (fraction * self.each.len() as f64).ceil() as usize;
        self.each.get(rank.max(1) - 1).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Times;
    use std::time::Duration;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let mut times = Times { each: (1..=100).rev().map(Duration::from_millis).collect() };
        assert_eq!((times.quantile(0.5).round(), times.quantile(0.99).round()), (50.0, 99.0));
        assert_eq!(Times::default().quantile(0.5), 0.0);
    }
}
