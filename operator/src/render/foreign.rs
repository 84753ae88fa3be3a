//! Whether Redkite would be pointed at the data of another operator's release.

use serde_json::Value;

use super::{Checked, DataStore, Fault, FaultReason, MetaStore};

/// The engine's own root path in a bucket, where the settings name none.
const ROOT_PATH: &str = "files";

/// What of the data of a running release the spec points at: a fault for each field. `theirs` are the settings of the release, as
/// its operator rendered them. Only another name within a store is taken for another place: one store may have many addresses.
#[must_use]
pub fn shared_data(theirs: Option<&Value>, checked: &Checked) -> Vec<Fault> {
    let ours = &checked.settings.plain;
    let text = |settings: &Value, path: &str| settings.pointer(path)?.as_str().map(str::to_owned);
    let differs = |path: &str, default: Option<&str>| {
        let read = |settings| text(settings, path).or_else(|| default.map(str::to_owned));
        match (theirs.and_then(read), read(ours)) {
            (Some(theirs), Some(ours)) => theirs != ours,
            _ => false,
        }
    };
    let fault = |path: &str, what: &str| Fault {
        reason: FaultReason::ForeignData,
        path: path.to_owned(),
        message: format!(
            "{what} there is in Milvus's own format, which Redkite does not read: copy the rows and name another place here"
        ),
    };
    let mut faults = Vec::new();
    if matches!(checked.meta, MetaStore::Etcd { .. }) && !differs("/etcd/rootPath", None) {
        faults.push(fault("spec.config.etcd.rootPath", "the metadata"));
    }
    let apart = differs("/minio/bucketName", None) || differs("/minio/rootPath", Some(ROOT_PATH));
    if matches!(checked.store, DataStore::Bucket(_)) && !apart {
        faults.push(fault("spec.config.minio.rootPath", "the data"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;
    use crate::crd::Milvus;
    use crate::render::{Facts, Platform, check};

    fn shared(spec: Value, theirs: Option<Value>) -> Vec<String> {
        let milvus: Milvus =
            from_value(json!({"metadata": {"name": "db", "namespace": "ns", "uid": "u"}, "spec": spec}))
                .unwrap();
        let checked = check(&milvus, &Platform::default(), &Facts::default()).unwrap();
        shared_data(theirs.as_ref(), &checked).into_iter().map(|fault| fault.path).collect()
    }

    #[test]
    fn data_of_the_same_name_is_milvus_s_and_of_another_name_is_not() {
        let theirs = json!({"etcd": {"rootPath": "db"}, "minio": {"bucketName": "db"}});
        let (meta, data) = ("spec.config.etcd.rootPath", "spec.config.minio.rootPath");
        let apart = json!({"mode": "cluster", "config": {"etcd": {"rootPath": "kite"}, "minio": {"rootPath": "kite"}}});

        assert_eq!(shared(json!({"mode": "cluster"}), Some(theirs.clone())), [meta, data]);
        assert_eq!(shared(apart.clone(), Some(theirs)), Vec::<String>::new());
        // What cannot be read may be anything.
        assert_eq!(shared(apart, None), [meta, data]);
    }

    #[test]
    fn a_standalone_keeps_everything_in_a_volume_of_its_own() {
        assert_eq!(shared(json!({}), None), Vec::<String>::new());
    }
}
