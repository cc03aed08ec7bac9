//! Settings that make an app change the schema of its database when it starts: in production that is done by migrations, on purpose.

use super::settings::{Setting, Settings};
use super::{Finding, Guard};
use crate::api::java::squeezed;

/// What Hibernate may be told without changing anything.
const HARMLESS: &[&str] = &["", "none", "validate", "false", "off"];

const OF_SPRING: &str = "spring.jpa.hibernate.ddl-auto";
const OF_HIBERNATE: &str = "spring.jpa.properties.hibernate.hbm2ddl.auto";

/// Finds them.
#[must_use]
pub fn judge(settings: &Settings) -> Vec<Finding> {
    settings.iter().filter_map(|(key, setting)| finding(key, setting, settings)).collect()
}

fn finding(key: &str, setting: &Setting, settings: &Settings) -> Option<Finding> {
    // What can't be seen is none: an app whose placeholder stands for nothing doesn't start.
    let value = settings.resolved(&setting.value)?.trim().to_ascii_lowercase();
    let is_true = matches!(value.as_str(), "true" | "yes" | "on" | "1");
    let (stops, what) = match key {
        _ if key == squeezed(OF_SPRING) => (
            !HARMLESS.contains(&value.as_str()) && settings.get(OF_HIBERNATE).is_none(),
            "Hibernate would change the schema of the database",
        ),
        "hibernatehbm2ddlauto" => (
            !HARMLESS.contains(&value.as_str()) && !is_overridden(settings),
            "Hibernate would change the schema of the database",
        ),
        _ if key.ends_with("hibernateddlauto") || key.ends_with("hbm2ddlauto") => {
            (!HARMLESS.contains(&value.as_str()), "Hibernate would change the schema of the database")
        }
        _ if key.ends_with("persistenceschemagenerationdatabaseaction") => {
            (!HARMLESS.contains(&value.as_str()), "JPA would change the schema of the database")
        }
        _ if key.ends_with("jpagenerateddl") => (is_true, "Hibernate would change the schema of the database"),
        "springsqlinitmode" | "springdatasourceinitializationmode" => {
            (value == "always", "schema.sql and data.sql would run against the database at each start")
        }
        _ if key.starts_with("spring") && key.ends_with("initializeschema") => {
            (value == "always", "tables would be made, or made anew, at each start")
        }
        "springflywaycleanonvalidationerror" => (is_true, "Flyway would empty the database"),
        "springliquibasedropfirst" => (is_true, "Liquibase would empty the database"),
        _ => return None,
    };
    stops.then(|| Finding {
        guard: Guard::SchemaChanges,
        message: format!("{} is {} ({}): {what}", setting.key, shown(&value), setting.from),
    })
}

/// Whether what Spring hands to Hibernate replaces what Hibernate finds by itself.
fn is_overridden(settings: &Settings) -> bool {
    settings.get(OF_HIBERNATE).is_some()
        || settings.value(OF_SPRING).is_some_and(|value| !matches!(value.trim(), "" | "none"))
}

/// A value that means something here; anything else may be a secret that a placeholder stood for.
fn shown(value: &str) -> &str {
    const WORDS: &[&str] = &[
        "1",
        "always",
        "create",
        "create-drop",
        "create-only",
        "drop",
        "drop-and-create",
        "on",
        "populate",
        "true",
        "truncate",
        "update",
        "yes",
    ];
    if WORDS.contains(&value) { value } else { "a value that is not shown" }
}
