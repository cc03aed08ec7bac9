//! What an API server refuses, in words that say what to do next.

use std::error::Error as _;

use kube::core::Status;

use super::resource;

/// Why a cluster doesn't do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// It can't be told which cluster is meant, or how to reach it.
    #[error("{0}")]
    NoCluster(String),
    /// The API server does not answer.
    #[error(
        "the API server at {server} does not answer: {why}; is the cluster up, and is this the right context? (kubectl config get-contexts)"
    )]
    Away {
        /// Where it was sought.
        server: String,
        /// What was seen.
        why: String,
    },
    /// There is no such site.
    #[error("there is no site {name} in namespace {namespace}")]
    NotFound {
        /// What was looked for.
        name: String,
        /// Where.
        namespace: String,
    },
    /// The caller may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// It was refused.
    #[error("{0}")]
    Refused(String),
    /// What was answered can't be understood.
    #[error(
        "the API server's answer is not understood: {0}; is this program as new as the operator? (bluegreen version)"
    )]
    Nonsense(String),
}

/// What was asked, for the explanation.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Asked<'a> {
    /// As roles name it: get, list, watch, patch, delete.
    pub verb: &'static str,
    /// As roles name it, with its group.
    pub resource: &'a str,
    /// Which one.
    pub name: Option<&'a str>,
    /// `None`: in all of them.
    pub namespace: Option<&'a str>,
    /// Whom.
    pub server: &'a str,
    /// How this program is called for the same place.
    pub called: &'a str,
}

/// Explains why something was not done.
pub(in crate::cli) fn explain(error: kube::Error, asked: &Asked<'_>) -> ClusterError {
    match error {
        kube::Error::Api(status) => refused(&status, asked),
        kube::Error::Auth(error) => ClusterError::NoCluster(format!(
            "no credentials for {}: {}; log in as your cluster wants it, then try: kubectl get namespaces",
            asked.server,
            chain(&error)
        )),
        kube::Error::SerdeError(error) => ClusterError::Nonsense(error.to_string()),
        error => ClusterError::Away { server: asked.server.to_owned(), why: chain(&error) },
    }
}

fn refused(status: &Status, asked: &Asked<'_>) -> ClusterError {
    let details = status.details.as_ref();
    match status.code {
        401 => ClusterError::NoCluster(format!(
            "the API server at {} does not know these credentials (Unauthorized); log in again, or choose another context with --context",
            asked.server
        )),
        403 => forbidden(status, asked),
        404 => match details.map(|details| details.kind.as_str()) {
            Some("namespaces") => {
                let namespace = details.map(|details| details.name.as_str()).unwrap_or_default();
                ClusterError::Refused(format!(
                    "there is no namespace {namespace}: make it with kubectl create namespace {namespace}, or name another with -n"
                ))
            }
            Some(_) if details.is_some_and(|details| !details.name.is_empty()) && asked.resource == resource() => {
                ClusterError::NotFound {
                    name: asked.name.unwrap_or_default().to_owned(),
                    namespace: asked.namespace.unwrap_or_default().to_owned(),
                }
            }
            // A pod that is gone, and a kubelet that knows nothing of it.
            _ if asked.resource != resource() => ClusterError::Refused(said(status)),
            _ => ClusterError::Refused(format!(
                "the cluster at {} does not know {}: install it with {} crd | kubectl apply -f -, and the operator with it \
                 (helm install bluegreen charts/bluegreen -n bluegreen-system --create-namespace)",
                asked.server, asked.resource, asked.called
            )),
        },
        409 if conflicts(status) => ClusterError::Refused(conflict(status)),
        429 | 500..=599 => ClusterError::Away {
            server: asked.server.to_owned(),
            why: format!("{} ({} {})", status.message.trim(), status.code, status.reason),
        },
        _ => ClusterError::Refused(said(status)),
    }
}

/// RBAC says which verb on which resource; a policy says something of its own.
fn forbidden(status: &Status, asked: &Asked<'_>) -> ClusterError {
    let rbac = status.message.contains(" cannot ");
    if !rbac {
        return ClusterError::Forbidden(said(status));
    }
    let place = match asked.namespace {
        Some(namespace) => format!("-n {namespace}"),
        None => "-A".to_owned(),
    };
    let user = status.message.split('"').nth(1).map(|user| format!(" as {user}")).unwrap_or_default();
    let within = match asked.namespace {
        Some(namespace) => format!(" in namespace {namespace}"),
        None => " in all namespaces".to_owned(),
    };
    ClusterError::Forbidden(format!(
        "you{user} may not {} {}{within}: ask for a role that allows it (the ClusterRoles bluegreen-view and bluegreen-edit do); see: kubectl \
         auth can-i {} {} {place}",
        asked.verb, asked.resource, asked.verb, asked.resource
    ))
}

fn conflicts(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "FieldManagerConflict")
}

/// Another manager holds fields that the manifest sets otherwise.
fn conflict(status: &Status) -> String {
    let mut text = "somebody else manages fields that this manifest sets to other values:".to_owned();
    for cause in status.details.iter().flat_map(|details| &details.causes) {
        let who = cause.message.strip_prefix("conflict with ").unwrap_or(&cause.message);
        text.push_str(&format!("\n  {} by {who}", cause.field.trim_start_matches('.')));
    }
    text + "\nleave them out of the manifest, or take them over with --force-conflicts"
}

