//! Inserts rows of a data set: `id` (row number), `vector`, and the scalar columns whose files are given.

use crate::arrays;
use crate::channel::{Caller, Times};
use crate::flags::Flags;
use anyhow::{Context, Result, ensure};
use contract::pb::milvus::{InsertRequest, MutationResult};
use contract::pb::schema::{
    DataType, FieldData, FloatArray, LongArray, ScalarField, StringArray, VectorField, field_data,
    scalar_field, vector_field,
};
use prost::Message;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tonic::codegen::Bytes;

/// Sends every row once and says how fast the server took them.
pub async fn run(flags: &Flags) -> Result<Value> {
    let clients = flags.or("clients", 1_usize)?;
    let batch = flags.or("batch", 1000_usize)?;
    let uri = flags.required("uri")?;
    let (rows, requests) = requests(flags, batch)?;
    let queue = Arc::new(Mutex::new(requests));
    let mut callers = Vec::new();
    for _ in 0..clients {
        callers.push(Caller::connect(uri, "Insert").await?);
    }
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for caller in callers {
        tasks.spawn(drain(caller, Arc::clone(&queue)));
    }
    let mut times = Times::default();
    while let Some(done) = tasks.join_next().await {
        times.append(done??);
    }
    let seconds = start.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "row counts are far below 2^52")]
    let rate = rows as f64 / seconds;
    Ok(
        json!({"op": "insert", "rows": rows, "batch": batch, "clients": clients, "calls": times.count(), "seconds": seconds,
        "rows_per_s": rate, "p50_ms": times.quantile(0.5), "p99_ms": times.quantile(0.99)}),
    )
}

async fn drain(mut caller: Caller, queue: Arc<Mutex<VecDeque<Bytes>>>) -> Result<Times> {
    let mut times = Times::default();
    loop {
        let Some(message) = queue.lock().ok().and_then(|mut queue| queue.pop_front()) else {
            return Ok(times);
        };
        let start = Instant::now();
        let answer = caller.call(message).await?;
        times.add(start);
        let answer = MutationResult::decode(answer)?;
        let status = answer.status.unwrap_or_default();
        ensure!(status.code == 0, "insert was refused: {} {}", status.code, status.reason);
    }
}

fn requests(flags: &Flags, batch: usize) -> Result<(usize, VecDeque<Bytes>)> {
    let vectors = arrays::floats(flags.required("vectors")?)?;
    let from = flags.or("first", 0_usize)?;
    let rows = vectors.rows().min(from.saturating_add(flags.or("limit", usize::MAX)?));
    let texts = [("name", "names"), ("section", "sections")]
        .into_iter()
        .filter_map(|(field, flag)| {
            flags.optional(flag).map(|path| lines(path, rows).map(|lines| (field, lines)))
        })
        .collect::<Result<Vec<_>>>()?;
    let numbers = [("part", "part"), ("installed_size", "size")]
        .into_iter()
        .filter_map(|(field, flag)| {
            flags.optional(flag).map(|path| arrays::longs(path).map(|values| (field, values)))
        })
        .collect::<Result<Vec<_>>>()?;
    let mut queue = VecDeque::new();
    for first in (from..rows).step_by(batch.max(1)) {
        let range = first..rows.min(first + batch);
        let ids = range.clone().map(i64::try_from).collect::<Result<Vec<_>, _>>()?;
        let mut fields = vec![longs("id", ids)];
        let values = vectors.values[range.start * vectors.columns..range.end * vectors.columns].to_vec();
        fields.push(vector(values, vectors.columns)?);
        fields.extend(
            numbers.iter().map(|(field, values)| longs(field, values.values[range.clone()].to_vec())),
        );
        fields.extend(texts.iter().map(|(field, values)| strings(field, values[range.clone()].to_vec())));
        let request = InsertRequest {
            collection_name: flags.required("collection")?.to_owned(),
            fields_data: fields,
            num_rows: u32::try_from(range.len())?,
            ..InsertRequest::default()
        };
        queue.push_back(Bytes::from(request.encode_to_vec()));
    }
    Ok((rows.saturating_sub(from), queue))
}

fn lines(path: &str, rows: usize) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    ensure!(lines.len() >= rows, "{path} has {} lines for {rows} rows", lines.len());
    Ok(lines)
}

fn longs(name: &str, data: Vec<i64>) -> FieldData {
    scalar(name, DataType::Int64, scalar_field::Data::LongData(LongArray { data }))
}

fn strings(name: &str, data: Vec<String>) -> FieldData {
    scalar(name, DataType::VarChar, scalar_field::Data::StringData(StringArray { data }))
}

fn scalar(name: &str, kind: DataType, data: scalar_field::Data) -> FieldData {
    let scalars = ScalarField { data: Some(data), ..ScalarField::default() };
    FieldData {
        r#type: kind.into(),
        field_name: name.to_owned(),
        field: Some(field_data::Field::Scalars(scalars)),
        ..FieldData::default()
    }
}

fn vector(data: Vec<f32>, dim: usize) -> Result<FieldData> {
    let vectors = VectorField {
        dim: i64::try_from(dim)?,
        data: Some(vector_field::Data::FloatVector(FloatArray { data })),
        ..VectorField::default()
    };
    Ok(FieldData {
        r#type: DataType::FloatVector.into(),
        field_name: "vector".to_owned(),
        field: Some(field_data::Field::Vectors(vectors)),
        ..FieldData::default()
    })
}
