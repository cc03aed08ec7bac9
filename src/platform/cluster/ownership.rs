//! Whose an object is; and how what an earlier site of the same name left becomes this one's. A site that was restored from a backup, or whose
//! predecessor was deleted with `--cascade=orphan` or `deletionPolicy: Orphan`, has another uid: its objects are there, and no controller owns them.

use kube::api::Patch;
use serde::Deserialize;
use serde_json::{Value, json};

use super::ask::{changed, version};
use super::children::{Budget, Children, Deployment, Fact, HttpRoute, Kind, Owned, Release, Service, uid};
use super::objects::{of_colour, of_release, preview};
use super::{ClusterPlatform, Wanted, lock};
use crate::api::names::{API_VERSION, KIND, cluster as names, reasons};
use crate::api::site::Route;
use crate::api::spec::DeletionPolicy;
use crate::platform::{Class, Fault};
use crate::rollout::Colour;

/// Whose an object of a name that we need is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Ours.
    Ours,
    /// An earlier site of our name made it, and nobody owns it now.
    Left,
    /// Nobody's that we know of, and a person says that we may have it.
    Offered,
    /// A site's that was deleted, and had our name: it will be gone soon.
    Leftover,
    /// Somebody's who has put no name on it, in words.
    Taken(String),
    /// Its controller's, who would never let go of it.
    Controlled(String),
}

/// Whose this object is.
pub(super) fn whose(wanted: &Wanted, object: &Value) -> Whose {
    let metadata = &object["metadata"];
    let annotation = |name: &str| metadata["annotations"][name].as_str();
    let site = wanted.site.name.as_str();
    match owners(object).iter().find(|owner| owner["controller"] == json!(true)) {
        Some(owner) if owner["uid"].as_str().map(uid) == Some(wanted.owner) => Whose::Ours,
        Some(owner)
            if owner["kind"] == json!(KIND)
                && owner["name"] == json!(site)
                && owner["apiVersion"] == json!(API_VERSION) =>
        {
            Whose::Leftover
        }
        Some(owner) => Whose::Controlled(format!(
            "{} {}",
            owner["kind"].as_str().unwrap_or("something"),
            owner["name"].as_str().unwrap_or_default()
        )),
        None => match annotation(names::OWNER) {
            Some(owner) if uid(owner) == wanted.owner => Whose::Ours,
            _ if was_left(object, site) => Whose::Left,
            _ if annotation(names::ADOPT) == Some(site) => Whose::Offered,
            Some(_) => Whose::Taken("another site, or one that was deleted and left it".to_owned()),
            None => Whose::Taken("somebody who made it by hand or with another tool".to_owned()),
        },
    }
}

/// Whether a site of this name made an object that no controller owns. A Deployment that doesn't say what it runs is nobody's.
fn was_left(object: &Value, site: &str) -> bool {
    let label = |name: &str| object["metadata"]["labels"][name].as_str();
    let says = object["kind"] != json!("Deployment") || object["metadata"]["annotations"][names::REVISION].is_string();
    says && label(names::MANAGED_BY) == Some(names::MANAGER) && label(names::SITE) == Some(site)
}

fn owners(object: &Value) -> &[Value] {
    object["metadata"]["ownerReferences"].as_array().map_or(&[], Vec::as_slice)
}

/// It belongs to somebody else. `live`: it is the live Service, which can be another one, and can be handed over.
pub(super) fn taken(kind: &str, name: &str, whose: &Whose, live: bool, site: &str) -> Fault {
    let user = |who: &str, way: &str| Fault {
        class: Class::User,
        reason: reasons::NAME_TAKEN,
        message: format!("the {kind} {name} belongs to {who} and is not touched: {way}"),
    };
    let other = if live { "give the site another name or another service.name" } else { "give the site another name" };
    match whose {
        Whose::Leftover => Fault {
            class: Class::Transient,
            reason: reasons::NAME_TAKEN,
            message: format!(
                "the {kind} {name} still belongs to a site of the same name that was deleted; waiting until it is gone"
            ),
        },
        Whose::Taken(who) => {
            let hand_over = format!(
                ", or hand it over with: kubectl annotate {} {name} {}={site}",
                kind.to_lowercase(),
                names::ADOPT
            );
            user(who, &format!("{other}, or delete it{}", if live { hand_over.as_str() } else { "" }))
        }
        Whose::Controlled(who) => user(who, other),
        Whose::Ours | Whose::Left | Whose::Offered => changed(&format!("the {kind} {name} came in the meantime")),
    }
}

impl Owned {
    /// Whether it has to be given the marks of this site: it is this one's and says so in another way than it shall, or nobody's and of our making.
    fn wants_marks(&self, wanted: &Wanted) -> bool {
        let orphaned = wanted.site.target.deletion == DeletionPolicy::Orphan;
        let unlike = self.owner == wanted.owner && self.controlled == orphaned;
        let left = self.owner != wanted.owner && !self.controlled && self.labelled;
        (unlike || left) && !self.deleting
    }
}