/// The server's own words, without what it says twice.
fn said(status: &Status) -> String {
    let message = status.message.trim();
    let message = message.strip_prefix("admission webhook ").map_or(message, |_| message);
    if message.is_empty() { format!("{} {}", status.code, status.reason) } else { message.to_owned() }
}

/// An error and what is behind it, each said once.
pub(in crate::cli) fn chain(error: &dyn std::error::Error) -> String {
    let mut all = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !all.iter().any(|said| said.contains(&text)) {
            all.push(text);
        }
        next = cause.source();
    }
    // The outermost words are the library's own, and say nothing that the last don't.
    match all.as_slice() {
        [only] => only.clone(),
        [_, rest @ ..] => rest.join(": "),
        [] => String::new(),
    }
}

/// The error's own words and the words of what is behind it.
pub(super) fn words(error: &kube::config::KubeconfigError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ASKED: Asked<'static> = Asked {
        verb: "list",
        resource: "bluegreensites.bluegreen.dev",
        name: Some("shop"),
        namespace: Some("prod"),
        server: "https://cluster.example.com",
        called: "kubectl bluegreen",
    };

    fn explained(status: serde_json::Value) -> ClusterError {
        let status: Status = serde_json::from_value(status).expect("a status");
        explain(kube::Error::Api(Box::new(status)), &ASKED)
    }

    #[test]
    fn who_may_not_is_told_which_verb_on_which_resource() {
        let said = explained(
            json!({"code": 403, "reason": "Forbidden", "message": "bluegreensites.bluegreen.dev is forbidden: User \"jane\" \
            cannot list resource \"bluegreensites\" in API group \"bluegreen.dev\" in the namespace \"prod\""}),
        );
        assert!(matches!(said, ClusterError::Forbidden(_)));
        let text = said.to_string();
        assert!(text.starts_with("you as jane may not list bluegreensites.bluegreen.dev in namespace prod"), "{text}");
        assert!(text.ends_with("kubectl auth can-i list bluegreensites.bluegreen.dev -n prod"), "{text}");
    }

    #[test]
    fn a_policy_speaks_for_itself() {
        let message = "bluegreensites.bluegreen.dev \"shop\" is forbidden: ValidatingAdmissionPolicy 'bluegreen' denied request: you need create deployments";
        let said = explained(json!({"code": 403, "reason": "Forbidden", "message": message}));
        assert_eq!(said.to_string(), message);
    }

    #[test]
    fn a_missing_site_a_missing_kind_and_a_missing_namespace_are_told_apart() {
        let gone = explained(
            json!({"code": 404, "reason": "NotFound", "message": "bluegreensites.bluegreen.dev \"shop\" not found",
            "details": {"name": "shop", "group": "bluegreen.dev", "kind": "bluegreensites"}}),
        );
        assert_eq!(gone, ClusterError::NotFound { name: "shop".into(), namespace: "prod".into() });
        let kind = explained(
            json!({"code": 404, "reason": "NotFound", "message": "the server could not find the requested resource",
            "details": {}}),
        );
        assert!(kind.to_string().contains("kubectl bluegreen crd | kubectl apply -f -"), "{kind}");
        let plain =
            explained(json!({"code": 404, "message": "404 page not found\n", "reason": "Failed to parse error data"}));
        assert_eq!(plain, kind);
        let namespace =
            explained(json!({"code": 404, "reason": "NotFound", "message": "namespaces \"prod\" not found",
            "details": {"name": "prod", "kind": "namespaces"}}));
        assert!(namespace.to_string().contains("kubectl create namespace prod"), "{namespace}");
    }

    #[test]
    fn a_pod_that_is_not_there_is_no_missing_site() {
        let status = json!({"code": 404, "reason": "NotFound", "message": "pods \"shop-blue-1\" not found",
            "details": {"name": "shop-blue-1", "kind": "pods"}});
        let status: Status = serde_json::from_value(status).expect("a status");
        let asked = Asked { resource: "pods/log", name: Some("shop-blue-1"), ..ASKED };
        let said = explain(kube::Error::Api(Box::new(status)), &asked);
        assert_eq!(said, ClusterError::Refused("pods \"shop-blue-1\" not found".into()));
    }

    #[test]
    fn a_field_of_somebody_elses_is_named_with_who_has_it() {
        let said = explained(
            json!({"code": 409, "reason": "Conflict", "message": "Apply failed with 1 conflict", "details": {"causes": [
            {"reason": "FieldManagerConflict", "message": "conflict with \"argocd\" using bluegreen.dev/v1alpha1",
             "field": ".spec.strategy.bake"}]}}),
        );
        assert_eq!(
            said.to_string(),
            "somebody else manages fields that this manifest sets to other values:\n  spec.strategy.bake by \"argocd\" using \
             bluegreen.dev/v1alpha1\nleave them out of the manifest, or take them over with --force-conflicts"
        );
    }

    #[test]
    fn a_server_in_trouble_may_answer_later() {
        let said = explained(json!({"code": 503, "reason": "ServiceUnavailable", "message": "etcd is away"}));
        assert!(matches!(said, ClusterError::Away { .. }), "{said}");
    }
}
