//! The operator: turns the sites of a cluster, as `kubectl apply` made them.
//!
//! | part | what it does |
//! |---|---|
//! | `settings`, `daemon` | what it is told; its start, its end |
//! | `client` | the way to the API server: limits of time, and no write without the lead |
//! | `lease` (pure), `election`, `reign` | which replica leads; holding the lease; until when, for all who ask |
//! | `object` | a site as it is kept in memory |
//! | `events` | what `kubectl describe` shows |
//! | `metrics`, `health`, `serve` | what is counted, whether it is well, and where that is answered |

mod client;
mod election;
mod events;
mod health;
mod lease;
mod metrics;
mod object;
mod reign;
mod serve;
mod settings;

pub use settings::{LeaseSettings, Settings};

/// Runs the operator until somebody asks it to end.
///
/// # Errors
/// It could not start.
pub fn run(settings: Settings) -> anyhow::Result<()> {
    let _ = settings;
    Ok(())
}
