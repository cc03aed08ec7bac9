//! What needs no decision: that the shape is in force, that an instance which somebody stopped comes back, that a slot which was emptied
//! holds nothing.

use super::shape::shape;
use super::{HostSite, Inner, held, tls};
use crate::api::site::{Front, Tls};
use crate::platform::host::afar::Fence;
use crate::platform::host::probe::Pace;
use crate::platform::host::supervise::{InstanceState, Supervisor};
use crate::platform::host::web::{self, WebServer};
use crate::platform::host::{route, runtime};
use crate::platform::{Class, Fault};
use crate::rollout::{Colour, Goal, Step};

/// What a warning of the certificate is kept under.
const CERTIFICATE: &str = "certificate";

/// What a warning of what the web server lacks is kept under.
const WEB_SERVER: &str = "web server";

impl<W: WebServer + 'static, S: Supervisor + 'static> HostSite<W, S> {
    pub(super) async fn tend(&self, goal: &Goal, inner: &mut Inner) -> Result<(), Fault> {
        let stopping = match goal.step {
            Some(Step::Stop { colour, .. }) => Some(colour),
            _ => None,
        };
        for colour in Colour::BOTH {
            let pace = if goal.step.is_some() || goal.check.is_some() { Pace::Eager } else { Pace::Steady };
            if let Some(probe) = inner.watched(colour).as_ref().and_then(|watched| watched.probe.as_ref()) {
                probe.set_pace(pace);
            }
            if Some(colour) != stopping {
                self.revive(colour, inner).await?;
            }
        }
        self.ensure_shape(inner).await
    }

    /// Starts the instances of a running colour that somebody else stopped.
    async fn revive(&self, colour: Colour, inner: &mut Inner) -> Result<(), Fault> {
        let Some(revision) = inner.watched(colour).as_ref().map(|watched| watched.revision) else {
            return Ok(());
        };
        let Some(record) = self.records(inner)?.get(&revision).cloned() else {
            return Ok(());
        };
        let launches = runtime::launches(&self.name, &self.dir, colour, revision, &record.run)?;
        let states = self.host.supervisor.states(&self.name, colour).await?;
        let missing = (0..launches.len()).any(|index| states.get(index).is_none_or(|s| *s == InstanceState::Stopped));
        if missing {
            tracing::warn!(site = %self.name, %colour, "an instance was stopped by somebody else; starting it again");
            self.host.supervisor.start(&self.name, colour, &launches).await?;
        }
        Ok(())
    }

    /// Sees to it that the web server knows what the slots hold.
    pub(super) async fn ensure_shape(&self, inner: &mut Inner) -> Result<(), Fault> {
        let mut runs = [None, None];
        for (run, colour) in runs.iter_mut().zip(Colour::BOTH) {
            let revision = held(&self.dir, colour).map_err(unseen)?;
            *run = match revision {
                Some(revision) => self.records(inner)?.get(&revision).map(|record| record.run.clone()),
                None => None,
            };
        }
        let wanted = self.wanted();
        let [blue, green] = &runs;
        let target = &wanted.site.target;
        let tls = match &target.front {
            Front::Own { tls: Some(tls), .. } => {
                Some(self.certificate(tls, wanted.afar.as_ref().map(|afar| &afar.certificates))?)
            }
            _ => None,
        };
        let Some(shape) = shape(&self.name, &self.dir, target, tls.clone(), blue.as_ref(), green.as_ref()) else {
            return Ok(());
        };
        route::prepare(&self.dir).map_err(|e| super::cannot("make the slots", &e))?;
        self.host.web.ensure(shape.clone()).await?;
        self.warn(WEB_SERVER, self.host.web.lacks(&shape).await);
        tls::tidy(&self.dir, tls.as_ref());
        Ok(())
    }

    /// The certificate to serve with. One that became unusable holds up nothing while there is the one before.
    fn certificate(&self, tls: &Tls, fence: Option<&Fence>) -> Result<web::Tls, Fault> {
        let (used, fault) = match (tls::keep(&self.dir, tls, fence), tls::last(&self.dir, tls)) {
            (Ok(kept), _) => (kept, None),
            (Err(fault), Some(last)) => (last, Some(fault)),
            (Err(fault), None) => return Err(fault),
        };
        self.warn(CERTIFICATE, fault);
        Ok(used)
    }
}

fn unseen(what: String) -> Fault {
    Fault { class: Class::Transient, reason: "WorldUnknown", message: what }
}