/// What has to be given the marks of this site, and whether it is the front object. What has none of the site's names is left alone.
pub(super) fn unmarked(wanted: &Wanted, children: &Children) -> Vec<(Kind, Box<str>, bool)> {
    let site = wanted.site.name.as_str();
    let by_service = matches!(wanted.site.target.route, Route::Service);
    let live = wanted.site.target.service.as_str();
    let of_a_colour = |name: &str| Colour::BOTH.into_iter().any(|colour| of_colour(site, colour) == name);
    let mut all = Vec::new();
    let mut add = |kind, name: &str, owned: &Owned, named: bool, front: bool| {
        if named && owned.wants_marks(wanted) {
            all.push((kind, name.into(), front));
        }
    };
    for one in &children.deployments {
        add(Kind::Deployment, &one.name, &one.owned, one.revision.is_some() && of_a_colour(&one.name), false);
    }
    for one in &children.services {
        let front = by_service && *one.name == *live;
        add(
            Kind::Service,
            &one.name,
            &one.owned,
            front || of_a_colour(&one.name) || *one.name == *preview(site),
            front,
        );
    }
    for one in &children.budgets {
        add(Kind::Budget, &one.name, &one.owned, of_a_colour(&one.name), false);
    }
    for one in &children.releases {
        let named = one.revision.is_some_and(|revision| of_release(site, revision) == *one.name);
        add(Kind::Release, &one.name, &one.owned, named, false);
    }
    for one in &children.routes {
        add(Kind::HttpRoute, &one.name, &one.owned, !by_service && *one.name == *site, true);
    }
    all
}

impl ClusterPlatform {
    /// Takes back what an earlier site of this name left. Nothing but metadata is written: no pod is replaced, no traffic moves. The ledger that was left
    /// is put aside for the logic, which believes no more of it than it must. To be called before each turn; where there is nothing of the kind it asks
    /// nobody.
    ///
    /// # Errors
    /// Something could not be had: the site is not turned before it is.
    pub async fn take_back(&self) -> Result<(), Fault> {
        let Some(wanted) = self.wanted() else { return Ok(()) };
        if self.ask.cache.complete(wanted.kinds()).is_err() {
            return Ok(());
        }
        for (kind, name, front) in unmarked(&wanted, &self.children()) {
            match kind {
                Kind::Deployment => self.mark::<Deployment>(&wanted, &name, front).await?,
                Kind::Service => self.mark::<Service>(&wanted, &name, front).await?,
                Kind::Budget => self.mark::<Budget>(&wanted, &name, front).await?,
                Kind::Release => self.mark::<Release>(&wanted, &name, front).await?,
                Kind::HttpRoute => self.mark::<HttpRoute>(&wanted, &name, front).await?,
                Kind::Slice => {}
            }
        }
        Ok(())
    }

    /// Makes an object this site's, if it may be: as it is at this moment.
    async fn mark<F: Fact>(&self, wanted: &Wanted, name: &str, front: bool) -> Result<(), Fault> {
        let Some(object) = self.read_noting::<F>(name).await? else {
            self.ask.cache.forget::<F>(self.key(), name);
            return Ok(());
        };
        let site = wanted.site.name.as_str();
        let whose = self.whose_now(wanted, &object).await?;
        if !matches!(whose, Whose::Ours | Whose::Left) {
            return Err(taken(F::NAMES.2, name, &whose, front, site));
        }
        let objects = wanted.objects(self.key());
        let mut owners = owners(&object).to_vec();
        owners.retain(|owner| owner["uid"].as_str().map(uid) != Some(wanted.owner));
        owners.extend(objects.owners().as_array().cloned().unwrap_or_default());
        let mut annotations = objects.annotations(json!({}));
        if annotations[names::OWNER].is_null() {
            annotations[names::OWNER] = Value::Null;
        }
        let ledger = &object["metadata"]["annotations"][names::LEDGER];
        if front && whose == Whose::Left && ledger.is_string() {
            annotations[names::LEFT] = ledger.clone();
            annotations[names::LEDGER] = Value::Null;
        }
        if whose == Whose::Left {
            tracing::info!(site = %self.key(), kind = F::NAMES.2, name, "what an earlier site left is taken back");
        }
        let metadata = json!({
            "resourceVersion": version(&object).to_string(),
            "ownerReferences": owners,
            "annotations": annotations,
        });
        self.ask.patch::<F>(name, &Patch::Merge(json!({"metadata": metadata}))).await?;
        Ok(())
    }

    /// Whose this object is, where an annotation may name a site that is there.
    pub(super) async fn whose_now(&self, wanted: &Wanted, object: &Value) -> Result<Whose, Fault> {
        let whose = whose(wanted, object);
        let owner = object["metadata"]["annotations"][names::OWNER].as_str().map(uid);
        let unsure = matches!(whose, Whose::Left | Whose::Offered | Whose::Taken(_));
        let Some(owner) = owner.filter(|owner| unsure && *owner != wanted.owner) else { return Ok(whose) };
        Ok(match self.living(owner).await? {
            Some(name) => Whose::Controlled(format!("{KIND} {name}")),
            None => whose,
        })
    }

    /// The name of the site with this uid, if it is there. What is gone stays gone, so that is asked once.
    async fn living(&self, owner: u128) -> Result<Option<String>, Fault> {
        if lock(&self.gone).contains(&owner) {
            return Ok(None);
        }
        let sites: Sites = self.ask.list(super::store::SITES, &self.sites(), "", 0).await?;
        let found = sites.items.into_iter().find(|site| uid(&site.metadata.uid) == owner);
        if found.is_none() {
            lock(&self.gone).insert(owner);
        }
        Ok(found.map(|site| site.metadata.name))
    }
}

/// Sites, as far as it matters here.
#[derive(Deserialize)]
struct Sites {
    items: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    metadata: NameAndUid,
}

#[derive(Deserialize)]
struct NameAndUid {
    name: String,
    uid: String,
}
