//! Where clients connect.

use contract::names;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::deployment::{API_PORT_NAME, METRICS_PORT_NAME};
use super::{owned, service_name};
use crate::render::Checked;

/// The client Service: API, metrics, REST if asked for, and the ports of sidecars.
pub(super) fn render(checked: &Checked) -> Service {
    let mut metadata = owned(checked, service_name(checked));
    if let (Some(labels), Some(extra)) = (metadata.labels.as_mut(), checked.serving.service_labels.clone()) {
        labels.extend(extra);
        labels.extend(checked.labels());
    }
    metadata.annotations =
        checked.serving.service_annotations.clone().filter(|annotations| !annotations.is_empty());
    let mut selector = checked.labels();
    selector.insert(names::LABEL_SERVICE.to_owned(), "true".to_owned());
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(checked.serving.service_type.name().to_owned()),
            selector: Some(selector),
            ports: Some(ports(checked)),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn ports(checked: &Checked) -> Vec<ServicePort> {
    let target = |name: &str, number: u16| match checked.target_ports_by_number {
        true => IntOrString::Int(i32::from(number)),
        false => IntOrString::String(name.to_owned()),
    };
    let port = |name: &str, port: i32, target: IntOrString| ServicePort {
        name: Some(name.to_owned()),
        port,
        target_port: Some(target),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    };
    let mut ports = vec![
        port(API_PORT_NAME, checked.port(), target(API_PORT_NAME, names::API_PORT)),
        port(
            METRICS_PORT_NAME,
            i32::from(names::METRICS_PORT),
            target(METRICS_PORT_NAME, names::METRICS_PORT),
        ),
    ];
    if let Some(restful) = checked.serving.service_restful_port.filter(|restful| *restful > 0) {
        ports.push(port("restful", restful, target(API_PORT_NAME, names::API_PORT)));
    }
    let serving = checked.workloads.iter().filter(|workload| workload.component.serves_clients());
    let sidecars = serving.flat_map(|workload| &workload.pod.sidecars);
    for beside in sidecars.flat_map(|sidecar| sidecar.ports.iter().flatten()) {
        let taken =
            ports.iter().any(|taken| taken.name == beside.name || taken.port == beside.container_port);
        if let (Some(name), false) = (&beside.name, taken) {
            let protocol = beside.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            let shown = port(name, beside.container_port, IntOrString::Int(beside.container_port));
            ports.push(ServicePort { protocol: Some(protocol), ..shown });
        }
    }
    ports
}
