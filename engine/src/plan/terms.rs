//! How often terms are in the texts of a collection: what the rarity of a word is computed from.
//!
//! Counted over all rows of the parts that a search reads, whichever of them it may see: a filter, a partition or a delete
//! changes no score, and rows that were deleted count until compaction drops them. The parts of all nodes are added up
//! before a score is computed, so scores do not depend on where rows are.

use super::QueryRows;
use crate::base::FieldId;
use crate::model::{Batch, Column, ColumnData, Keys};

/// The field of the one column of an answer; no field of a user has the number.
const ANSWER: FieldId = FieldId(-1);

/// How many texts there are, and in how many some terms are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TermStatistics {
    /// Rows, those without a word among them.
    pub documents: u64,
    /// Words of all of them together.
    pub words: u64,
    /// How many rows have each of the terms that were asked about, in their order.
    pub having: Vec<u64>,
}

impl TermStatistics {
    /// Of no row.
    #[must_use]
    pub fn none(terms: usize) -> Self {
        Self { documents: 0, words: 0, having: vec![0; terms] }
    }

    /// Adds what was counted elsewhere about the same terms.
    pub fn add(&mut self, other: &Self) {
        self.documents += other.documents;
        self.words += other.words;
        for (sum, more) in self.having.iter_mut().zip(&other.having) {
            *sum += more;
        }
    }

    /// The statistics as the answer of a query: the rows as its count, and one column of numbers.
    #[must_use]
    pub fn into_rows(self) -> QueryRows {
        let numbers = std::iter::once(self.words).chain(self.having);
        let numbers: Vec<i64> = numbers.map(|number| i64::try_from(number).unwrap_or(i64::MAX)).collect();
        let rows = numbers.len();
        let column = Column { field: ANSWER, data: ColumnData::Int64(numbers), valid: None };
        QueryRows {
            keys: Keys::Int(Vec::new()),
            times: Vec::new(),
            rows: Batch { rows, columns: vec![column] },
            count: self.documents,
        }
    }

    /// What [`Self::into_rows`] made of the statistics of so many terms; `None` for any other answer.
    #[must_use]
    pub fn of_rows(answer: &QueryRows, terms: usize) -> Option<Self> {
        let ColumnData::Int64(numbers) = &answer.rows.column(ANSWER)?.data else { return None };
        let numbers: Vec<u64> =
            numbers.iter().map(|number| u64::try_from(*number).ok()).collect::<Option<_>>()?;
        let (words, having) = numbers.split_first()?;
        (having.len() == terms).then(|| Self {
            documents: answer.count,
            words: *words,
            having: having.to_vec(),
        })
    }

    /// Words of a text on average; 1 if there is none.
    #[must_use]
    pub fn average(&self) -> f32 {
        if self.words == 0 { 1.0 } else { (self.words as f64 / self.documents.max(1) as f64) as f32 }
    }

    /// How much it says about a text that it has a term which `having` of the texts have: `ln(1 + (n - having + 0.5) / (having +
    /// 0.5))`, the rarity of BM25 that is never negative.
    #[must_use]
    pub fn rarity(&self, having: u64) -> f32 {
        let (all, having) = (self.documents.max(having) as f64, having as f64);
        ((all - having + 0.5) / (having + 0.5)).ln_1p() as f32
    }
}

#[cfg(test)]
mod tests {
    use super::TermStatistics;
    use crate::base::{CollectionId, FieldId, Timestamp};
    use crate::model::{Batch, Keys};
    use crate::plan::{QueryKind, QueryPlan, QueryRows, merge_query};

    #[test]
    fn statistics_are_added_up_and_go_through_an_answer() {
        let mut all = TermStatistics { documents: 3, words: 12, having: vec![1, 0, 3] };
        all.add(&TermStatistics { documents: 1, words: 0, having: vec![0, 1, 0] });

        let wanted = TermStatistics { documents: 4, words: 12, having: vec![1, 1, 3] };
        assert_eq!(all, wanted);
        let answer = all.into_rows();
        assert_eq!(TermStatistics::of_rows(&answer, 3), Some(wanted));
        assert_eq!(TermStatistics::of_rows(&answer, 2), None);
    }

    #[test]
    fn answers_of_nodes_are_put_together_unless_one_is_none() {
        let plan = QueryPlan {
            collection: CollectionId(1),
            partitions: None,
            filter: None,
            limit: Some(0),
            order: None,
            output: Vec::new(),
            read_at: Timestamp::MAX,
            expired_before: Timestamp::ZERO,
            ignore_growing: false,
            kind: QueryKind::Terms { field: FieldId(7), terms: vec![3, 9] },
        };
        let of = |documents, having: [u64; 2]| {
            TermStatistics { documents, words: 5, having: having.to_vec() }.into_rows()
        };

        let merged = merge_query(&plan, vec![of(2, [1, 0]), of(3, [3, 1])]).unwrap();
        let wanted = TermStatistics { documents: 5, words: 10, having: vec![4, 1] };
        assert_eq!(TermStatistics::of_rows(&merged, 2), Some(wanted));
        let none = merge_query(&plan, Vec::new()).unwrap();
        assert_eq!(TermStatistics::of_rows(&none, 2), Some(TermStatistics::none(2)));
        // What a node answers that does not know the kind.
        let other =
            QueryRows { keys: Keys::Int(Vec::new()), times: Vec::new(), rows: Batch::default(), count: 0 };
        let merged = merge_query(&plan, vec![of(2, [1, 0]), other]).unwrap();
        assert_eq!(TermStatistics::of_rows(&merged, 2), None);
    }

    #[test]
    fn rare_terms_say_more_and_none_says_nothing_bad() {
        let all = TermStatistics { documents: 10, words: 50, having: Vec::new() };

        assert_eq!(all.average(), 5.0);
        assert!((all.rarity(1) - (1.0_f32 + 9.5 / 1.5).ln()).abs() < 1e-6);
        assert!(all.rarity(0) > all.rarity(1) && all.rarity(10) > 0.0 && all.rarity(11) > 0.0);
        assert_eq!(TermStatistics::none(0).average(), 1.0);
    }
}
