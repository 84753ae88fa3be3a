//! Searches of arrays of vectors: what may be wanted of them, and which of their elements a query returns.

use contract::pb::milvus::ElementIndices;
use contract::pb::schema::LongArray;

use super::params::shown;
use super::search::SearchParams;
use crate::base::FieldId;
use crate::expr::Filter;
use crate::model::{Batch, ColumnData, DataType, Field, Keys, Metric, Schema};
use crate::plan::{Grouping, SearchHits};
use crate::proxy::Error;

/// How hits of elements become hits of rows in a hybrid search.
const SCOPE: &str = "element_scope";

/// Whether the single elements of arrays are searched.
#[must_use]
pub const fn are_elements(field: &Field, metric: Metric) -> bool {
    matches!(field.data_type, DataType::ArrayOfVector(_)) && metric.of_lists().is_none()
}

fn refused(text: &str) -> Error {
    Error::Checked { code: 1100, text: format!("{text}: invalid parameter") }
}

/// Checks what is wanted of a search of `field` by `metric`, and takes out of the parameters what no index knows.
///
/// # Errors
/// Milvus's words for what arrays of vectors cannot be searched by.
pub fn check(
    schema: &Schema,
    field: &Field,
    metric: Metric,
    params: &mut SearchParams,
    grouping: Option<Grouping>,
) -> Result<(), Error> {
    if !matches!(field.data_type, DataType::ArrayOfVector(_)) {
        return Ok(());
    }
    if Collapse::taken(params, metric)? != Collapse::Best {
        return Err(Error::ReadNotBuilt {
            what: "an element_scope other than max where elements do not become rows",
        });
    }
    if are_elements(field, metric) {
        return match grouping {
            Some(grouping) if grouping.field != schema.primary().id => {
                Err(refused("only group by primary key is supported for element-level search"))
            }
            _ => Ok(()),
        };
    }
    if params.radius.is_some() {
        return Err(refused("range search is not supported for multi-search-multi on embedding list fields"));
    }
    if params.iterator || params.batch.is_some() {
        return Err(refused(
            "search iterator is not supported for multi-search-multi on embedding list fields",
        ));
    }
    if grouping.is_some() {
        return Err(refused("group by is not supported for multi-search-multi on embedding list fields"));
    }
    Ok(())
}

/// How the elements that a search of a hybrid search finds become rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collapse {
    /// The best element of a row stands for it.
    Best,
    /// A row has the sum of the scores of its best elements.
    Sum {
        /// Of so many at most.
        most: usize,
    },
}

impl Collapse {
    /// What the parameters say, and takes it out of them: the best element where they say nothing.
    ///
    /// # Errors
    /// For what is no such word, and for sums of scores of which smaller ones are nearer.
    pub fn taken(params: &mut SearchParams, metric: Metric) -> Result<Self, Error> {
        let Some(scope) = params.index.remove(SCOPE) else { return Ok(Self::Best) };
        let json: serde_json::Value = serde_json::from_str(&scope).unwrap_or_default();
        let strategy = json.pointer("/collapse/strategy").and_then(serde_json::Value::as_str);
        let sum = match strategy {
            Some("max") => return Ok(Self::Best),
            Some("sum") => Self::Sum { most: usize::MAX },
            Some("topk_sum") => {
                let count = json.pointer("/collapse/topk").and_then(serde_json::Value::as_u64);
                let most = count.and_then(|count| usize::try_from(count).ok()).filter(|most| *most > 0);
                Self::Sum {
                    most: most
                        .ok_or_else(|| refused("element_scope.collapse.topk must be a positive integer"))?,
                }
            }
            Some(other) => {
                let other = shown(other);
                return Err(refused(&format!(
                    "element_scope.collapse.strategy {other} is not supported, it is one of [max, sum, topk_sum]"
                )));
            }
            None => return Err(refused("element_scope must name a collapse strategy")),
        };
        if metric.larger_is_nearer() {
            return Ok(sum);
        }
        Err(refused(&format!(
            "element_scope.collapse.strategy {} is only supported for metrics of which a larger score is nearer, not for {metric}",
            strategy.unwrap_or_default()
        )))
    }

    /// The rows of what was found.
    #[must_use]
    pub fn rows_of(self, hits: SearchHits, metric: Metric) -> SearchHits {
        match self {
            Self::Sum { most } if hits.elements().is_some() => hits.summed(metric, most).of_rows(),
            Self::Best | Self::Sum { .. } => hits.of_rows(),
        }
    }
}

