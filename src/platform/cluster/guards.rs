//! The settings that a pod template gives its app, judged by the same code as on a plain machine (`crate::guards`): variables, arguments, and
//! the files of ConfigMaps that are mounted. What lies in the image can't be seen from here, nor may a Secret be read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::references::{Source, references};
use super::{ClusterPlatform, Wanted, lock};
use crate::api::site::SettingsGuards;
use crate::api::spec::{ConfigMapsSpec, GuardSpec};
use crate::guards::spring::{File, Sources, effective};
use crate::guards::{Finding, Guard, schema};
use crate::platform::Fault;
use crate::rollout::Revision;

/// What is wrong with the settings of a template.
#[derive(Debug, Default, PartialEq, Eq)]
struct Judged {
    /// Why it must not run.
    denied: Vec<String>,
    /// What is said, and lets it run.
    warnings: Vec<String>,
}

impl ClusterPlatform {
    /// Why the settings of the template must not reach production, if they must not.
    pub(super) async fn settings_refused(&self, wanted: &Wanted, what: Revision) -> Result<Option<String>, Fault> {
        let judged = self.judge_settings(wanted).await?;
        self.note_settings(what, judged.warnings);
        let guard = Guard::SchemaChanges;
        Ok((!judged.denied.is_empty()).then(|| {
            format!(
                "{}; take it out of the template, or override it there; if it is meant, write {}: Warn and ask for a retry",
                judged.denied.join("; "),
                guard.field()
            )
        }))
    }

    /// Looks through the settings of what is wanted, if that was not done since the start: what was warned of goes on being said.
    pub(super) async fn look_through_settings(&self, wanted: &Wanted, what: Revision) {
        if lock(&self.settings).0 == Some(what) {
            return;
        }
        // What can't be read now is read before it is started.
        if let Ok(judged) = self.judge_settings(wanted).await {
            self.note_settings(what, judged.warnings);
        }
    }

    fn note_settings(&self, what: Revision, warnings: Vec<String>) {
        let mut known = lock(&self.settings);
        if *known == (Some(what), warnings.clone()) {
            return;
        }
        for warning in &warnings {
            tracing::warn!(site = %self.key(), "{warning}");
        }
        *known = (Some(what), warnings);
    }

    async fn judge_settings(&self, wanted: &Wanted) -> Result<Judged, Fault> {
        let target = &wanted.site.target;
        let template = target.template.value();
        let mut maps = BTreeMap::new();
        if target.settings.schema_changes != GuardSpec::Off && target.config_maps == ConfigMapsSpec::Snapshot {
            for (source, name) in references(&template).into_keys() {
                if source == Source::ConfigMap
                    && let Some(map) = self.configuration(source, &name).await?
                {
                    maps.insert(name, map);
                }
            }
        }
        Ok(judge(&template, &maps, target.settings))
    }
}

fn judge(template: &Value, maps: &BTreeMap<String, Value>, guards: SettingsGuards) -> Judged {
    let mut judged = Judged::default();
    if guards.schema_changes == GuardSpec::Off {
        return judged;
    }
    let mut unseen = BTreeSet::new();
    for container in list(template, "/spec/containers") {
        let (findings, looks_like_spring) = of_container(container, template, maps, &mut unseen);
        let name = container["name"].as_str().unwrap_or("?");
        for finding in findings {
            let said = format!("container {name}: {}", finding.message);
            match guards.schema_changes {
                GuardSpec::Deny => judged.denied.push(said),
                _ => judged.warnings.push(said),
            }
        }
        if looks_like_spring {
            unseen.insert(format!("the files in the image of container {name}"));
        }
    }
    if !unseen.is_empty() {
        let all: Vec<String> = unseen.into_iter().collect();
        judged.warnings.push(format!("the guard of schema changes can't see {}", all.join(", ")));
    }
    judged
}

fn of_container(
    container: &Value,
    template: &Value,
    maps: &BTreeMap<String, Value>,
    unseen: &mut BTreeSet<String>,
) -> (Vec<Finding>, bool) {
    let env = variables(container, maps, unseen);
    let words = |field: &str| list(container, field).filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>();
    let arguments = [words("/command"), words("/args")].concat();
    let files = mounted(container, template, maps);
    let read = |name: &str| {
        let (_, path) = name.split_once("outside:")?;
        files
            .iter()
            .find(|(file, ..)| file == path)
            .map(|(file, map, text)| File { name: format!("{file} of the ConfigMap {map}"), text: text.clone() })
    };
    let spring = |name: &str| name.to_ascii_uppercase().starts_with("SPRING_");
    let looks_like_spring = env.iter().any(|(name, _)| spring(name))
        || arguments.iter().any(|argument| argument.starts_with("--spring.") || argument.starts_with("-Dspring."))
        || files.iter().any(|(name, ..)| name.starts_with("application"));
    let found = match effective(&Sources { read: &read, env: &env, jvm: &arguments, arguments: &arguments }) {
        Ok(effective) => {
            unseen.extend(effective.unseen);
            schema::judge(&effective.settings)
        }
        Err(broken) => vec![Finding {
            guard: Guard::SchemaChanges,
            message: format!("{broken}: so nobody can tell what the app would do to its database"),
        }],
    };
    (found, looks_like_spring)
}

