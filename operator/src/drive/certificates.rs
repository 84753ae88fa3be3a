//! Certificates of a database: looked at, issued, renewed, and handed from one authority to the next, one step at a time.

use std::collections::BTreeMap;

use contract::names;
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{Resource, ResourceExt};
use tracing::{info, warn};

use super::{Driver, Error, step};
use crate::certificates::{
    AUTHORITY, Authorities, CERTIFICATE, Certificate, Credentials, Expected, Issued, Order, PRIVATE_KEY,
    Picture, PodSight, Purpose, Step, Wish, authority, certificate, decide, read_secret,
};
use crate::cluster::{Note, Place, apply_as, get_as, list_as};
use crate::crd::Milvus;
use crate::reach::Trust;
use crate::render::{
    Checked, Side, authority_secret, read_authorities, read_issued, render_authorities, render_issued,
};
use crate::rollout::{CertificateState, Held};

/// Steps of one reconcile. More are left to the next one.
const MOST_STEPS: usize = 8;

/// What the operator's own Secrets hold now.
#[derive(Default)]
struct Kept {
    authorities: Option<Authorities>,
    /// Version of the Secret with the authorities, so that no other operator's step is undone.
    version: Option<String>,
    issued: BTreeMap<Purpose, Issued>,
    credentials: BTreeMap<Purpose, Credentials>,
    /// Versions of their Secrets.
    versions: BTreeMap<Purpose, String>,
}

impl Driver {
    /// Does what is to be done about certificates now; `None` if the spec asks for none.
    ///
    /// Safe to repeat and to break off: each step is one Secret, and the next is decided from what the Secrets say.
    pub(super) async fn keep_certificates(
        &self,
        milvus: &Milvus,
        checked: &Checked,
    ) -> Result<Option<CertificateState>, Error> {
        let mut state = CertificateState::default();
        let mut wish = Wish {
            rotation: checked.certificates.rotation.clone(),
            overlap_seconds: checked.certificates.overlap_seconds,
            ..Wish::default()
        };
        let purposes = [
            (Purpose::Clients, &checked.certificates.clients),
            (Purpose::Nodes, &checked.certificates.nodes),
        ];
        let mut ours: BTreeMap<Purpose, &Side> = BTreeMap::new();
        for (purpose, side) in purposes {
            match side.as_ref().map(|side| (side, &side.issued_for)) {
                None => {}
                Some((side, None)) => self.look_at_named(checked, purpose, side, &mut state).await?,
                Some((side, Some(names))) => {
                    ours.insert(purpose, side);
                    wish.names.insert(purpose, names.clone());
                }
            }
        }
        if !ours.is_empty() {
            self.issue(milvus, checked, &wish, &ours, &mut state).await?;
        }
        Ok((checked.certificates.sides().next().is_some()).then_some(state))
    }

    /// Looks at a Secret of the user's.
    async fn look_at_named(
        &self,
        checked: &Checked,
        purpose: Purpose,
        side: &Side,
        state: &mut CertificateState,
    ) -> Result<(), Error> {
        let path = format!("{}.secretName: Secret {}", side.path, side.secret);
        let Some(secret) = self.secret(checked, &side.secret).await? else {
            let message = format!("{path} does not exist in {}", checked.namespace);
            state.faults.push(("SecretNotExist", message));
            return Ok(());
        };
        let data = secret.data.into_iter().flatten().map(|(key, value)| (key, value.0)).collect();
        let expected = Expected { authority: side.mutual, name: side.server_name.as_deref() };
        match read_secret(&data, expected, (self.now)()) {
            Ok(found) => state.held.push(held(purpose, &side.secret, &found)),
            Err(bad) => state.faults.push((bad.reason, format!("{path}: {}", bad.message))),
        }
        Ok(())
    }

