//! The agent as it is installed: the built program, a real nginx, a real app, real load. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

/// Makes a test of each of these behind either web server; they are generic functions of the module that says it.
macro_rules! behind_either {
    ($($name:ident),* $(,)?) => {
        mod nginx {
            $(#[test]
            fn $name() {
                super::$name::<bluegreen_rig::nginx::Nginx>();
            })*
        }
        mod apache {
            $(#[test]
            fn $name() {
                super::$name::<bluegreen_rig::apache::Apache>();
            })*
        }
    };
}

#[path = "agent/apache.rs"]
mod apache;
#[path = "agent/disk.rs"]
mod disk;
#[path = "agent/faults.rs"]
mod faults;
#[path = "agent/fronts.rs"]
mod fronts;
#[path = "agent/kit.rs"]
mod kit;
#[path = "agent/many.rs"]
mod many;
#[path = "agent/preview.rs"]
mod preview;
#[path = "agent/rollout.rs"]
mod rollout;
#[path = "agent/theirs.rs"]
mod theirs;
#[path = "agent/tls.rs"]
mod tls;
#[path = "agent/warm_up.rs"]
mod warm_up;
#[path = "agent/worlds.rs"]
mod worlds;
