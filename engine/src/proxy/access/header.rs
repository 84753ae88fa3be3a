//! What a client says of itself in the header `authorization`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// What a client says.
#[derive(PartialEq, Eq)]
pub enum Said {
    /// Nothing.
    Nothing,
    /// A user with a password.
    Password {
        /// The user's name.
        user: String,
        /// In clear.
        password: String,
    },
    /// Something that is neither: an API key, or nonsense.
    Key,
}

/// Reads the header: base64 of `user:password` as the clients of gRPC send it, or one of the two schemes of HTTP.
pub fn read(headers: &HeaderMap) -> Said {
    let Some(value) = headers.get(AUTHORIZATION) else { return Said::Nothing };
    let Ok(value) = value.to_str() else { return Said::Key };
    let text = match value.split_once(' ') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => Some(rest.to_owned()),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("basic") => decode(rest),
        _ => decode(value),
    };
    match text.as_deref().and_then(|text| text.split_once(':')) {
        Some((user, password)) => Said::Password { user: user.to_owned(), password: password.to_owned() },
        None => Said::Key,
    }
}

/// Text that came as base64.
pub fn decode(text: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(value: &str) -> Option<(String, String)> {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
        match read(&headers) {
            Said::Password { user, password } => Some((user, password)),
            Said::Nothing | Said::Key => None,
        }
    }

    #[test]
    fn a_user_is_named_in_three_ways() {
        let root = Some(("root".to_owned(), "Mil:vus".to_owned()));

        assert_eq!(said(&STANDARD.encode("root:Mil:vus")), root);
        assert_eq!(said("Bearer root:Mil:vus"), root);
        assert_eq!(said(&format!("basic {}", STANDARD.encode("root:Mil:vus"))), root);
    }

    #[test]
    fn a_key_and_nonsense_name_nobody() {
        for value in [&*STANDARD.encode("a-key"), "Bearer key", "", "no base64!", "root:Milvus"] {
            assert_eq!(said(value), None, "{value}");
        }
        assert!(read(&HeaderMap::new()) == Said::Nothing);
    }
}
