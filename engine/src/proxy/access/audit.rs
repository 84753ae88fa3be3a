//! Who did what, where, and what came of it: log lines of the target `audit`.
//!
//! Changes of the catalog, of users and of what is loaded are logged, and everything that was refused; reads and writes of
//! rows are not.

use std::net::IpAddr;

use tracing::info;

use super::table::{Rule, Target};
use super::{AccessSettings, Login};

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// It was done.
    Done,
    /// It was begun and failed, with this code.
    Failed(i32),
    /// It was not allowed, for this reason.
    Denied(&'a str),
}

/// Calls that change nothing, or only rows: there are too many of them.
const QUIET: &[&str] = &[
    "Get",
    "Describe",
    "BatchDescribe",
    "Show",
    "Has",
    "List",
    "Select",
    "Check",
    "Search",
    "HybridSearch",
    "Query",
    "Insert",
    "Upsert",
    "Connect",
    "AllocTimestamp",
    "RunAnalyzer",
    "ComputePhraseMatchSlop",
];

fn is_logged(call: &str) -> bool {
    call != "Delete" && !QUIET.iter().any(|quiet| call.starts_with(quiet))
}

/// Logs a call.
pub fn note(
    settings: &AccessSettings,
    login: Option<&Login>,
    from: Option<IpAddr>,
    rule: Rule,
    target: &Target,
    outcome: Outcome<'_>,
) {
    if !settings.audit || !is_logged(rule.call) && !matches!(outcome, Outcome::Denied(_)) {
        return;
    }
    let who = login.map_or("", |login| &*login.user);
    let (verdict, code, reason) = match outcome {
        Outcome::Done => ("done", 0, ""),
        Outcome::Failed(code) => ("failed", code, ""),
        Outcome::Denied(reason) => ("denied", 1401, reason),
    };
    let from = from.map(|address| address.to_string()).unwrap_or_default();
    info!(
        target: "audit",
        who,
        from,
        what = rule.call,
        database = target.database,
        objects = target.names.join(","),
        verdict,
        code,
        reason,
    );
}

/// Logs a login that failed.
pub fn turned_away(settings: &AccessSettings, user: &str, from: Option<IpAddr>) {
    if !settings.audit {
        return;
    }
    // A name that nobody has may be a password in the wrong place: only what can be a name is written down.
    let is_name =
        user.len() <= 32 && user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    let who = if is_name { user } else { "(no name)" };
    let from = from.map(|address| address.to_string()).unwrap_or_default();
    info!(target: "audit", who, from, what = "login", verdict = "denied", code = 1400);
}

#[cfg(test)]
mod tests {
    use super::is_logged;

    #[test]
    fn changes_are_logged_and_reads_and_rows_are_not() {
        for call in
            ["CreateCollection", "DeleteCredential", "OperatePrivilegeV2", "LoadCollection", "FlushAll"]
        {
            assert!(is_logged(call), "{call}");
        }
        for call in ["Delete", "Insert", "Search", "GetVersion", "ListCredUsers", "Connect"] {
            assert!(!is_logged(call), "{call}");
        }
    }
}
