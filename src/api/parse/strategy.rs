//! How a new revision goes live, and how health is asked.

use std::time::Duration;

use super::judge::Judge;
use crate::api::site::{HealthCheck, WarmUp};
use crate::api::{span, spec};
use crate::rollout::{Limits, Promotion};

impl Judge {
    pub(super) fn strategy(&mut self, strategy: &spec::Strategy) -> (Promotion, Option<Limits>) {
        let promotion = match strategy.promotion {
            spec::PromotionSpec::Automatic => Promotion::Automatic,
            spec::PromotionSpec::Manual => Promotion::Manual,
        };
        // Nothing could ever go live within no time at all.
        let some = Duration::from_millis(1);
        let prepare = self.at_least("spec.strategy.prepareWithin", &strategy.prepare_within, some);
        let ready = self.at_least("spec.strategy.readyWithin", &strategy.ready_within, some);
        let verify = self.at_least("spec.strategy.verifyWithin", &strategy.verify_within, some);
        let cutover = self.at_least("spec.strategy.cutoverWithin", &strategy.cutover_within, some);
        let approve = match &strategy.approve_within {
            None => Some(None),
            Some(text) => self.at_least("spec.strategy.approveWithin", text, some).map(Some),
        };
        if strategy.approve_within.is_some() && promotion == Promotion::Automatic {
            self.wrong(
                "spec.strategy.approveWithin",
                "nothing waits for an approval: leave it out, or write promotion: Manual",
            );
        }
        let drain = self.span("spec.strategy.drainWithin", &strategy.drain_within);
        let bake = self.span("spec.strategy.bake", &strategy.bake);
        let standby = self.span("spec.strategy.standby", &strategy.standby);
        let failover = self.span("spec.strategy.failoverAfter", &strategy.failover_after);
        let limits = || {
            Some(Limits {
                prepare_within: prepare?,
                ready_within: ready?,
                verify_within: verify?,
                approve_within: approve?,
                cutover_within: cutover?,
                drain_within: drain?,
                bake: bake?,
                standby: standby?,
                failover_after: failover?,
            })
        };
        (promotion, limits())
    }

    pub(super) fn health(&mut self, health: &spec::Health, usual: &str) -> Option<HealthCheck> {
        let least = Duration::from_millis(10);
        let path = self.narrow("spec.health.path", health.path.as_deref().unwrap_or(usual));
        let successes = self.number("spec.health.successes", health.successes, 1, 1000);
        let failures = self.number("spec.health.failures", health.failures, 1, 1000);
        let interval = self.at_least("spec.health.interval", &health.interval, least);
        let timeout = self.at_least("spec.health.timeout", &health.timeout, least);
        let warm_up = match &health.warm_up {
            None => Some(None),
            Some(warm_up) => self.warm_up(warm_up).map(Some),
        };
        Some(HealthCheck {
            path: path?,
            successes: successes?,
            failures: failures?,
            interval: interval?,
            timeout: timeout?,
            warm_up: warm_up?,
        })
    }

    fn warm_up(&mut self, warm_up: &spec::WarmUpSpec) -> Option<WarmUp> {
        let path = "spec.health.warmUp.paths";
        if warm_up.paths.is_empty() {
            self.wrong(path, "is empty: name a path to ask for, or leave warmUp out");
        }
        let paths = self.each(path, &warm_up.paths, |judge, path, one| judge.narrow(path, one));
        self.once(path, &warm_up.paths);
        let requests = self.number("spec.health.warmUp.requests", warm_up.requests, 1, 1000);
        let within = self.at_least("spec.health.warmUp.within", &warm_up.within, Duration::from_millis(10));
        Some(WarmUp { paths: paths?, requests: requests?, within: within? })
    }

    /// A warm-up has somebody to ask, and ends before its phase does: whoever waits for it is told what it waited for.
    pub(super) fn time_to_warm_up(&mut self, health: &HealthCheck, limits: &Limits, instances: bool) {
        let Some(warm_up) = &health.warm_up else { return };
        if !instances {
            self.wrong("spec.health.warmUp", "a static site has no instance to warm up: leave it out");
        }
        if limits.verify_within <= warm_up.within {
            self.wrong(
                "spec.health.warmUp.within",
                format!(
                    "{} is as long as the checks before a cutover may take (spec.strategy.verifyWithin: {}), or longer: give it less, or them more",
                    span::format(warm_up.within),
                    span::format(limits.verify_within),
                ),
            );
        }
    }

    pub(super) fn time_to_be_ready(&mut self, health: &HealthCheck, limits: &Limits) {
        let least = health.interval.saturating_mul(health.successes.saturating_sub(1));
        if limits.ready_within <= least {
            self.wrong(
                "spec.strategy.readyWithin",
                format!(
                    "{} is never enough for {} successful checks every {}: give it more, or ask for fewer or more often (spec.health)",
                    span::format(limits.ready_within),
                    health.successes,
                    span::format(health.interval),
                ),
            );
        }
    }
}
