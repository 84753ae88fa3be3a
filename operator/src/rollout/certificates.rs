//! The condition about certificates.

use k8s_openapi::jiff::Timestamp;

use super::report::{Said, said};
use super::{Dependency, SecretFault};
use crate::crd::ConditionType;

/// What was found out about the certificates that a spec asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateState {
    /// Those that can be used.
    pub held: Vec<Held>,
    /// What is wrong with others: one word, and a sentence with the path of the field.
    pub faults: Vec<(&'static str, String)>,
    /// What a change of the authority waits for, if there is one.
    pub rotation: Option<String>,
    /// Whether that may come about within seconds.
    pub soon: bool,
}

impl CertificateState {
    /// What is wrong, as with other Secrets: pods that do not start wait for it.
    pub fn secret_faults(&self) -> impl Iterator<Item = SecretFault> {
        self.faults.iter().map(|(reason, message)| SecretFault {
            dependency: Dependency::Certificates,
            reason,
            message: message.clone(),
        })
    }
}

/// A certificate that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What it is for, with the Secret it is in.
    pub what: String,
    /// The last moment it holds.
    pub until: Timestamp,
}

/// The condition.
pub(super) fn condition(state: &CertificateState) -> Said {
    let kind = ConditionType::CertificatesReady;
    if let Some((reason, _)) = state.faults.first() {
        let sentences: Vec<&str> = state.faults.iter().map(|(_, sentence)| sentence.as_str()).collect();
        return said(kind, false, reason, sentences.join("; "));
    }
    let mut sentences: Vec<String> = state
        .held
        .iter()
        .map(|held| format!("{} holds until {}", held.what, held.until.strftime("%Y-%m-%dT%H:%M:%SZ")))
        .collect();
    sentences.extend(state.rotation.clone());
    let reason = if state.rotation.is_some() { "RotatingAuthority" } else { "CertificatesValid" };
    said(kind, true, reason, sentences.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(what: &str, until: i64) -> Held {
        Held { what: what.to_owned(), until: Timestamp::from_second(until).unwrap() }
    }

    fn text(state: &CertificateState) -> (bool, &'static str, String) {
        let said = condition(state);
        (said.holds, said.reason, said.message)
    }

    #[test]
    fn it_says_until_when_each_certificate_holds_and_what_a_rotation_waits_for() {
        let mut state = CertificateState {
            held: vec![held("the client port (Secret a)", 86_400), held("the authority (Secret b)", 172_800)],
            ..CertificateState::default()
        };
        let until = "the client port (Secret a) holds until 1970-01-02T00:00:00Z; the authority (Secret b) holds until \
                     1970-01-03T00:00:00Z";

        assert_eq!(text(&state), (true, "CertificatesValid", until.to_owned()));

        state.rotation = Some("pod x is late".to_owned());
        assert_eq!(text(&state), (true, "RotatingAuthority", format!("{until}; pod x is late")));
    }

    #[test]
    fn what_is_wrong_comes_first() {
        let state = CertificateState {
            held: vec![held("the client port (Secret a)", 86_400)],
            faults: vec![
                ("KeyMismatch", "spec.x: wrong".to_owned()),
                ("SecretNotExist", "spec.y: none".to_owned()),
            ],
            ..CertificateState::default()
        };

        assert_eq!(text(&state), (false, "KeyMismatch", "spec.x: wrong; spec.y: none".to_owned()));
    }
}