    /// Issues what is missing, stale, or of another authority.
    async fn issue(
        &self,
        milvus: &Milvus,
        checked: &Checked,
        wish: &Wish,
        ours: &BTreeMap<Purpose, &Side>,
        state: &mut CertificateState,
    ) -> Result<(), Error> {
        for _ in 0..MOST_STEPS {
            let kept = match self.kept(checked, ours).await? {
                Ok(kept) => kept,
                Err(fault) => {
                    state.faults.push(("SecretNotOurs", fault));
                    return Ok(());
                }
            };
            let now = (self.now)();
            let mut picture = Picture {
                wish,
                authorities: kept.authorities.as_ref(),
                issued: &kept.issued,
                pods: None,
                now,
            };
            let mut next = decide(&picture);
            let sights;
            if next == Step::Look {
                sights = self.pods(checked, ours, &kept).await?;
                picture.pods = Some(&sights);
                next = decide(&picture);
            }
            state.soon = matches!(next, Step::Wait(_));
            match next {
                Step::Rest | Step::Look => {
                    tell_held(checked, ours, &kept, state);
                    return Ok(());
                }
                Step::Wait(why) | Step::WaitLong(why) => {
                    tell_held(checked, ours, &kept, state);
                    state.rotation = Some(why);
                    return Ok(());
                }
                step => self.act(milvus, checked, wish, ours, kept, step).await?,
            }
        }
        (state.rotation, state.soon) = (Some("certificates are being issued".to_owned()), true);
        Ok(())
    }

    /// Does one step.
    async fn act(
        &self,
        milvus: &Milvus,
        checked: &Checked,
        wish: &Wish,
        ours: &BTreeMap<Purpose, &Side>,
        kept: Kept,
        step: Step,
    ) -> Result<(), Error> {
        let now = (self.now)();
        let Kept { authorities, version, issued: _, credentials, mut versions } = kept;
        let (authorities, told) = match (step, authorities) {
            (Step::Issue(purpose), Some(held)) => {
                let names = wish.names.get(&purpose).cloned().unwrap_or_default();
                let order = self.order(checked, checked.certificates.certificate_days)?;
                let made = certificate(&held.current, &names, order);
                let made = made.map_err(|source| Error::Certificate { source })?;
                let version = versions.remove(&purpose);
                self.publish(checked, &ours[&purpose].secret, version, &made, &held.trusted()).await?;
                let until = made.certificate.until.strftime("%Y-%m-%dT%H:%M:%SZ");
                self.announce(
                    milvus,
                    "CertificateIssued",
                    format!("a certificate for {purpose} was issued, until {until}"),
                )
                .await;
                return Ok(());
            }
            (Step::Publish(purpose), Some(held)) => {
                if let Some(made) = credentials.get(&purpose) {
                    let version = versions.remove(&purpose);
                    self.publish(checked, &ours[&purpose].secret, version, made, &held.trusted()).await?;
                }
                return Ok(());
            }
            (Step::Note(seen), Some(held)) => (Authorities { seen, ..held }, None),
            (Step::Introduce, Some(held)) => {
                let made = self.found(checked)?;
                let told = ("AuthorityIntroduced", format!("{} is published", made.certificate.subject));
                (held.introduced(made, wish.rotation.clone(), now), Some(told))
            }
            (Step::Promote, Some(held)) => {
                let held = held.promoted(now);
                let told = format!("certificates are issued by {}", held.current.certificate.subject);
                (held, Some(("AuthorityPromoted", told)))
            }
            (Step::Retire, Some(held)) => {
                let told = format!("only {} is trusted", held.current.certificate.subject);
                (held.retired(now), Some(("AuthorityRetired", told)))
            }
            _ => {
                let made = self.found(checked)?;
                let told = ("AuthorityFounded", format!("{} was made", made.certificate.subject));
                (Authorities::founded(made, wish.rotation.clone(), now), Some(told))
            }
        };
        let mut secret = render_authorities(checked, &authorities);
        secret.metadata.resource_version = version;
        apply_as(self.cluster.as_ref(), &secret).await.map_err(super::step("keep the authority of"))?;
        if let Some((reason, message)) = told {
            self.announce(milvus, reason, message).await;
        }
        Ok(())
    }

