//! What a pod waits for, in words.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodCondition};

/// Whether the pod itself says that it is ready.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && condition(pod, "Ready").is_some_and(|condition| condition.status == "True")
}

/// Whether it is on its way out, or over: it never serves again.
#[must_use]
pub fn is_over(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some() || matches!(phase(pod), "Failed" | "Succeeded")
}

/// How often its containers were started again.
#[must_use]
pub fn restarts(pod: &Pod) -> u32 {
    let status = pod.status.as_ref();
    let all = status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
    all.map(|container| u32::try_from(container.restart_count).unwrap_or(0)).sum()
}

/// What it waits for, or how it ended. Empty while it is ready.
#[must_use]
pub fn awaited(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "is ending".to_owned();
    }
    if is_ready(pod) {
        return String::new();
    }
    let status = pod.status.as_ref();
    if matches!(phase(pod), "Failed" | "Succeeded") {
        let why = status.and_then(|status| status.message.as_deref().or(status.reason.as_deref()));
        let ended = containers(pod).find_map(|container| ended(container.state.as_ref()));
        return first(why.map(str::to_owned).or(ended).as_deref().unwrap_or("has ended"));
    }
    let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) else {
        let why = condition(pod, "PodScheduled").and_then(|condition| condition.message.as_deref());
        return match why {
            Some(why) => format!("waits for a node: {}", first(why)),
            None => "waits for a node".to_owned(),
        };
    };
    if let Some(init) = inits(pod) {
        return init;
    }
    // What fails says more than what merely isn't ready yet.
    let waiting: Vec<String> = containers(pod).filter_map(troubled).collect();
    if let Some(trouble) = waiting.into_iter().next() {
        return trouble;
    }
    if let Some(container) = containers(pod).find(|container| !container.ready) {
        let name = &container.name;
        let started = container.started.unwrap_or(true);
        let running = container.state.as_ref().is_some_and(|state| state.running.is_some());
        return match (running, started) {
            (false, _) => format!("{name} is being made"),
            (true, false) => format!("{name} runs; its startup probe has not passed yet"),
            (true, true) => format!("{name} runs; its readiness probe has not passed yet"),
        };
    }
    if let Some(gate) = gate(pod) {
        return gate;
    }
    match condition(pod, "Ready").and_then(|condition| condition.message.as_deref()) {
        Some(message) if !message.is_empty() => first(message),
        _ => format!("waits for {node} to start it"),
    }
}

/// The first init container that is not through.
fn inits(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    for container in status.init_container_statuses.iter().flatten() {
        let state = container.state.as_ref();
        let through = state.and_then(|state| state.terminated.as_ref()).is_some_and(|ended| ended.exit_code == 0);
        // One that runs beside the app is through once it has started.
        if through || container.started == Some(true) {
            continue;
        }
        if let Some(trouble) = troubled(container) {
            return Some(trouble);
        }
        if state.is_some_and(|state| state.running.is_some()) {
            return Some(format!("init container {} runs", container.name));
        }
        return Some(format!("init container {} is being made", container.name));
    }
    None
}

/// Why a container can't start, or how it ended.
fn troubled(container: &ContainerStatus) -> Option<String> {
    let name = &container.name;
    let state = container.state.as_ref();
    if let Some(how) = ended(state) {
        return Some(format!("{name} {how}"));
    }
    let waiting = state?.waiting.as_ref()?;
    match waiting.reason.as_deref().unwrap_or_default() {
        "" | "ContainerCreating" | "PodInitializing" => None,
        "CrashLoopBackOff" => {
            let how = ended(container.last_state.as_ref()).unwrap_or_else(|| "has ended".to_owned());
            Some(format!("{name} {how}; it is started again after a while"))
        }
        reason => match waiting.message.as_deref().filter(|message| !message.is_empty()) {
            Some(message) => Some(format!("{name}: {reason}: {}", first(message))),
            None => Some(format!("{name}: {reason}")),
        },
    }
}

