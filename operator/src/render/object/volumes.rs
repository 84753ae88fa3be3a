//! What the pods mount: settings, the token of calls between nodes, data, scratch space.

use contract::names;
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, EmptyDirVolumeSource, EphemeralVolumeSource, KeyToPath,
    PersistentVolumeClaimTemplate, PersistentVolumeClaimVolumeSource, SecretVolumeSource, Volume,
    VolumeMount,
};

use super::admin_secret;
use crate::crd::Mode;
use crate::render::dependency::Log;
use crate::render::workload::{
    ADMIN_VOLUME, CONFIG_VOLUME, DATA_VOLUME, KAFKA_VOLUME, SCRATCH_VOLUME, Workload,
};
use crate::render::{Checked, DataClaim, storage};

/// Read by the owner and the group of the pod alone.
const SECRET_MODE: i32 = 0o440;

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

/// All volumes of a pod; those of the spec take the places of ours.
pub(super) fn volumes(checked: &Checked, workload: &Workload) -> Vec<Volume> {
    let secret = |name: &str, secret: String, key: &str| Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret),
            default_mode: Some(SECRET_MODE),
            items: Some(vec![KeyToPath { key: key.to_owned(), path: key.to_owned(), mode: None }]),
            optional: None,
        }),
        ..Volume::default()
    };
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
    if checked.mode == Mode::Cluster {
        volumes.push(secret(ADMIN_VOLUME, admin_secret(&checked.name), names::ADMIN_TOKEN_KEY));
    }
    if let Log::Kafka { secret: Some(name), authority: true, .. } = &checked.log {
        volumes.push(secret(KAFKA_VOLUME, name.clone(), names::SECRET_KAFKA_CA));
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
        mount(SCRATCH_VOLUME, "/tmp", None),
    ];
    if checked.mode == Mode::Cluster {
        mounts.push(mount(ADMIN_VOLUME, names::ADMIN_DIR, Some(true)));
    }
    if matches!(checked.log, Log::Kafka { secret: Some(_), authority: true, .. }) {
        mounts.push(mount(KAFKA_VOLUME, names::KAFKA_DIR, Some(true)));
    }
    mounts.retain(|ours| !workload.pod.mounts.iter().any(|theirs| theirs.mount_path == ours.mount_path));
    mounts.extend(workload.pod.mounts.clone());
    mounts
}
