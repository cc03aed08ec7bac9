//! The world of a plain machine: a web server in front, a supervisor behind, releases on disk.
//!
//! | part | what it does |
//! |---|---|
//! | `layout` | where everything of a site lies on disk |
//! | `route` | the link that decides which colour is live, and which revision a slot holds |
//! | `tick` | other names for a site's folder, so that a web server may remember what it found there |
//! | `store` | state files: written whole or not at all |
//! | `web` | the front door: configuration of nginx, the link that decides, what it answers |
//! | `runtime` | how an instance is run: one file for each kind of app |
//! | `guards` | reads the settings of a release that must not reach production, for `crate::guards` to judge |
//! | `supervise` | starts, stops and watches the instances of a colour |
//! | `uploads` | what arrives in a folder, and which of it is whole |
//! | `release` | takes artifacts over into read-only releases |
//! | `state` | the two memories, and what happened |
//! | `site` | one site: ties all of these together |
//! | `memory` | whether a second copy of an app fits into the machine |
//! | `probe` | asks the instances for their health |
//! | `audit` | what is wrong with the machine, for `bluegreen doctor` |
//! | `firewall` | closes the instances' ports to everybody but this machine |
//! | `sockets` | who listens where, and what is still in flight |
//! | `afar` | what a site from a hub or a repository is given |

pub mod afar;
pub mod audit;
pub mod firewall;
pub mod guards;
pub mod layout;
mod memory;
pub mod probe;
pub mod release;
pub mod route;
pub mod runtime;
pub mod site;
pub mod sockets;
pub mod state;
pub mod store;
pub mod supervise;
pub mod tick;
pub mod uploads;
pub mod web;