fn ended(state: Option<&ContainerState>) -> Option<String> {
    let ended = state?.terminated.as_ref()?;
    let how = match (ended.reason.as_deref(), ended.signal.filter(|signal| *signal != 0)) {
        (Some("OOMKilled"), _) => "was killed: it used more memory than its limit".to_owned(),
        (_, Some(signal)) => format!("was killed by signal {signal}"),
        _ => format!("ended with exit code {}", ended.exit_code),
    };
    match ended.message.as_deref().map(first).filter(|message| !message.is_empty()) {
        Some(message) => Some(format!("{how}: {message}")),
        None => Some(how),
    }
}

/// A readiness gate that nobody has opened.
fn gate(pod: &Pod) -> Option<String> {
    let gates = pod.spec.as_ref()?.readiness_gates.as_ref()?;
    let open = |kind: &str| condition(pod, kind).is_some_and(|condition| condition.status == "True");
    let closed = gates.iter().find(|gate| !open(&gate.condition_type))?;
    Some(format!("waits for the readiness gate {}", closed.condition_type))
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten())
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

fn first(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(node: Option<&str>, status: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "shop-blue-1"},
            "spec": {"containers": [{"name": "app"}], "nodeName": node},
            "status": status,
        }))
        .expect("a pod")
    }

    fn container(state: Value) -> Value {
        json!({"name": "app", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state})
    }

    #[test]
    fn a_pod_says_what_it_waits_for() {
        let unready = json!({"type": "Ready", "status": "False", "message": "containers with unready status: [app]"});
        let mut crashed = container(json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}));
        crashed["lastState"] = json!({"terminated": {"exitCode": 3, "reason": "Error"}});
        let mut starting = container(json!({"running": {}}));
        starting["started"] = json!(false);
        let mut ready = container(json!({"running": {}}));
        ready["ready"] = json!(true);
        for (node, status, expected) in [
            (None, json!({"phase": "Pending"}), "waits for a node"),
            (
                None,
                json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
                       "message": "0/3 nodes are available: 3 Insufficient cpu."}]}),
                "waits for a node: 0/3 nodes are available: 3 Insufficient cpu.",
            ),
            (Some("n1"), json!({"phase": "Pending"}), "waits for n1 to start it"),
            (
                Some("n1"),
                json!({"containerStatuses": [container(json!({"waiting": {"reason": "ContainerCreating"}}))]}),
                "app is being made",
            ),
            (
                Some("n1"),
                json!({"containerStatuses": [container(json!({"waiting": {"reason": "ErrImagePull", "message": "no such image\nmore"}}))]}),
                "app: ErrImagePull: no such image",
            ),
            (
                Some("n1"),
                json!({"containerStatuses": [crashed]}),
                "app ended with exit code 3; it is started again after a while",
            ),
            (
                Some("n1"),
                json!({"containerStatuses": [container(json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}))]}),
                "app was killed: it used more memory than its limit",
            ),
            (
                Some("n1"),
                json!({"containerStatuses": [container(json!({"running": {}}))], "conditions": [unready]}),
                "app runs; its readiness probe has not passed yet",
            ),
            (Some("n1"), json!({"containerStatuses": [starting]}), "app runs; its startup probe has not passed yet"),
            (
                Some("n1"),
                json!({"initContainerStatuses": [{"name": "migrate", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                       "state": {"running": {}}}]}),
                "init container migrate runs",
            ),
            (
                Some("n1"),
                json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory"}),
                "The node was low on memory",
            ),
            (
                Some("n1"),
                json!({"containerStatuses": [ready], "conditions": [{"type": "Ready", "status": "True"}]}),
                "",
            ),
        ] {
            assert_eq!(awaited(&pod(node, status.clone())), expected, "{status}");
        }
    }

    #[test]
    fn a_pod_that_ends_is_not_ready_whatever_it_says() {
        let mut pod = pod(Some("n1"), json!({"conditions": [{"type": "Ready", "status": "True"}]}));
        assert!(is_ready(&pod) && !is_over(&pod));
        pod.metadata.deletion_timestamp = Some(
            "2026-11-22T18:00:00Z".parse().map(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time).expect("a moment"),
        );
        assert!(!is_ready(&pod) && is_over(&pod));
        assert_eq!(awaited(&pod), "is ending");
    }
}
