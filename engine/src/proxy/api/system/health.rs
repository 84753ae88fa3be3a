//! Whether the database can do what is asked of it, and why not.

use contract::pb::milvus::QuotaState;

use super::Unheard;
use crate::proxy::limits::{DENIED, Denied};
use crate::rpc::{DamagedCollection, LeadInfo, Wants};

/// As many collections that are set aside are named.
const MOST_NAMED: usize = 100;

/// Why the database is not healthy, in words; nothing if it is. A collection is only named where `shows` allows that of its
/// database and its name.
pub fn ailments(lead: &Result<LeadInfo, Unheard>, shows: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let lead = match lead {
        Ok(lead) => lead,
        Err(Unheard(why)) => return vec![format!("the coordinator cannot be reached: {why}")],
    };
    // A leader of an earlier version does not say.
    let Some(wants) = &lead.wants else { return Vec::new() };
    let mut reasons = Vec::new();
    // Who still listens does not know which nodes there are; what they have goes on meanwhile.
    if lead.settled {
        let Wants { collections, to_load, ownerless, readers, writers, damaged: _ } = wants;
        if *to_load > 0 && *readers == 0 {
            reasons.push(format!("no query node takes part, and {to_load} collections are to be loaded"));
        }
        if *collections > 0 && *writers == 0 {
            reasons.push(format!("no node takes part that writes, and there are {collections} collections"));
        } else if *ownerless > 0 {
            reasons.push(format!("{ownerless} channels have no owner, nothing can be written to them"));
        }
    }
    reasons.extend(set_aside(&wants.damaged, shows));
    reasons
}

/// What is said of collections that are set aside.
fn set_aside(damaged: &[DamagedCollection], shows: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let shown: Vec<_> = damaged.iter().filter(|one| shows(&one.database, &one.name)).collect();
    let named = shown.iter().take(MOST_NAMED).map(|one| {
        let DamagedCollection { id, database, name, what } = one;
        format!("collection {database}.{name} ({id}) is set aside: {what}")
    });
    let mut reasons: Vec<String> = named.collect();
    let more = damaged.len() - reasons.len();
    if more > 0 {
        reasons.push(format!("{more} collections that are not named here are set aside: they are damaged"));
    }
    reasons
}

/// What is denied, in Milvus's numbers, each once and ascending, and in words. A database is only named where `shows` allows that.
pub fn quotas(denied: &Denied, shows: impl Fn(&str) -> bool) -> (Vec<QuotaState>, Vec<String>) {
    let kinds = [
        (QuotaState::DenyToRead, denied.reads, "database.force.deny.reading", "reads"),
        (QuotaState::DenyToWrite, denied.writes, "database.force.deny.writing", "writes"),
        (QuotaState::DenyToDdl, false, "database.force.deny.ddl", "changes of the catalog"),
    ];
    let (mut states, mut reasons) = (Vec::new(), Vec::new());
    for (state, everywhere, property, what) in kinds {
        if everywhere {
            reasons.push(format!("{what} are denied: {DENIED}"));
        }
        let of = denied.databases.iter().filter(|(name, keys)| keys.contains(property) && shows(name));
        let before = reasons.len();
        reasons.extend(of.map(|(name, _)| format!("{what} of database {name} are denied: {DENIED}")));
        if everywhere || reasons.len() > before {
            states.push(state);
        }
    }
    (states, reasons)
}
