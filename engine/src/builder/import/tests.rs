//! Claims about formats: written by a naive writer and read back, from any place on.

use proptest::prelude::*;

use super::csv::CsvRows;
use super::files::{Bucket, File};
use super::json::{JsonRows, Layout};
use super::npy::Npy;
use super::*;
use crate::base::Kinded as _;
use crate::blob::MemoryBlobs;
use crate::calendar::TimeZone;

/// Does `work` with a bucket that holds these files, on a thread that may wait.
fn with<T: Send + 'static>(files: &[(&str, Vec<u8>)], work: impl FnOnce(&Bucket) -> T + Send + 'static) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let blobs = MemoryBlobs::new();
    for (key, body) in files {
        runtime.block_on(blobs.create(key, body.clone().into())).unwrap();
    }
    let bucket = Bucket::new(blobs, runtime.handle().clone());
    work(&bucket)
}

fn one(bucket: &Bucket, path: &str) -> File {
    bucket.files(&[path.to_owned()]).unwrap().pop().unwrap()
}

/// The rows of a file of JSON from a place on, each with the place behind it.
fn json_rows(file: &File, layout: Layout, place: ImportPlace) -> Result<Vec<(String, ImportPlace)>, String> {
    let mut rows = JsonRows::open(file, layout, place).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    while let Some(text) = rows.next().map_err(|error| error.to_string())?.map(str::to_owned) {
        found.push((text, rows.place()));
    }
    Ok(found)
}

/// The rows of a file of CSV from a place on, each with the place behind it.
fn csv_rows(file: &File, place: ImportPlace) -> Result<Vec<(Vec<(String, String)>, ImportPlace)>, String> {
    let mut rows =
        CsvRows::open(file, &ImportOptions::default(), place).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    loop {
        let next = rows.next().map_err(|error| error.to_string())?;
        let Some(row) = next.map(|row| row.map(|(name, text)| (name.to_owned(), text.to_owned())).collect())
        else {
            return Ok(found);
        };
        found.push((row, rows.place()));
    }
}

fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just(""), Just(" "), Just("\n"), Just(" \r\n\t ")]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rows_of_json_are_found_however_they_are_laid_out(
        texts in prop::collection::vec((".{0,20}", any::<i64>(), space(), space()), 0..20),
        wrapped in any::<bool>(),
        lines in any::<bool>(),
    ) {
        let row = |(text, number, inside, _): &(String, i64, &str, &str)| {
            let text = Json::String(text.clone());
            format!("{{{inside}\"t\":{inside}{text},\"n\":[{number},{{\"}}\":\"]\"}}]{inside}}}")
        };
        let rows: Vec<String> = texts.iter().map(row).collect();
        let mut body = String::new();
        for (at, (row, (.., space))) in rows.iter().zip(&texts).enumerate() {
            if at > 0 && !lines {
                body.push(',');
            }
            body.push_str(space);
            body.push_str(row);
            body.push_str(space);
            if lines {
                body.push('\n');
            }
        }
        let body = match (lines, wrapped) {
            (true, _) => body,
            (false, true) => format!(" {{ \"rows\" : [{body}] }}\n"),
            (false, false) => format!("\u{feff}[{body}]"),
        };
        let layout = if lines { Layout::Lines } else { Layout::List };

        let found = with(&[("a.json", body.into_bytes())], move |bucket| {
            let file = one(bucket, "a.json");
            let all = json_rows(&file, layout, ImportPlace::default()).unwrap();
            let later = all.iter().map(|(_, place)| json_rows(&file, layout, *place).unwrap());
            let later: Vec<Vec<(String, ImportPlace)>> = later.collect();
            (all, later)
        });

        let (all, later) = found;
        prop_assert_eq!(all.iter().map(|(text, _)| text.clone()).collect::<Vec<_>>(), rows);
        for (at, rest) in later.into_iter().enumerate() {
            prop_assert_eq!(rest, all[at + 1..].to_vec());
        }
    }

    #[test]
    fn rows_of_csv_are_found_from_any_place_on(
        values in prop::collection::vec(("[a\",\n\r;ö ]{0,8}", "[a-z]{1,5}"), 0..20),
    ) {
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let lines: String =
            values.iter().map(|(one, other)| format!("{},{other}\n", quoted(one))).collect();
        let body = format!("first,second\n{lines}");

        let (all, later) = with(&[("a.csv", body.into_bytes())], |bucket| {
            let file = one(bucket, "a.csv");
            let all = csv_rows(&file, ImportPlace::default()).unwrap();
            let later: Vec<_> = all.iter().map(|(_, place)| csv_rows(&file, *place).unwrap()).collect();
            (all, later)
        });

        let name = |(one, other): &(String, String)| {
            vec![("first".to_owned(), one.clone()), ("second".to_owned(), other.clone())]
        };
        let wanted: Vec<_> = values.iter().map(name).collect();
        prop_assert_eq!(all.iter().map(|(row, _)| row.clone()).collect::<Vec<_>>(), wanted);
        for (at, rest) in later.into_iter().enumerate() {
            prop_assert_eq!(rest, all[at + 1..].to_vec());
        }
    }

    #[test]
    fn columns_of_numpy_come_back_in_every_width(values in prop::collection::vec(any::<i64>(), 1..40)) {
        let narrow = |bytes: usize| values.iter().map(move |value| (value << (64 - 8 * bytes)) >> (64 - 8 * bytes));
        for (descr, bytes, big) in [("<i8", 8, false), (">i4", 4, true), ("<i2", 2, false), ("|i1", 1, false)] {
            let mut body = header(descr, &format!("({},)", values.len()));
            for value in narrow(bytes) {
                let all = value.to_le_bytes();
                let mut some = all[..bytes].to_vec();
                if big {
                    some.reverse();
                }
                body.extend(some);
            }
            let count = values.len() as u64;
            let found = with(&[("n.npy", body)], move |bucket| {
                let file = Npy::open(&one(bucket, "n.npy")).unwrap();
                (file.read(0..count).unwrap(), file.read(count - 1..count).unwrap())
            });
            let all: Vec<i64> = narrow(bytes).collect();
            let last = all[all.len() - 1];
            prop_assert_eq!(found, (columns::Values::Ints(all), columns::Values::Ints(vec![last])));
        }
    }
}

fn header(descr: &str, shape: &str) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut body = b"\x93NUMPY\x01\x00".to_vec();
    body.extend((text.len() as u16).to_le_bytes());
    body.extend(text.as_bytes());
    body
}

#[test]
fn what_is_no_json_of_rows_is_refused_where_it_is_wrong() {
    let cases = [
        ("", "neither a list of rows nor an object"),
        ("[{\"a\":1}", "ends within the rows"),
        ("[{\"a\":", "ends within a row"),
        ("[1]", "a row is no object"),
        ("[{} {}]", "no comma"),
        ("[{}] x", "after the rows"),
        ("{\"row\": []}", "under the key \"rows\""),
        ("{\"rows\": {}}", "\"rows\" must be a list"),
        ("{\"rows\": [], \"more\": 1}", "nothing but the rows"),
    ];
    for (body, text) in cases {
        let refused = with(&[("a.json", body.as_bytes().to_vec())], |bucket| {
            json_rows(&one(bucket, "a.json"), Layout::List, ImportPlace::default()).unwrap_err()
        });
        assert!(refused.contains(text) && refused.contains("a.json"), "{body}: {refused}");
    }
}

#[test]
fn what_is_no_file_of_numpy_is_refused() {
    let cut = |mut body: Vec<u8>| {
        body.truncate(body.len() - 1);
        body
    };
    let cases = [
        (b"nothing at all".to_vec(), "does not begin as one"),
        (cut([header("<i8", "(1,)"), vec![0; 8]].concat()), "size is not what its header says"),
        (header("|O", "(0,)"), "Python objects"),
        (header("<c16", "(0,)"), "none that a field has"),
        (header("<f4", "(1, 2, 3)"), "one or two dimensions"),
        (header("<f4", "(99999999999999999999,)"), "shape is none"),
        (header("<f8", "(4611686018427387904, 8)"), "size is not"),
    ];
    for (body, text) in cases {
        let refused = with(&[("n.npy", body)], |bucket| match Npy::open(&one(bucket, "n.npy")) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        });
        assert!(refused.contains(text), "{refused}, expected {text}");
    }
}

