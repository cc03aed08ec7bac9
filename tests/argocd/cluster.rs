//! One repository, one site of the cluster: what Argo CD says of it, from the first commit to the last.

use std::time::Duration;

use bluegreen_rig::cluster::{ArgoCd, ControlPlane, Options};
use bluegreen_rig::wait;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kit::{HOME, Helm, chart, file, operator};

const PATIENCE: Duration = Duration::from_secs(120);

/// A site whose pods behave as it is said, `ready` or `unpullable`.
fn site(image: &str, behaviour: &str, promotion: &str) -> String {
    json!({
        "apiVersion": "bluegreen.dev/v1alpha1", "kind": "BlueGreenSite", "metadata": { "name": "shop" },
        "spec": {
            "target": { "cluster": {
                "service": { "ports": [{ "port": 80, "targetPort": 8080 }] },
                "template": {
                    "metadata": { "annotations": { "rig.bluegreen.dev/pod": behaviour } },
                    // Quantities that Kubernetes would write in another way.
                    "spec": { "containers": [{
                        "name": "app", "image": image,
                        "resources": { "requests": { "cpu": "1000m", "memory": "0.5Gi" }, "limits": { "cpu": 2 } },
                    }] },
                },
            }},
            "strategy": {
                "promotion": promotion, "readyWithin": "10s", "drainWithin": "0s", "bake": "1s", "standby": "10m",
            },
        },
    })
    .to_string()
}

struct Shop<'a> {
    argo: &'a ArgoCd<'a>,
    plane: &'a ControlPlane,
    operator: std::path::PathBuf,
}

