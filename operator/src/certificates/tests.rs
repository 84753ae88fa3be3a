//! Decisions as values, and certificates as rustls sees them.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

use super::read::chain;
use super::*;

/// A key whose signatures are always the same: the one of RFC 8410.
pub(crate) fn key() -> Key {
    let text = "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC";
    Key::new(format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n"))
}

const DAY: i64 = 86_400;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn order(now: i64, days: i64) -> Order<'static> {
    Order { owner: "db", serial: "0123456789".to_owned(), key: key(), now: at(now), days }
}

fn made(now: i64) -> Credentials {
    authority(order(now, 300)).unwrap()
}

/// A small world in which steps are done as the driver does them.
struct World {
    wish: Wish,
    held: Option<Authorities>,
    issued: BTreeMap<Purpose, Issued>,
    /// What each pod has read of the node's Secret: which authorities it trusts, and who issued what it shows.
    pods: BTreeMap<&'static str, (String, String)>,
    now: i64,
    done: Vec<String>,
}

impl World {
    fn new(purposes: &[Purpose]) -> Self {
        let names =
            purposes.iter().map(|purpose| (*purpose, vec!["b.example".to_owned(), "a.example".to_owned()]));
        let wish = Wish { names: names.collect(), ..Wish::default() };
        let (held, issued, pods) = (None, BTreeMap::new(), BTreeMap::new());
        Self { wish, held, issued, pods, now: 0, done: Vec::new() }
    }

    fn sights(&self) -> Vec<PodSight> {
        let held = self.held.as_ref().unwrap();
        let shown_to_it = held.next.as_ref().unwrap_or(&held.current);
        let sight = |(pod, (trusted, shows)): (&&str, &(String, String))| PodSight {
            pod: (*pod).to_owned(),
            shown: match trusted.contains(&shown_to_it.pem) {
                true => Ok(vec![shows.clone()]),
                false => Err("it does not take our certificate".to_owned()),
            },
        };
        self.pods.iter().map(sight).collect()
    }

    fn decide(&self) -> Step {
        let mut picture = Picture {
            wish: &self.wish,
            authorities: self.held.as_ref(),
            issued: &self.issued,
            pods: None,
            now: at(self.now),
        };
        let step = decide(&picture);
        if step != Step::Look {
            return step;
        }
        let sights = self.sights();
        picture.pods = Some(&sights);
        decide(&picture)
    }

    /// Does steps until there is nothing to do now; returns what is waited for.
    fn go(&mut self) -> Option<String> {
        for _ in 0..20 {
            let step = self.decide();
            if !matches!(step, Step::Note(_) | Step::Rest | Step::Wait(_) | Step::WaitLong(_)) {
                self.done.push(format!("{step:?}"));
            }
            let now = at(self.now);
            let held = self.held.take();
            let rotation = self.wish.rotation.clone();
            self.held = match (step, held) {
                (Step::Rest, held) => {
                    self.held = held;
                    return None;
                }
                (Step::Wait(why) | Step::WaitLong(why), held) => {
                    self.held = held;
                    return Some(why);
                }
                (Step::Found, _) => Some(Authorities::founded(made(self.now), rotation, now)),
                (Step::Introduce, Some(held)) => Some(held.introduced(made(self.now), rotation, now)),
                (Step::Promote, Some(held)) => Some(held.promoted(now)),
                (Step::Retire, Some(held)) => Some(held.retired(now)),
                (Step::Note(seen), Some(held)) => Some(Authorities { seen, ..held }),
                (Step::Issue(purpose), Some(held)) => {
                    let made = certificate(&held.current, &self.wish.names[&purpose], order(self.now, 90));
                    let certificate = made.unwrap().certificate;
                    self.issued.insert(purpose, Issued { certificate, trusted: held.trusted() });
                    Some(held)
                }
                (Step::Publish(purpose), Some(held)) => {
                    self.issued.get_mut(&purpose).unwrap().trusted = held.trusted();
                    Some(held)
                }
                (step, held) => panic!("{step:?} of {held:?}"),
            };
        }
        panic!("no rest: {:?}", self.done);
    }

    /// The pod reads its files.
    fn read(&mut self, pod: &'static str) {
        let published = &self.issued[&Purpose::Nodes];
        self.pods.insert(pod, (published.trusted.clone(), published.certificate.issuer.clone()));
    }

