//! Searches of texts by BM25 against the formula, over random corpora in several segments, with and without indexes.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Readable, query, search};
use crate::base::{CollectionId, FieldId, IndexId, PartitionId, Position, Timestamp};
use crate::model::fixture::schema_of;
use crate::model::{
    Batch, Column, ColumnData, DataType, IndexDefinition, Keys, Metric, Schema, SparseRow, SparseRows,
    SparseVector, Vector,
};
use crate::plan::{QueryKind, QueryPlan, SearchPlan, TermStatistics};
use crate::segment::fixture::{KEY, field};
use crate::segment::{Growing, InterimSettings, InterimSpec};
use crate::text::{Analyzer, counts, term_hash};

const WORDS: FieldId = FieldId(110);

fn schema() -> Arc<Schema> {
    let mut words = field(WORDS, "words", DataType::SparseFloatVector);
    (words.nullable, words.type_params) = (false, Vec::new());
    let fields = vec![field(KEY, "id", DataType::Int64), words];
    Arc::new(schema_of(fields))
}

/// Each corpus as a segment, in two records, with an index if `indexed`.
fn segments(corpora: &[Vec<String>], indexed: bool) -> Readable {
    let (schema, analyzer) = (schema(), Analyzer::new("").unwrap());
    let mut key = 0;
    let growing = corpora.iter().map(|texts| {
        let growing = Growing::new(Arc::clone(&schema));
        for (position, half) in (0..).zip(texts.chunks(texts.len().div_ceil(2).max(1))) {
            let mut rows = SparseRows::new();
            for text in half {
                let counted = counts(&analyzer.analyze(text));
                rows.push(SparseRow { indices: &counted.terms, values: &counted.counts });
            }
            let mut batch = Batch::empty(&schema);
            batch.rows = half.len();
            batch.columns[0].data = ColumnData::Int64((key..key + half.len() as i64).collect());
            batch.columns[1].data = ColumnData::SparseVector(rows);
            key += half.len() as i64;
            growing.append(Position(position), PartitionId(1), Timestamp(1), &batch);
        }
        if indexed {
            let definition = IndexDefinition {
                id: IndexId(7),
                name: "words".to_owned(),
                field: WORDS,
                index_type: "SPARSE_INVERTED_INDEX".to_owned(),
                metric: Some(Metric::Bm25),
                params: Vec::new(),
            };
            let spec = InterimSpec::of(&definition, InterimSettings::default()).unwrap();
            growing.parts().iter().for_each(|part| part.build_interim(&spec, &|| false).unwrap());
        }
        Arc::new(growing)
    });
    Readable { sealed: Vec::new(), growing: growing.collect() }
}

fn statistics(on: &Readable, terms: &[u32]) -> TermStatistics {
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
        kind: QueryKind::Terms { field: WORDS, terms: terms.to_vec() },
    };
    TermStatistics::of_rows(&query(&plan, &schema(), on).unwrap(), terms.len()).unwrap()
}

/// Keys and scores of the best `count` texts.
fn found(on: &Readable, text: &str, (k1, b): (f64, f64), count: usize) -> Vec<(i64, f32)> {
    let asked = counts(&Analyzer::new("").unwrap().analyze(text));
    let statistics = statistics(on, &asked.terms);
    let rarities = statistics.having.iter().map(|having| statistics.rarity(*having));
    let values = asked.counts.iter().zip(rarities).map(|(count, rarity)| count * rarity).collect();
    let params = [("bm25_k1", k1), ("bm25_b", b), ("bm25_avgdl", statistics.average().into())];
    let plan = SearchPlan {
        collection: CollectionId(1),
        partitions: None,
        field: WORDS,
        metric: Metric::Bm25,
        queries: vec![Vector::Sparse(SparseVector { indices: asked.terms, values })],
        count,
        grouping: None,
        params: params.map(|(key, value)| (key.to_owned(), value.to_string())).into(),
        range: None,
        filter: None,
        output: Vec::new(),
        read_at: Timestamp::MAX,
        expired_before: Timestamp::ZERO,
        ignore_growing: false,
    };
    let hits = search(&plan, &schema(), on).unwrap();
    let Keys::Int(keys) = hits.keys else { panic!("keys are numbers") };
    keys.into_iter().zip(hits.scores).collect()
}

