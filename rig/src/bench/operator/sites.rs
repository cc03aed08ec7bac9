//! Many sites, made and changed as quickly as the API server takes it.

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ObjectMeta, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::cluster::ControlPlane;

/// So many requests at once.
const AT_ONCE: usize = 16;
/// So many share a namespace, as the sites of one team do. Kubernetes' own controllers compare each pod with every Service of its namespace, so thousands
/// in one would be a measurement of these.
const TOGETHER: usize = 50;
/// Where the operator's lease is.
const NAMESPACE: &str = "bench";

/// Many sites.
pub struct Sites {
    client: Client,
    names: Vec<String>,
}

/// What sites are to the API server.
pub fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("bluegreen.dev", "v1alpha1", "BlueGreenSite"),
        "bluegreensites",
    )
}

impl Sites {
    /// So many of them, which are not made yet.
    pub async fn new(plane: &ControlPlane, count: usize) -> Result<Sites> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        plane.kubectl(&["create", "namespace", NAMESPACE])?;
        let kubeconfig = Kubeconfig::read_from(plane.kubeconfig())?;
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        config.proxy_url = None;
        let names: Vec<String> = (0..count).map(|number| format!("site-{number:05}")).collect();
        Ok(Sites { client: Client::try_from(config)?, names })
    }

    /// A way to the API server.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Where the operator is to keep its lease.
    pub fn lease_namespace(&self) -> &'static str {
        NAMESPACE
    }

    /// What they are called.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Makes them all.
    pub async fn create(&self) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client());
        for name in self.names.chunks(TOGETHER).filter_map(|chunk| chunk.first()) {
            let metadata = ObjectMeta { name: Some(namespace(name)), ..ObjectMeta::default() };
            namespaces.create(&PostParams::default(), &Namespace { metadata, ..Namespace::default() }).await?;
        }
        let make = |name: &String| {
            let (api, site) = (self.api(name), site(name));
            async move {
                let object = serde_json::from_value(site)?;
                api.create(&PostParams::default(), &object).await.context("a site can't be made")?;
                anyhow::Ok(())
            }
        };
        stream::iter(self.names.iter().map(make)).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Lets these have another version of their app.
    pub async fn release(&self, names: &[String], version: u32) -> Result<()> {
        let patch = json!([{
            "op": "replace",
            "path": "/spec/target/cluster/template/spec/containers/0/image",
            "value": image(version),
        }]);
        let patch: Patch<DynamicObject> = Patch::Json(serde_json::from_value(patch)?);
        let change = |name: &String| {
            let (api, patch, name) = (self.api(name), patch.clone(), name.clone());
            async move {
                api.patch(&name, &PatchParams::default(), &patch).await.context("a site can't be changed")?;
                anyhow::Ok(())
            }
        };
        stream::iter(names.iter().map(change)).buffer_unordered(AT_ONCE).try_collect().await
    }

    fn api(&self, name: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client(), &namespace(name), &resource())
    }
}

/// The namespace of a site.
fn namespace(name: &str) -> String {
    let number: usize = name.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or_default();
    format!("{NAMESPACE}-{:03}", number / TOGETHER)
}

/// The image of a version.
pub fn image(version: u32) -> String {
    format!("registry.local/app:{version}")
}

fn site(name: &str) -> Value {
    json!({
        "apiVersion": "bluegreen.dev/v1alpha1", "kind": "BlueGreenSite", "metadata": { "name": name },
        "spec": {
            "target": { "cluster": {
                "replicas": 1,
                "service": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] },
                "template": { "spec": { "containers": [{
                    "name": "app",
                    "image": image(1),
                    "ports": [{ "containerPort": 8080 }],
                    "env": [{ "name": "PROFILE", "value": "production" }],
                    "readinessProbe": { "httpGet": { "path": "/healthz", "port": 8080 } },
                    "lifecycle": { "preStop": { "sleep": { "seconds": 5 } } },
                    "resources": { "requests": { "cpu": "10m", "memory": "16Mi" } },
                }] } },
            }},
            "strategy": { "drainWithin": "0s", "bake": "1s", "standby": "0s" },
        },
    })
}
