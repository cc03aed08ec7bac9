//! Requests to the API server: each under a time-out of its own, each answer put into the cache, each refusal told apart by what can be done about
//! it.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::Request;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::children::{Cache, Fact, Key, Watched};
use crate::api::names::{cluster as names, reasons};
use crate::platform::{Class, Fault};

/// No answer within this is none.
pub const TIME_OUT: Duration = Duration::from_secs(10);

/// Why a request was not answered as hoped.
#[derive(Debug)]
pub enum Failure {
    /// What was sent can't be: the API server's words.
    Refused(String),
    /// There is an object of that name already.
    Exists,
    /// There is no such object.
    NotFound,
    /// Anything else.
    Other(Fault),
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Fault {
        match failure {
            Failure::Refused(message) => Fault { class: Class::User, reason: reasons::REFUSED_BY_API, message },
            Failure::Exists | Failure::NotFound => changed("an object came or went in the meantime"),
            Failure::Other(fault) => fault,
        }
    }
}

/// The world changed under a step.
pub fn changed(what: &str) -> Fault {
    Fault {
        class: Class::Conflict,
        reason: reasons::WORLD_CHANGED,
        message: format!("the step was not taken: {what}; looking again"),
    }
}

/// Who asks: for one site.
#[derive(Clone)]
pub struct Ask {
    client: Client,
    /// Where answers go.
    pub cache: Arc<Cache>,
    /// The site.
    pub key: Key,
}

/// What a request is about, for the words of a refusal.
struct About<'a> {
    verb: &'a str,
    resource: &'a str,
    namespace: &'a str,
}

impl Ask {
    /// Asks for the site `key`.
    pub fn new(client: Client, cache: Arc<Cache>, key: Key) -> Ask {
        Ask { client, cache, key }
    }

    /// Makes an object.
    pub async fn create<F: Fact>(&self, body: &Value) -> Result<Watched<F>, Failure> {
        let made = self.post(F::KIND.resource(), &self.path::<F>(), body, &written_by_us()).await?;
        self.cache.note(&made);
        Ok(made)
    }

    /// Whether the API server would make it. What it would make is not kept.
    pub async fn would_create<F: Fact>(&self, body: &Value) -> Result<(), Failure> {
        let about = About { verb: "create", resource: F::KIND.resource(), namespace: self.key.namespace() };
        let dry = PostParams { dry_run: true, ..written_by_us() };
        let mut request = about.creation(&self.path::<F>(), body, &dry)?;
        let uri = format!("{}&fieldValidation=Strict", request.uri());
        *request.uri_mut() =
            uri.parse().map_err(|error| about.other(Class::Transient, reasons::API_UNREACHABLE, format!("{error}")))?;
        about.wait(self.client.request::<Watched<F>>(request)).await.map(drop)
    }

    /// Makes an object of a kind that is not watched.
    pub async fn create_other(&self, resource: &str, path: &str, body: &Value) -> Result<Value, Failure> {
        self.post(resource, path, body, &written_by_us()).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        resource: &str,
        path: &str,
        body: &Value,
        params: &PostParams,
    ) -> Result<T, Failure> {
        let about = About { verb: "create", resource, namespace: self.key.namespace() };
        let request = about.creation(path, body, params)?;
        about.wait(self.client.request(request)).await
    }

