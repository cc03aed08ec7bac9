//! What a host has on its hub. `bluegreen host token` applies it, `bluegreen host manifest` prints it for those who keep it in Git; both say the same.
//!
//! The host may, in its own namespace: look at its sites, put its finalizer on them and write their status; write its one Lease; record events; ask for a
//! token of its own. It may read no Secret: each one that it needs is granted by name, by a Role that somebody writes for it.
//!
//! Whoever joins may ask for a token of the host, and take away the Secret that the token to join with is bound to. Nothing else.

use serde_json::{Value, json};

use crate::api::names::{GROUP, cluster, hub};
use crate::api::types::HostName;
use crate::driver::agent::hub::membership::Membership;

/// All of it, in the order in which it is applied.
#[must_use]
pub fn all(host: &HostName) -> Vec<Value> {
    let namespace = Membership::namespace_of(host);
    let labels = json!({ hub::HOST: host, cluster::MANAGED_BY: cluster::MANAGER });
    let named = |name: &str| json!({ "name": name, "namespace": namespace, "labels": labels });
    // Neither of them is for pods.
    let account = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": named(name), "automountServiceAccountToken": false,
        })
    };
    let role = |name: &str, rules: Value| json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": named(name), "rules": rules });
    let binding = |name: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": named(name),
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
            "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": namespace }],
        })
    };
    let own_token = json!({
        "apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": [hub::ACCOUNT], "verbs": ["create"],
    });
    // To tell this hub from another one at the same address.
    let own_namespace =
        json!({ "apiGroups": [""], "resources": ["namespaces"], "resourceNames": [namespace], "verbs": ["get"] });
    let host_may = json!([
        { "apiGroups": [GROUP], "resources": ["bluegreensites"], "verbs": ["get", "list", "watch", "patch"] },
        { "apiGroups": [GROUP], "resources": ["bluegreensites/status"], "verbs": ["update"] },
        {
            "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [hub::LEASE],
            // Whoever creates by writing to a name is asked for the right to create that name.
            "verbs": ["get", "create", "update"],
        },
        { "apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"] },
        own_token, own_namespace,
    ]);
    let joiner_may = json!([
        own_token,
        { "apiGroups": [""], "resources": ["secrets"], "resourceNames": [hub::JOIN], "verbs": ["delete"] },
    ]);
    vec![
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace, "labels": labels } }),
        account(hub::ACCOUNT),
        role(hub::ACCOUNT, host_may),
        binding(hub::ACCOUNT),
        // Here from the beginning: who looks for the host finds it before it was ever there.
        json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": named(hub::LEASE) }),
        account(hub::JOIN),
        role(hub::JOIN, joiner_may),
        binding(hub::JOIN),
    ]
}

/// The Secret that the token to join with lives and dies with. It holds nothing.
#[must_use]
pub fn secret(host: &HostName) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": hub::JOIN_TYPE, "immutable": true,
        "metadata": {
            "name": hub::JOIN, "namespace": Membership::namespace_of(host),
            "labels": { hub::HOST: host, cluster::MANAGED_BY: cluster::MANAGER },
        },
    })
}

/// All of it, as a file.
///
/// # Errors
/// It can't be written as YAML.
pub fn yaml(host: &HostName) -> anyhow::Result<String> {
    let mut text = format!(
        "# What the host {host} has on its hub. `bluegreen host manifest {host}` prints it; `bluegreen host token {host}` applies it too.\n"
    );
    for object in all(host) {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&object)?);
    }
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_read_no_secret_and_nothing_is_granted_with_a_star() {
        let host: HostName = "vps-1".parse().unwrap();
        let roles: Vec<Value> = all(&host).into_iter().filter(|object| object["kind"] == "Role").collect();
        assert_eq!(roles.len(), 2);
        for role in &roles {
            assert!(!role.to_string().contains('*'), "{role}");
            for rule in role["rules"].as_array().unwrap() {
                let secrets = rule["resources"].as_array().unwrap().contains(&json!("secrets"));
                assert!(!secrets || rule["verbs"] == json!(["delete"]), "{rule}");
            }
        }
    }

    #[test]
    fn everything_is_in_the_hosts_namespace_and_carries_its_name() {
        let host: HostName = "vps-1".parse().unwrap();
        for object in all(&host).into_iter().chain([secret(&host)]) {
            assert_eq!(object["metadata"]["labels"][hub::HOST], "vps-1");
            let metadata = &object["metadata"];
            let place = if object["kind"] == "Namespace" { &metadata["name"] } else { &metadata["namespace"] };
            assert_eq!(place, "bluegreen-host-vps-1");
        }
    }
}
