//! The pods' identity.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::{Wanted, owned, service_name};
use crate::render::Checked;

/// An account without rights and without a token: the engine never calls the API server.
pub(super) fn render(checked: &Checked) -> Wanted<ServiceAccount> {
    let name = service_name(checked);
    if checked.workloads.iter().all(|workload| workload.pod.service_account.is_some()) {
        return Wanted::Absent(name);
    }
    Wanted::Present(ServiceAccount {
        metadata: owned(checked, name),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    })
}
