//! One site, from one turn to the next: its driver, what it was parsed to, what was told of it last.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource, ResourceExt};

use super::object::SiteObject;
use super::reign::Term;
use super::sites::Common;
use super::tell::{Teller, Telling};
use crate::api::command::from_annotations;
use crate::api::names::reasons;
use crate::api::names::{API_VERSION, KIND};
use crate::api::site::{Site, SiteOnCluster};
use crate::api::spec::BlueGreenSite;
use crate::driver::{Driver, needs_somebody};
use crate::platform::clock::SystemClock;
use crate::platform::cluster::children::Key;
use crate::platform::cluster::{ClusterPlatform, ClusterStore};
use crate::platform::{Class, Fault};
use crate::rollout::Command;

/// What was to be written for people and could not is tried again after so long.
const TELL_AGAIN: Duration = Duration::from_secs(1);
/// Why a revision can't be told (a right or a ConfigMap is missing) is nothing that is watched: it is looked at again after so long.
const UNTOLD_AGAIN: Duration = Duration::from_secs(15);

/// What a turn came to.
pub struct Outcome {
    /// In one word, for the metrics.
    pub result: &'static str,
    /// When the next one is due; `None`: only now and then.
    pub wait: Option<Duration>,
}

/// One site.
pub struct Entry {
    uid: String,
    term: Term,
    platform: Arc<ClusterPlatform>,
    driver: Driver<ClusterPlatform, ClusterStore, SystemClock>,
    teller: Teller,
    /// The `resourceVersion` that was read last.
    read: Option<String>,
    /// The generation of the specification whose fields were looked through last.
    judged: Option<i64>,
    /// What the newest valid specification says.
    site: Option<Arc<SiteOnCluster>>,
    commands: Vec<Command>,
    /// Why the step of the turn before was not made.
    fault: Option<Fault>,
}

impl Entry {
    /// A site of which nothing is known yet.
    pub fn new(common: &Common, key: Key, uid: String, term: Term) -> Entry {
        let wake = {
            let (queue, key) = (common.queue.clone(), key.clone());
            Arc::new(move || queue.wake(&key))
        };
        let platform = Arc::new(ClusterPlatform::new(common.client.clone(), common.cache.clone(), key.clone(), wake));
        let reference = ObjectReference {
            api_version: Some(API_VERSION.to_owned()),
            kind: Some(KIND.to_owned()),
            name: Some(key.site().to_owned()),
            namespace: Some(key.namespace().to_owned()),
            uid: Some(uid.clone()),
            ..ObjectReference::default()
        };
        Entry {
            uid,
            term,
            driver: Driver::new(platform.clone(), ClusterStore::new(platform.clone()), SystemClock::start()),
            teller: Teller::new(key, reference, common.events.clone(), common.metrics.clone()),
            platform,
            read: None,
            judged: None,
            site: None,
            commands: Vec::new(),
            fault: None,
        }
    }

    /// Whether it is this object, in this term.
    pub fn is(&self, uid: &str, term: Term) -> bool {
        self.uid == uid && self.term == term
    }

    /// One turn.
    pub async fn turn(&mut self, object: &SiteObject) -> Outcome {
        if self.read != object.resource_version() {
            self.take(object);
            self.read = object.resource_version();
        }
        if let Err(fault) = self.platform.take_back().await {
            self.teller.none(&self.platform, &fault);
            let wait = if needs_somebody(fault.class) { UNTOLD_AGAIN } else { TELL_AGAIN };
            return self.end("fault", Some(wait)).await;
        }
        let (plan, untold) = self.platform.plan(self.commands.clone(), false).await;
        let Some(plan) = plan else {
            // Nothing valid was ever said of it: there is nothing to hold on to.
            self.teller.say_unusable(&self.platform);
            return self.end("invalid", None).await;
        };
        if let Some(fault) = &untold {
            self.teller.log_once(fault);
        }
        let mut telling = Telling {
            teller: &mut self.teller,
            platform: &self.platform,
            plan: &plan,
            fault: self.fault.clone().or_else(|| untold.clone()),
        };
        let turn = match self.driver.turn(&plan, &mut telling).await {
            Ok(turn) => turn,
            Err(none) => {
                self.teller.none(&self.platform, &none.fault);
                return Outcome { result: "fault", wait: Some(none.wait) };
            }
        };
        let wait = match untold {
            Some(_) => Some(turn.wait.map_or(UNTOLD_AGAIN, |wait| wait.min(UNTOLD_AGAIN))),
            None => turn.wait,
        };
        telling.fault = turn.fault.clone().or(untold);
        telling.tell(&turn.observed, &turn.decision);
        let told = telling.fault.take();
        self.teller.fault(turn.fault.as_ref(), told.is_some());
        let result = match (&turn.fault, turn.recorded) {
            (Some(_), _) => "fault",
            (None, true) => "recorded",
            (None, false) => "idle",
        };
        if result == "idle" && turn.wait.is_none() {
            self.platform.rest().await;
        }
        self.fault = turn.fault;
        self.end(result, wait).await
    }

    /// Writes for people what is worth it.
    async fn end(&mut self, result: &'static str, wait: Option<Duration>) -> Outcome {
        let Err(fault) = self.platform.flush().await else { return Outcome { result, wait } };
        self.teller.fault(Some(&fault), true);
        // The newest version is on its way to us, and wakes us.
        let again = if fault.class == Class::Conflict { TELL_AGAIN / 10 } else { TELL_AGAIN };
        Outcome { result: "fault", wait: Some(wait.map_or(again, |wait| wait.max(again / 10).min(again))) }
    }

    /// Takes over what the object says.
    fn take(&mut self, object: &SiteObject) {
        self.teller.generation = object.meta().generation.unwrap_or(0);
        let (commands, problems) = from_annotations(object.annotations());
        self.teller.wrong_commands(&problems);
        if commands != self.commands {
            self.commands = commands;
            self.driver.encourage();
        }
        match parse(object) {
            Ok((typed, site)) => {
                self.teller.problem = None;
                if self.judged != object.meta().generation {
                    self.judged = object.meta().generation;
                    self.teller.unknown_fields(&object.unknown(&typed));
                }
                if self.site.as_deref() != Some(&site) {
                    self.driver.encourage();
                    self.site = Some(Arc::new(site));
                }
                if let Some(site) = &self.site {
                    self.platform.want(&typed, site.clone());
                }
            }
            Err(why) => {
                self.platform.saw(object.resource_version().as_deref(), object.status().as_ref());
                self.teller.problem = Some((reasons::INVALID, why));
            }
        }
    }
}

/// What the object says, if it is valid; otherwise everything that is wrong with it.
fn parse(object: &SiteObject) -> Result<(BlueGreenSite, SiteOnCluster), String> {
    let typed = object.typed().map_err(|why| {
        format!("the specification can't be understood: {why}; is the CRD the one of this operator (bluegreen crd)?")
    })?;
    let site = Site::parse(&typed).map_err(|problems| problems.to_string())?;
    let site = site.on_cluster().map_err(|problem| problem.to_string())?;
    Ok((typed, site))
}