/// The formula, text by text, word by word.
fn by_hand(texts: &[String], text: &str, (k1, b): (f64, f64)) -> BTreeMap<i64, f64> {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let all: Vec<Vec<String>> = texts.iter().map(|text| words(text)).collect();
    let number = all.len() as f64;
    let average = all.iter().map(Vec::len).sum::<usize>() as f64 / number;
    let score = |of: &Vec<String>| -> f64 {
        let one = |word: &String| {
            let having = all.iter().filter(|other| other.contains(word)).count() as f64;
            let times = of.iter().filter(|other| *other == word).count() as f64;
            let rarity = (1.0 + (number - having + 0.5) / (having + 0.5)).ln();
            if times == 0.0 {
                0.0
            } else {
                rarity * times * (k1 + 1.0) / (times + k1 * (1.0 - b + b * of.len() as f64 / average))
            }
        };
        words(text).iter().map(one).sum()
    };
    (0..).zip(&all).map(|(key, of)| (key, score(of))).filter(|(_, score)| *score > 0.0).collect()
}

fn text(longest: usize) -> impl Strategy<Value = String> {
    vec("[a-f]", 0..longest).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn scores_are_those_of_the_formula_wherever_texts_are(
        corpora in vec(vec(text(12), 0..9), 1..4),
        asked in text(6),
        k1 in prop_oneof![Just(0.0), Just(1.2), 0.0..3.0],
        b in prop_oneof![Just(0.0), Just(1.0), Just(0.75)],
        count in 1_usize..6,
    ) {
        let wanted = by_hand(&corpora.concat(), &asked, (k1, b));
        let mut ranks: Vec<f64> = wanted.values().copied().collect();
        ranks.sort_by(|left, right| right.total_cmp(left));
        for indexed in [false, true] {
            let hits = found(&segments(&corpora, indexed), &asked, (k1, b), count);
            prop_assert_eq!(hits.len(), wanted.len().min(count), "{:?} of {:?}", hits, wanted);
            for ((key, score), best) in hits.iter().zip(&ranks) {
                let score = f64::from(*score);
                prop_assert!((score - wanted[key]).abs() < 1e-4 * (1.0 + score), "{} {} {:?}", key, score, wanted);
                prop_assert!((score - best).abs() < 1e-4 * (1.0 + score), "{} is not among the best {:?}", key, ranks);
            }
        }
    }
}

#[test]
fn statistics_are_of_all_rows() {
    let corpora = [vec!["a b a".to_owned(), String::new()], vec!["a".to_owned()]];
    let terms = ["a", "b", "c"].map(term_hash);
    for indexed in [false, true] {
        let wanted = TermStatistics { documents: 3, words: 4, having: vec![2, 1, 0] };
        assert_eq!(statistics(&segments(&corpora, indexed), &terms), wanted);
    }
}

#[test]
fn rows_of_which_nothing_was_counted_yet_are_no_texts() {
    let terms = ["a", "b"].map(term_hash);
    let said = |on: &Readable| (statistics(on, &terms), found(on, "a", (1.2, 0.75), 9));
    let mut on = segments(&[vec!["a b a".to_owned(), "a".to_owned()]], false);
    let before = said(&on);
    let schema = schema();
    let lacking = Column::absent(&schema.fields[1], 50);
    // As they are in segments without the column, and in records of before.
    for (from, counts) in [(100_i64, None), (200, Some(lacking))] {
        let keys = ColumnData::Int64((from..from + 50).collect());
        let keys = Column { field: KEY, data: keys, valid: None };
        let columns = std::iter::once(keys).chain(counts).collect();
        let growing = Growing::new(Arc::clone(&schema));
        growing.append(Position(9), PartitionId(1), Timestamp(1), &Batch { rows: 50, columns });
        on.growing.push(Arc::new(growing));
    }

    assert_eq!(on.growing.iter().map(|growing| growing.rows()).sum::<usize>(), 102);
    assert_eq!(said(&on), before);
}
