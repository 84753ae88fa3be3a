//! Renewal, and the way from one authority to the next.
//!
//! An authority is replaced in three steps, so that at each moment everybody trusts whatever anybody may show:
//!
//! 1. *Introduce.* The new one is made and published beside the old one, which goes on issuing.
//! 2. *Promote*, once every pod was seen to trust the new one: it issues from now on, the old one is still trusted.
//! 3. *Retire*, once every pod was seen to show a certificate of the new one: the old one is trusted no more.
//!
//! What was seen of all pods must hold for a while, since a pod reads its files again only every few seconds.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::jiff::Timestamp;

use super::{Certificate, Credentials};

/// How long it must be true of all pods, before it is acted on. Longer than the engine takes to read a file again. Unit:
/// seconds.
const SETTLE_SECONDS: i64 = 10;

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// The client port.
    Clients,
    /// Calls between nodes.
    Nodes,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clients => "the client port",
            Self::Nodes => "calls between nodes",
        })
    }
}

/// What a spec asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// What certificates are issued for, each with the names it has.
    pub names: BTreeMap<Purpose, Vec<String>>,
    /// A word; a new one asks for a new authority.
    pub rotation: String,
    /// How long a new authority is published before the client port shows its certificates. Unit: seconds.
    pub overlap_seconds: i64,
}

/// The authorities of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities {
    /// The one that issues.
    pub current: Credentials,
    /// The one that will.
    pub next: Option<Credentials>,
    /// The one that did: its certificate, in PEM.
    pub previous: Option<String>,
    /// The word of [`Wish::rotation`] that the last change answered.
    pub rotation: String,
    /// When the last of the three steps was done.
    pub since: Timestamp,
    /// Since when all pods are seen to be ready for the next one.
    pub seen: Option<Timestamp>,
}

impl Authorities {
    /// A first authority, or one that takes the place of an unusable one.
    #[must_use]
    pub fn founded(current: Credentials, rotation: String, now: Timestamp) -> Self {
        Self { current, next: None, previous: None, rotation, since: now, seen: None }
    }

    /// After the first step.
    #[must_use]
    pub fn introduced(self, next: Credentials, rotation: String, now: Timestamp) -> Self {
        Self { next: Some(next), rotation, since: now, seen: None, ..self }
    }

    /// After the second one.
    #[must_use]
    pub fn promoted(self, now: Timestamp) -> Self {
        match self.next {
            None => self,
            Some(next) => Self {
                previous: Some(self.current.pem),
                current: next,
                next: None,
                since: now,
                seen: None,
                rotation: self.rotation,
            },
        }
    }

    /// After the third one.
    #[must_use]
    pub fn retired(self, now: Timestamp) -> Self {
        Self { previous: None, since: now, seen: None, ..self }
    }

    /// Everything that is to be trusted, in PEM.
    #[must_use]
    pub fn trusted(&self) -> String {
        let mut text = self.current.pem.clone();
        text.extend(self.next.iter().map(|next| next.pem.as_str()));
        text.extend(self.previous.iter().map(String::as_str));
        text
    }
}

/// A certificate that was issued, as it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// What it says.
    pub certificate: Certificate,
    /// The authorities beside it, in PEM.
    pub trusted: String,
}

/// What was seen of a pod that was called with a certificate of the next authority, or, if there is none, of the current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSight {
    /// Its name.
    pub pod: String,
    /// Who issued what it shows on each of its ports; or why it could not be called, or does not take that certificate.
    pub shown: Result<Vec<String>, String>,
}

/// What a decision is made of.
#[derive(Clone, Debug)]
pub struct Picture<'a> {
    /// What is wanted.
    pub wish: &'a Wish,
    /// What there is of authorities; `None` also if it cannot be used.
    pub authorities: Option<&'a Authorities>,
    /// What was issued.
    pub issued: &'a BTreeMap<Purpose, Issued>,
    /// The pods, if somebody looked.
    pub pods: Option<&'a [PodSight]>,
    /// The time now.
    pub now: Timestamp,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// Nothing yet; this is waited for, and may come about within seconds.
    Wait(String),
    /// Nothing yet; this is waited for, and takes its time.
    WaitLong(String),
    /// Look at the pods and ask again.
    Look,
    /// Make a first authority.
    Found,
    /// Make the next authority and publish it.
    Introduce,
    /// Let the next authority issue.
    Promote,
    /// Trust the previous authority no more.
    Retire,
    /// Write down since when all pods are ready; `None`: they are not.
    Note(Option<Timestamp>),
    /// Issue a certificate.
    Issue(Purpose),
    /// Keep the certificate and publish other authorities beside it.
    Publish(Purpose),
}

