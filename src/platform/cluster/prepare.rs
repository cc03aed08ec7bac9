//! Makes a revision startable, and touches nothing that runs: the API server judges its Deployment in a strict dry run, its configuration is copied,
//! and its release is stored, last: that it is stored says that it is prepared.

use std::sync::Arc;

use serde_json::Value;

use super::ask::{Failure, changed};
use super::children::{Deployment, Release as Stored};
use super::front::stamp;
use super::objects::{Start, of_colour, of_release};
use super::ownership::{Whose, taken, whose};
use super::release::{Release, release, revision};
use super::{ClusterPlatform, Inner, Wanted, scene};
use crate::api::names::{cluster as names, reasons};
use crate::platform::clock::wall;
use crate::platform::{Class, Fault};
use crate::rollout::{Colour, Revision};

impl ClusterPlatform {
    pub(super) async fn prepare(&self, wanted: &Wanted, what: Revision, inner: &mut Inner) -> Result<(), Fault> {
        let children = self.children();
        let scene = scene(wanted, &children);
        let ours = |stored: &&Stored| stored.owned.owner == wanted.owner && stored.revision == Some(what);
        if children.releases.iter().any(|stored| ours(&stored)) || inner.eyes.unusable.contains_key(&what) {
            return Ok(());
        }
        let digests = inner.resolved.as_ref().map(|resolved| &resolved.digests);
        if digests.map(|digests| revision(&wanted.site.target, digests)) != Some(what) {
            return Err(changed("another revision is wanted by now"));
        }
        self.front_can_be_had(wanted).await?;
        let idle = scene.named().map_or(Colour::Blue, Colour::other);
        // The dry run judges the template as it was written: a copy that is missing would be no fault of its own, but a bad one leaves no copies.
        let trial = release(&wanted.site.target, wanted.site.target.template.value());
        if let Err(refused) = self.try_out(wanted, what, &trial, idle).await? {
            inner.eyes.unusable.insert(what, refused);
            (self.wake)();
            return Ok(());
        }
        if let Some(refused) = self.settings_refused(wanted, what).await? {
            inner.eyes.unusable.insert(what, refused);
            (self.wake)();
            return Ok(());
        }
        let template = self.snapshot(wanted, inner).await?;
        let release = Arc::new(release(&wanted.site.target, template));
        self.store_release(wanted, what, &release).await?;
        inner.release = Some((what, release));
        (self.wake)();
        Ok(())
    }

    /// Whether the API server would take the Deployment of this release. The inner error is its refusal.
    async fn try_out(
        &self,
        wanted: &Wanted,
        revision: Revision,
        release: &Release,
        colour: Colour,
    ) -> Result<Result<(), String>, Fault> {
        let objects = wanted.objects(self.key());
        let children = self.children();
        let at = stamp(wall());
        let (replicas, wish) = (wanted.size(), wanted.size());
        let start = Start { colour, revision, release, replicas, wish, generation: 1, at: &at, paused: false };
        let name = of_colour(wanted.site.name.as_str(), colour);
        let judged = match scene(wanted, &children).deployment(colour) {
            Some(known) => self.ask.would_patch::<Deployment>(&name, &objects.start(known, &start)).await.map(drop),
            None => self.ask.would_create::<Deployment>(&objects.deployment(&start)).await,
        };
        match judged {
            Ok(()) => Ok(Ok(())),
            Err(Failure::Refused(message)) => {
                Ok(Err(format!("Kubernetes refuses the template: {}", in_words(&message, &name))))
            }
            Err(Failure::Exists) => {
                let Some(there) = self.read_noting::<Deployment>(&name).await? else {
                    return Err(changed(&format!("the Deployment {name} came and went")));
                };
                match whose(wanted, &there) {
                    Whose::Ours => Err(changed(&format!("the Deployment {name} was not seen before"))),
                    other => Err(taken("Deployment", &name, &other, false, wanted.site.name.as_str())),
                }
            }
            Err(other) => Err(other.into()),
        }
    }

    async fn store_release(&self, wanted: &Wanted, revision: Revision, release: &Release) -> Result<(), Fault> {
        let objects = wanted.objects(self.key());
        let body = objects.release(revision, release, wall().0.div_euclid(1000));
        match self.ask.create::<Stored>(&body).await {
            Ok(_) => Ok(()),
            Err(Failure::Exists) => {
                let name = of_release(wanted.site.name.as_str(), revision);
                let Some(there) = self.read_noting::<Stored>(&name).await? else {
                    return Err(changed("the release came and went"));
                };
                match whose(wanted, &there) {
                    Whose::Ours if there["metadata"]["labels"][names::REVISION] == revision.to_string() => Ok(()),
                    Whose::Ours => Err(Fault {
                        class: Class::User,
                        reason: reasons::NAME_TAKEN,
                        message: format!("the ControllerRevision {name} is not of revision {revision}: delete it"),
                    }),
                    other => Err(taken("ControllerRevision", &name, &other, false, wanted.site.name.as_str())),
                }
            }
            Err(Failure::Refused(message)) => {
                Err(Fault { class: Class::User, reason: reasons::REFUSED_BY_API, message })
            }
            Err(other) => Err(other.into()),
        }
    }

    /// The content of a release that was stored.
    pub(super) async fn stored(
        &self,
        wanted: &Wanted,
        revision: Revision,
        inner: &mut Inner,
    ) -> Result<Arc<Release>, Fault> {
        if let Some((known, release)) = &inner.release
            && *known == revision
        {
            return Ok(release.clone());
        }
        let name = of_release(wanted.site.name.as_str(), revision);
        let path = self.ask.path::<Stored>();
        let there: Option<Value> = self.ask.read(super::children::Kind::Release.resource(), &path, &name).await?;
        let gone = |why: &str| Fault {
            class: Class::User,
            reason: reasons::RELEASE_GONE,
            message: format!(
                "the ControllerRevision {name}, which holds how {} is run, {why}: apply the manifest that described it, or another one",
                revision.short()
            ),
        };
        let there = there.ok_or_else(|| gone("is gone"))?;
        let named = there["metadata"]["labels"][names::REVISION] == revision.to_string();
        if !named || whose(wanted, &there) != Whose::Ours {
            return Err(gone("is not of this site or not of this revision"));
        }
        let release: Release = serde_json::from_value(there["data"].clone()).map_err(|_| gone("can't be read"))?;
        let release = Arc::new(release);
        inner.release = Some((revision, release.clone()));
        Ok(release)
    }
}

/// The API server's refusal, as it reads for whoever wrote the template.
fn in_words(message: &str, name: &str) -> String {
    let short = message
        .replace(&format!("Deployment.apps \"{name}\" is invalid: "), "")
        .replace("Deployment in version \"v1\" cannot be handled as a Deployment: ", "")
        .replace("strict decoding error: ", "");
    short
        .replace("spec.template.", "spec.target.cluster.template.")
        .replace("unknown field \"spec.template", "unknown field \"template")
}
