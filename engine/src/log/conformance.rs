//! What every log must do. Each implementation runs all of it on an empty log.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;

use crate::base::{ChannelName, CollectionId, Kind, Kinded as _};

use super::{Error, LogReader, LogWriter, Logs, MAX_PAYLOAD_BYTES, MemoryLogs, Position};

/// Checks the contract of [`Logs`] on an empty log.
pub(super) async fn run(logs: Arc<dyn Logs>) {
    let deadline = Duration::from_secs(60);
    let all = async {
        records_come_back_in_order(&*logs).await;
        a_higher_term_fences(&*logs).await;
        a_reader_waits_for_what_comes(&*logs).await;
        a_reader_can_be_dropped_while_it_waits(&*logs).await;
        a_channel_can_be_read_before_it_is_opened(&*logs).await;
        truncated_records_are_gone_and_positions_go_on(&*logs).await;
        a_reader_that_was_overtaken_is_told(&*logs).await;
        what_is_let_go_is_read_as_before(&*logs).await;
        a_removed_channel_begins_anew(&*logs).await;
        channels_are_listed(&*logs).await;
        what_cannot_be_is_refused(&*logs).await;
        a_dropped_writer_still_writes(&*logs).await;
        concurrent_appends_are_all_there(logs.clone()).await;
    };
    tokio::time::timeout(deadline, all).await.expect("no call hangs");
}

#[tokio::test]
async fn a_memory_log_keeps_the_contract() {
    run(MemoryLogs::new()).await;
}

fn channel(name: &str) -> ChannelName {
    ChannelName(name.into())
}

async fn append(writer: &dyn LogWriter, payload: impl Into<Bytes>) -> Position {
    writer.append(payload.into()).unwrap().durable().await.unwrap()
}

async fn rest(reader: &mut dyn LogReader) -> Vec<(Position, Bytes)> {
    let mut records = Vec::new();
    while let Some(record) = reader.try_next().await.unwrap() {
        records.push(record);
    }
    records
}

async fn records_come_back_in_order(logs: &dyn Logs) {
    let name = channel("order");
    let writer = logs.open(&name, 1).await.unwrap();
    let payloads =
        (0..50).map(|number| Bytes::from(vec![number; usize::from(number) * 100])).collect::<Vec<_>>();
    let appending =
        payloads.iter().map(|payload| writer.append(payload.clone()).unwrap()).collect::<Vec<_>>();
    for (number, appending) in (0..).zip(appending) {
        assert_eq!(appending.position, Position(number));
        assert_eq!(appending.durable().await.unwrap(), Position(number));
    }

    let mut reader = logs.read(&name, Position(10)).await.unwrap();

    let expected = (0..).map(Position).zip(payloads).skip(10).collect::<Vec<_>>();
    assert_eq!(rest(&mut *reader).await, expected);
    assert_eq!(reader.position(), Position(50));
    assert_eq!(writer.next_position(), Position(50));
}

async fn a_higher_term_fences(logs: &dyn Logs) {
    let name = channel("fence");
    let old = logs.open(&name, 5).await.unwrap();
    append(&*old, "old").await;

    let new = logs.open(&name, 6).await.unwrap();

    assert_eq!(old.append(Bytes::from("late")).unwrap_err().kind(), Kind::Fenced);
    for term in [5, 6] {
        assert_eq!(logs.open(&name, term).await.err().unwrap().kind(), Kind::Fenced);
    }
    assert_eq!(append(&*new, "new").await, Position(1));
    let mut reader = logs.read(&name, Position::FIRST).await.unwrap();
    let expected = [(Position(0), Bytes::from("old")), (Position(1), Bytes::from("new"))];
    assert_eq!(rest(&mut *reader).await, expected);
}

async fn a_reader_waits_for_what_comes(logs: &dyn Logs) {
    let name = channel("wait");
    let writer = logs.open(&name, 1).await.unwrap();
    let mut reader = logs.read(&name, Position::FIRST).await.unwrap();
    assert!(reader.try_next().await.unwrap().is_none());

    let (read, written) = tokio::join!(reader.next(), append(&*writer, "x"));

    assert_eq!(read.unwrap(), (written, Bytes::from("x")));
}

async fn a_reader_can_be_dropped_while_it_waits(logs: &dyn Logs) {
    let name = channel("cancel");
    let writer = logs.open(&name, 1).await.unwrap();
    let mut reader = logs.read(&name, Position::FIRST).await.unwrap();
    assert!(reader.next().now_or_never().is_none());
    append(&*writer, "a").await;
    append(&*writer, "b").await;

    assert_eq!(reader.next().await.unwrap(), (Position(0), Bytes::from("a")));
    assert_eq!(reader.next().await.unwrap(), (Position(1), Bytes::from("b")));
    assert!(reader.next().now_or_never().is_none());
}

async fn a_channel_can_be_read_before_it_is_opened(logs: &dyn Logs) {
    let name = channel("early");
    let mut reader = logs.read(&name, Position::FIRST).await.unwrap();
    assert_eq!(logs.read(&name, Position(1)).await.err().unwrap().kind(), Kind::Invalid);

    let writer = logs.open(&name, 1).await.unwrap();
    append(&*writer, "x").await;

    assert_eq!(reader.next().await.unwrap(), (Position(0), Bytes::from("x")));
}