    async fn publish(
        &self,
        checked: &Checked,
        name: &str,
        version: Option<String>,
        made: &Credentials,
        trusted: &str,
    ) -> Result<(), Error> {
        let mut secret = render_issued(checked, name, made, trusted);
        secret.metadata.resource_version = version;
        apply_as(self.cluster.as_ref(), &secret).await.map_err(step("publish a certificate of")).map(drop)
    }

    fn found(&self, checked: &Checked) -> Result<Credentials, Error> {
        let order = self.order(checked, checked.certificates.authority_days)?;
        authority(order).map_err(|source| Error::Certificate { source })
    }

    fn order<'a>(&self, checked: &'a Checked, days: i64) -> Result<Order<'a>, Error> {
        Ok(Order {
            owner: &checked.name,
            serial: (self.random)().map_err(|source| Error::Random { source })?,
            key: (self.new_key)().map_err(|source| Error::Certificate { source })?,
            now: (self.now)(),
            days,
        })
    }

    /// What our Secrets hold, or which of them is not ours.
    async fn kept(
        &self,
        checked: &Checked,
        ours: &BTreeMap<Purpose, &Side>,
    ) -> Result<Result<Kept, String>, Error> {
        let is_ours =
            |secret: &Secret| secret.owner_references().iter().any(|owner| owner.uid == checked.uid);
        let foreign = |path: &str, name: &str| {
            format!("{path}: Secret {name} was not made for this object, and is left as it is")
        };
        let mut kept = Kept::default();
        let name = authority_secret(&checked.name);
        if let Some(secret) = self.secret(checked, &name).await? {
            if !is_ours(&secret) {
                return Ok(Err(foreign("spec.redkite.certificates", &name)));
            }
            kept.version = secret.resource_version();
            kept.authorities = read_authorities(&secret);
        }
        for (purpose, side) in ours {
            let Some(secret) = self.secret(checked, &side.secret).await? else { continue };
            if !is_ours(&secret) {
                return Ok(Err(foreign(side.path, &side.secret)));
            }
            kept.versions.extend(secret.resource_version().map(|version| (*purpose, version)));
            if let Some((issued, credentials)) = read_issued(&secret) {
                kept.issued.insert(*purpose, issued);
                kept.credentials.insert(*purpose, credentials);
            }
        }
        Ok(Ok(kept))
    }

    async fn secret(&self, checked: &Checked, name: &str) -> Result<Option<Secret>, Error> {
        let place = Place::new(&checked.namespace, name);
        get_as::<Secret>(self.cluster.as_ref(), &place).await.map_err(step("find the certificates of"))
    }

    /// Calls every pod with a certificate of the next authority, or of the current one where there is no next.
    async fn pods(
        &self,
        checked: &Checked,
        ours: &BTreeMap<Purpose, &Side>,
        kept: &Kept,
    ) -> Result<Vec<PodSight>, Error> {
        let Some(held) = &kept.authorities else { return Ok(Vec::new()) };
        let mut ports = Vec::new();
        for (purpose, side) in ours {
            let by = held.next.as_ref().unwrap_or(&held.current);
            let identity = match side.mutual {
                false => None,
                true => {
                    let order = self.order(checked, 1)?;
                    let made = certificate(by, &["operator".to_owned()], order);
                    let made = made.map_err(|source| Error::Certificate { source })?;
                    Some((made.pem, made.key.pem().to_owned()))
                }
            };
            let name = side.issued_for.iter().flatten().next().cloned().unwrap_or_default();
            let port = match purpose {
                Purpose::Clients => names::API_PORT,
                Purpose::Nodes => names::INTERNAL_PORT,
            };
            ports.push((*purpose, port, Trust { authorities: held.trusted(), name, identity }));
        }
        let label = (names::LABEL_INSTANCE, checked.name.as_str());
        let pods = list_as::<Pod>(self.cluster.as_ref(), &checked.namespace, label).await;
        let pods = pods.map_err(step("look at the pods of"))?;
        let ours = pods.iter().filter(|pod| holds_certificates(pod));
        Ok(join_all(ours.map(|pod| self.greet(pod, &ports))).await)
    }

    async fn greet(&self, pod: &Pod, ports: &[(Purpose, u16, Trust)]) -> PodSight {
        let mut shown = Vec::new();
        let clients = pod.labels().contains_key(names::LABEL_SERVICE);
        let sight = |shown| PodSight { pod: pod.name_any(), shown };
        let Some(ip) = pod.status.as_ref().and_then(|status| status.pod_ip.clone()) else {
            return sight(Err("it has no address yet".to_owned()));
        };
        for (_, port, trust) in ports.iter().filter(|(purpose, ..)| clients || *purpose == Purpose::Nodes) {
            let greeted = self.reach.greet(&address(&ip, *port), trust).await;
            let issuer = greeted
                .map_err(|error| error.to_string())
                .and_then(|certificate| Certificate::of_der(&certificate).map_err(|error| error.to_string()));
            match issuer {
                Ok(certificate) => shown.push(certificate.issuer),
                Err(why) => return sight(Err(why)),
            }
        }
        sight(Ok(shown))
    }

    /// Says what was done; the log and the event are the same sentence.
    async fn announce(&self, milvus: &Milvus, reason: &str, message: String) {
        info!(reason, text = %message, "certificates changed");
        let note = Note {
            regarding: milvus.object_ref(&()),
            warning: false,
            reason: reason.to_owned(),
            action: "Reconcile".to_owned(),
            message,
        };
        if let Err(error) = self.cluster.publish(&note).await {
            warn!(%error, "an event was not published");
        }
    }
}

