//! Fuzz target of settings.

#![expect(clippy::panic, reason = "how a target says what it has found")]

use std::path::PathBuf;

use super::settings::{Flags, layered};

/// What stands between files, and before the environment.
const BREAK: &str = "\n---\n";

/// Any files and environment are refused, or are settings within their ranges: the same each time, and the same again with nothing
/// on top. The input is files, later ones over earlier ones, then lines of the environment.
pub fn settings(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts: Vec<&str> = text.split(BREAK).collect();
    let environment = if parts.len() > 1 { parts.pop().unwrap_or_default() } else { "" };
    let variables = || {
        let lines = environment.lines().filter_map(|line| line.split_once('='));
        lines.map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let mut files: Vec<(PathBuf, String)> =
        parts.iter().map(|text| (PathBuf::from("user.yaml"), (*text).to_owned())).collect();
    let flags = Flags::default();
    let loaded = match layered(&files, &flags, variables()) {
        Ok(loaded) => loaded,
        Err(error) => {
            drop(error.to_string());
            return;
        }
    };
    assert!(loaded.settings.validate().is_ok());
    assert!(loaded.unknown.windows(2).all(|pair| pair[0] < pair[1]));
    files.push((PathBuf::from("empty.yaml"), String::new()));
    let again =
        layered(&files, &flags, variables()).unwrap_or_else(|error| panic!("nothing was added: {error}"));
    assert_eq!(again, loaded);
}

/// Inputs for [`settings`] to begin with.
pub fn files() -> Vec<Vec<u8>> {
    let texts = [
        "",
        "proxy:\n  port: 19530\nlog:\n  level: debug\n",
        "common: {security: {authorizationEnabled: true, defaultRootPassword: \"x y\"}}\nminio:\n  useSSL: 'true'\n",
        "mq:\n  type: kafka\nkafka:\n  brokerList: a:1,b:2\n---\nkafka: {brokerList: c:3}\n---\nMILVUS_CONF_LOG_LEVEL=warn\nREDKITE__PROXY__PORT=1\n",
        "function: {textEmbedding: {providers: {tei: {enable: true, url: \"http://a\"}}}}\ncredential: {k: {apikey: s}}\n",
        "quotaAndLimits: {dml: {enabled: true, insertRate: {max: 8}}}\nunknown: [1, {a: b}]\n",
        "etcd:\n  endpoints: [a:1, b:2]\n  rootPath: ~\n",
        "a: &x {b: 1}\nc: *x\n",
        "queryNode: {gracefulStopTimeout: 0x10}\n---\nQUERYNODE_GRACEFULSTOPTIMEOUT=5\n",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