fn variables(
    container: &Value,
    maps: &BTreeMap<String, Value>,
    unseen: &mut BTreeSet<String>,
) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for from in list(container, "/envFrom") {
        let prefix = from["prefix"].as_str().unwrap_or_default();
        if let Some(name) = from["configMapRef"]["name"].as_str() {
            match maps.get(name) {
                Some(map) => all.extend(data(map).map(|(key, value)| (format!("{prefix}{key}"), value.to_owned()))),
                None => drop(unseen.insert(format!("the ConfigMap {name}"))),
            }
        }
        if let Some(name) = from["secretRef"]["name"].as_str() {
            unseen.insert(format!("the Secret {name}"));
        }
    }
    for variable in list(container, "/env") {
        let Some(name) = variable["name"].as_str() else { continue };
        if let Some(value) = variable["value"].as_str() {
            all.push((name.to_owned(), value.to_owned()));
        }
        let of = &variable["valueFrom"]["configMapKeyRef"];
        let found = of["name"].as_str().and_then(|map| maps.get(map));
        if let Some((_, value)) = found.and_then(|map| data(map).find(|(key, _)| Some(*key) == of["key"].as_str())) {
            all.push((name.to_owned(), value.to_owned()));
        }
    }
    all
}

/// The files of ConfigMaps that a container mounts: name, ConfigMap, content.
fn mounted(container: &Value, template: &Value, maps: &BTreeMap<String, Value>) -> Vec<(String, String, String)> {
    let mounts: BTreeSet<&str> = list(container, "/volumeMounts").filter_map(|mount| mount["name"].as_str()).collect();
    let mut files = Vec::new();
    for volume in list(template, "/spec/volumes").filter(|one| one["name"].as_str().is_some_and(|n| mounts.contains(n)))
    {
        let projected = list(volume, "/projected/sources").filter_map(|source| source["configMap"]["name"].as_str());
        for name in volume["configMap"]["name"].as_str().into_iter().chain(projected) {
            let of_it = maps.get(name).into_iter().flat_map(data);
            files.extend(of_it.map(|(key, text)| (key.to_owned(), name.to_owned(), text.to_owned())));
        }
    }
    files
}

fn data(map: &Value) -> impl Iterator<Item = (&str, &str)> {
    let data = map["data"].as_object().into_iter().flatten();
    data.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judged(container: &Value, guard: GuardSpec) -> Judged {
        let template = json!({"spec": {
            "containers": [container],
            "volumes": [{"name": "config", "configMap": {"name": "shop"}}],
        }});
        let map = json!({"data": {
            "application-production.yml": "a: 1\nspring.jpa.hibernate.ddl-auto: update\n",
            "DDL": "create",
        }});
        let maps = BTreeMap::from([("shop".to_owned(), map)]);
        judge(&template, &maps, SettingsGuards { schema_changes: guard, ..SettingsGuards::default() })
    }

    #[test]
    fn variables_arguments_and_mounted_files_are_judged_as_on_a_host() {
        for container in [
            json!({"name": "app", "env": [{"name": "SPRING_JPA_HIBERNATE_DDL_AUTO", "value": "update"}]}),
            json!({"name": "app", "args": ["--spring.jpa.hibernate.ddl-auto=create"]}),
            json!({"name": "app", "command": ["java", "-Dspring.jpa.generate-ddl=true", "-jar", "app.jar"]}),
            json!({"name": "app", "env": [{"name": "SPRING_JPA_HIBERNATE_DDL_AUTO", "valueFrom":
                {"configMapKeyRef": {"name": "shop", "key": "DDL"}}}]}),
            json!({"name": "app", "env": [{"name": "SPRING_JPA_HIBERNATE_DDLAUTO", "value": "${X_DDL}"}], "envFrom":
                [{"prefix": "X_", "configMapRef": {"name": "shop"}}]}),
            json!({"name": "app", "env": [{"name": "SPRING_PROFILES_ACTIVE", "value": "production"}],
                "volumeMounts": [{"name": "config", "mountPath": "/config"}]}),
        ] {
            assert!(!judged(&container, GuardSpec::Deny).denied.is_empty(), "{container}");
            let warned = judged(&container, GuardSpec::Warn);
            assert!(warned.denied.is_empty() && !warned.warnings.is_empty(), "{container}");
            assert_eq!(judged(&container, GuardSpec::Off), Judged::default(), "{container}");
        }
    }

    #[test]
    fn what_is_harmless_passes_and_what_can_not_be_seen_is_said() {
        let plain = json!({"name": "app", "env": [{"name": "A", "value": "b"}], "args": ["--port=80"]});
        assert_eq!(judged(&plain, GuardSpec::Deny), Judged::default());
        let spring = json!({"name": "app", "env": [{"name": "SPRING_PROFILES_ACTIVE", "value": "test"}],
            "envFrom": [{"secretRef": {"name": "db"}}], "volumeMounts": [{"name": "config", "mountPath": "/config"}]});
        let judged = judged(&spring, GuardSpec::Deny);
        assert_eq!(judged.denied, Vec::<String>::new());
        assert_eq!(
            judged.warnings,
            ["the guard of schema changes can't see the Secret db, the files in the image of container app"]
        );
    }
}
