//! The operator as the chart starts it: its arguments, its service account's token, and nothing else. A site goes live, forward and back, by
//! Argo CD's own judgement and buttons; the API server tells whether anything was refused.

use std::fs;
use std::time::Duration;

use bluegreen_rig::cluster::{ControlPlane, Namespace, Options};
use bluegreen_rig::wait::until;
use serde_json::Value;
use tempfile::TempDir;

use crate::argocd::argocd;
use crate::kit::{HOME, Helm, chart, documents, operator, succeeded};

const PATIENCE: Duration = Duration::from_secs(120);

const SHOP: &str = "\
apiVersion: bluegreen.dev/v1alpha1
kind: BlueGreenSite
metadata: {name: shop}
spec:
  target:
    cluster:
      replicas: 2
      service: {ports: [{name: http, port: 80, targetPort: 8080}]}
      template:
        spec:
          containers:
            - name: app
              image: shop:1
              envFrom: [{configMapRef: {name: settings}}]
              volumeMounts: [{name: scratch, mountPath: /tmp}]
          volumes: [{name: scratch, emptyDir: {}}]
  strategy: {promotion: Manual, bake: 0s, drainWithin: 0s, standby: 10m}
";

#[test]
fn a_site_goes_live_forward_and_back_with_the_charts_roles_and_argo_cds_buttons() {
    let plane = ControlPlane::start(Options::pods()).unwrap();
    let chart = chart();
    Helm::at(&plane).said(&[
        "install",
        "bluegreen",
        chart.to_str().unwrap(),
        "--namespace",
        HOME,
        "--create-namespace",
    ]);
    plane.kubectl(&["wait", "--for=condition=Established", "crd/bluegreensites.bluegreen.dev"]).unwrap();
    let log = TempDir::new().unwrap();
    let mark = plane.mark();
    let _operator = operator(&plane, &log.path().join("operator.log"));
    let web = plane.namespace("web").unwrap();
    let site = Shop { namespace: &web, log: log.path().join("operator.log") };

    web.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {COLOUR: blue}}").unwrap();
    web.apply(SHOP).unwrap();
    site.until("Suspended");
    site.press("approve");
    let first = site.until("Healthy");
    web.apply(&SHOP.replace("shop:1", "shop:2")).unwrap();
    site.until("Suspended");
    site.press("approve");
    let second = site.until("Healthy");
    assert_ne!(live(&first), live(&second));

    site.press("rollback");
    let back = site.until("Degraded");
    assert_eq!(live(&back), live(&first), "what Git says was left, and that is said");
    // A sync that applies a rejected revision again changes nothing.
    web.apply(&SHOP.replace("shop:1", "shop:2")).unwrap();
    web.kubectl(&["annotate", "bluegreensite/shop", "example.com/sync=again"]).unwrap();
    let again = site.until("Degraded");
    assert_eq!((live(&again), &again["status"]["rejected"]), (live(&first), &back["status"]["rejected"]));
    // What was live once and passed its watch needs no second approval.
    site.press("retry");
    assert_eq!(live(&site.until("Healthy")), live(&second));
    web.apply(&SHOP.replace("shop:1", "shop:3")).unwrap();
    site.until("Suspended");
    site.press("abort");
    assert_eq!(live(&site.until("Degraded")), live(&second));

    let operator = format!("system:serviceaccount:{HOME}:bluegreen");
    let requests = plane.requests_since(mark).unwrap();
    let ours: Vec<_> = requests.iter().filter(|request| request.user == operator).collect();
    assert!(ours.iter().any(|request| request.resource == "configmaps" && request.verb == "create"), "it was at work");
    let refused: Vec<String> = ours.iter().filter(|request| request.code == 403).map(|it| it.summary()).collect();
    assert_eq!(refused, Vec::<String>::new());

    // What the values don't grant is refused, and said with the right that is missing.
    web.kubectl(&["create", "secret", "generic", "keys", "--from-literal=key=value"]).unwrap();
    let secret = SHOP.replace("configMapRef: {name: settings}", "secretRef: {name: keys}");
    web.apply(&secret.replace("      template:", "      configuration: {secrets: Rollout}\n      template:")).unwrap();
    let said = until("the missing right is named", PATIENCE, || {
        let status = site.object()["status"]["conditions"].to_string();
        (status.contains("grant it the verb get on secrets")).then_some(())
    });
    said.unwrap_or_else(|error| panic!("{error}: {:#}", site.object()["status"]));
    assert_eq!(live(&site.until("Degraded")), live(&second), "what served goes on serving");
    let granted = format!("secrets.namespaces={{{}}}", web.name());
    Helm::at(&plane).said(&["upgrade", "bluegreen", chart.to_str().unwrap(), "--namespace", HOME, "--set", &granted]);
    site.until("Suspended");
}

struct Shop<'a> {
    namespace: &'a Namespace<'a>,
    log: std::path::PathBuf,
}

impl Shop<'_> {
    fn object(&self) -> Value {
        self.namespace.json(&["get", "bluegreensite", "shop"]).unwrap()
    }

    /// Waits until Argo CD judges the site so, at its present specification.
    fn until(&self, health: &str) -> Value {
        let seen = until(&format!("Argo CD says {health}"), PATIENCE, || {
            let object = self.object();
            (judged(&object) == health).then_some(object)
        });
        seen.unwrap_or_else(|error| {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let object = self.object();
            panic!("{error}; it says {}: {:#}\n{log}", judged(&object), object["status"])
        })
    }

    /// Runs the action in Argo CD and writes what it changed, as Argo CD does: as a merge patch.
    fn press(&self, action: &str) {
        let before = self.object();
        let file = written(&before);
        let output = argocd(&["run-action", file.path().to_str().unwrap(), action]);
        let said = succeeded(&output, action);
        let (_, text) = said.split_once("have been changed:").unwrap_or_else(|| panic!("{action}: {said}"));
        let mut after = documents(text).remove(0);
        let key = format!("bluegreen.dev/{action}");
        let value =
            after["metadata"]["annotations"][&key].as_str().unwrap_or_else(|| panic!("{action}: {text}")).to_owned();
        match before["metadata"]["annotations"].get(&key) {
            Some(old) => after["metadata"]["annotations"][&key] = old.clone(),
            None => drop(after["metadata"]["annotations"].as_object_mut().unwrap().remove(&key)),
        }
        assert_eq!(after, before, "{action} changes nothing else, of a site as the operator writes it");
        let patch = serde_json::json!({ "metadata": { "annotations": { key: value } } }).to_string();
        self.namespace.kubectl(&["patch", "bluegreensite/shop", "--type=merge", "--patch", &patch]).unwrap();
        until("the operator took the command", PATIENCE, || {
            let taken = &self.object()["status"]["rollout"]["ledger"]["taken"][action];
            (taken.as_str() == before["metadata"]["resourceVersion"].as_str()).then_some(())
        })
        .unwrap_or_else(|error| panic!("{action}: {error}: {:#}", self.object()));
    }
}

fn live(object: &Value) -> &Value {
    &object["status"]["live"]["revision"]
}

fn judged(object: &Value) -> String {
    let file = written(object);
    let said = succeeded(&argocd(&["health", file.path().to_str().unwrap()]), "health");
    let status = said.lines().next().and_then(|line| line.strip_prefix("STATUS: "));
    status.unwrap_or_else(|| panic!("{said}")).to_owned()
}

fn written(object: &Value) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    fs::write(file.path(), object.to_string()).unwrap();
    file
}