    /// What was done since the last time.
    fn news(&mut self) -> Vec<String> {
        std::mem::take(&mut self.done)
    }

    /// Whether every pod would take every other one now.
    fn all_talk(&self) -> bool {
        let held = self.held.as_ref().unwrap();
        let known = [
            Some(held.current.pem.clone()),
            held.next.as_ref().map(|next| next.pem.clone()),
            held.previous.clone(),
        ];
        let pem_of = |subject: &str| {
            known.iter().flatten().find(|pem| Certificate::of_pem(pem.as_bytes()).unwrap().subject == subject)
        };
        let takes = |(trusted, _): &(String, String), (_, shows): &(String, String)| {
            pem_of(shows).is_some_and(|pem| trusted.contains(pem))
        };
        self.pods.values().all(|one| self.pods.values().all(|other| takes(one, other)))
    }
}

#[test]
fn what_is_missing_is_made_and_what_is_well_is_left() {
    let mut world = World::new(&[Purpose::Clients, Purpose::Nodes]);

    assert_eq!(world.go(), None);
    assert_eq!(world.news(), ["Found", "Issue(Clients)", "Issue(Nodes)"]);

    world.now = 59 * DAY;
    assert_eq!(world.go(), None);
    assert_eq!(world.news(), Vec::<String>::new());
}

#[test]
fn a_certificate_is_renewed_when_a_third_of_it_is_left_or_its_names_change() {
    let mut world = World::new(&[Purpose::Nodes]);
    world.go();
    world.news();

    world.now = 61 * DAY;
    world.go();
    assert_eq!(world.news(), ["Issue(Nodes)"]);

    world.wish.names.insert(Purpose::Nodes, vec!["c.example".to_owned()]);
    world.go();
    assert_eq!(world.news(), ["Issue(Nodes)"]);
    assert_eq!(world.issued[&Purpose::Nodes].certificate.names, ["c.example"]);
}

#[test]
fn an_authority_is_replaced_when_a_third_of_it_is_left() {
    let mut world = World::new(&[Purpose::Clients]);
    world.go();
    world.news();

    world.now = 201 * DAY;
    world.go();

    assert_eq!(
        world.news(),
        ["Issue(Clients)", "Introduce", "Publish(Clients)", "Promote", "Issue(Clients)"]
    );
}

#[test]
fn a_new_authority_is_published_to_clients_for_as_long_as_they_were_promised() {
    let mut world = World::new(&[Purpose::Clients]);
    world.wish.overlap_seconds = DAY;
    world.go();
    world.now = 1;
    world.wish.rotation = "now".to_owned();

    let waits = world.go().unwrap();
    assert!(waits.starts_with("clients have until 1970-01-02T00:00:01Z to trust"), "{waits}");
    assert!(world.issued[&Purpose::Clients].trusted.matches("BEGIN").count() == 2);

    world.now = DAY + 1;
    world.news();
    world.go();
    assert_eq!(world.news()[..2], ["Promote", "Issue(Clients)"]);
}

/// The whole way of an authority, with pods that read their files whenever they like.
#[test]
fn the_old_authority_goes_only_after_every_pod_trusts_the_new_one_and_shows_its_certificate() {
    let mut world = World::new(&[Purpose::Nodes]);
    world.go();
    world.read("one");
    world.read("two");
    let old = world.held.as_ref().unwrap().current.certificate.subject.clone();
    world.now = 1_000;
    world.wish.rotation = "now".to_owned();
    world.news();

    let waits = world.go().unwrap();
    assert_eq!(world.news(), ["Introduce", "Publish(Nodes)"]);
    assert!(waits.starts_with("pod one does not trust the new authority CN=db authority"), "{waits}");
    world.read("one");
    assert!(world.go().unwrap().starts_with("pod two does not trust"));
    assert!(world.all_talk());

    // A pod that comes with old files in the settling time starts it anew.
    world.read("two");
    world.go();
    let stale = (world.held.as_ref().unwrap().current.pem.clone(), old.clone());
    world.pods.insert("three", stale);
    world.now += 11;
    assert!(world.go().unwrap().starts_with("pod three does not trust"));
    world.read("three");
    world.go();
    world.now += 9;
    assert!(world.go().unwrap().starts_with("every pod is ready"));
    assert_eq!(world.news(), Vec::<String>::new());

    world.now += 2;
    let waits = world.go().unwrap();
    assert_eq!(world.news(), ["Promote", "Issue(Nodes)"]);
    assert!(waits.starts_with("pod one does not show a certificate of the authority"), "{waits}");
    for pod in ["one", "two", "three"] {
        world.read(pod);
        assert!(world.all_talk());
    }
    world.go();
    world.now += 11;
    world.go();
    assert_eq!(world.news(), ["Retire", "Publish(Nodes)"]);
    assert!(world.all_talk());
    world.read("one");
    assert!(world.all_talk());

    let held = world.held.unwrap();
    assert_eq!((held.next, held.previous), (None, None));
    assert_ne!(held.current.certificate.subject, old);
}