impl Shop<'_> {
    fn object(&self) -> Value {
        self.plane.json(&["--namespace", "shop", "get", "bluegreensite", "shop"]).unwrap_or_default()
    }

    fn live(&self) -> String {
        let object = self.object();
        let colour = object["status"]["live"]["colour"].as_str().unwrap_or_default().to_owned();
        let deployment = format!("shop-{colour}");
        let found = self.plane.json(&["--namespace", "shop", "get", "deployment", &deployment]).unwrap_or_default();
        found["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until Argo CD says so of what Git says now, with this image live.
    fn until(&self, health: &str, sync: &str, live: &str) {
        let seen = wait::until(&format!("Argo CD said {health} and {sync}, with {live} live"), PATIENCE, || {
            let judged = self.argo.judged("shop").ok()?;
            (judged == (health.to_owned(), sync.to_owned()) && self.live() == live).then_some(())
        });
        seen.unwrap_or_else(|error| {
            let application = self.argo.application("shop").unwrap_or_default();
            let operator = std::fs::read_to_string(&self.operator).unwrap_or_default();
            let last: Vec<&str> = operator.lines().rev().take(30).collect();
            let diff = self.argo.command().unwrap().args(["app", "diff", "shop"]).output().unwrap();
            panic!(
                "{error}; live is {}\n{}\n{:#}\n{:#}\n{}\n{}",
                self.live(),
                String::from_utf8_lossy(&diff.stdout),
                application["status"],
                self.object()["status"],
                last.join("\n"),
                self.argo.said("argocd-application-controller").lines().rev().take(20).collect::<Vec<_>>().join("\n"),
            )
        });
    }

    /// At rest, Git and the cluster are the same to the letter.
    fn nothing_differs(&self) {
        for how in [&[][..], &["--server-side-generate"]] {
            let mut diff = self.argo.command().unwrap();
            let output = diff.args(["app", "diff", "shop", "--refresh"]).args(how).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success() && said.is_empty(),
                "{how:?}: {said}{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}

#[test]
fn commits_become_cutovers_and_a_revert_is_a_way_back() {
    let plane = ControlPlane::start(Options::pods()).unwrap();
    let chart = chart();
    let namespaced = ["--namespace", HOME, "--create-namespace"];
    Helm::at(&plane).said(&[&["install", "bluegreen", chart.to_str().unwrap()][..], &namespaced].concat());
    plane.wait_for_resource("bluegreensites").unwrap();
    let log = TempDir::new().unwrap();
    let operator_log = log.path().join("operator.log");
    let _operator = operator(&plane, &operator_log);
    let argo = ArgoCd::start(&plane, &file("deploy/argocd/argocd-cm.yaml")).unwrap();
    plane.kubectl(&["apply", "--filename", file("deploy/argocd/rbac.yaml").to_str().unwrap()]).unwrap();
    let shop = Shop { argo: &argo, plane: &plane, operator: operator_log };

    // The example that we give people, with a repository and a folder that there are.
    let (url, clone) = argo.repository("deploy.git").unwrap();
    let push = |text: &str| {
        clone.commit("sites/shop/site.yaml", text).unwrap();
        if argo.application("shop").is_ok() {
            argo.refresh("shop").unwrap();
        }
    };
    // Argo CD prunes nothing if that left nothing.
    let settings = "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {COLOUR: blue}}";
    clone.commit("sites/shop/settings.yaml", settings).unwrap();
    push(&site("shop:1", "ready", "Automatic"));
    let example = std::fs::read_to_string(file("deploy/argocd/application.yaml")).unwrap();
    plane.apply(&example.replace("https://git.example.com/shop/deploy.git", &url)).unwrap();
    shop.until("Healthy", "Synced", "shop:1");
    shop.nothing_differs();

    push(&site("shop:2", "ready", "Automatic"));
    shop.until("Healthy", "Synced", "shop:2");

    // It waits for somebody, and the button is Argo CD's own.
    push(&site("shop:3", "ready", "Manual"));
    shop.until("Suspended", "Synced", "shop:2");
    shop.nothing_differs();
    let press = |action: &str| {
        argo.argocd(&["app", "actions", "run", "shop", action, "--kind", "BlueGreenSite", "--resource-name", "shop"])
            .unwrap();
    };
    press("approve");
    shop.until("Healthy", "Synced", "shop:3");
    shop.nothing_differs();

    // What was put into Git while another one waits for approval is what is wanted now: a revert is a way back, and asks nobody.
    push(&site("shop:4", "ready", "Manual"));
    shop.until("Suspended", "Synced", "shop:3");
    clone.revert().unwrap();
    argo.refresh("shop").unwrap();
    shop.until("Healthy", "Synced", "shop:3");

    // A bad commit: said, and what is live goes on.
    push(&site("shop:5", "unpullable", "Automatic"));
    shop.until("Degraded", "Synced", "shop:3");
    let rejected = shop.object()["status"]["rejected"].clone();
    assert!(rejected["revision"].is_string(), "{rejected}");
    // A sync that applies a rejected revision again changes nothing.
    argo.argocd(&["app", "sync", "shop"]).unwrap();
    shop.until("Degraded", "Synced", "shop:3");
    assert_eq!(shop.object()["status"]["rejected"], rejected);
    clone.revert().unwrap();
    argo.refresh("shop").unwrap();
    shop.until("Healthy", "Synced", "shop:3");

    // Git alone says what is wanted.
    let image = "/spec/target/cluster/template/spec/containers/0/image";
    let patch = json!([{ "op": "replace", "path": image, "value": "somebody:else" }]).to_string();
    let before = shop.object()["metadata"]["generation"].as_i64().unwrap();
    plane
        .kubectl(&["--namespace", "shop", "patch", "bluegreensite", "shop", "--type=json", "--patch", &patch])
        .unwrap();
    wait::until("Argo CD put the image back", PATIENCE, || {
        let object = shop.object();
        let back = object.pointer(image).and_then(Value::as_str) == Some("shop:3");
        (back && object["metadata"]["generation"].as_i64() > Some(before)).then_some(())
    })
    .unwrap();
    shop.until("Healthy", "Synced", "shop:3");
    shop.nothing_differs();

    // Pruned, it goes in order: nothing of it is left.
    clone.remove("sites/shop/site.yaml").unwrap();
    argo.refresh("shop").unwrap();
    wait::until("the site is gone", PATIENCE, || {
        let left =
            plane.kubectl(&["--namespace", "shop", "get", "bluegreensites,deployments,pods", "--output=name"]).ok()?;
        left.trim().is_empty().then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {:#}", shop.object()));
}
