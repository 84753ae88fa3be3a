//! `spec.redkite.certificates`: which Secrets the pods mount, what is issued into them, and the settings that follow.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::FaultReason;
use super::check::nodes_need_tls;
use super::fields::Faults;
use crate::certificates::{AUTHORITY, CERTIFICATE, PRIVATE_KEY};
use crate::crd::{Certificates as Written, Milvus, Mode, NodeCertificates};

/// Folder in the container with the certificate of the client port.
pub(super) const CLIENT_DIR: &str = "/milvus/client-tls";
/// Folder in the container with the certificate of calls between nodes.
pub(super) const NODE_DIR: &str = "/milvus/node-tls";

const ROOT: &str = "spec.redkite.certificates";
const CERTIFICATE_DAYS: i64 = 90;
const AUTHORITY_DAYS: i64 = 1095;
const OVERLAP_HOURS: i64 = 24;

/// The certificates that a spec asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    /// Of the client port.
    pub clients: Option<Side>,
    /// Of calls between nodes.
    pub nodes: Option<Side>,
    /// How long an issued one holds. Unit: days.
    pub certificate_days: i64,
    /// How long an authority of ours holds. Unit: days.
    pub authority_days: i64,
    /// How long a new authority is published before the client port shows its certificates. Unit: seconds.
    pub overlap_seconds: i64,
    /// A new word asks for a new authority.
    pub rotation: String,
}

/// One use of certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The field of the spec.
    pub path: &'static str,
    /// The Secret that the pods mount.
    pub secret: String,
    /// The names that the operator issues it for; `None` if the Secret is the user's.
    pub issued_for: Option<Vec<String>>,
    /// The name that callers expect, where it is not the host they call.
    pub server_name: Option<String>,
    /// Whether callers have to show a certificate too.
    pub mutual: bool,
}

impl Certificates {
    /// Both uses, as far as they are asked for.
    pub fn sides(&self) -> impl Iterator<Item = &Side> {
        self.clients.iter().chain(&self.nodes)
    }
}

/// Name of the Secret with the operator's authorities for a database.
#[must_use]
pub fn authority_secret(instance: &str) -> String {
    format!("{instance}-authority")
}

/// TLS of calls between nodes, if the spec says that the operator is to know their certificate.
#[must_use]
pub fn node_tls(milvus: &Milvus) -> Option<Side> {
    let written = milvus.spec.redkite.as_ref()?.certificates.as_ref()?;
    let name = milvus.metadata.name.clone().unwrap_or_default();
    let namespace = milvus.metadata.namespace.clone().unwrap_or_default();
    nodes(written, has_node_calls(milvus), &name, &namespace)
}

/// Whether certificates of nodes are for anything: a process that is alone calls nobody, and takes calls over TLS if told so.
#[must_use]
pub(super) fn has_node_calls(milvus: &Milvus) -> bool {
    milvus.spec.mode == Mode::Cluster || nodes_need_tls(milvus)
}

fn nodes(written: &Written, has_calls: bool, instance: &str, namespace: &str) -> Option<Side> {
    let nodes = written.nodes.as_ref().filter(|_| has_calls)?;
    let own = format!("nodes.{instance}.{namespace}");
    let secret = named(nodes.secret_name.as_ref());
    let server_name = named(nodes.server_name.as_ref()).filter(|_| secret.is_some());
    Some(Side {
        path: "spec.redkite.certificates.nodes",
        issued_for: secret.is_none().then(|| vec![own.clone()]),
        secret: secret.unwrap_or_else(|| format!("{instance}-node-tls")),
        server_name: Some(server_name.unwrap_or(own)),
        mutual: true,
    })
}

fn clients(written: &Written, instance: &str, namespace: &str) -> Option<Side> {
    let clients = written.clients.as_ref()?;
    let service = format!("{instance}-milvus");
    let mut names = vec![
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}.svc.cluster.local"),
        format!("{service}.{namespace}"),
        service,
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
    ];
    // As a certificate gives them back: addresses in their one form, each name once.
    for name in &clients.names {
        let name = name.parse::<IpAddr>().map_or_else(|_| name.clone(), |address| address.to_string());
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let named = named(clients.secret_name.as_ref());
    Some(Side {
        path: "spec.redkite.certificates.clients",
        issued_for: named.is_none().then_some(names),
        secret: named.unwrap_or_else(|| format!("{instance}-client-tls")),
        server_name: None,
        mutual: clients.mutual == Some(true),
    })
}

