//! A manifest by server-side apply, and deletion.

use http_body_util::BodyExt;
use hyper::header::WARNING;
use kube::api::DynamicObject;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, ValidationDirective};
use kube::client::Body;
use kube::core::{Request, Status};
use kube::{Resource, ResourceExt};
use serde_json::Value;

use super::{Cluster, ClusterError, resource};
use crate::api::parse;
use crate::api::spec::BlueGreenSite;
use crate::cli::source::Handing;
use crate::control::api::{Applied, ApplyOutcome};

/// Who we are among those who manage an object's fields.
pub(super) const MANAGER: &str = "bluegreen-cli";

/// What only the API server writes: a manifest that was read from a cluster can be applied again.
const SERVERS_OWN: [&str; 6] =
    ["managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink"];

impl Cluster {
    /// Hands in a manifest that was judged already.
    ///
    /// # Errors
    /// The API server refused it, or does not answer.
    pub async fn apply(&self, manifest: &str, how: Handing) -> Result<Applied, ClusterError> {
        let mut wanted = parse::value(manifest).map_err(|problem| ClusterError::Refused(problem.to_string()))?;
        if let Some(object) = wanted.as_object_mut() {
            object.remove("status");
        }
        if let Some(metadata) = wanted["metadata"].as_object_mut() {
            metadata.retain(|field, _| !SERVERS_OWN.contains(&field.as_str()));
        }
        let name = wanted["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let before = match self.object(&name).await {
            Ok(object) => Some(object),
            Err(ClusterError::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        let (after, mut warnings) =
            self.answer("patch", &resource(), Some(&name), self.hand_in(&name, &wanted, how)).await?;
        if wanted["spec"]["target"]["host"].is_object() {
            warnings.push(
                "spec.target.host: this site is for a plain machine, and no operator of a cluster looks at it; apply it there, with bluegreen \
                 apply"
                    .to_owned(),
            );
        }
        let outcome = match &before {
            None => ApplyOutcome::Created,
            Some(before) if same(before, &after) => ApplyOutcome::Unchanged,
            Some(_) => ApplyOutcome::Configured,
        };
        Ok(Applied { name, outcome, generation: after.metadata.generation.unwrap_or_default(), look: 0, warnings })
    }

    /// Sends it and reads what came of it, the warnings in the headers too: `Api::patch` has no way to tell of those.
    async fn hand_in(&self, name: &str, wanted: &Value, how: Handing) -> kube::Result<(DynamicObject, Vec<String>)> {
        let params = PatchParams {
            dry_run: how.dry_run,
            force: how.force_conflicts,
            field_manager: Some(MANAGER.to_owned()),
            field_validation: Some(ValidationDirective::Strict),
        };
        let request = Request::new(BlueGreenSite::url_path(&(), Some(&self.namespace)))
            .patch(name, &params, &Patch::Apply(wanted))
            .map_err(kube::Error::BuildRequest)?;
        let response = self.client.send(request.map(Body::from)).await?;
        let code = response.status();
        let warnings = response.headers().get_all(WARNING).iter().filter_map(|value| warning(value.to_str().ok()?));
        let warnings = warnings.collect();
        let body = response.into_body().collect().await?.to_bytes();
        if code.is_success() {
            let object = serde_json::from_slice(&body).map_err(kube::Error::SerdeError)?;
            return Ok((object, warnings));
        }
        let status = serde_json::from_slice::<Status>(&body).unwrap_or_else(|_| {
            Status::failure(String::from_utf8_lossy(&body).trim(), code.canonical_reason().unwrap_or_default())
                .with_code(code.as_u16())
        });
        Err(kube::Error::Api(Box::new(status)))
    }

    /// Makes a site go away: its children follow by the cluster's garbage collection. Returns its uid.
    ///
    /// # Errors
    /// There is none of this name, no answer, or it may not be deleted.
    pub async fn delete(&self, name: &str) -> Result<Option<String>, ClusterError> {
        let uid = self.object(name).await?.uid();
        let params =
            DeleteParams::background().preconditions(Preconditions { uid: uid.clone(), resource_version: None });
        self.answer("delete", &resource(), Some(name), self.own_sites().delete(name, &params)).await?;
        Ok(uid)
    }
}

/// Whether it was like this already, as far as a manifest says it. By the resourceVersion it can't be told: a dry run has none of its own, and the first
/// write after the definition got another default changes what is stored.
fn same(before: &DynamicObject, after: &DynamicObject) -> bool {
    before.data["spec"] == after.data["spec"]
        && before.labels() == after.labels()
        && before.annotations() == after.annotations()
}

/// The text of a `Warning` header: `299 - "text"`.
fn warning(header: &str) -> Option<String> {
    let text = header.split_once('"')?.1;
    let text = text.rsplit_once('"').map_or(text, |(text, _)| text);
    Some(text.replace("\\\"", "\"").replace("\\\\", "\\"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_the_quoted_part_of_its_header() {
        assert_eq!(warning(r#"299 - "unknown field \"spec.x\"""#).as_deref(), Some("unknown field \"spec.x\""));
        assert_eq!(warning("299"), None);
    }
}
