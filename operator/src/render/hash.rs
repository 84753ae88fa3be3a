//! Hash of settings, for the annotation that rolls pods when they change.

use xxhash_rust::xxh3::xxh3_128;

/// Hex of a hash over `text`. Equal texts have equal hashes in every version of the operator.
pub(super) fn of(text: &str) -> String {
    format!("{:032x}", xxh3_128(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_hash_of_a_text_never_changes() {
        assert_eq!(super::of(""), "99aa06d3014798d86001c324468d497f");
    }
}