fn named(name: Option<&String>) -> Option<String> {
    name.filter(|name| !name.is_empty()).cloned()
}

/// Whether a certificate can be for it: an address, a host name, or all names below one.
fn is_host(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part.len() < 64
            && part.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
    };
    let host = name.strip_prefix("*.").unwrap_or(name);
    name.parse::<IpAddr>().is_ok() || (name.len() < 254 && host.split('.').all(is_part))
}

/// Reads `spec.redkite.certificates`. `has_calls`: those of nodes are for something.
pub(super) fn read(
    written: Option<&Written>,
    has_calls: bool,
    instance: &str,
    namespace: &str,
    faults: &mut Faults,
) -> Certificates {
    let Some(written) = written else { return Certificates::default() };
    let clients = clients(written, instance, namespace);
    for (at, name) in written.clients.iter().flat_map(|clients| clients.names.iter().enumerate()) {
        if !is_host(name) {
            let path = format!("{ROOT}.clients.names[{at}]");
            faults.add(
                FaultReason::InvalidField,
                path,
                format!("'{name}' is neither a host name nor an address"),
            );
        }
    }
    if let Some(Side { mutual: true, issued_for: Some(_), .. }) = &clients {
        faults.add(
            FaultReason::InvalidField,
            format!("{ROOT}.clients.mutual"),
            "needs clients.secretName: the operator issues no certificates to clients",
        );
    }
    let named_alone = |nodes: &NodeCertificates| {
        named(nodes.secret_name.as_ref()).is_some() && named(nodes.server_name.as_ref()).is_none()
    };
    if has_calls && written.nodes.as_ref().is_some_and(named_alone) {
        faults.add(
            FaultReason::InvalidField,
            format!("{ROOT}.nodes.serverName"),
            "is needed with secretName: pods call each other by addresses, which no certificate is for",
        );
    }
    let nodes = nodes(written, has_calls, instance, namespace);
    let certificate_days = written.certificate_days.unwrap_or(CERTIFICATE_DAYS);
    let authority_days = written.authority_days.unwrap_or(AUTHORITY_DAYS.max(certificate_days * 3));
    if certificate_days < 1 || authority_days < certificate_days * 3 {
        faults.add(
            FaultReason::InvalidField,
            format!("{ROOT}.authorityDays"),
            format!("{authority_days} is less than three times certificateDays, {certificate_days}"),
        );
    }
    Certificates {
        clients,
        nodes,
        certificate_days,
        authority_days,
        overlap_seconds: written.overlap_hours.unwrap_or(OVERLAP_HOURS).max(0) * 3_600,
        rotation: written.rotation.clone().unwrap_or_default(),
    }
}

/// The settings that follow.
pub(super) fn settings(certificates: &Certificates) -> Value {
    let files = |folder: &str, side: &Side| {
        let mut files = json!({
            "serverPemPath": format!("{folder}/{CERTIFICATE}"),
            "serverKeyPath": format!("{folder}/{PRIVATE_KEY}"),
        });
        if side.mutual {
            files["caPemPath"] = json!(format!("{folder}/{AUTHORITY}"));
        }
        if let Some(name) = &side.server_name {
            files["sni"] = json!(name);
        }
        files
    };
    let mut settings = json!({});
    if let Some(side) = &certificates.clients {
        settings["common"]["security"]["tlsMode"] = json!(if side.mutual { 2 } else { 1 });
        settings["tls"] = files(CLIENT_DIR, side);
    }
    if let Some(side) = &certificates.nodes {
        settings["common"]["security"]["internaltlsEnabled"] = json!(true);
        settings["internaltls"] = files(NODE_DIR, side);
    }
    settings
}