#[test]
fn texts_of_numpy_end_where_their_letters_do() {
    let letters = |text: &str| {
        let mut four: Vec<u8> = text.chars().flat_map(|letter| (letter as u32).to_le_bytes()).collect();
        four.resize(16, 0);
        four
    };
    let body = [header("<U4", "(3,)"), letters("文"), letters(""), letters("a\0b")].concat();

    let found =
        with(&[("t.npy", body)], |bucket| Npy::open(&one(bucket, "t.npy")).unwrap().read(0..3).unwrap());

    let texts = ["文", "", "a\0b"].map(str::to_owned).to_vec();
    assert_eq!(found, columns::Values::Texts(texts));
}

#[test]
fn only_files_of_others_are_found() {
    let files =
        [("segments/1/2/scalars.parquet", vec![0]), ("in/a.json", vec![1]), ("in/b.json", vec![1, 2])];
    with(&files, |bucket| {
        let names = |path: &str| {
            let found = bucket.files(&[path.to_owned()]);
            found.map(|files| files.into_iter().map(|file| (file.path, file.size)).collect::<Vec<_>>())
        };
        assert_eq!(names("in/a.json").unwrap(), [("in/a.json".to_owned(), 1)]);
        assert_eq!(names("/in/").unwrap(), [("/in/a.json".to_owned(), 1), ("/in/b.json".to_owned(), 2)]);
        for path in
            ["in/a", "in", "segments/1/2/scalars.parquet", "../x.json", "", "/", "in/../in/a.json", "wal/"]
        {
            let error = names(path).unwrap_err();
            assert_eq!(error.kind(), crate::base::Kind::Invalid, "{path}: {error}");
        }
    });
}

#[test]
fn a_row_that_never_ends_is_not_collected() {
    let body = format!("a,b\n1,\"{}", "x".repeat(MAX_ROW_BYTES + (1 << 20)));
    let refused = with(&[("a.csv", body.into_bytes())], |bucket| {
        csv_rows(&one(bucket, "a.csv"), ImportPlace::default()).unwrap_err()
    });
    assert!(refused.contains("row 0") && refused.contains("more than"), "{refused}");
}

/// A schema with a field of many kinds.
fn schema() -> Schema {
    use crate::model::check_schema::{FieldRequest, SchemaRequest, StructRequest, check_schema};
    let field = |name: &str, data_type, params: &[(&str, &str)]| FieldRequest {
        name: name.to_owned(),
        data_type,
        element_type: match data_type {
            22 => 21,
            106 => 101,
            _ => 0,
        },
        is_primary: name == "id",
        nullable: name == "maybe",
        type_params: params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ..FieldRequest::default()
    };
    let fields = vec![
        field("id", 5, &[]),
        field("maybe", 4, &[]),
        field("note", 21, &[("max_length", "100")]),
        field("words", 22, &[("max_length", "100"), ("max_capacity", "9")]),
        field("more", 23, &[]),
        field("vec", 101, &[("dim", "2")]),
        field("half", 102, &[("dim", "2")]),
        field("bits", 100, &[("dim", "16")]),
        field("pairs", 104, &[]),
    ];
    let clips = StructRequest {
        name: "clips".to_owned(),
        nullable: true,
        parts: vec![
            FieldRequest { element_type: 5, ..field("n", 22, &[("max_capacity", "3")]) },
            field("v", 106, &[("dim", "2"), ("max_capacity", "3")]),
        ],
        ..StructRequest::default()
    };
    let structs = vec![clips];
    let request = SchemaRequest { name: "c".to_owned(), fields, structs, ..SchemaRequest::default() };
    check_schema(&request).unwrap()
}