/// Says until when certificates and authority hold.
fn tell_held(checked: &Checked, ours: &BTreeMap<Purpose, &Side>, kept: &Kept, state: &mut CertificateState) {
    for (purpose, side) in ours {
        let found = kept.issued.get(purpose);
        state.held.extend(found.map(|found| held(*purpose, &side.secret, &found.certificate)));
    }
    if let Some(held) = &kept.authorities {
        let what = format!("their authority (Secret {})", authority_secret(&checked.name));
        state.held.push(Held { what, until: held.current.certificate.until });
    }
}

/// A port of a pod, as a caller writes it.
pub(super) fn address(ip: &str, port: u16) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// Whether a pod of the engine may have read certificates: one without a node has not, one that has ended does not count.
fn holds_certificates(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    pod.labels().get(names::LABEL_NAME).is_some_and(|name| name == names::NAME_VALUE)
        && pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())
        && !matches!(phase, "Succeeded" | "Failed")
}

fn held(purpose: Purpose, secret: &str, certificate: &Certificate) -> Held {
    Held { what: format!("the certificate of {purpose} (Secret {secret})"), until: certificate.until }
}

/// Whom a caller of the port trusts that shows this Secret's certificate. Whoever may read the Secret knows what is shown: an
/// authority that is not in it is one of its chain.
pub(super) fn trust_in(secret: &Secret, side: &Side) -> Option<Trust> {
    let text = |key: &str| String::from_utf8(secret.data.as_ref()?.get(key)?.0.clone()).ok();
    let shown = text(CERTIFICATE)?;
    let own = || Certificate::of_pem(shown.as_bytes()).ok()?.host();
    let name = side.server_name.clone().or_else(own)?;
    let identity = if side.mutual { Some((shown.clone(), text(PRIVATE_KEY)?)) } else { None };
    let authorities = match text(AUTHORITY).filter(|text| !text.trim().is_empty()) {
        Some(authorities) => format!("{authorities}\n{shown}"),
        None => shown,
    };
    Some(Trust { authorities, name, identity })
}
