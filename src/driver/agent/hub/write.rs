//! What a host writes on its hub: the status of its sites, and its own finalizer on them. Never a specification.

use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use super::connection::{Trouble, within};
use super::known::Known;
use crate::api::names::{API_VERSION, KIND, hub};
use crate::api::spec::BlueGreenSite;
use crate::api::status::SiteStatus;
use crate::api::types::SiteName;

/// Writes on the sites of one namespace.
#[derive(Clone)]
pub struct Writer {
    api: Api<DynamicObject>,
    namespace: String,
}

impl Writer {
    /// In this namespace.
    pub fn new(client: Client, namespace: String) -> Writer {
        let resource = ApiResource::erase::<BlueGreenSite>(&());
        Writer { api: Api::namespaced_with(client, &namespace, &resource), namespace }
    }

    /// The sites.
    #[must_use]
    pub fn api(&self) -> &Api<DynamicObject> {
        &self.api
    }

    /// The object as it is now.
    ///
    /// # Errors
    /// It is gone, or the hub does not answer.
    pub async fn read(&self, name: &SiteName) -> Result<DynamicObject, Trouble> {
        within(self.api.get(name.as_str())).await
    }

    /// Tells the hub how a site is.
    ///
    /// # Errors
    /// [`Trouble::Conflict`]: the object changed since it was read.
    pub async fn tell(&self, name: &SiteName, known: &Known, status: &SiteStatus) -> Result<DynamicObject, Trouble> {
        let object = json!({
            "apiVersion": API_VERSION, "kind": KIND,
            "metadata": {
                "name": name, "namespace": self.namespace, "uid": known.uid, "resourceVersion": known.version,
            },
            "status": status,
        });
        let object: DynamicObject =
            serde_json::from_value(object).map_err(|error| Trouble::Refused(error.to_string()))?;
        within(self.api.replace_status(name.as_str(), &PostParams::default(), &object)).await
    }

    /// Puts our finalizer on an object, or takes it off.
    ///
    /// # Errors
    /// [`Trouble::Conflict`]: the object changed since it was read.
    pub async fn hold(&self, name: &SiteName, known: &Known, hold: bool) -> Result<DynamicObject, Trouble> {
        let mut finalizers: Vec<&str> =
            known.finalizers.iter().map(String::as_str).filter(|one| *one != hub::FINALIZER).collect();
        if hold {
            finalizers.push(hub::FINALIZER);
        }
        let patch = json!({
            "metadata": { "uid": known.uid, "resourceVersion": known.version, "finalizers": finalizers },
        });
        within(self.api.patch(name.as_str(), &PatchParams::default(), &Patch::Merge(&patch))).await
    }
}
