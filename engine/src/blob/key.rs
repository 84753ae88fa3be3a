//! The rules for keys, the same for every implementation.

use std::ops::Range;

use bytes::Bytes;

use super::Error;

/// Longest key. Unit: bytes. S3 allows 1024 with the root path before it.
const MAX_KEY_BYTES: usize = 900;
/// Longest part of a key between slashes. Unit: bytes. File systems allow 255.
const MAX_PART_BYTES: usize = 200;

/// Checks a whole key.
pub(super) fn check_key(key: &str) -> Result<(), Error> {
    let why = if key.is_empty() {
        "it is empty"
    } else if key.ends_with('/') {
        "it ends with a slash"
    } else {
        return check_prefix(key);
    };
    Err(Error::BadKey { key: key.to_owned(), why })
}

/// Checks the beginning of a key; empty and a trailing slash are fine.
pub(super) fn check_prefix(prefix: &str) -> Result<(), Error> {
    let mut parts = prefix.split('/').collect::<Vec<_>>();
    if parts.last() == Some(&"") {
        parts.pop();
    }
    let why = if prefix.len() > MAX_KEY_BYTES {
        "it is longer than 900 bytes"
    } else if prefix.chars().any(|char| char.is_control() || char == '\\') {
        "it has a control character or a backslash"
    } else if parts.iter().any(|part| part.is_empty()) {
        "it has an empty part"
    } else if parts.iter().any(|part| part.starts_with('.')) {
        "a part begins with a dot"
    } else if parts.iter().any(|part| part.len() > MAX_PART_BYTES) {
        "a part is longer than 200 bytes"
    } else {
        return Ok(());
    };
    Err(Error::BadKey { key: prefix.to_owned(), why })
}

/// Checks a key and a range in its object. Returns whether any byte is asked for.
pub(super) fn check_range(key: &str, range: &Range<u64>) -> Result<bool, Error> {
    check_key(key)?;
    if range.start > range.end { Err(bad_range(key, range)) } else { Ok(range.start < range.end) }
}

/// What a server gave of `range`, if that is all of it: of a range that reaches over the end it gives what there is.
pub(super) fn whole_range(part: Option<Bytes>, key: &str, range: &Range<u64>) -> Result<Bytes, Error> {
    let whole = part.filter(|part| part.len() as u64 == range.end - range.start);
    whole.ok_or_else(|| bad_range(key, range))
}

/// The error for a range that is not within an object.
pub(super) fn bad_range(key: &str, range: &Range<u64>) -> Error {
    Error::BadRange { key: key.to_owned(), start: range.start, end: range.end }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_could_leave_the_root_or_hide_are_refused() {
        for key in ["", "/a", "a/", "a//b", "..", "a/../b", ".tmp/x", "a/.b", "a\\b", "a\nb"] {
            assert!(check_key(key).is_err(), "{key:?}");
        }
        assert!(check_key(&"k".repeat(201)).is_err());
        assert!(check_key(&"k/".repeat(451)).is_err());
    }

    #[test]
    fn ordinary_keys_and_prefixes_pass() {
        for key in ["redkite.json", "seg/1/col-100.bin", "é/ü"] {
            check_key(key).unwrap();
        }
        for prefix in ["", "seg/", "seg/1"] {
            check_prefix(prefix).unwrap();
        }
    }
}