#[test]
fn an_authority_that_has_ended_is_replaced_at_once() {
    let mut world = World::new(&[Purpose::Nodes]);
    world.go();
    world.read("one");
    world.news();

    world.now = 301 * DAY;
    world.go();

    assert_eq!(world.news(), ["Found", "Issue(Nodes)"]);
}

#[test]
fn a_certificate_never_outlives_its_authority() {
    let by = made(0);

    let late = certificate(&by, &["a.example".to_owned()], order(290 * DAY, 90)).unwrap();

    assert_eq!(late.certificate.until, by.certificate.until);
}

fn secret(entries: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
}

#[test]
fn what_is_wrong_with_a_secret_is_said_by_its_key() {
    let by = authority(Order { key: new_key().unwrap(), ..order(1_000, 300) }).unwrap();
    let names = ["nodes.example".to_owned(), "*.example".to_owned(), "10.0.0.1".to_owned()];
    let own = certificate(&by, &names, Order { key: new_key().unwrap(), ..order(1_000, 90) }).unwrap();
    let other = authority(Order { key: new_key().unwrap(), ..order(1_001, 300) }).unwrap();
    let expected = Expected { authority: true, name: Some("nodes.example") };
    let said = |entries: &[(&str, &str)], expected: Expected<'_>, now: i64| match read_secret(
        &secret(entries),
        expected,
        at(now),
    ) {
        Ok(found) => format!("ok {}", found.names.join(" ")),
        Err(BadSecret { reason, message }) => format!("{reason} {message}"),
    };
    let (shown, key, trusted) =
        ((CERTIFICATE, &*own.pem), (PRIVATE_KEY, own.key.pem()), (AUTHORITY, &*by.pem));

    assert_eq!(said(&[shown, key, trusted], expected, 2_000), "ok *.example 10.0.0.1 nodes.example");
    assert_eq!(said(&[key], expected, 2_000), "SecretDecodeError tls.crt is missing");
    assert_eq!(said(&[shown], expected, 2_000), "SecretDecodeError tls.key is missing");
    assert_eq!(said(&[shown, key], expected, 2_000), "SecretDecodeError ca.crt is missing");
    assert_eq!(said(&[shown, key], Expected::default(), 2_000), "ok *.example 10.0.0.1 nodes.example");
    assert_eq!(
        said(&[(CERTIFICATE, "nothing"), key], expected, 2_000),
        "SecretDecodeError tls.crt: there is no certificate in it"
    );
    let broken = (PRIVATE_KEY, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n");
    assert_eq!(
        said(&[shown, broken], expected, 2_000),
        "SecretDecodeError tls.key is of a kind that is not supported"
    );
    assert_eq!(
        said(&[shown, (PRIVATE_KEY, "secret")], expected, 2_000),
        "SecretDecodeError tls.key is no private key in PEM format"
    );
    assert_eq!(
        said(&[shown, (PRIVATE_KEY, by.key.pem())], expected, 2_000),
        "KeyMismatch tls.key is not the key of tls.crt"
    );
    assert_eq!(
        said(&[shown, key, trusted], expected, 91 * DAY),
        "CertificateExpired tls.crt ended at 1970-04-01T00:16:40Z"
    );
    assert_eq!(
        said(&[shown, key, trusted], expected, 0),
        "CertificateNotYetValid tls.crt does not hold before 1970-01-01T00:11:40Z"
    );
    let elsewhere = Expected { name: Some("elsewhere.org"), ..expected };
    assert!(
        said(&[shown, key, trusted], elsewhere, 2_000)
            .starts_with("CertificateNotTrusted tls.crt is not good for elsewhere.org")
    );
    let stranger = said(&[shown, key, (AUTHORITY, &other.pem)], expected, 2_000);
    assert!(
        stranger.starts_with("CertificateNotTrusted tls.crt is not good for nodes.example by ca.crt"),
        "{stranger}"
    );
}