/// The rows of a file, taken in as those of an insert are.
fn taken_in(bucket: &Bucket, path: &str, format: ImportFormat) -> Result<Batch, String> {
    taken_in_as(&schema(), bucket, path, format)
}

/// The rows of a file, taken in by a schema.
fn taken_in_as(schema: &Schema, bucket: &Bucket, path: &str, format: ImportFormat) -> Result<Batch, String> {
    let options = ImportOptions::default();
    let files = bucket.files(&[path.to_owned()]).map_err(|error| error.to_string())?;
    let open = Source::open(format, &files, schema, &options, (ImportPlace::default(), 8 << 20));
    let mut source = open.map_err(|error| error.to_string())?;
    let mut all = Batch::empty(schema);
    while let Some((fields, rows)) =
        source.next(schema, 8 << 20).map_err(|error| crate::base::chain(&error))?
    {
        let sent = sent(
            schema,
            &TimeZone::default(),
            (fields, rows as u32),
            (KeyColumn::ByAutoId, crate::intake::rows::Outputs::Computed),
        )
        .map_err(|error| error.to_string())?;
        let batch = sent.whole(schema).map_err(|error| error.to_string())?;
        check_rows(schema, &batch).map_err(|error| error.to_string())?;
        all.extend(&batch).map_err(|error| error.to_string())?;
    }
    Ok(all)
}

fn parquet_of(rows: usize, with_half: bool) -> Vec<u8> {
    packed_parquet_of(rows, with_half, ::parquet::basic::Compression::SNAPPY)
}

fn packed_parquet_of(rows: usize, with_half: bool, packed: ::parquet::basic::Compression) -> Vec<u8> {
    use arrow_array::builder::{Float32Builder, ListBuilder, StringBuilder, UInt8Builder};
    use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
    let mut words = ListBuilder::new(StringBuilder::new());
    let mut vectors = ListBuilder::new(Float32Builder::new());
    let (mut halves, mut bits) =
        (ListBuilder::new(UInt8Builder::new()), ListBuilder::new(UInt8Builder::new()));
    for row in 0..rows {
        (0..row % 3).for_each(|at| words.values().append_value(format!("w{at}")));
        words.append(true);
        vectors.values().append_slice(&[row as f32, 0.5]);
        vectors.append(true);
        for value in [row as f32, 2.0] {
            halves.values().append_slice(&half::f16::from_f32(value).to_le_bytes());
        }
        halves.append(true);
        bits.values().append_slice(&[row as u8, 1]);
        bits.append(true);
    }
    let clips = clips_of(rows);
    let texts =
        |of: fn(usize) -> String| Arc::new(StringArray::from_iter_values((0..rows).map(of))) as ArrayRef;
    let mut columns = vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..rows as i64)) as ArrayRef),
        (
            "maybe",
            Arc::new((0..rows).map(|row| row.is_multiple_of(2).then_some(row as i32)).collect::<Int32Array>())
                as _,
        ),
        ("note", texts(|row| format!("note {row}"))),
        ("words", Arc::new(words.finish()) as _),
        ("more", texts(|row| format!("{{\"a\":{row}}}"))),
        ("vec", Arc::new(vectors.finish()) as _),
        ("bits", Arc::new(bits.finish()) as _),
        ("pairs", texts(|row| format!("{{\"{row}\": 0.5, \"7\": 1.5}}"))),
        ("clips", clips),
    ];
    if with_half {
        columns.push(("half", Arc::new(halves.finish()) as _));
    }
    written(&RecordBatch::try_from_iter(columns).unwrap(), packed)
}

