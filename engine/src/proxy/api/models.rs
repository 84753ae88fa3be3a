//! Asking models: about the rows that are written, for searches by texts, and about what was found.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use futures::future::try_join_all;
use futures::{StreamExt as _, TryStreamExt as _};

use super::search::AT_ONCE;
use crate::inference::{self, Deadline, MAX_WRITE_BYTES, Purpose, Ranking};
use crate::model::{Batch, Column, ColumnData, Field, Function, FunctionKind, Schema, Vector};
use crate::plan::{Fusion, SearchHits, text_of};
use crate::proxy::convert::rank::Judging;
use crate::proxy::{Error, Proxy};
use crate::rpc::CollectionInfo;

/// Checks that the models of a schema may be asked, and answer with what their fields hold.
pub(super) async fn check(proxy: &Proxy, schema: &Schema) -> Result<(), Error> {
    let deadline = proxy.models().deadline();
    for function in &schema.functions {
        check_until(proxy, schema, function, deadline).await?;
    }
    Ok(())
}

/// The same of the model of one function that is to come into a schema.
pub(super) async fn check_one(proxy: &Proxy, schema: &Schema, function: &Function) -> Result<(), Error> {
    check_until(proxy, schema, function, proxy.models().deadline()).await
}

async fn check_until(
    proxy: &Proxy,
    schema: &Schema,
    function: &Function,
    deadline: Deadline,
) -> Result<(), Error> {
    if function.kind == FunctionKind::TextEmbedding {
        proxy.models().check(&function.params, dim(schema, function)?, deadline).await?;
    }
    Ok(())
}

/// Whole rows with what the models of some functions say of them: of every row, or an error.
pub(super) async fn with_embedded(
    proxy: &Proxy,
    info: &CollectionInfo,
    functions: &[&Function],
    mut rows: Batch,
) -> Result<Batch, Error> {
    let inputs = functions.iter().map(|function| rows.column(function.input).ok_or_else(|| lacks(function)));
    let inputs: Vec<&Column> = inputs.collect::<Result<_, _>>()?;
    let columns = embedded(proxy, &info.schema, functions, &inputs).await?;
    for (function, data) in functions.iter().zip(columns) {
        let place = info.schema.position(function.output).and_then(|place| rows.columns.get_mut(place));
        let column = place.ok_or_else(|| lacks(function))?;
        (column.data, column.valid) = (data, None);
    }
    Ok(rows)
}

/// The vectors that the models of some functions make of the texts in their inputs: of all of them, or an error.
///
/// Refuses texts whose vectors would be more than a client could send: they are written as if it had sent them.
pub(super) async fn embedded(
    proxy: &Proxy,
    schema: &Schema,
    functions: &[&Function],
    inputs: &[&Column],
) -> Result<Vec<ColumnData>, Error> {
    let deadline = proxy.models().deadline();
    let mut asks = Vec::with_capacity(functions.len());
    let (mut bytes, mut most_rows) = (0_usize, 0);
    for (function, column) in functions.iter().zip(inputs) {
        let ColumnData::VarChar(texts) = &column.data else { return Err(lacks(function)) };
        if let Some(row) = (0..texts.len()).find(|row| !column.is_valid(*row)) {
            return Err(inference::Error::EmptyText { row }.into());
        }
        let dim = dim(schema, function)?;
        most_rows = most_rows.max(texts.len());
        bytes = bytes.saturating_add(texts.len().saturating_mul(dim * size_of::<f32>()));
        asks.push((function, dim, texts));
    }
    if bytes > MAX_WRITE_BYTES {
        return Err(inference::Error::TooMuch { rows: most_rows, limit: MAX_WRITE_BYTES }.into());
    }
    let asks: Vec<_> = asks
        .into_iter()
        .map(|(function, dim, texts)| async move {
            let texts = texts.iter().map(str::to_owned).collect();
            let asked = proxy.models().embed(&function.params, dim, texts, (Purpose::Store, deadline));
            Ok::<_, Error>(ColumnData::FloatVector { dim, values: asked.await? })
        })
        .collect();
    try_join_all(asks).await
}

/// The vectors of the texts in a search of the field that a function fills.
pub(super) async fn queries(
    proxy: &Proxy,
    (field, function): (&Field, &Function),
    texts: Vec<String>,
    deadline: Deadline,
) -> Result<Vec<Vector>, Error> {
    let dim = field.dim();
    let values = proxy.models().embed(&function.params, dim, texts, (Purpose::Search, deadline)).await?;
    Ok(values.chunks_exact(dim.max(1)).map(|vector| Vector::Dense(vector.to_vec())).collect())
}

/// What a model says of the hits of some searches. Where a hit has no text the model is not asked, and its score is 0.
pub(super) async fn judged(
    proxy: &Proxy,
    judging: &Judging,
    answers: &[SearchHits],
    deadline: Deadline,
) -> Result<Fusion, Error> {
    let ranking = proxy.models().ranking(&judging.params)?;
    let found = Found { judging, answers, spans: answers.iter().map(SearchHits::spans).collect() };
    let asks = (0..judging.queries.len()).map(|query| scores(proxy, &ranking, &found, (query, deadline)));
    let scores = futures::stream::iter(asks).buffered(AT_ONCE).try_collect().await?;
    Ok(Fusion::Judged { field: judging.field, scores })
}

/// What searches found for each query that a model judges.
struct Found<'a> {
    judging: &'a Judging,
    answers: &'a [SearchHits],
    /// By answer and query, which hits.
    spans: Vec<Vec<Range<usize>>>,
}

impl Found<'_> {
    /// The texts that were found for a query, each once.
    fn texts(&self, query: usize) -> Vec<String> {
        let of_one = |(hits, spans): (&'_ SearchHits, &Vec<Range<usize>>)| -> BTreeSet<String> {
            let span = spans.get(query).cloned().unwrap_or_default();
            let texts = span.map(|hit| text_of(hits, self.judging.field, hit));
            texts.filter(|text| !text.is_empty()).map(str::to_owned).collect()
        };
        self.answers.iter().zip(&self.spans).flat_map(of_one).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

async fn scores(
    proxy: &Proxy,
    ranking: &Ranking,
    found: &Found<'_>,
    (query, deadline): (usize, Deadline),
) -> Result<HashMap<String, f32>, Error> {
    let texts = found.texts(query);
    let Some(question) = found.judging.queries.get(query).filter(|_| !texts.is_empty()) else {
        return Ok(HashMap::new());
    };
    let scores = proxy.models().rank(ranking, question, texts.clone(), deadline).await?;
    Ok(texts.into_iter().zip(scores).collect())
}

fn dim(schema: &Schema, function: &Function) -> Result<usize, Error> {
    schema.field_by_id(function.output).map(Field::dim).ok_or_else(|| lacks(function))
}

fn lacks(function: &Function) -> Error {
    Error::Answer { reason: format!("function {} lacks its fields", function.name) }
}
