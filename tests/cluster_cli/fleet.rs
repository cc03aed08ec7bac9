//! Many clusters as one: two control planes and one that answers nobody, in one kubeconfig.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bluegreen_rig::cluster::{CONTEXT, ControlPlane, Options};
use bluegreen_rig::told::Told;
use bluegreen_rig::wait;
use serde_json::{Value, json};

use super::kit::{Desk, Program, ended, install, manifest, resting, shared};

/// A second control plane, with the resource installed.
fn second() -> &'static ControlPlane {
    static SECOND: OnceLock<ControlPlane> = OnceLock::new();
    SECOND.get_or_init(|| {
        let plane = ControlPlane::start(Options::api()).expect("a second control plane comes up");
        install(&plane);
        plane
    })
}

/// One kubeconfig: the context `near` is the shared plane, `far` is this one, and behind `gone` nobody listens.
fn kubeconfig(folder: &Path, far: &ControlPlane) -> PathBuf {
    // Port 1 is nobody's.
    let nobody = "127.0.0.1:1";
    let one = |plane: &ControlPlane| -> Value {
        let path = plane.kubeconfig();
        plane.json(&["config", "view", "--raw", "--kubeconfig", path.to_str().unwrap()]).unwrap()
    };
    let mut whole = json!({"apiVersion": "v1", "kind": "Config", "clusters": [], "users": [], "contexts": [], "current-context": "near"});
    for (name, plane) in [("near", shared()), ("far", far), ("gone", shared())] {
        let from = one(plane);
        assert_eq!(from["contexts"][0]["name"], CONTEXT);
        for kind in ["clusters", "users"] {
            let mut entry = from[kind][0].clone();
            entry["name"] = json!(name);
            if name == "gone" && kind == "clusters" {
                entry["cluster"]["server"] = json!(format!("https://{nobody}"));
            }
            whole[kind].as_array_mut().unwrap().push(entry);
        }
        whole["contexts"]
            .as_array_mut()
            .unwrap()
            .push(json!({"name": name, "context": {"cluster": name, "user": name}}));
    }
    let path = folder.join("fleet.json");
    std::fs::write(&path, whole.to_string()).unwrap();
    path
}

/// The program with that kubeconfig.
struct Fleet<'a> {
    program: &'a Program,
    kubeconfig: PathBuf,
}

impl<'a> Fleet<'a> {
    fn new(program: &'a Program, far: &ControlPlane) -> Fleet<'a> {
        Fleet { program, kubeconfig: kubeconfig(program.folder(), far) }
    }

    fn command(&self, words: &[&str]) -> std::process::Command {
        let mut command = self.program.bare(&["fleet", "get"]);
        command.args(words).env("KUBECONFIG", &self.kubeconfig);
        command
    }

    fn run(&self, words: &[&str]) -> (i32, String, String) {
        ended(&self.command(words).output().unwrap())
    }

    fn begin(&self, words: &[&str]) -> Told {
        // What it complains about stands between its lines.
        let inner = self.command(words);
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Told::start(&mut command).unwrap()
    }

    /// The cells of a site's or host's row.
    fn row(&self, words: &[&str], place: &str, name: &str) -> Option<Vec<String>> {
        let out = self.run(words).1;
        let rows = out.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        rows.into_iter().find(|cells| cells.len() > 3 && cells[1] == place && cells[3] == name)
    }
}

/// A host of this control plane, which renews its lease for so long. Its clock is wrong.
fn host(plane: &ControlPlane, name: &str, lasts: u32) {
    let namespace = format!("bluegreen-host-{name}");
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    plane.apply(&object.to_string()).unwrap();
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "bluegreen-host", "namespace": namespace},
        "spec": {"holderIdentity": "machine", "leaseDurationSeconds": lasts, "renewTime": "2001-01-01T00:00:00.000000Z"},
    });
    plane.apply(&lease.to_string()).unwrap();
}

fn renew(plane: &ControlPlane, name: &str, holder: &str) {
    let patch = json!({"spec": {"holderIdentity": holder}}).to_string();
    plane
        .kubectl(&[
            "patch",
            "lease",
            "bluegreen-host",
            "-n",
            &format!("bluegreen-host-{name}"),
            "--type=merge",
            "--patch",
            &patch,
        ])
        .unwrap();
}

fn site_at(plane: &ControlPlane, namespace: &str, name: &str, labels: &Value) {
    let mut site: Value = serde_saphyr::from_str(&manifest(name, "1")).unwrap();
    site["metadata"]["namespace"] = json!(namespace);
    site["metadata"]["labels"] = labels.clone();
    plane.apply(&site.to_string()).unwrap();
    let patch = json!({"status": resting()}).to_string();
    plane
        .kubectl(&["patch", "bgs", name, "-n", namespace, "--subresource=status", "--type=merge", "--patch", &patch])
        .unwrap();
}

