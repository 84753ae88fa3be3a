//! Asking models: about the rows that are written, for searches by texts, and about what was found.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use futures::future::try_join_all;
use futures::{StreamExt as _, TryStreamExt as _};

use super::search::AT_ONCE;
use crate::inference::{self, Purpose};
use crate::model::{Batch, ColumnData, Field, Function, FunctionKind, Schema, Vector};
use crate::plan::{Fusion, SearchHits, text_of};
use crate::proxy::convert::rank::Judging;
use crate::proxy::convert::texts;
use crate::proxy::{Error, Proxy};
use crate::rpc::CollectionInfo;

/// Checks that the models of a schema may be asked, and answer with what their fields hold.
pub(super) async fn check(proxy: &Proxy, schema: &Schema) -> Result<(), Error> {
    for function in &schema.functions {
        if function.kind == FunctionKind::TextEmbedding {
            proxy.models().check(&function.params, dim(schema, function)?).await?;
        }
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
    let asks: Vec<_> =
        functions.iter().map(|function| embedded(proxy, &info.schema, function, &rows)).collect();
    let columns = try_join_all(asks).await?;
    for (function, data) in functions.iter().zip(columns) {
        let place = info.schema.position(function.output).and_then(|place| rows.columns.get_mut(place));
        let column = place.ok_or_else(|| lacks(function))?;
        (column.data, column.valid) = (data, None);
    }
    Ok(rows)
}

async fn embedded(
    proxy: &Proxy,
    schema: &Schema,
    function: &Function,
    rows: &Batch,
) -> Result<ColumnData, Error> {
    let column = rows.column(function.input).ok_or_else(|| lacks(function))?;
    let ColumnData::VarChar(texts) = &column.data else { return Err(lacks(function)) };
    if let Some(row) = (0..texts.len()).find(|row| !column.is_valid(*row)) {
        return Err(inference::Error::EmptyText { row }.into());
    }
    let texts = texts.iter().map(str::to_owned).collect();
    let dim = dim(schema, function)?;
    let values = proxy.models().embed(&function.params, dim, texts, Purpose::Store).await?;
    Ok(ColumnData::FloatVector { dim, values })
}

/// The vectors of the texts in a search of the field that a function fills.
pub(super) async fn queries(
    proxy: &Proxy,
    (field, function): (&Field, &Function),
    (group, nq): (&Bytes, i64),
) -> Result<Vec<Vector>, Error> {
    let (texts, dim) = (texts::queries(group, nq)?, field.dim());
    let values = proxy.models().embed(&function.params, dim, texts, Purpose::Search).await?;
    Ok(values.chunks_exact(dim.max(1)).map(|vector| Vector::Dense(vector.to_vec())).collect())
}

/// What a model says of the hits of some searches.
pub(super) async fn judged(
    proxy: &Proxy,
    judging: &Judging,
    answers: &[SearchHits],
) -> Result<Fusion, Error> {
    let models = proxy.models();
    let ranking = &models.ranking(&judging.params)?;
    let asks: Vec<_> = judging
        .queries
        .iter()
        .enumerate()
        .map(|(query, question)| {
            let found = texts_of(answers, query, judging);
            async move {
                if found.is_empty() {
                    return Ok(HashMap::new());
                }
                let scores = models.rank(ranking, question, found.clone()).await?;
                Ok::<_, Error>(found.into_iter().zip(scores).collect::<HashMap<_, _>>())
            }
        })
        .collect();
    let scores = futures::stream::iter(asks).buffered(AT_ONCE).try_collect().await?;
    Ok(Fusion::Judged { field: judging.field, scores })
}

/// The texts that were found for a query, each once.
fn texts_of(answers: &[SearchHits], query: usize, judging: &Judging) -> Vec<String> {
    let of_one = |hits: &SearchHits| -> Vec<String> {
        let span = hits.spans().into_iter().nth(query).unwrap_or_default();
        span.map(|hit| text_of(hits, judging.field, hit).to_owned()).collect()
    };
    answers.iter().flat_map(of_one).collect::<BTreeSet<_>>().into_iter().collect()
}

fn dim(schema: &Schema, function: &Function) -> Result<usize, Error> {
    schema.field_by_id(function.output).map(Field::dim).ok_or_else(|| lacks(function))
}

fn lacks(function: &Function) -> Error {
    Error::Answer { reason: format!("function {} lacks its fields", function.name) }
}