/// A file of these rows.
fn written(rows: &arrow_array::RecordBatch, packed: ::parquet::basic::Compression) -> Vec<u8> {
    let mut out = Vec::new();
    let properties = ::parquet::file::properties::WriterProperties::builder()
        .set_compression(packed)
        .set_max_row_group_row_count(Some(50))
        .build();
    let mut writer =
        ::parquet::arrow::ArrowWriter::try_new(&mut out, rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
    out
}

/// No list yet, of records of a number and a list of numbers.
fn no_clips() -> arrow_array::builder::ListBuilder<arrow_array::builder::StructBuilder> {
    use arrow_array::builder::{Float32Builder, Int64Builder, ListBuilder, StructBuilder};
    use arrow_schema::{DataType as Arrow, Field as ArrowField, Fields};
    let vector = Arrow::List(Arc::new(ArrowField::new("item", Arrow::Float32, true)));
    let parts =
        Fields::from(vec![ArrowField::new("n", Arrow::Int64, true), ArrowField::new("v", vector, true)]);
    let builders: Vec<Box<dyn arrow_array::builder::ArrayBuilder>> =
        vec![Box::new(Int64Builder::new()), Box::new(ListBuilder::new(Float32Builder::new()))];
    ListBuilder::new(StructBuilder::new(parts, builders))
}

/// Adds a record to the last list, or null instead of it.
fn add_clip(record: &mut arrow_array::builder::StructBuilder, number: i64, vector: [f32; 2], is_there: bool) {
    use arrow_array::builder::{Float32Builder, Int64Builder, ListBuilder};
    record.field_builder::<Int64Builder>(0).unwrap().append_value(number);
    let vectors = record.field_builder::<ListBuilder<Float32Builder>>(1).unwrap();
    vectors.values().append_slice(&vector);
    vectors.append(true);
    record.append(is_there);
}

/// Lists of records of a number and a list of two numbers; every fifth row has no list.
fn clips_of(rows: usize) -> arrow_array::ArrayRef {
    let mut clips = no_clips();
    for row in 0..rows {
        for at in 0..if row % 5 == 4 { 0 } else { row % 3 } {
            add_clip(clips.values(), (row + at) as i64, [row as f32, at as f32], true);
        }
        clips.append(row % 5 != 4);
    }
    Arc::new(clips.finish())
}

fn json_of(rows: usize) -> Vec<u8> {
    let row = |row: usize| {
        let words: Vec<String> = (0..row % 3).map(|at| format!("w{at}")).collect();
        let maybe = if row.is_multiple_of(2) { serde_json::json!(row) } else { Json::Null };
        let pairs: Json = [(row.to_string(), 0.5), ("7".to_owned(), 1.5)]
            .into_iter()
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .map(|(key, value)| (key, serde_json::json!(value)))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let clip = |at: usize| serde_json::json!({ "v": [row, at], "n": row + at });
        let clips = if row % 5 == 4 { Json::Null } else { (0..row % 3).map(clip).collect() };
        serde_json::json!({
            "id": row,
            "clips": clips,
            "maybe": maybe,
            "note": format!("note {row}"),
            "words": words,
            "more": { "a": row },
            "vec": [row, 0.5],
            "half": [row, 2],
            "bits": [row as u8, 1],
            "pairs": pairs,
        })
    };
    Json::Array((0..rows).map(row).collect()).to_string().into_bytes()
}

#[test]
fn the_same_rows_are_the_same_in_every_format() {
    let rows = 130;
    let lines = |body: Vec<u8>| {
        let rows: Vec<Json> = serde_json::from_slice(&body).unwrap();
        rows.iter().map(|row| format!("{row}\n")).collect::<String>()
    };
    let csv = |body: Vec<u8>| {
        let rows: Vec<serde_json::Map<String, Json>> = serde_json::from_slice(&body).unwrap();
        let names: Vec<&String> = rows[0].keys().collect();
        let mut out = ::csv::Writer::from_writer(Vec::new());
        out.write_record(&names).unwrap();
        for row in &rows {
            let text = |value: &Json| match value {
                Json::Null => String::new(),
                Json::String(text) => text.clone(),
                other => other.to_string(),
            };
            out.write_record(row.values().map(text)).unwrap();
        }
        out.into_inner().unwrap()
    };
    let files = [
        ("a.json", json_of(rows)),
        ("a.jsonl", lines(json_of(rows)).into_bytes()),
        ("a.csv", csv(json_of(rows))),
        ("a.parquet", parquet_of(rows, true)),
    ];

    with(&files, move |bucket| {
        let json = taken_in(bucket, "a.json", ImportFormat::Json).unwrap();
        assert_eq!(json.rows, rows);
        assert_eq!(taken_in(bucket, "a.jsonl", ImportFormat::JsonLines).unwrap(), json);
        assert_eq!(taken_in(bucket, "a.csv", ImportFormat::Csv).unwrap(), json);
        assert_eq!(taken_in(bucket, "a.parquet", ImportFormat::Parquet).unwrap(), json);
    });
}

#[test]
fn parquet_is_read_however_it_is_packed() {
    use ::parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
    let all = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::LZ4_RAW,
        Compression::BROTLI(BrotliLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
    ];
    let names: Vec<String> = all.iter().map(|packed| format!("{packed:?}.parquet")).collect();
    let bodies = all.iter().map(|packed| packed_parquet_of(130, true, *packed));
    let files: Vec<_> = names.iter().map(String::as_str).zip(bodies).collect();

    let asked = names.clone();
    with(&files, move |bucket| {
        let found: Vec<_> =
            asked.iter().map(|name| taken_in(bucket, name, ImportFormat::Parquet).unwrap()).collect();
        assert_eq!(found, vec![found[0].clone(); asked.len()]);
        assert_eq!(found[0].rows, 130);
    });
}

#[test]
fn parquet_goes_on_at_any_row() {
    with(&[("a.parquet", parquet_of(130, true))], |bucket| {
        let file = one(bucket, "a.parquet");
        let schema = schema();
        for row in [0, 1, 49, 50, 51, 99, 100, 129, 130] {
            let mut rows = ParquetRows::open(&file, &schema, ImportPlace { row, byte: 0 }, 8 << 20).unwrap();
            let mut found = 0;
            while let Some((_, rows)) = rows.next(&schema).unwrap() {
                found += rows as u64;
            }
            assert_eq!((found, rows.total, rows.place().row), (130 - row, 130, 130), "from {row}");
        }
    });
}

#[test]
fn what_a_parquet_file_lacks_or_has_too_much_is_said() {
    let files =
        [("lacks.parquet", parquet_of(3, false)), ("cut.parquet", parquet_of(3, true)[..200].to_vec())];
    with(&files, |bucket| {
        let lacks = taken_in(bucket, "lacks.parquet", ImportFormat::Parquet).unwrap_err();
        assert!(lacks.contains("half"), "{lacks}");
        let cut = taken_in(bucket, "cut.parquet", ImportFormat::Parquet).unwrap_err();
        assert!(cut.contains("does not end as one"), "{cut}");
    });
}

#[test]
fn what_has_no_value_in_a_list_of_parquet_is_refused() {
    use arrow_array::builder::{ListBuilder, NullBuilder};
    use arrow_array::{ArrayRef, RecordBatch};
    let mut untyped = ListBuilder::new(NullBuilder::new());
    untyped.values().append_null();
    untyped.append(true);
    let mut clips = no_clips();
    add_clip(clips.values(), 1, [1.0, 2.0], true);
    add_clip(clips.values(), 2, [3.0, 4.0], false);
    clips.append(true);
    let file = |name: &str, column: ArrayRef| {
        let rows = RecordBatch::try_from_iter([(name, column)]).unwrap();
        written(&rows, ::parquet::basic::Compression::SNAPPY)
    };
    let files = [
        ("words.parquet", file("words", Arc::new(untyped.finish()))),
        ("clips.parquet", file("clips", Arc::new(clips.finish()))),
    ];

    with(&files, |bucket| {
        let untyped = taken_in(bucket, "words.parquet", ImportFormat::Parquet).unwrap_err();
        assert!(untyped.contains("words: an element of a list has no value"), "{untyped}");
        let null = taken_in(bucket, "clips.parquet", ImportFormat::Parquet).unwrap_err();
        assert!(null.contains("none of them null"), "{null}");
    });
}

#[test]
fn a_column_of_parquet_without_a_type_is_null_in_every_row() {
    use arrow_array::{ArrayRef, Int64Array, NullArray, RecordBatch};
    let mut schema = schema();
    schema.fields.iter_mut().filter(|field| !field.is_primary).for_each(|field| field.nullable = true);
    let ids = Arc::new(Int64Array::from_iter_values(0..3)) as ArrayRef;
    let others = ["maybe", "note", "words", "more", "vec", "half", "bits", "pairs", "clips"];
    let nothing = others.map(|name| (name, Arc::new(NullArray::new(3)) as ArrayRef));
    let columns = std::iter::once(("id", ids)).chain(nothing);
    let rows = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)));
    let file = written(&rows.unwrap(), ::parquet::basic::Compression::SNAPPY);
    let refused = file.clone();

    with(&[("a.parquet", file)], move |bucket| {
        let batch = taken_in_as(&schema, bucket, "a.parquet", ImportFormat::Parquet).unwrap();
        assert_eq!(batch.rows, 3);
        for column in &batch.columns {
            let is_key = column.field == schema.fields[0].id;
            let found: Vec<bool> = (0..3).map(|row| column.is_valid(row)).collect();
            assert_eq!(found, [is_key; 3], "field {}", column.field.0);
        }
    });
    with(&[("a.parquet", refused)], |bucket| {
        let refused = taken_in(bucket, "a.parquet", ImportFormat::Parquet).unwrap_err();
        assert!(refused.contains("may not be null"), "{refused}");
    });
}