#[test]
fn a_key_shows_nothing_of_itself() {
    let by = made(0);

    let shown = format!("{by:?} {:?}", Authorities::founded(made(0), String::new(), at(0)));

    assert!(!shown.contains("MC4CAQAw"), "{shown}");
    assert!(shown.contains("Key(…)"));
}

/// Made by OpenSSL: of several names, and into the years that need the longer form of a time.
const FOREIGN: &str = "-----BEGIN CERTIFICATE-----\n\
MIICCDCCAbqgAwIBAgIUXwnzg59A2B830hcaDdDwiB3yytswBQYDK2VwMEIxCzAJ\n\
BgNVBAYTAkRFMRUwEwYDVQQKDAxLaXRlcyAmIFNvbnMxHDAaBgNVBAMME3ZlY3Rv\n\
cnMuZXhhbXBsZS5jb20wIBcNMjYxMTI4MTYwMTM0WhgPMjA1OTEwMDYxNjAxMzRa\n\
MEIxCzAJBgNVBAYTAkRFMRUwEwYDVQQKDAxLaXRlcyAmIFNvbnMxHDAaBgNVBAMM\n\
E3ZlY3RvcnMuZXhhbXBsZS5jb20wKjAFBgMrZXADIQAM7ekPLHjdyZS7HiUpjmQn\n\
kk/Uc/aVK2ZdpOkvyHOebaOBvzCBvDAdBgNVHQ4EFgQUiDiLRDtcDTOFZTHG0zIm\n\
bW7F3FQwHwYDVR0jBBgwFoAUiDiLRDtcDTOFZTHG0zImbW7F3FQwDwYDVR0TAQH/\n\
BAUwAwEB/zBpBgNVHREEYjBgghN2ZWN0b3JzLmV4YW1wbGUuY29tgg0qLmV4YW1w\n\
bGUuY29thwQKAQIDhxD9AAAAAAAAAAAAAAAAAAABgQ1hQGV4YW1wbGUuY29thhNo\n\
dHRwczovL2V4YW1wbGUuY29tMAUGAytlcANBAPxNnmkiUi5Sy+JcIKllDqAdIlp5\n\
3PYLIHkOTFCx2hNL7aEKh2m8mGEzM40OApVLwfNA3pwFWEDQm0sMnoVXaQo=\n\
-----END CERTIFICATE-----\n";

#[test]
fn certificates_of_other_makers_are_read() {
    let read = Certificate::of_pem(FOREIGN.as_bytes()).unwrap();

    let name = "C=DE, O=Kites & Sons, CN=vectors.example.com".to_owned();
    let names = ["*.example.com", "10.1.2.3", "fd00::1", "vectors.example.com"].map(str::to_owned).to_vec();
    let (from, until) = ("2026-11-28T16:01:34Z".parse().unwrap(), "2059-10-06T16:01:34Z".parse().unwrap());
    assert_eq!(read, Certificate { subject: name.clone(), issuer: name, from, until, names });
}

#[test]
fn what_is_cut_off_or_bent_is_no_certificate_or_another_one_and_nothing_worse() {
    let der = chain(FOREIGN.as_bytes()).unwrap()[0].to_vec();

    for length in 0..der.len() {
        assert!(Certificate::of_der(&der[..length]).is_err(), "the first {length} bytes");
    }
    let mut refused = 0;
    for at in 0..der.len() {
        for bit in 0..8 {
            let mut bent = der.clone();
            bent[at] ^= 1 << bit;
            refused += usize::from(Certificate::of_der(&bent).is_err());
        }
    }
    assert!(refused > der.len(), "only {refused} were refused");
}
