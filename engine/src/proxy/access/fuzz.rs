//! Fuzz target of what says who asks, and of what connections are secured by.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use super::header::{Said, read};
use crate::model::fuzz::{chosen, tagged};
use crate::secure;

/// Any bytes are a header `authorization`, or a file of certificates, keys or tokens.
pub fn credentials(data: &[u8]) {
    let Some((choice, data)) = chosen(data) else { return };
    if choice % 2 == 0 { authorization(data) } else { secure::fuzz::file(data) }
}

/// Inputs for [`credentials`] to begin with.
pub fn seeds() -> Vec<Vec<u8>> {
    [tagged(b'0', headers()), tagged(b'1', secure::fuzz::files())].concat()
}

/// Any header names somebody or nobody; who is named in one of the ways is the same in each.
fn authorization(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
    let Said::Password { user, password } = read(&headers) else { return };
    assert!(!user.contains(':'));
    let encoded = STANDARD.encode(format!("{user}:{password}"));
    for value in [format!("Basic {encoded}"), format!("Bearer {user}:{password}"), encoded] {
        // Not every text can stand in a header.
        let Ok(value) = HeaderValue::try_from(value) else { continue };
        if value.to_str().is_err() {
            continue;
        }
        let again = read(&HeaderMap::from_iter([(AUTHORIZATION, value)]));
        assert!(again == Said::Password { user: user.clone(), password: password.clone() });
    }
}

fn headers() -> Vec<Vec<u8>> {
    let texts =
        ["Bearer root:Milvus", "Basic cm9vdDpNaWx2dXM=", "cm9vdDpNaWx2dXM=", "basic", "Bearer a-key", ":"];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