/// A store that has only a folder of a bucket.
struct Folder {
    own: Arc<MemoryBlobs>,
    bucket: Arc<MemoryBlobs>,
}

#[async_trait::async_trait]
impl Blobs for Folder {
    async fn create(&self, key: &str, body: bytes::Bytes) -> Result<(), crate::blob::Error> {
        self.own.create(key, body).await
    }

    async fn read(&self, key: &str) -> Result<bytes::Bytes, crate::blob::Error> {
        self.own.read(key).await
    }

    async fn read_range(&self, key: &str, range: Range<u64>) -> Result<bytes::Bytes, crate::blob::Error> {
        self.own.read_range(key, range).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<crate::blob::BlobEntry>, crate::blob::Error> {
        self.own.list(prefix).await
    }

    async fn delete(&self, key: &str) -> Result<(), crate::blob::Error> {
        self.own.delete(key).await
    }

    fn outside(&self) -> Option<crate::blob::Outside> {
        Some(crate::blob::Outside { blobs: Arc::clone(&self.bucket) as _, root: "files/".to_owned() })
    }
}

#[test]
fn paths_are_those_of_the_bucket_and_then_of_the_folder() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let (own, bucket) = (MemoryBlobs::new(), MemoryBlobs::new());
    let put = |blobs: &MemoryBlobs, key: &str, size: usize| {
        runtime.block_on(blobs.create(key, vec![0; size].into())).unwrap();
    };
    put(&own, "up/a.json", 1);
    put(&own, "segments/1/a.json", 1);
    put(&bucket, "files/up/a.json", 1);
    put(&bucket, "up/b.json", 2);
    put(&bucket, "up/both.json", 3);
    put(&own, "up/both.json", 4);
    let bucket = Bucket::new(Arc::new(Folder { own, bucket }), runtime.handle().clone());

    let size = |path: &str| bucket.files(&[path.to_owned()]).map(|files| files[0].size).ok();

    assert_eq!(size("files/up/a.json"), Some(1));
    assert_eq!(size("up/a.json"), Some(1));
    assert_eq!(size("up/b.json"), Some(2));
    assert_eq!(size("up/both.json"), Some(3));
    assert_eq!(size("files/up/both.json"), Some(4));
    assert_eq!((size("files/segments/1/a.json"), size("segments/1/a.json")), (None, None));
}
