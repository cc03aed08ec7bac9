//! What settings of an app must not reach production: they are read before anything starts, and judged here.
//!
//! Everything in here is a pure function over what somebody else read: the host reads jars, wars and configuration files
//! (`platform::host::guards`), the cluster environment, arguments and ConfigMaps (`platform::cluster::guards`), and both call the same code.
//!
//! | part | what it does |
//! |---|---|
//! | `files` | `.yml` and `.properties` as documents of settings, each with its line |
//! | `profiles` | whether a document is meant for the active profiles |
//! | `settings` | the settings in force: who said what, and what placeholders stand for |
//! | `spring` | which files, variables and arguments a Spring app reads, and which of them wins |
//! | `schema` | settings that change a database's schema |
//! | `django` | settings of Django that are for development only |

pub mod django;
pub mod files;
mod profiles;
pub mod schema;
pub mod settings;
pub mod spring;

pub use settings::{Setting, Settings};

/// A setting that must not reach production.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which guard it is for.
    pub guard: Guard,
    /// What it is, where it stands and what it does, for people.
    pub message: String,
}

/// The guards that look at settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// `guards.schemaChanges`.
    SchemaChanges,
    /// `guards.insecureSettings`.
    InsecureSettings,
}

impl Guard {
    /// Its field in a specification.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Guard::SchemaChanges => "spec.guards.schemaChanges",
            Guard::InsecureSettings => "spec.guards.insecureSettings",
        }
    }

    /// The condition's reason.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Guard::SchemaChanges => "SchemaChangeDenied",
            Guard::InsecureSettings => "InsecureSettingDenied",
        }
    }
}
