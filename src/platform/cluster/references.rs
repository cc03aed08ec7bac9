//! What a pod template names besides itself: ConfigMaps and Secrets, wherever a pod can name one.

use std::collections::BTreeMap;

use serde_json::Value;

/// A kind of configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

impl Source {
    /// As Kubernetes calls the kind.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Source::ConfigMap => "ConfigMap",
            Source::Secret => "Secret",
        }
    }

    /// As the API server calls the resource.
    #[must_use]
    pub fn resource(self) -> &'static str {
        match self {
            Source::ConfigMap => "configmaps",
            Source::Secret => "secrets",
        }
    }
}

/// What a template names, and whether a pod starts without it.
pub type References = BTreeMap<(Source, String), Need>;

/// Whether a pod starts without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// It does.
    Optional,
    /// It does not.
    Required,
}

/// Everything that a template names.
#[must_use]
pub fn references(template: &Value) -> References {
    let mut found = References::new();
    let mut copy = template.clone();
    visit(&mut copy, &mut |source, need, name| {
        if let Some(name) = name.as_str() {
            let known = found.entry((source, name.to_owned())).or_insert(need);
            *known = need.max(*known);
        }
    });
    found
}

/// Puts other names in their place.
pub fn rename(template: &mut Value, names: &BTreeMap<(Source, String), String>) {
    visit(template, &mut |source, _, name| {
        let new = name.as_str().and_then(|old| names.get(&(source, old.to_owned())));
        if let Some(new) = new {
            *name = Value::from(new.as_str());
        }
    });
}

/// Where each kind of reference keeps the name, and under what.
const IN_VOLUMES: [(&str, &str, Source); 2] =
    [("configMap", "name", Source::ConfigMap), ("secret", "secretName", Source::Secret)];
const IN_PROJECTIONS: [(&str, &str, Source); 2] =
    [("configMap", "name", Source::ConfigMap), ("secret", "name", Source::Secret)];
const IN_VARIABLES: [(&str, &str, Source); 2] =
    [("configMapKeyRef", "name", Source::ConfigMap), ("secretKeyRef", "name", Source::Secret)];
const IN_ENVIRONMENTS: [(&str, &str, Source); 2] =
    [("configMapRef", "name", Source::ConfigMap), ("secretRef", "name", Source::Secret)];

fn visit(template: &mut Value, each: &mut impl FnMut(Source, Need, &mut Value)) {
    let Some(spec) = template.get_mut("spec") else { return };
    for volume in list(spec, "volumes") {
        refer(volume, &IN_VOLUMES, each);
        if let Some(projected) = volume.get_mut("projected") {
            for source in list(projected, "sources") {
                refer(source, &IN_PROJECTIONS, each);
            }
        }
    }
    for kind in ["initContainers", "containers", "ephemeralContainers"] {
        for container in list(spec, kind) {
            for variable in list(container, "env") {
                if let Some(from) = variable.get_mut("valueFrom") {
                    refer(from, &IN_VARIABLES, each);
                }
            }
            for environment in list(container, "envFrom") {
                refer(environment, &IN_ENVIRONMENTS, each);
            }
        }
    }
}

fn list<'a>(value: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    value.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten()
}

fn refer(holder: &mut Value, forms: &[(&str, &str, Source)], each: &mut impl FnMut(Source, Need, &mut Value)) {
    for (field, key, source) in forms {
        let Some(reference) = holder.get_mut(field) else { continue };
        let optional = reference.get("optional").and_then(Value::as_bool).unwrap_or(false);
        let need = if optional { Need::Optional } else { Need::Required };
        if let Some(name) = reference.get_mut(key) {
            each(*source, need, name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn everywhere() -> Value {
        json!({"spec": {
            "volumes": [
                {"name": "a", "configMap": {"name": "in-volume"}},
                {"name": "b", "secret": {"secretName": "secret-in-volume", "optional": true}},
                {"name": "c", "projected": {"sources": [
                    {"configMap": {"name": "in-projection", "optional": true}},
                    {"secret": {"name": "secret-in-projection"}},
                ]}},
                {"name": "d", "emptyDir": {}},
            ],
            "initContainers": [{"name": "i", "envFrom": [{"configMapRef": {"name": "in-init"}}]}],
            "containers": [{
                "name": "app",
                "env": [
                    {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "in-variable", "key": "a"}}},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "secret-in-variable", "key": "b"}}},
                    {"name": "C", "value": "in-variable"},
                    {"name": "D", "valueFrom": {"configMapKeyRef": {"name": "in-projection", "key": "d"}}},
                ],
                "envFrom": [{"secretRef": {"name": "secret-in-environment"}}],
            }],
            "imagePullSecrets": [{"name": "registry"}],
        }})
    }

    #[test]
    fn every_place_where_a_pod_names_configuration_is_found() {
        let found = references(&everywhere());
        let names: Vec<(&str, &str, Need)> =
            found.iter().map(|((source, name), need)| (source.kind(), name.as_str(), *need)).collect();
        assert_eq!(
            names,
            [
                ("ConfigMap", "in-init", Need::Required),
                // Named twice, once as optional: a pod does not start without it.
                ("ConfigMap", "in-projection", Need::Required),
                ("ConfigMap", "in-variable", Need::Required),
                ("ConfigMap", "in-volume", Need::Required),
                ("Secret", "secret-in-environment", Need::Required),
                ("Secret", "secret-in-projection", Need::Required),
                ("Secret", "secret-in-variable", Need::Required),
                ("Secret", "secret-in-volume", Need::Optional),
            ]
        );
    }

    #[test]
    fn another_name_is_put_everywhere_and_nothing_else_is_touched() {
        let mut template = everywhere();
        let key = (Source::ConfigMap, "in-projection".to_owned());
        rename(&mut template, &[(key, "copy".to_owned())].into());
        let text = template.to_string();
        assert_eq!(text.matches("\"copy\"").count(), 2);
        assert!(!text.contains("\"in-projection\""));
        let mut back = template;
        rename(&mut back, &[((Source::ConfigMap, "copy".to_owned()), "in-projection".to_owned())].into());
        assert_eq!(back, everywhere());
    }
}