async fn truncated_records_are_gone_and_positions_go_on(logs: &dyn Logs) {
    let name = channel("truncate");
    let writer = logs.open(&name, 1).await.unwrap();
    for number in 0..10u8 {
        append(&*writer, vec![number; 3000]).await;
    }

    logs.truncate(&name, Position(4)).await.unwrap();
    logs.truncate(&name, Position(2)).await.unwrap();

    let error = logs.read(&name, Position(3)).await.err().unwrap();
    assert!(matches!(&error, Error::Truncated { first: Position(4), .. }), "{error:?}");
    assert_eq!(error.kind(), Kind::NotFound);
    let mut reader = logs.read(&name, Position(4)).await.unwrap();
    assert_eq!(rest(&mut *reader).await.len(), 6);

    logs.truncate(&name, Position(1000)).await.unwrap();
    assert_eq!(append(&*writer, "next").await, Position(10));
    let writer = logs.open(&name, 2).await.unwrap();
    logs.truncate(&name, Position(11)).await.unwrap();
    assert_eq!(writer.next_position(), Position(11));
    assert_eq!(append(&*writer, "after").await, Position(11));
    let mut reader = logs.read(&name, Position(11)).await.unwrap();
    assert_eq!(rest(&mut *reader).await, [(Position(11), Bytes::from("after"))]);
}

async fn what_is_let_go_is_read_as_before(logs: &dyn Logs) {
    let name = channel("let-go");
    logs.let_go(&name, Position(1));
    let writer = logs.open(&name, 1).await.unwrap();
    for number in 0..10u8 {
        append(&*writer, vec![number; 3000]).await;
    }
    let mut begun = logs.read(&name, Position::FIRST).await.unwrap();
    begun.next().await.unwrap();

    logs.let_go(&name, Position(7));
    logs.let_go(&name, Position(1000));

    let expected = |from: u8| {
        let records = (from..11).map(|number| (Position(u64::from(number)), Bytes::from(vec![number; 3000])));
        records.collect::<Vec<_>>()
    };
    assert_eq!(append(&*writer, vec![10u8; 3000]).await, Position(10));
    assert_eq!(rest(&mut *begun).await, expected(1));
    let mut reader = logs.read(&name, Position::FIRST).await.unwrap();
    assert_eq!(rest(&mut *reader).await, expected(0));
}

async fn a_reader_that_was_overtaken_is_told(logs: &dyn Logs) {
    let name = channel("overtaken");
    let writer = logs.open(&name, 1).await.unwrap();
    for _ in 0..3 {
        append(&*writer, "x").await;
    }
    let mut reader = logs.read(&name, Position::FIRST).await.unwrap();

    logs.truncate(&name, Position(2)).await.unwrap();

    let error = reader.next().await.unwrap_err();
    assert!(matches!(error, Error::Truncated { position: Position(0), first: Position(2), .. }), "{error:?}");
}

async fn a_removed_channel_begins_anew(logs: &dyn Logs) {
    let name = channel("removed");
    let writer = logs.open(&name, 9).await.unwrap();
    append(&*writer, "x").await;
    let mut reader = logs.read(&name, Position(1)).await.unwrap();

    let (read, removed) = tokio::join!(reader.next(), logs.remove(&name));

    removed.unwrap();
    assert!(matches!(read, Err(Error::Removed { .. })));
    assert!(matches!(writer.append(Bytes::from("late")), Err(Error::Removed { .. })));
    assert!(!logs.channels().await.unwrap().contains(&name));
    logs.remove(&name).await.unwrap();
    let writer = logs.open(&name, 1).await.unwrap();
    assert_eq!(append(&*writer, "y").await, Position(0));
    logs.remove(&name).await.unwrap();
}

async fn channels_are_listed(logs: &dyn Logs) {
    let mut expected = [ChannelName::of(CollectionId(445), 1), channel("list/with.dots é")];
    expected.sort();
    for name in &expected {
        logs.open(name, 1).await.unwrap();
    }

    let listed = logs.channels().await.unwrap();

    assert!(listed.is_sorted());
    let listed = listed.into_iter().filter(|name| expected.contains(name)).collect::<Vec<_>>();
    assert_eq!(listed, expected);
}

async fn what_cannot_be_is_refused(logs: &dyn Logs) {
    for name in ["", &"n".repeat(81)] {
        assert_eq!(logs.open(&channel(name), 1).await.err().unwrap().kind(), Kind::Invalid);
    }
    let writer = logs.open(&channel("large"), 1).await.unwrap();
    let too_large = Bytes::from(vec![0; MAX_PAYLOAD_BYTES + 1]);
    assert_eq!(writer.append(too_large).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(append(&*writer, "").await, Position(0));
    let mut reader = logs.read(&channel("large"), Position::FIRST).await.unwrap();
    assert_eq!(reader.next().await.unwrap(), (Position(0), Bytes::new()));
}

async fn a_dropped_writer_still_writes(logs: &dyn Logs) {
    let name = channel("dropped");
    let writer = logs.open(&name, 1).await.unwrap();
    let appending = writer.append(Bytes::from("x")).unwrap();

    drop(writer);

    assert_eq!(appending.durable().await.unwrap(), Position(0));
}

async fn concurrent_appends_are_all_there(logs: Arc<dyn Logs>) {
    let name = channel("concurrent");
    let writer = logs.open(&name, 1).await.unwrap();
    let appenders = (0..8u8).map(|appender| {
        let writer = writer.clone();
        async move {
            let mut positions = Vec::new();
            for number in 0..20 {
                let position = append(&*writer, vec![appender, number]).await;
                positions.push((position, Bytes::from(vec![appender, number])));
            }
            assert!(positions.is_sorted());
            positions
        }
    });
    let mut appended = futures::future::join_all(appenders).await.concat();
    appended.sort();

    let mut reader = logs.read(&name, Position::FIRST).await.unwrap();

    assert_eq!(rest(&mut *reader).await, appended);
}
