//! Hash of settings, for the annotation that rolls pods when they change.

use xxhash_rust::xxh3::xxh3_128;

/// Hex of a hash over `text`. Equal texts have equal hashes in every version of the operator.
pub(super) fn of(text: &str) -> String {
    format!("{:032x}", xxh3_128(text.as_bytes()))
}

/// The print of a value of a Secret of the object `uid`: sixteen bits of a hash.
#[must_use]
pub fn print(uid: &str, value: &[u8]) -> String {
    let salted = [uid.as_bytes(), b" ", value].concat();
    format!("{:04x}", xxh3_128(&salted) >> 112)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_hash_of_a_text_never_changes() {
        assert_eq!(super::of(""), "99aa06d3014798d86001c324468d497f");
    }
}
