//! What a world must be able to do, so that scenarios can be played in it.

use std::time::Duration;

use bluegreen::rollout::Colour;
use bluegreen_rig::wait;

/// What somebody wants: version 3 of the app, say, and how it shall go live.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Told by the app itself.
    pub version: u32,
    /// It never becomes ready.
    pub broken: bool,
    /// Somebody has to approve.
    pub manual: bool,
    /// For how many seconds the rollout is watched: a difference that makes no other revision.
    pub bake: u64,
}

/// What a person asks for.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    Approve,
    Abort,
    Retry,
    Rollback,
    Pause,
    Resume,
    Restart,
}

/// What nobody asked for.
#[derive(Clone, Copy, Debug)]
pub enum Accident {
    /// No instance of the live colour answers any more.
    LiveDown,
    /// Somebody sends traffic to the other colour.
    RouteMoved,
    /// The status is wiped.
    StatusLost,
}

/// Where a site has come to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Idle,
    AwaitingApproval,
    Paused,
    Gone,
}

/// A site at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub at: At,
    /// The version that answers, and on which colour.
    pub live: Option<(u32, Colour)>,
    /// Why what is wanted is not tried.
    pub rejected: Option<String>,
}

/// A world with one site in it.
pub trait Stage {
    /// Hands in the site's manifest.
    fn apply(&mut self, wish: Wish);

    /// Gives a command.
    fn order(&mut self, order: Order);

    /// Something goes wrong.
    fn happen(&mut self, accident: Accident);

    /// Takes the site away.
    fn delete(&mut self);

    /// How it is; `None` while something is under way.
    fn told(&mut self) -> Option<Told>;
}

/// Waits until the site has come to rest like this.
pub fn expect(stage: &mut impl Stage, at: At, live: Option<(u32, Colour)>, rejected: Option<&str>) {
    let wanted = Told { at, live, rejected: rejected.map(str::to_owned) };
    let mut last = None;
    let waited = wait::until("the site came to rest as it should", Duration::from_secs(90), || {
        last = stage.told();
        (last.as_ref() == Some(&wanted)).then_some(())
    });
    assert!(waited.is_ok(), "it is {last:?} instead of {wanted:?}");
}

impl Wish {
    /// A release that works and goes live by itself.
    pub fn of(version: u32) -> Wish {
        Wish { version, broken: false, manual: false, bake: 1 }
    }

    pub fn broken(self) -> Wish {
        Wish { broken: true, ..self }
    }

    pub fn manual(self) -> Wish {
        Wish { manual: true, ..self }
    }

    /// How long it may take to be ready: what never will be is not waited for long.
    pub fn ready_within(self) -> &'static str {
        if self.broken { "4s" } else { "60s" }
    }
}

impl Order {
    /// The word of the command line.
    pub fn word(self) -> &'static str {
        match self {
            Order::Approve => "approve",
            Order::Abort => "abort",
            Order::Retry => "retry",
            Order::Rollback => "rollback",
            Order::Pause => "pause",
            Order::Resume => "resume",
            Order::Restart => "restart",
        }
    }
}

/// What `get -o json` says of a site; `None` while something is under way. `live`: what was seen to answer.
pub fn told(site: &serde_json::Value, live: Option<(u32, Colour)>) -> Option<Told> {
    let status = &site["status"];
    if status["observedGeneration"] != site["metadata"]["generation"] {
        return None;
    }
    let paused = !status["rollout"]["ledger"]["paused"].is_null();
    let at = match status["phase"].as_str()? {
        "AwaitingApproval" if paused => At::Paused,
        "AwaitingApproval" => At::AwaitingApproval,
        "Idle" => At::Idle,
        _ => return None,
    };
    let rejected = status["rejected"]["reason"].as_str().map(str::to_owned);
    Some(Told { at, live, rejected })
}