/// The next step.
#[must_use]
pub fn decide(picture: &Picture<'_>) -> Step {
    let Picture { wish, authorities, issued, now, .. } = picture;
    // What an authority issued ends with it, so there is nothing to hand over.
    let Some(held) = authorities.filter(|held| held.current.certificate.until > *now) else {
        return Step::Found;
    };
    let trusted = held.trusted();
    for (purpose, names) in &wish.names {
        match issued.get(purpose) {
            None => return Step::Issue(*purpose),
            Some(found) if is_stale(&found.certificate, held, names, *now) => return Step::Issue(*purpose),
            Some(found) if found.trusted != trusted => return Step::Publish(*purpose),
            Some(_) => {}
        }
    }
    match (&held.next, &held.previous) {
        (Some(next), _) if next.certificate.until <= *now => Step::Introduce,
        (Some(next), _) => introduced(picture, held, next),
        (None, Some(_)) => promoted(picture, held),
        (None, None) if held.rotation != wish.rotation => Step::Introduce,
        (None, None) if held.current.certificate.renew_at() <= *now => Step::Introduce,
        (None, None) => Step::Rest,
    }
}

fn is_stale(certificate: &Certificate, held: &Authorities, names: &[String], now: Timestamp) -> bool {
    let mut names = names.to_vec();
    names.sort();
    certificate.issuer != held.current.certificate.subject
        || certificate.names != names
        || certificate.renew_at() <= now
}

/// The next authority is published. Pods are nodes to each other: none may show what another does not trust.
fn introduced(picture: &Picture<'_>, held: &Authorities, next: &Credentials) -> Step {
    let Picture { wish, pods, now, .. } = picture;
    let name = &next.certificate.subject;
    if wish.names.contains_key(&Purpose::Nodes) {
        let Some(pods) = pods else { return Step::Look };
        let late = pods.iter().find_map(|sight| {
            let why = sight.shown.as_ref().err()?;
            Some(format!("pod {} does not trust the new authority {name} yet: {why}", sight.pod))
        });
        if let Some(step) = settle(held, late, *now) {
            return step;
        }
    }
    let open = held.since.as_second() + wish.overlap_seconds;
    if wish.names.contains_key(&Purpose::Clients) && now.as_second() < open {
        let until = Timestamp::from_second(open).unwrap_or(Timestamp::MAX);
        return Step::WaitLong(format!("clients have until {until} to trust the new authority {name}"));
    }
    Step::Promote
}

/// The new authority issues; the previous one goes once nobody shows its certificates any more.
fn promoted(picture: &Picture<'_>, held: &Authorities) -> Step {
    let Some(pods) = picture.pods else { return Step::Look };
    let name = &held.current.certificate.subject;
    let late = pods.iter().find_map(|sight| match &sight.shown {
        Err(why) => Some(format!("pod {} cannot be asked for its certificate: {why}", sight.pod)),
        Ok(issuers) if issuers.iter().any(|issuer| issuer != name) => {
            Some(format!("pod {} does not show a certificate of the authority {name} yet", sight.pod))
        }
        Ok(_) => None,
    });
    settle(held, late, picture.now).unwrap_or(Step::Retire)
}

/// Waits until no pod is late, for a while.
fn settle(held: &Authorities, late: Option<String>, now: Timestamp) -> Option<Step> {
    match (late, held.seen) {
        (Some(_), Some(_)) => Some(Step::Note(None)),
        (Some(why), None) => Some(Step::Wait(why)),
        (None, None) => Some(Step::Note(Some(now))),
        (None, Some(seen)) => (now.as_second() < seen.as_second() + SETTLE_SECONDS)
            .then(|| Step::Wait("every pod is ready, and is given a moment to read its files".to_owned())),
    }
}
