//! What the pods mount: settings, the token of calls between nodes, certificates, data, scratch space.

use std::path::Path;

use contract::names;
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, EmptyDirVolumeSource, EphemeralVolumeSource, KeyToPath,
    PersistentVolumeClaimTemplate, PersistentVolumeClaimVolumeSource, SecretVolumeSource, Volume,
    VolumeMount,
};

use super::admin_secret;
use crate::certificates::{AUTHORITY, CERTIFICATE, PRIVATE_KEY};
use crate::crd::Mode;
use crate::render::certificates::{CLIENT_DIR, NODE_DIR, Side};
use crate::render::dependency::Log;
use crate::render::workload::{
    ADMIN_VOLUME, CLIENT_TLS_VOLUME, CONFIG_VOLUME, DATA_VOLUME, KAFKA_VOLUME, LOG_VOLUME, NODE_TLS_VOLUME,
    SCRATCH_VOLUME, Workload,
};
use crate::render::{Checked, DataClaim, storage};

/// Where scratch files are.
const SCRATCH_DIR: &str = "/tmp";

/// Read by the owner and the group of the pod alone.
const SECRET_MODE: i32 = 0o440;

/// Keys of a Secret with a certificate; the last one only where callers show one too.
const CERTIFICATE_KEYS: [&str; 3] = [CERTIFICATE, PRIVATE_KEY, AUTHORITY];

/// Name of the data volume: `data`, as mounts of the peer's users call it, unless a volume of theirs has that name.
fn data_volume(workload: &Workload) -> &'static str {
    let taken = workload.pod.volumes.iter().any(|volume| volume.name == DATA_VOLUME);
    if taken { "milvus-data" } else { DATA_VOLUME }
}

/// The data volume: the claim of a standalone; in a cluster scratch space, or a claim of its own for each pod where the
/// spec asks for persistence, since one claim cannot be shared.
fn data(checked: &Checked, workload: &Workload) -> Volume {
    let name = data_volume(workload).to_owned();
    let claim_name = match &checked.claim {
        Some(DataClaim::Existing(name)) => name.clone(),
        _ => storage::claim_name(&checked.name),
    };
    match (checked.mode, &checked.claim) {
        (Mode::Standalone, _) => Volume {
            name,
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource { claim_name, read_only: None }),
            ..Volume::default()
        },
        (Mode::Cluster, Some(DataClaim::Ours { spec, .. })) => Volume {
            name,
            ephemeral: Some(EphemeralVolumeSource {
                volume_claim_template: Some(PersistentVolumeClaimTemplate {
                    metadata: None,
                    spec: spec.as_ref().clone(),
                }),
            }),
            ..Volume::default()
        },
        (Mode::Cluster, _) => {
            Volume { name, empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() }
        }
    }
}

/// Some keys of a Secret as files.
fn secret(name: &str, secret: &str, keys: &[&str]) -> Volume {
    let item = |key: &&str| KeyToPath { key: (*key).to_owned(), path: (*key).to_owned(), mode: None };
    Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            default_mode: Some(SECRET_MODE),
            items: Some(keys.iter().map(item).collect()),
            optional: None,
        }),
        ..Volume::default()
    }
}

/// What a pod of this workload needs of certificates: volume, folder, and the use of them.
fn certificates<'a>(
    checked: &'a Checked,
    workload: &Workload,
) -> impl Iterator<Item = (&'static str, &'static str, &'a Side)> {
    let clients = checked.certificates.clients.iter().filter(|_| workload.component.serves_clients());
    let clients = clients.map(|side| (CLIENT_TLS_VOLUME, CLIENT_DIR, side));
    clients.chain(checked.certificates.nodes.iter().map(|side| (NODE_TLS_VOLUME, NODE_DIR, side)))
}

/// The folder of log files, where nothing that can be written is mounted at it or above it: the image is read-only.
fn log_folder<'a>(checked: &'a Checked, workload: &Workload) -> Option<&'a str> {
    let folder = checked.settings.plain.pointer("/log/file/rootPath")?.as_str()?;
    let mounted = workload.pod.mounts.iter().map(|mount| mount.mount_path.as_str());
    let mut mounted = mounted.chain([names::DATA_DIR, SCRATCH_DIR]);
    let path = Path::new(folder);
    let can_be_mounted = path.is_absolute() && path.parent().is_some() && !folder.contains(':');
    (can_be_mounted && !mounted.any(|mount| path.starts_with(mount))).then_some(folder)
}

/// All volumes of a pod; those of the spec take the places of ours.
pub(super) fn volumes(checked: &Checked, workload: &Workload) -> Vec<Volume> {
    let mut volumes = vec![
        Volume {
            name: CONFIG_VOLUME.to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: checked.config_map.clone(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        data(checked, workload),
        Volume {
            name: SCRATCH_VOLUME.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        },
    ];
    if log_folder(checked, workload).is_some() {
        volumes.push(Volume {
            name: LOG_VOLUME.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        });
    }
    volumes.push(secret(ADMIN_VOLUME, &admin_secret(&checked.name), &[names::ADMIN_TOKEN_KEY]));
    if let Log::Kafka { secret: Some(name), authority: true, .. } = &checked.log {
        volumes.push(secret(KAFKA_VOLUME, name, &[names::SECRET_KAFKA_CA]));
    }
    for (volume, _, side) in certificates(checked, workload) {
        let keys = if side.mutual { &CERTIFICATE_KEYS[..] } else { &CERTIFICATE_KEYS[..2] };
        volumes.push(secret(volume, &side.secret, keys));
    }
    volumes.retain(|ours| !workload.pod.volumes.iter().any(|theirs| theirs.name == ours.name));
    volumes.extend(workload.pod.volumes.clone());
    volumes
}

/// All mounts of the engine's container; those of the spec take the places of ours.
pub(super) fn mounts(checked: &Checked, workload: &Workload) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str, read_only: Option<bool>| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only,
        ..VolumeMount::default()
    };
    let mut mounts = vec![
        mount(CONFIG_VOLUME, names::CONFIG_DIR, Some(true)),
        mount(data_volume(workload), names::DATA_DIR, None),
        mount(SCRATCH_VOLUME, SCRATCH_DIR, None),
    ];
    mounts.extend(log_folder(checked, workload).map(|folder| mount(LOG_VOLUME, folder, None)));
    mounts.push(mount(ADMIN_VOLUME, names::ADMIN_DIR, Some(true)));
    if matches!(checked.log, Log::Kafka { secret: Some(_), authority: true, .. }) {
        mounts.push(mount(KAFKA_VOLUME, names::KAFKA_DIR, Some(true)));
    }
    // Whole folders: a file that is mounted alone never changes.
    let folders = certificates(checked, workload);
    mounts.extend(folders.map(|(volume, folder, _)| mount(volume, folder, Some(true))));
    mounts.retain(|ours| !workload.pod.mounts.iter().any(|theirs| theirs.mount_path == ours.mount_path));
    mounts.extend(workload.pod.mounts.clone());
    mounts
}
