//! Versions of the formats: of records in the metadata and of objects in the bucket.
//!
//! A cluster writes the version that it was finalized to, and every process reads that one and those before it. A process
//! that is newer goes on writing the old version until `redkite ctl finalize` raises it; so it can be replaced by the
//! version before it until then, and not any more afterwards.

/// The version of a cluster that was made by the first release and never finalized; one that is made anew begins with the
/// newest.
pub const FIRST_FORMAT: u32 = 1;

/// The version from which on schemas have functions, and fields of instants, of shapes and of long texts. An earlier one would read a schema
/// without its functions, and lose them with its next change; the fields it could not read at all.
pub const FUNCTIONS_FORMAT: u32 = 2;

/// The version from which on records of a log say which request they are of. An earlier one could not read them.
pub const REQUESTS_FORMAT: u32 = 2;

/// The newest version, as it stands in the executable. Tests play the next release with a copy of the executable in which
/// the last digit is one more (`tests/formats/next`), so it is read from memory and stands there once.
static STAMP: [u8; 24] = *b"redkite-newest-format=02";

/// The newest version that this build reads, and writes once the cluster is finalized to it.
#[must_use]
pub fn newest_format() -> u32 {
    // Otherwise the compiler would put the number into the code.
    let [.., tens, ones] = std::hint::black_box(&STAMP);
    let digit = |byte: &u8| u32::from(byte.wrapping_sub(b'0'));
    digit(tens) * 10 + digit(ones)
}

#[cfg(test)]
mod tests {
    use super::{FUNCTIONS_FORMAT, newest_format};

    #[test]
    fn the_newest_version_is_the_one_in_the_executable() {
        assert_eq!(newest_format(), FUNCTIONS_FORMAT);
    }
}
