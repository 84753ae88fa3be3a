//! Why pods do not run: what Kubernetes and the engine's own last words say.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde_json::Value;

/// Reasons of a waiting container that do not go away by waiting alone.
const WAITING: [&str; 8] = [
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
];

/// The most that is shown of a message. Unit: characters.
const MOST: usize = 400;

/// What is wrong with the first pod that has something wrong with it, in the order of their names. A container that ends with
/// an error says why in its last line, with the setting's name.
#[must_use]
pub fn trouble(pods: &[Pod]) -> Option<String> {
    let mut pods: Vec<&Pod> = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect();
    pods.sort_by_key(|pod| pod.metadata.name.clone());
    pods.into_iter().find_map(|pod| {
        let why = containers(pod).or_else(|| unscheduled(pod))?;
        Some(format!("pod {}: {why}", pod.metadata.name.as_deref().unwrap_or_default()))
    })
}

fn containers(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let all =
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    all.filter_map(container).next()
}

fn container(status: &ContainerStatus) -> Option<String> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    waiting.reason.as_deref().filter(|reason| WAITING.contains(reason))?;
    Some(said_of_container(status))
}

/// What there is to say about a container that does not run as it should: Kubernetes' word, and the container's own last words
/// if it had any.
pub(super) fn said_of_container(status: &ContainerStatus) -> String {
    let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
    let ended = [&status.state, &status.last_state]
        .into_iter()
        .find_map(|state| state.as_ref().and_then(|state| state.terminated.as_ref()));
    let reason = waiting
        .and_then(|waiting| waiting.reason.clone())
        .unwrap_or_else(|| format!("it has ended {} times", status.restart_count));
    let last_words = ended.and_then(|ended| {
        let mut lines = ended.message.as_deref().unwrap_or_default().lines().map(str::trim);
        lines.rfind(|line| !line.is_empty()).map(told)
    });
    let code = ended.map(|ended| format!("exit code {}", ended.exit_code));
    let text = last_words.or_else(|| waiting.and_then(|waiting| waiting.message.clone())).or(code);
    match text {
        Some(text) => format!("{reason}: {}", text.chars().take(MOST).collect::<String>()),
        None => reason,
    }
}

/// What a last line says. As JSON it has a time too, which is another one at each try, and would make it other news each time.
fn told(line: &str) -> String {
    let Ok(Value::Object(said)) = serde_json::from_str(line) else { return line.to_owned() };
    let text = |key: &str| said.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    match (text("message"), text("error")) {
        (Some(message), Some(error)) => format!("{message}: {error}"),
        (Some(message), None) => message.to_owned(),
        _ => line.to_owned(),
    }
}

pub(super) fn unscheduled(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.iter().flatten();
    let scheduled = conditions.into_iter().find(|condition| condition.type_ == "PodScheduled")?;
    let failed = scheduled.status == "False" && scheduled.reason.as_deref() == Some("Unschedulable");
    failed.then(|| format!("Unschedulable: {}", scheduled.message.as_deref().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn pod(name: &str, status: Value) -> Pod {
        from_value(json!({"metadata": {"name": name}, "status": status})).unwrap()
    }

    #[test]
    fn a_container_that_ends_with_an_error_is_quoted() {
        let crashing = json!({"containerStatuses": [{
            "name": "proxy", "image": "a", "imageID": "", "ready": false, "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s"}},
            "lastState": {"terminated": {"exitCode": 1, "message": "INFO starting\nError: minio.secretAccessKey is refused\n"}},
        }]});

        assert_eq!(
            trouble(&[pod("b", crashing), pod("c", json!({}))]),
            Some("pod b: CrashLoopBackOff: Error: minio.secretAccessKey is refused".to_owned())
        );
    }

    #[test]
    fn last_words_in_json_are_quoted_without_their_time() {
        let line = r#"{"level":"FATAL","time":"2026/11/29 00:00:00.000 +00:00","message":"the node did not start","error":"no bucket"}"#;

        assert_eq!(told(line), "the node did not start: no bucket");
        assert_eq!(told(r#"{"message":"stopped"}"#), "stopped");
        assert_eq!((told("{}"), told("Error: no")), ("{}".to_owned(), "Error: no".to_owned()));
    }

    #[test]
    fn a_pod_that_fits_nowhere_says_so_and_one_that_starts_is_no_trouble() {
        let starting = json!({"containerStatuses": [{
            "name": "proxy", "image": "a", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ContainerCreating"}},
        }]});
        let nowhere = json!({"conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes fit"}]});

        assert_eq!(trouble(&[pod("a", starting)]), None);
        assert_eq!(trouble(&[pod("a", nowhere)]), Some("pod a: Unschedulable: 0/2 nodes fit".to_owned()));
    }
}
