//! What filters say of texts as wholes: patterns, words and phrases.

use super::{Evaluation, Truth, Wanted, arrays, choose, known_where_valid};
use crate::expr::Error;
use crate::expr::json::{Found, find};
use crate::expr::pattern::Pattern;
use crate::expr::predicate::{Access, ColumnName, Operand};
use crate::model::{ColumnData, Texts};
use crate::text::TextMatch;

impl Evaluation<'_> {
    pub(super) fn like(
        &self,
        operand: &Operand,
        pattern: &Pattern,
        wanted: Wanted<'_>,
    ) -> Result<Truth, Error> {
        let column = self.column(&operand.column)?;
        let matching = |texts: &Texts, wanted: Wanted<'_>| {
            choose(texts.len(), wanted, |row| pattern.matches(texts.get(row)))
        };
        let yes = match (column.data, &operand.access) {
            (ColumnData::VarChar(texts), Access::Whole) => matching(texts, wanted),
            (ColumnData::Array(arrays), Access::Path(path)) => {
                let yes = arrays::at(arrays, path, wanted, |elements| match elements {
                    ColumnData::VarChar(texts) => Some(matching(texts, None)),
                    _ => None,
                });
                yes.ok_or(Error::Column { field: operand.column.id })?
            }
            (ColumnData::Json(texts), Access::Path(path)) => choose(texts.len(), wanted, |row| {
                let found = find(texts.get(row), path).and_then(Found::read);
                matches!(found, Some(Found::Text(text)) if pattern.matches(&text))
            }),
            _ => return Err(Error::Column { field: operand.column.id }),
        };
        known_where_valid(column, yes)
    }

    pub(super) fn text_match(
        &self,
        name: &ColumnName,
        words: &TextMatch,
        wanted: Wanted<'_>,
    ) -> Result<Truth, Error> {
        let column = self.column(name)?;
        let ColumnData::VarChar(texts) = column.data else {
            return Err(Error::Column { field: name.id });
        };
        // No index of words is kept: each text is analysed anew. A missing one is unknown whatever it holds.
        let matcher = words.matcher();
        let yes = choose(texts.len(), wanted, |row| column.is_valid(row) && matcher.matches(texts.get(row)));
        known_where_valid(column, yes)
    }
}
