//! What functions compute of rows: counts of words, and signatures.

use super::Error;
use crate::base::FieldId;
use crate::model::check_schema::Signing;
use crate::model::{
    Batch, Column, ColumnData, DataType, Field, Function, FunctionKind, Schema, SparseRow, SparseRows,
};
use crate::text::{self, FieldAnalyzer, MinHash, RunHash, TermCounts};

/// The number under which Milvus's engine refuses what it does not understand.
const ENGINE_CODE: i32 = 2000;

/// What an analyzer or a text is refused with.
pub fn refused(error: &text::Error) -> Error {
    Error::Checked { code: ENGINE_CODE, text: format!("invalid analyzer params: {error}") }
}

/// The analyzers of a field.
///
/// # Errors
/// If its parameters say what no analyzer is.
pub fn analyzer(field: &Field) -> Result<FieldAnalyzer, Error> {
    FieldAnalyzer::new(field.type_param("analyzer_params"), field.type_param("multi_analyzer_params"))
        .map_err(|error| refused(&error))
}

/// A column of a computed field before it is computed.
#[must_use]
pub fn not_computed(field: &Field, rows: usize) -> Column {
    if field.data_type == DataType::BinaryVector {
        let dim = field.dim();
        let data = ColumnData::BinaryVector { dim, bytes: vec![0; dim / 8 * rows] };
        return Column { field: field.id, data, valid: None };
    }
    if field.data_type == DataType::FloatVector {
        let dim = field.dim();
        let data = ColumnData::FloatVector { dim, values: vec![0.0; dim * rows] };
        return Column { field: field.id, data, valid: None };
    }
    let mut empty = SparseRows::new();
    (0..rows).for_each(|_| empty.push_none());
    Column { field: field.id, data: ColumnData::SparseVector(empty), valid: None }
}

/// Fills the computed columns of whole rows from the others, whatever they hold, but for those that a model is asked for. Analyses texts: work for a thread that may be
/// busy.
///
/// # Errors
/// If an analyzer of the schema cannot be, which was checked when the collection was made.
pub fn compute(schema: &Schema, rows: &mut Batch) -> Result<(), Error> {
    schema.recomputed().try_for_each(|function| put(schema, function, rows))
}

/// Whether some of whole rows lack what a function fills that [`complete`] computes: they were written before there was the
/// function, or by somebody who had not heard of it.
#[must_use]
pub fn is_incomplete(schema: &Schema, rows: &Batch) -> bool {
    schema.recomputed().any(|function| lacks(rows, function.output))
}

/// Computes the columns of which [`is_incomplete`] says so, as [`compute`] does.
///
/// # Errors
/// As there.
pub fn complete(schema: &Schema, rows: &mut Batch) -> Result<(), Error> {
    for function in schema.recomputed() {
        if lacks(rows, function.output) {
            put(schema, function, rows)?;
        }
    }
    Ok(())
}

fn lacks(rows: &Batch, field: FieldId) -> bool {
    let valid = rows.column(field).and_then(|column| column.valid.as_ref());
    valid.is_some_and(|valid| valid.count() < rows.rows)
}

/// The column that `function`, which asks no model, fills, of rows that have the columns that it reads.
///
/// # Errors
/// As for [`compute`], in words.
pub fn fill(schema: &Schema, function: &Function, rows: &Batch) -> Result<ColumnData, String> {
    computed(schema, function, rows).map_err(|error| error.to_string())
}

fn put(schema: &Schema, function: &Function, rows: &mut Batch) -> Result<(), Error> {
    let data = computed(schema, function, rows)?;
    let place = schema.position(function.output);
    if let Some(column) = place.and_then(|place| rows.columns.get_mut(place)) {
        (column.data, column.valid) = (data, None);
    }
    Ok(())
}

fn computed(schema: &Schema, function: &Function, rows: &Batch) -> Result<ColumnData, Error> {
    match function.kind {
        FunctionKind::Bm25 => counted(schema, function, rows).map(ColumnData::SparseVector),
        FunctionKind::MinHash => signed(schema, function, rows),
        // Whoever may ask a model fills it.
        FunctionKind::TextEmbedding => {
            Err(Error::Defect { reason: format!("function {} asks a model", function.name) })
        }
    }
}

/// Computes the signatures of texts.
#[derive(Debug)]
pub struct Signer {
    function: MinHash,
    /// What cuts texts into words; none where runs are of letters.
    words: Option<FieldAnalyzer>,
}

