//! The operator: turns the sites of a cluster, as `kubectl apply` made them.
//!
//! | part | what it does |
//! |---|---|
//! | `settings`, `daemon` | what it is told; its start, its end |
//! | `client` | the way to the API server: limits of time, and no write without the lead |
//! | `lease` (pure), `election`, `reign` | which replica leads; holding the lease; until when, for all who ask |
//! | `object` | a site as it is kept in memory |
//! | `watches`, `queue`, `pace` | what is seen of sites and of what they are made of; whom that wakes; how many at once |
//! | `sites`, `entry` | one turn of one site, and what is remembered until the next |
//! | `tell`, `events` | what is told of it: log, status, metrics; what `kubectl describe` shows |
//! | `metrics`, `health`, `serve` | what is counted, whether it is well, and where that is answered |

mod client;
mod daemon;
mod election;
mod entry;
pub(in crate::driver) mod events;
mod health;
pub(in crate::driver) mod lease;
mod metrics;
mod object;
mod pace;
mod queue;
pub(in crate::driver) mod reign;
mod serve;
mod settings;
mod sites;
mod tell;
mod watches;

pub use daemon::run;
pub use settings::{LeaseSettings, Settings};