    /// Changes an object; the answer is put into the cache.
    pub async fn patch<F: Fact>(&self, name: &str, patch: &Patch<Value>) -> Result<Watched<F>, Failure> {
        let about = About { verb: "patch", resource: F::KIND.resource(), namespace: self.key.namespace() };
        let params = PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..PatchParams::default() };
        let patched = about.wait(self.api::<F>().patch(name, &params, patch)).await?;
        self.cache.note(&patched);
        Ok(patched)
    }

    /// Changes an object by a JSON patch, whose tests say what it must still be like; the answer is put into the cache.
    ///
    /// A `resourceVersion` would change with every count of pods that a controller writes into a status, and a colour that starts would be refused
    /// again and again.
    pub async fn patch_tested<F: Fact>(&self, name: &str, operations: &[Value]) -> Result<Watched<F>, Failure> {
        let patched = self.send_tested::<F>(name, operations, "").await?;
        self.cache.note(&patched);
        Ok(patched)
    }

    /// What an object would be after a change; every field of it is judged.
    pub async fn would_patch<F: Fact>(&self, name: &str, operations: &[Value]) -> Result<Watched<F>, Failure> {
        self.send_tested(name, operations, "&dryRun=All&fieldValidation=Strict").await
    }

    async fn send_tested<F: Fact>(&self, name: &str, operations: &[Value], more: &str) -> Result<Watched<F>, Failure> {
        let about = About { verb: "patch", resource: F::KIND.resource(), namespace: self.key.namespace() };
        let text = serde_json::to_vec(operations).map_err(kube::Error::SerdeError);
        let request =
            http::Request::patch(format!("{}/{name}?fieldManager={}{more}", self.path::<F>(), names::MANAGER))
                .header(http::header::CONTENT_TYPE, "application/json-patch+json")
                .body(text.map_err(|error| about.failure(&error))?)
                .map_err(kube::Error::HttpError)
                .map_err(|error| about.failure(&error))?;
        about.wait(self.client.request(request)).await
    }

    /// An object as it is now, whole. `path`: of its kind in this namespace, as [`Ask::path`] says it.
    pub async fn read<T: DeserializeOwned>(
        &self,
        resource: &str,
        path: &str,
        name: &str,
    ) -> Result<Option<T>, Failure> {
        let about = About { verb: "get", resource, namespace: self.key.namespace() };
        let request = Request::new(path)
            .get(name, &kube::api::GetParams::default())
            .map_err(kube::Error::BuildRequest)
            .map_err(|error| about.failure(&error))?;
        match about.wait(self.client.request(request)).await {
            Ok(found) => Ok(Some(found)),
            Err(Failure::NotFound) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Objects as they are now, whole.
    pub async fn list<T: DeserializeOwned>(
        &self,
        resource: &str,
        path: &str,
        labels: &str,
        limit: u32,
    ) -> Result<T, Failure> {
        let about = About { verb: "list", resource, namespace: self.key.namespace() };
        let request = Request::new(path)
            .list(&ListParams::default().labels(labels).limit(limit))
            .map_err(kube::Error::BuildRequest)
            .map_err(|error| about.failure(&error))?;
        about.wait(self.client.request(request)).await
    }

    /// Replaces a subresource; answers with the new version.
    pub async fn replace_status(&self, resource: &str, path: &str, body: &Value) -> Result<u64, Failure> {
        let about = About { verb: "update", resource, namespace: self.key.namespace() };
        let text = serde_json::to_vec(body).map_err(kube::Error::SerdeError).map_err(|error| about.failure(&error))?;
        let request = Request::new(path)
            .replace_subresource("status", self.key.site(), &written_by_us(), text)
            .map_err(kube::Error::BuildRequest)
            .map_err(|error| about.failure(&error))?;
        let answer: Value = about.wait(self.client.request(request)).await?;
        Ok(version(&answer))
    }

    /// Deletes all objects of a kind that these labels select, in one request.
    pub async fn delete_all<F: Fact>(&self, labels: &str) -> Result<(), Failure> {
        let about = About { verb: "deletecollection", resource: F::KIND.resource(), namespace: self.key.namespace() };
        let list = ListParams::default().labels(labels);
        about.wait(self.api::<F>().delete_collection(&DeleteParams::background(), &list)).await.map(drop)
    }

    /// Deletes an object of a kind that is not watched.
    pub async fn delete_other(&self, resource: &str, path: &str, name: &str) -> Result<(), Failure> {
        let about = About { verb: "delete", resource, namespace: self.key.namespace() };
        let request = Request::new(path)
            .delete(name, &DeleteParams::background())
            .map_err(kube::Error::BuildRequest)
            .map_err(|error| about.failure(&error))?;
        match about.wait(self.client.request::<Value>(request)).await {
            Ok(_) | Err(Failure::NotFound) => Ok(()),
            Err(other) => Err(other),
        }
    }

    fn api<F: Fact>(&self) -> Api<Watched<F>> {
        Api::namespaced(self.client.clone(), self.key.namespace())
    }

    /// The path of a kind in this namespace.
    pub fn path<F: Fact>(&self) -> String {
        Watched::<F>::url_path(&(), Some(self.key.namespace()))
    }
}

fn written_by_us() -> PostParams {
    PostParams { field_manager: Some(names::MANAGER.to_owned()), ..PostParams::default() }
}

/// The `resourceVersion` of a whole object.
pub fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}

impl About<'_> {
    fn creation(&self, path: &str, body: &Value, params: &PostParams) -> Result<http::Request<Vec<u8>>, Failure> {
        let text = serde_json::to_vec(body).map_err(kube::Error::SerdeError).map_err(|error| self.failure(&error))?;
        let request = Request::new(path).create(params, text).map_err(kube::Error::BuildRequest);
        request.map_err(|error| self.failure(&error))
    }

    async fn wait<T>(&self, answer: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Failure> {
        match tokio::time::timeout(TIME_OUT, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.failure(&error)),
            Err(_) => Err(self.other(
                Class::Transient,
                reasons::API_UNREACHABLE,
                format!("no answer within {} s", TIME_OUT.as_secs()),
            )),
        }
    }

    fn other(&self, class: Class, reason: &'static str, why: String) -> Failure {
        let About { verb, resource, namespace } = self;
        Failure::Other(Fault { class, reason, message: format!("cannot {verb} {resource} in {namespace}: {why}") })
    }

    fn failure(&self, error: &kube::Error) -> Failure {
        let kube::Error::Api(status) = error else {
            return self.other(Class::Transient, reasons::API_UNREACHABLE, chain(error));
        };
        let message = status.message.clone();
        match status.code {
            404 if message.contains("namespaces ") => {
                self.other(Class::User, reasons::NAMESPACE_GOES, format!("the namespace is gone ({message})"))
            }
            404 => Failure::NotFound,
            409 if status.is_already_exists() => Failure::Exists,
            409 => Failure::Other(changed(&format!("{} was changed in the meantime", self.resource))),
            401 => self.other(
                Class::Forbidden,
                reasons::FORBIDDEN,
                format!("the API server does not know who asks (its token is invalid or has expired): {message}"),
            ),
            403 if message.contains("being terminated") => {
                self.other(Class::User, reasons::NAMESPACE_GOES, format!("the namespace is being deleted ({message})"))
            }
            403 if message.contains("exceeded quota") => {
                self.other(Class::User, reasons::QUOTA, format!("{message}; raise the quota, or make room"))
            }
            403 if message.contains(" cannot ") => self.other(
                Class::Forbidden,
                reasons::FORBIDDEN,
                format!(
                    "the operator may not: grant it the verb {} on {} in {} ({message})",
                    self.verb, self.resource, self.namespace
                ),
            ),
            400 | 403 | 413 | 422 => Failure::Refused(message),
            _ => self.other(Class::Transient, reasons::API_UNREACHABLE, message),
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = inner.source();
    }
    text
}