impl Signer {
    /// What computes the signatures of `function`.
    ///
    /// # Errors
    /// If the schema lacks its fields or its parameters mean nothing, which was checked when the collection was made.
    pub fn new(schema: &Schema, function: &Function) -> Result<Self, Error> {
        let missing = || Error::Defect { reason: format!("function {} lacks its fields", function.name) };
        let input = schema.field_by_id(function.input).ok_or_else(missing)?;
        let output = schema.field_by_id(function.output).ok_or_else(missing)?;
        let Signing { places, run, seed, is_sha1, by_letters } = Signing::of(&function.params, output.dim())
            .map_err(|error| Error::Checked { code: error.milvus_code(), text: error.to_string() })?;
        let hash = if is_sha1 { RunHash::Sha1 } else { RunHash::Xxh3 };
        let words = if by_letters { None } else { Some(analyzer(input)?) };
        Ok(Self { function: MinHash::new(places as usize, run as usize, seed, hash), words })
    }

    /// The signature of a text, or of none.
    #[must_use]
    pub fn sign(&self, text: Option<&str>) -> Vec<u8> {
        let Some(text) = text else { return self.function.of_nothing() };
        let Some(words) = &self.words else { return self.function.of_letters(text) };
        let tokens = words.named(None).map(|one| one.analyze(text)).unwrap_or_default();
        let words: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
        self.function.of_words(&words)
    }
}

/// The signature of each text of a function's input; a missing text has that of nothing.
fn signed(schema: &Schema, function: &Function, rows: &Batch) -> Result<ColumnData, Error> {
    let missing = || Error::Defect { reason: format!("function {} lacks its fields", function.name) };
    let column = rows.column(function.input).ok_or_else(missing)?;
    let ColumnData::VarChar(texts) = &column.data else { return Err(missing()) };
    let signer = Signer::new(schema, function)?;
    let dim = schema.field_by_id(function.output).ok_or_else(missing)?.dim();
    let mut bytes = Vec::with_capacity(texts.len() * dim / 8);
    for row in 0..texts.len() {
        bytes.extend(signer.sign(column.is_valid(row).then(|| texts.get(row))));
    }
    Ok(ColumnData::BinaryVector { dim, bytes })
}

/// How often each text of a function's input has each of its words; a missing text has none.
fn counted(schema: &Schema, function: &Function, rows: &Batch) -> Result<SparseRows, Error> {
    let missing = || Error::Defect { reason: format!("function {} lacks its input", function.name) };
    let field = schema.field_by_id(function.input).ok_or_else(missing)?;
    let column = rows.column(field.id).ok_or_else(missing)?;
    let ColumnData::VarChar(texts) = &column.data else { return Err(missing()) };
    let analyzer = analyzer(field)?;
    let languages = analyzer.by_field().and_then(|name| rows.column(schema.field(name)?.id));
    let language = |row: usize| match languages {
        Some(Column { data: ColumnData::VarChar(names), valid, .. })
            if valid.as_ref().is_none_or(|valid| valid.contains(row)) =>
        {
            Some(names.get(row))
        }
        _ => None,
    };
    let mut counted = SparseRows::new();
    for row in 0..texts.len() {
        let of_row = analyzer.named(language(row)).filter(|_| column.is_valid(row));
        let TermCounts { terms, counts } = of_row.map(|one| one.terms(texts.get(row))).unwrap_or_default();
        counted.push(SparseRow { indices: &terms, values: &counts });
    }
    Ok(counted)
}

#[cfg(test)]
mod tests {
    use super::{ColumnData, FunctionKind, Signer, complete, compute, fill, is_incomplete, not_computed};
    use crate::model::check_schema::{FieldRequest, FunctionRequest, SchemaRequest, check_schema};
    use crate::model::{Batch, Bitset, Column, Schema, Texts};
    use crate::text::{MinHash, RunHash};

