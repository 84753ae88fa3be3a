//! What Prometheus scrapes, where its operator is installed.

use contract::names;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};

use super::{Wanted, deployment, owned};
use crate::render::Checked;

/// The kind, which a cluster may not know.
#[must_use]
pub fn pod_monitor_kind() -> ApiResource {
    let kind = GroupVersionKind::gvk("monitoring.coreos.com", "v1", "PodMonitor");
    ApiResource::from_gvk_with_plural(&kind, "podmonitors")
}

/// A monitor of the database's pods, and of etcd's where it runs beside them.
pub(super) fn render(checked: &Checked) -> Wanted<DynamicObject> {
    let Some(metrics) = &checked.metrics else { return Wanted::Absent(checked.name.clone()) };
    let labels: Vec<Value> = metrics
        .labels
        .iter()
        .map(|(label, value)| json!({"action": "replace", "targetLabel": label, "replacement": value}))
        .collect();
    let mut endpoint = json!({
        "port": deployment::METRICS_PORT_NAME,
        "path": names::METRICS_PATH,
        "interval": metrics.interval,
    });
    if !labels.is_empty() {
        endpoint["metricRelabelings"] = labels.into();
    }
    let spec = json!({
        "namespaceSelector": {"matchNames": [checked.namespace]},
        "selector": {
            "matchLabels": {
                (names::LABEL_INSTANCE): checked.name,
                (names::LABEL_MANAGED_BY): names::MANAGED_BY_VALUE,
            },
            "matchExpressions": [
                {"key": names::LABEL_NAME, "operator": "In", "values": [names::NAME_VALUE, "etcd"]},
            ],
        },
        "podTargetLabels": [
            names::LABEL_INSTANCE, names::LABEL_COMPONENT, names::LABEL_GROUP, names::LABEL_RESOURCE_GROUP,
        ],
        "podMetricsEndpoints": [endpoint],
    });
    let mut object = DynamicObject::new(&checked.name, &pod_monitor_kind()).data(json!({"spec": spec}));
    object.metadata = owned(checked, checked.name.clone());
    Wanted::Present(object)
}
