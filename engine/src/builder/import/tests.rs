//! Claims about formats: written by a naive writer and read back, from any place on.

use proptest::prelude::*;

use super::csv::CsvRows;
use super::files::{Bucket, File};
use super::json::{JsonRows, Layout};
use super::npy::Npy;
use super::*;
use crate::base::Kinded as _;
use crate::blob::MemoryBlobs;

/// Does `work` with a bucket that holds these files, on a thread that may wait.
fn with<T: Send + 'static>(
    files: &[(&str, Vec<u8>)],
    work: impl FnOnce(&Bucket) -> T + Send + 'static,
) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let blobs = Arc::new(MemoryBlobs::new());
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
    let mut rows = CsvRows::open(file, &ImportOptions::default(), place).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    loop {
        let next = rows.next().map_err(|error| error.to_string())?;
        let Some(row) = next.map(|row| row.map(|(name, text)| (name.to_owned(), text.to_owned())).collect()) else {
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

    let found = with(&[("t.npy", body)], |bucket| {
        Npy::open(&one(bucket, "t.npy")).unwrap().read(0..3).unwrap()
    });

    let texts = ["文", "", "a\0b"].map(str::to_owned).to_vec();
    assert_eq!(found, columns::Values::Texts(texts));
}

#[test]
fn only_files_of_others_are_found() {
    let files = [("segments/1/2/scalars.parquet", vec![0]), ("in/a.json", vec![1]), ("in/b.json", vec![1, 2])];
    with(&files, |bucket| {
        let names = |path: &str| {
            let found = bucket.files(&[path.to_owned()]);
            found.map(|files| files.into_iter().map(|file| (file.path, file.size)).collect::<Vec<_>>())
        };
        assert_eq!(names("in/a.json").unwrap(), [("in/a.json".to_owned(), 1)]);
        assert_eq!(names("/in/").unwrap(), [("/in/a.json".to_owned(), 1), ("/in/b.json".to_owned(), 2)]);
        for path in ["in/a", "in", "segments/1/2/scalars.parquet", "../x.json", "", "/", "in/../in/a.json", "wal/"] {
            let error = names(path).unwrap_err();
            assert_eq!(error.kind(), crate::base::Kind::Invalid, "{path}: {error}");
        }
    });
}

#[test]
fn a_row_that_never_ends_is_not_collected() {
    let body = format!("a,b\n1,\"{}", "x".repeat(MAX_ROW_BYTES + 10));
    let refused = with(&[("a.csv", body.into_bytes())], |bucket| {
        csv_rows(&one(bucket, "a.csv"), ImportPlace::default()).unwrap_err()
    });
    assert!(refused.contains("row 0") && refused.contains("more than"), "{refused}");
}
