//! How many pods of a workload may be evicted at once.

use contract::names;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Wanted, deployment, owned, workload_name};
use crate::render::workload::Workload;
use crate::render::{Checked, Component};

/// Leaves pods of resource groups out, which have the labels of the others and a budget of their own: a pod with two budgets
/// is never evicted.
fn others(workload: &Workload) -> Option<Vec<LabelSelectorRequirement>> {
    let all = workload.component == Component::QueryNode && workload.group.is_none();
    all.then(|| {
        vec![LabelSelectorRequirement {
            key: names::LABEL_GROUP.to_owned(),
            operator: "DoesNotExist".to_owned(),
            values: None,
        }]
    })
}

/// One pod at a time, where there are several. A single pod has none, or its node could never be drained.
pub(super) fn render(checked: &Checked, workload: &Workload) -> Wanted<PodDisruptionBudget> {
    let name = workload_name(checked, workload);
    if !checked.budgets || workload.replicas.is_some_and(|replicas| replicas < 2) {
        return Wanted::Absent(name);
    }
    Wanted::Present(PodDisruptionBudget {
        metadata: owned(checked, name),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(deployment::labels(checked, workload)),
                match_expressions: others(workload),
            }),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    })
}
