//! Load on any server that speaks Milvus's protocol: requests are encoded before the clock starts and sent as
//! they are, so that the figures are the server's and not a client library's.
//!
//! `loadgen insert …` and `loadgen search …` print one line of JSON. It creates no collection and no index: the caller does.

mod arrays;
mod channel;
mod failures;
mod flags;
mod insert;
mod search;

use anyhow::{Result, bail};
use std::io::Write;

const USAGE: &str = "\
usage: loadgen insert --uri URI --collection NAME --vectors FILE.npy [--names FILE.txt] [--sections FILE.txt] [--part FILE.npy]
                      [--size FILE.npy] [--batch 1000] [--clients 1] [--first ROW] [--limit ROWS]
       loadgen search --uri URI --collection NAME --queries FILE.npy [--truth FILE.npy] [--filter EXPR] [--field vector]
                      [--metric IP] [--params JSON] [--topk 10] [--clients 1] [--seconds 10] [--warmup 200] [--output a,b]
                      [--rate QPS] [--failures stop|count]
A search ends before its time by SIGTERM. With --rate all clients together keep to a rate, and a time counts from when its
search was due. The first failed search ends the run unless failures are to be counted.";

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let flags = flags::Flags::parse(arguments)?;
    // One thread, so that the load takes a known and small share of the machine it shares with the server.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let line = match command.as_str() {
        "insert" => runtime.block_on(insert::run(&flags))?,
        "search" => runtime.block_on(search::run(&flags))?,
        _ => bail!("{USAGE}"),
    };
    writeln!(std::io::stdout().lock(), "{line}")?;
    Ok(())
}
