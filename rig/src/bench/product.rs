//! bluegreen itself as a contestant: the built agent, an nginx, a site of rig-app.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::cutovers::{Moment, quantile_ms};
use crate::agent::Agent;
use crate::app::{Child, now_ns};
use crate::manifest::{self, Manifest};
use crate::nginx::Nginx;
use crate::ports::Port;
use crate::users::User;
use crate::wait;

const SITE: &str = "shop";
/// What an idle connection from nginx to an instance is kept: no colour can be called drained sooner after a cutover.
const POOL: Duration = Duration::from_secs(2);

/// A site that the agent runs behind an nginx.
#[derive(Debug)]
pub struct Product {
    // Dropped first: it talks to nginx as long as it runs.
    /// The agent.
    pub agent: Agent,
    /// The web server.
    pub nginx: Nginx,
    site: Manifest,
    ports: Vec<Port>,
    version: u32,
}

impl Product {
    /// With its first version live: one instance a colour, no bake, no standby.
    ///
    /// # Errors
    /// When anything doesn't come up.
    pub fn start(nginx: Nginx) -> Result<Product> {
        let user = User::ordinary()?;
        let agent = Agent::start(&nginx)?;
        let ports = Port::take_many(2)?;
        let (blue, green) = (ports[0].number(), ports[1].number());
        let site = Manifest::app(SITE, nginx.address(), user.name(), &[blue], &[green]);
        let mut product = Product { agent, nginx, site, ports, version: 0 };
        product.deploy()?;
        Ok(product)
    }

    /// The name that the site answers to.
    #[must_use]
    pub fn host(&self) -> String {
        self.site.host()
    }

    /// The colour that is live.
    ///
    /// # Errors
    /// When none is.
    pub fn live(&self) -> Result<String> {
        self.agent.live_colour(SITE).context("no colour is live")
    }

    /// A whole rollout of the live release to the other colour: start, checks, cutover, drain, stop. Returns when its traffic moved.
    ///
    /// # Errors
    /// When it isn't over in time.
    pub fn restart(&self) -> Result<Moment> {
        let (colour, moved) = (self.live()?, self.agent.moved_ns(SITE));
        self.agent.bluegreen(&["restart", SITE])?;
        wait::until("traffic moved", wait::PATIENCE, || {
            let now = self.agent.live_colour(SITE)?;
            (now != colour && self.agent.moved_ns(SITE) != moved).then_some(())
        })?;
        let made_ns = self.agent.moved_ns(SITE).context("the link is gone")?;
        self.agent.wait_for(SITE, "the rollout is over", at_rest)?;
        let decided = self
            .agent
            .history(SITE)?
            .into_iter()
            .rev()
            .find(|event| event.reason == "PhaseEntered" && event.message.starts_with("CuttingOver"));
        let decided = decided.context("the history knows of no cutover")?.time.as_nanosecond();
        // The history has milliseconds, and the kernel's clock for files may run late: a decision is never after its rename.
        let decided_ns = u64::try_from(decided).unwrap_or(0).min(made_ns);
        Ok(Moment { decided_ns, made_ns })
    }

    /// Applies a new version and returns how long it took to be live with nothing left to do.
    ///
    /// # Errors
    /// When it is rejected or isn't over in time.
    pub fn deploy(&mut self) -> Result<Duration> {
        self.version += 1;
        let release = manifest::release(&self.agent.uploads(), &format!("v{}", self.version), "")?;
        let site = self.site.clone().release(&release);
        let (before, begun, begun_ns) = (self.settled(), Instant::now(), now_ns());
        self.agent.apply(&site)?;
        wait::until("the version was settled", wait::PATIENCE, || (self.settled() > before).then_some(()))?;
        self.agent.wait_for(SITE, "the rollout is over", at_rest)?;
        // As the history says it: asking takes time of its own.
        let idle = self.agent.history(SITE)?.into_iter().rev().find(|event| event.message.starts_with("Idle"));
        let idle_ns = idle.and_then(|event| u64::try_from(event.time.as_nanosecond()).ok());
        Ok(idle_ns.map_or(begun.elapsed(), |idle| Duration::from_nanos(idle.saturating_sub(begun_ns))))
    }

    /// When a version was last cleared.
    fn settled(&self) -> Option<Timestamp> {
        let events = self.agent.history(SITE).unwrap_or_default();
        events.into_iter().rev().find(|event| event.reason == "Settled").map(|event| event.time)
    }

    /// The ports that its instances were given.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.ports.iter().map(Port::number).collect()
    }
}

fn at_rest(site: &Value) -> bool {
    let ready = site.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let ready = ready.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
    ready && site.pointer("/status/phase") == Some(&json!("Idle"))
}

/// How long a rollout takes besides what nobody can take from it.
#[derive(Clone, Debug, Serialize)]
pub struct Rollouts {
    /// So many.
    pub count: usize,
    /// From `apply` to `Idle`.
    pub apply_to_idle_p50_ms: f64,
    /// The app's own start, from its process to its first healthy answer.
    pub app_start_p50_ms: f64,
    /// The front door's pool time-out.
    pub pool_timeout_ms: f64,
    /// What is left of the one after the others.
    pub own_p50_ms: f64,
    /// The longest.
    pub own_max_ms: f64,
}

/// Deploys so many new versions and measures them.
///
/// # Errors
/// When one is rejected.
pub fn rollouts(product: &mut Product, count: usize) -> Result<Rollouts> {
    let (mut whole, mut starts, mut own) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count {
        let begun = Instant::now();
        let child = Child::start("v0", &[])?;
        let start = begun.elapsed();
        drop(child);
        let took = product.deploy()?;
        whole.push(took);
        starts.push(start);
        own.push(took.saturating_sub(POOL).saturating_sub(start));
    }
    Ok(Rollouts {
        count,
        apply_to_idle_p50_ms: quantile_ms(&whole, 0.5),
        app_start_p50_ms: quantile_ms(&starts, 0.5),
        pool_timeout_ms: POOL.as_secs_f64() * 1e3,
        own_p50_ms: quantile_ms(&own, 0.5),
        own_max_ms: quantile_ms(&own, 1.0),
    })
}