#[test]
fn sites_and_hosts_of_all_contexts_stand_in_one_table_and_who_is_away_hides_nobody() {
    let desk = Desk::new("fleet");
    let near = desk.namespace.name();
    site_at(shared(), near, "shop", &json!({"tier": "front"}));
    let far = second();
    host(far, "web1", 3600);
    site_at(far, "bluegreen-host-web1", "blog", &json!({}));
    host(far, "web2", 3600);
    let fleet = Fleet::new(&desk.program, far);

    let (code, out, err) = fleet.run(&["--contexts", "near,far"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let header: Vec<&str> = out.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["CONTEXT", "HOST/NAMESPACE", "PRESENT", "NAME", "PHASE", "LIVE", "REVISION", "READY", "AGE"]);
    let both = ["--contexts", "near,far"];
    let shop = fleet.row(&both, near, "shop").unwrap_or_else(|| panic!("{out}"));
    assert_eq!(shop[..8], ["near", near, "<none>", "shop", "Idle", "blue", "0123456789", "True"]);
    let blog = fleet.row(&both, "web1", "blog").unwrap_or_else(|| panic!("{out}"));
    assert_eq!(blog[..8], ["far", "web1", "yes", "blog", "Idle", "blue", "0123456789", "True"]);
    let bare = fleet.row(&both, "web2", "<none>").unwrap_or_else(|| panic!("a host without sites: {out}"));
    assert_eq!(bare[..4], ["far", "web2", "yes", "<none>"]);

    let (code, out, err) = fleet.run(&["--all-contexts"]);
    assert_eq!(code, 1);
    assert!(out.contains("web1") && out.contains("shop"), "{out}");
    assert!(
        err.starts_with("error: context gone: the API server at https://127.0.0.1:1 ") && err.lines().count() == 1,
        "{err}"
    );

    let (code, out, _) = fleet.run(&["--all-contexts", "-o", "json"]);
    let data: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, data["errors"][0]["context"].as_str()), (1, Some("gone")));
    let items = data["items"].as_array().unwrap();
    let blog = items.iter().find(|item| item["site"]["metadata"]["name"] == "blog").unwrap();
    assert_eq!(
        (blog["host"].as_str(), blog["present"].as_bool(), blog["context"].as_str()),
        (Some("web1"), Some(true), Some("far"))
    );
    assert!(blog["site"]["metadata"]["managedFields"].is_null());

    let (code, out, _) = fleet.run(&["--contexts", "near,far", "-l", "tier=front", "-o", "name"]);
    assert_eq!((code, out), (0, format!("near/{near}/bluegreensite.bluegreen.dev/shop\n")));
    let wide = fleet.run(&["--contexts", "far", "-o", "wide"]).1;
    assert!(wide.contains("MESSAGE") && wide.contains("blue serves 0123456789"), "{wide}");
    let (code, _, err) = fleet.run(&["--contexts", "near,fra"]);
    assert_eq!(code, 1);
    assert!(err.contains("did you mean far?"), "{err}");
    assert_eq!(fleet.run(&["--contexts", "near", "--all-contexts"]).0, 2);
}

#[test]
fn a_host_is_away_once_its_lease_was_not_renewed_for_as_long_as_it_lasts() {
    let desk = Desk::new("presence");
    let plane = shared();
    let name = format!("edge-{}", desk.namespace.name());
    host(plane, &name, 4);
    let fleet = Fleet::new(&desk.program, second());
    let present = || Some(fleet.row(&["--contexts", "near"], &name, "<none>")?[2].clone());
    wait::until("it was away", wait::PATIENCE, || (present()? == "no").then_some(())).unwrap();
    let watch = fleet.begin(&["--contexts", "near", "-w"]);
    let line = watch.until(&name).unwrap();
    assert!(line.contains(" no "), "a watch that begins is no renewal: {line}");
    renew(plane, &name, "another");
    let line = watch.until(&name).unwrap();
    assert!(line.contains(" yes "), "{line}");
    let line = watch.until(&name).unwrap();
    assert!(line.contains(" no "), "it was not renewed: {line}");
    plane.kubectl(&["delete", "namespace", &format!("bluegreen-host-{name}"), "--wait=false"]).unwrap();
}

#[test]
fn a_watch_tells_what_changes_anywhere_and_outlives_an_api_server() {
    let desk = Desk::new("fleetwatch");
    let far = ControlPlane::start(Options::api()).unwrap();
    install(&far);
    site_at(&far, "default", "shop", &json!({}));
    let fleet = Fleet::new(&desk.program, &far);
    let watch = fleet.begin(&["--contexts", "far,gone", "-w"]);
    watch.until("context gone: the API server at").unwrap();
    let line = watch.until("shop").unwrap();
    assert!(line.contains("Idle"), "{line}");
    let phase = |phase: &str| {
        let patch = json!({"status": {"phase": phase}}).to_string();
        far.kubectl(&["patch", "bgs", "shop", "--subresource=status", "--type=merge", "--patch", &patch]).unwrap();
    };
    phase("Draining");
    watch.until("Draining").unwrap();
    far.stop_api();
    watch.until("context far: the API server at").unwrap();
    far.start_api().unwrap();
    watch.until("context far: it answers again").unwrap();
    phase("Baking");
    watch.until("Baking").unwrap();
    far.kubectl(&["delete", "bgs", "shop"]).unwrap();
    watch.until("far/default/shop   deleted").unwrap();
}
