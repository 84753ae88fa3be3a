//! Where clients connect from outside.

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
    IngressSpec, IngressTLS, ServiceBackendPort,
};

use super::{Wanted, owned, service_name};
use crate::render::Checked;

/// One rule per host, all to the client Service.
pub(super) fn render(checked: &Checked) -> Wanted<Ingress> {
    let name = service_name(checked);
    let Some(wanted) = checked.ingress() else { return Wanted::Absent(name) };
    let mut metadata = owned(checked, name.clone());
    if let (Some(labels), Some(extra)) = (metadata.labels.as_mut(), wanted.labels.clone()) {
        labels.extend(extra);
        labels.extend(checked.labels());
    }
    metadata.annotations = wanted.annotations.clone().filter(|annotations| !annotations.is_empty());
    let backend = IngressBackend {
        service: Some(IngressServiceBackend {
            name,
            port: Some(ServiceBackendPort { number: Some(checked.port()), name: None }),
        }),
        resource: None,
    };
    let rule = |host: &String| IngressRule {
        host: Some(host.clone()),
        http: Some(HTTPIngressRuleValue {
            paths: vec![HTTPIngressPath {
                backend: backend.clone(),
                path: Some("/".to_owned()),
                path_type: "Prefix".to_owned(),
            }],
        }),
    };
    let hosts = wanted.hosts.as_deref().unwrap_or_default();
    let tls: Vec<IngressTLS> = wanted
        .tls_secret_refs
        .iter()
        .flatten()
        .map(|(secret, hosts)| IngressTLS { hosts: Some(hosts.clone()), secret_name: Some(secret.clone()) })
        .collect();
    Wanted::Present(Ingress {
        metadata,
        spec: Some(IngressSpec {
            ingress_class_name: wanted.ingress_class_name.clone(),
            default_backend: hosts.is_empty().then(|| backend.clone()),
            rules: (!hosts.is_empty()).then(|| hosts.iter().map(rule).collect()),
            tls: (!tls.is_empty()).then_some(tls),
        }),
        status: None,
    })
}
