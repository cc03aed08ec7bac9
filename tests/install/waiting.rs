//! Helm's own `--wait`, of a chart that holds a site: it waits for a rollout, and for nothing that it needn't.

use std::fs;
use std::path::Path;
use std::process::Output;

use bluegreen_rig::cluster::{ControlPlane, Options};
use serde_json::Value;
use tempfile::TempDir;

use crate::kit::{HOME, Helm, chart, operator, succeeded};

/// A chart of somebody who deploys a shop with it.
fn shop(folder: &Path) {
    fs::create_dir_all(folder.join("templates")).unwrap();
    fs::write(folder.join("Chart.yaml"), "apiVersion: v2\nname: shop\nversion: 0.1.0\n").unwrap();
    fs::write(folder.join("values.yaml"), "image: shop:1\npod: ready\n").unwrap();
    let site = "\
apiVersion: bluegreen.dev/v1alpha1
kind: BlueGreenSite
metadata: {name: {{ .Release.Name }}}
spec:
  target:
    cluster:
      replicas: 2
      service: {ports: [{name: http, port: 80, targetPort: 8080}]}
      template:
        metadata: {annotations: {rig.bluegreen.dev/pod: {{ .Values.pod }}, rig.bluegreen.dev/after: 2s}}
        spec: {containers: [{name: app, image: {{ .Values.image | quote }}}]}
  strategy: {readyWithin: 10s, bake: 2s, drainWithin: 0s, standby: 0s}
";
    fs::write(folder.join("templates/site.yaml"), site).unwrap();
}

#[test]
fn helm_waits_until_what_it_installed_is_live_and_fails_when_it_is_rejected() {
    let plane = ControlPlane::start(Options::pods()).unwrap();
    let helm = Helm::at(&plane);
    helm.said(&["install", "bluegreen", chart().to_str().unwrap(), "--namespace", HOME, "--create-namespace"]);
    plane.kubectl(&["wait", "--for=condition=Established", "crd/bluegreensites.bluegreen.dev"]).unwrap();
    let own = TempDir::new().unwrap();
    let folder = own.path().join("shop");
    shop(&folder);
    let waits = |verb: &str, settings: &str, timeout: &str| -> Output {
        let arguments = [verb, "web", folder.to_str().unwrap(), "--wait", "--timeout", timeout, "--set", settings];
        helm.run(&arguments)
    };
    let site = || plane.json(&["get", "bluegreensite", "web"]).unwrap();
    let image = |site: &Value| {
        let colour = site["status"]["live"]["colour"].as_str().expect("something is live").to_owned();
        let deployment = plane.json(&["get", "deployment", &format!("web-{colour}")]).unwrap();
        deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
    };

    // With nobody to look at it, it is not there.
    let output = waits("install", "image=shop:1", "10s");
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    helm.said(&["uninstall", "web", "--wait"]);

    let _operator = operator(&plane, &own.path().join("operator.log"));
    let patience = "240s";
    succeeded(&waits("install", "image=shop:1", patience), "helm install --wait");
    let first = site();
    assert_eq!((&first["status"]["phase"], image(&first).as_str()), (&"Idle".into(), "shop:1"));
    succeeded(&waits("upgrade", "image=shop:2", patience), "helm upgrade --wait");
    let second = site();
    assert_eq!((&second["status"]["phase"], image(&second).as_str()), (&"Idle".into(), "shop:2"));
    // One that is never ready: it ends as soon as the site is rejected, not when its own patience does.
    let output = waits("upgrade", "image=shop:3,pod=unready", patience);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    let third = site();
    assert_eq!(
        (&third["status"]["rejected"]["reason"], image(&third).as_str()),
        (&"ReadyDeadlineExceeded".into(), "shop:2")
    );
    assert!(!said.contains("context deadline exceeded"), "it waited for ever: {said}");
    // And the way back is Helm's own.
    helm.said(&["rollback", "web", "2", "--wait", "--timeout", patience]);
    let back = site();
    assert_eq!((&back["status"]["rejected"], image(&back).as_str()), (&Value::Null, "shop:2"));
}