    fn signing(params: &[(&str, &str)]) -> Result<Schema, (i32, String)> {
        let pairs = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
        };
        let field = |name: &str, data_type: i32, params: &[(&str, &str)]| FieldRequest {
            name: name.to_owned(),
            data_type,
            is_primary: data_type == 5,
            nullable: data_type == 21,
            type_params: pairs(params),
            ..FieldRequest::default()
        };
        let function = FunctionRequest {
            name: "f".to_owned(),
            kind: 4,
            inputs: vec!["text".to_owned()],
            outputs: vec!["bits".to_owned()],
            params: pairs(params),
            ..FunctionRequest::default()
        };
        let fields = vec![
            field("id", 5, &[]),
            field("text", 21, &[("max_length", "100")]),
            field("bits", 100, &[("dim", "64")]),
        ];
        let request = SchemaRequest {
            name: "c".to_owned(),
            fields,
            functions: vec![function],
            ..SchemaRequest::default()
        };
        check_schema(&request).map_err(|error| (error.milvus_code(), error.to_string()))
    }

    #[test]
    fn signatures_are_of_the_letters_or_words_that_the_function_names() {
        for level in ["char", "word"] {
            let schema = signing(&[("num_hashes", "2"), ("token_level", level), ("seed", "7")]).unwrap();
            assert_eq!(schema.functions[0].kind, FunctionKind::MinHash);
            let texts = ["Big dog", ""].into_iter().collect::<Texts>();
            let mut valid = Bitset::all(2);
            valid.remove(1);
            let columns = vec![
                Column { field: schema.fields[0].id, data: ColumnData::Int64(vec![1, 2]), valid: None },
                Column { field: schema.fields[1].id, data: ColumnData::VarChar(texts), valid: Some(valid) },
                not_computed(&schema.fields[2], 2),
            ];
            let mut rows = Batch { rows: 2, columns };

            compute(&schema, &mut rows).unwrap();

            let function = MinHash::new(2, 3, 7, RunHash::Xxh3);
            let wanted = if level == "char" {
                function.of_letters("Big dog")
            } else {
                function.of_words(&["big", "dog"])
            };
            let bytes = [wanted.clone(), vec![0xff; 8]].concat();
            assert_eq!(rows.columns[2].data, ColumnData::BinaryVector { dim: 64, bytes }, "{level}");
            let signer = Signer::new(&schema, &schema.functions[0]).unwrap();
            assert_eq!(signer.sign(Some("Big dog")), wanted, "{level}");
        }
    }

    #[test]
    fn rows_that_lack_a_signature_get_it_and_others_are_left_alone() {
        let schema = signing(&[]).unwrap();
        let texts = ["big dog", "small cat"].into_iter().collect::<Texts>();
        let columns = vec![
            Column { field: schema.fields[0].id, data: ColumnData::Int64(vec![1, 2]), valid: None },
            Column { field: schema.fields[1].id, data: ColumnData::VarChar(texts), valid: None },
            not_computed(&schema.fields[2], 2),
        ];
        let untouched = Batch { rows: 2, columns };
        let mut expected = untouched.clone();
        compute(&schema, &mut expected).unwrap();
        let of_function = fill(&schema, &schema.functions[0], &untouched).unwrap();
        assert_eq!(of_function, expected.columns[2].data);

        // What the first row has came with it, the second was written before there was the function.
        let mut mixed = expected.clone();
        let mut valid = Bitset::all(2);
        valid.remove(1);
        mixed.columns[2].valid = Some(valid);
        if let ColumnData::BinaryVector { bytes, .. } = &mut mixed.columns[2].data {
            bytes[8..].fill(0);
        }
        for mut rows in [mixed, untouched.clone(), expected.clone()] {
            let (was_incomplete, before) = (is_incomplete(&schema, &rows), rows.clone());
            complete(&schema, &mut rows).unwrap();
            assert_eq!(rows, if was_incomplete { expected.clone() } else { before });
            assert!(!is_incomplete(&schema, &rows));
        }
        assert!(!is_incomplete(&schema, &untouched), "nothing says that these lack one");
    }

    #[test]
    fn parameters_of_signatures_that_mean_nothing_are_refused() {
        let cases: [(&[(&str, &str)], &str); 6] = [
            (&[("num_hashes", "0")], "num_hashes must be a whole number in range [1, 1024], got 0"),
            (&[("num_hashes", "3")], "output field dim 64 does not match expected dim 96"),
            (&[("shingle_size", "x")], "shingle_size must be a whole number in range [1, 1024], got x"),
            (&[("hash_function", "md5")], "unknown hash function: md5"),
            (&[("token_level", "")], "unknown token_level: "),
            (&[("seed", "abc")], "seed must be a whole number, got abc"),
        ];
        for (params, why) in cases {
            let text = format!("MinHash function: {why}: invalid parameter");
            assert_eq!(signing(params), Err((1100, text)));
        }
    }
}