/// Whether the parameters say how elements become rows.
#[must_use]
pub fn has_scope(params: &SearchParams) -> bool {
    params.index.contains_key(SCOPE)
}

/// Checks a filter that chooses elements.
///
/// # Errors
/// If it is of another struct than the field that is searched, or whole lists are.
pub fn check_filter(
    schema: &Schema,
    field: &Field,
    metric: Metric,
    filter: Option<&Filter>,
) -> Result<(), Error> {
    let Some(of) = filter.and_then(Filter::struct_of_elements) else { return Ok(()) };
    if !matches!(field.data_type, DataType::ArrayOfVector(_)) {
        // Of a row with such an element the vector is a hit.
        return Ok(());
    }
    if !are_elements(field, metric) {
        return Err(refused("element_filter is not supported for searches of embedding lists"));
    }
    if schema.struct_of(field.id).is_none_or(|known| known.name != of) {
        return Err(refused("element_filter must be on the struct array field that is searched"));
    }
    Ok(())
}

/// Checks what is wanted of one search of a hybrid search; `is_same` if all of them are of elements of one struct.
///
/// # Errors
/// As [`check`].
pub fn check_in_hybrid(
    schema: &Schema,
    (field, metric): (&Field, Metric),
    params: &SearchParams,
    grouping: Option<Grouping>,
    is_same: bool,
) -> Result<(), Error> {
    if !matches!(field.data_type, DataType::ArrayOfVector(_)) {
        return Ok(());
    }
    if !are_elements(field, metric) {
        return match (params.radius, grouping) {
            (Some(_), _) => Err(refused(
                "range search is not supported for vector array (embedding-list) fields in hybrid search",
            )),
            (None, Some(_)) => Err(refused(
                "group by search is not supported for vector array (embedding-list) fields in hybrid search",
            )),
            (None, None) => Ok(()),
        };
    }
    match grouping {
        Some(_) if !is_same => Err(refused(
            "group by search is only supported for same-struct element-level vector array fields",
        )),
        Some(grouping) if grouping.field != schema.primary().id => Err(refused(
            "only group by primary key is supported for same-struct element-level vector array fields",
        )),
        _ if is_same && has_scope(params) => {
            Err(refused("element_scope is not allowed for same-struct element-level hybrid search"))
        }
        _ => Ok(()),
    }
}

/// The element at which the page of an iterator before ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The key of its row, as the client wrote it.
    pub key: String,
    /// Its place in the row.
    pub element: u64,
}

/// The rows that a query returns whose filter chooses elements, each with those of its elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// The rows, by their places in what was found.
    pub rows: Vec<usize>,
    /// The elements of each.
    pub elements: Vec<ElementIndices>,
}

/// Of `rows` with `keys`, the elements that `filter` lets through, behind the cursor, past `offset` of them, at most `limit`.
/// `part` is a field of the filter's struct; `rows` have it and all fields of the filter.
///
/// # Errors
/// [`Error::Answer`] if the rows lack one of them.
pub fn chosen(
    filter: &Filter,
    (keys, rows): (&Keys, &Batch),
    part: FieldId,
    after: Option<&Cursor>,
    (mut offset, limit): (usize, Option<usize>),
) -> Result<Chosen, Error> {
    let missing = || Error::Answer { reason: format!("no column of arrays for field {part}") };
    let passed = filter.elements(rows, None).map_err(|error| Error::Answer { reason: error.to_string() })?;
    let passed = passed.ok_or_else(missing)?;
    let Some(ColumnData::Array(arrays)) = rows.column(part).map(|column| &column.data) else {
        return Err(missing());
    };
    let mut room = limit.unwrap_or(usize::MAX);
    let mut chosen = Chosen { rows: Vec::new(), elements: Vec::new() };
    for row in 0..rows.rows {
        let last = after.filter(|cursor| keys.get(row).to_string() == cursor.key);
        let places = arrays.range(row).zip(0_u64..).filter(|(at, _)| passed.contains(*at));
        let mut data = Vec::new();
        for (_, element) in places {
            if last.is_some_and(|cursor| element <= cursor.element) {
                continue;
            }
            if offset > 0 {
                offset -= 1;
                continue;
            }
            if room == 0 {
                break;
            }
            room -= 1;
            data.push(i64::try_from(element).unwrap_or(i64::MAX));
        }
        if !data.is_empty() {
            chosen.rows.push(row);
            chosen.elements.push(ElementIndices { indices: Some(LongArray { data }) });
        }
    }
    Ok(chosen)
}
