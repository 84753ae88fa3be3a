//! What is promised of the files that connections are secured by.

use std::path::PathBuf;

use super::files::{File, authorities, certificates, private_key};
use super::{server, token};

/// Any file is refused, or is certificates, a key, authorities or tokens. What a server is made of is never more than those.
pub fn file(data: &[u8]) {
    let file = || File { path: PathBuf::from("f"), content: data.to_vec() };
    let (certificates, key) = (certificates(&file()), private_key(&file()));
    let trusted = authorities(&file());
    assert!(certificates.is_ok() || trusted.is_err(), "authorities are certificates");
    assert!(certificates.as_ref().is_ok_and(|all| !all.is_empty()) || certificates.is_err());
    let made = server::config(&[file(), file(), file()], &["h2".to_owned()]);
    assert!(made.is_err() || (certificates.is_ok() && key.is_ok() && trusted.is_ok()));
    if let Ok(tokens) = token::parse(&file()) {
        assert!(!tokens.is_empty());
        for token in tokens {
            assert!(token.bytes().all(|byte| byte.is_ascii_graphic()) && !token.is_empty());
            assert!(token::is_same(token.as_bytes(), token.as_bytes()));
            assert!(!token::is_same(token.as_bytes(), &[token.as_bytes(), b"x"].concat()));
        }
    }
}

/// Inputs for [`file`] to begin with. A certificate that a server could show is not among them: its key would lie in the
/// repository.
pub fn files() -> Vec<Vec<u8>> {
    let block = |what: &str, body: &str| format!("-----BEGIN {what}-----\n{body}\n-----END {what}-----\n");
    let all = [
        block("CERTIFICATE", "MAA="),
        block("PRIVATE KEY", "MAA="),
        block("EC PRIVATE KEY", "MAMCAQE="),
        block("CERTIFICATE", "MAA=") + &block("PRIVATE KEY", "MAA="),
        "# a comment\n".to_owned() + &block("CERTIFICATE", "not base64!"),
        "one-token\n\n second-token \n".to_owned(),
        "-----BEGIN CERTIFICATE-----\nMAA=\n".to_owned(),
    ];
    all.iter().map(|text| text.as_bytes().to_vec()).collect()
}
