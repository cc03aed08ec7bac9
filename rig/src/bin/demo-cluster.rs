//! `make demo-cluster`: a site on a real control plane goes from v1 to v2, refuses a v3 whose image nobody can pull, and goes back. kwok plays
//! the kubelet: pods become ready, and nothing runs in them.

use std::fs::File;
use std::io::{IsTerminal, stdout};
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bluegreen_rig::cluster::{ControlPlane, Options, POD, tools};
use bluegreen_rig::process::Guarded;
use bluegreen_rig::{binaries, interrupt, wait};
use rustix::process::Signal;
use serde_json::{Value, json};

fn main() -> ExitCode {
    match play() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo-cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn play() -> Result<()> {
    interrupt::heed()?;
    let begun = Instant::now();
    say(
        "etcd, kube-apiserver, kube-controller-manager, kube-scheduler, and kwok, which plays the kubelet, on ports of their own",
    );
    let plane = ControlPlane::start(Options::pods())?;
    say(&format!(
        "they serve after {:.1} s; everything is in {}",
        begun.elapsed().as_secs_f64(),
        plane.folder().display()
    ));
    let demo = Demo::new(&plane)?;
    plane.apply(include_str!("../../../crds/bluegreen.dev_bluegreensites.yaml"))?;
    plane.wait_for_resource("bluegreensites")?;
    let _operator = demo.operator()?;
    say("the definition of BlueGreenSite is there, and `bluegreen operator` looks after sites");

    demo.apply("v1", "a site of three pods, for the first time", true)?;
    demo.apply("v2", "another image: green starts beside blue, the Service moves in one write, blue stays warm", true)?;
    demo.show("what there is now", &["kubectl", "get", "services,deployments", "--selector=bluegreen.dev/site=shop"])?;
    demo.apply("v3", "an image that nobody can pull: rejected in time, and v2 goes on serving", false)?;
    demo.show("back to v1: what it was made of is kept", &["kubectl", "bluegreen", "rollback", "shop"])?;
    demo.settled("v1")?;
    demo.show("how it ended", &["kubectl", "get", "bluegreensites"])?;
    demo.show("and how it came to that", &["kubectl", "bluegreen", "history", "shop"])?;
    say("\nThat was it: the operator and the control plane end now, and their folder goes with them.");
    Ok(())
}

/// The control plane, and how a person at its command line would reach it.
struct Demo<'a> {
    plane: &'a ControlPlane,
    programs: PathBuf,
}

impl Demo<'_> {
    fn new(plane: &ControlPlane) -> Result<Demo<'_>> {
        // kubectl finds its plugins by their names on PATH.
        let programs = plane.folder().join("bin");
        std::fs::create_dir(&programs)?;
        std::os::unix::fs::symlink(tools::kubectl()?, programs.join("kubectl"))?;
        std::os::unix::fs::symlink(binaries::bluegreen()?, programs.join("kubectl-bluegreen"))?;
        Ok(Demo { plane, programs })
    }

    fn operator(&self) -> Result<Guarded> {
        let log = File::create(self.plane.folder().join("operator.log"))?;
        let mut command = Command::new(binaries::bluegreen()?);
        command.args(["operator", "--metrics-address=127.0.0.1:0", "--health-address=127.0.0.1:0"]);
        command.env("KUBECONFIG", self.plane.kubeconfig()).stdout(log.try_clone()?).stderr(log);
        Guarded::start(&mut command, Signal::TERM, Duration::from_secs(10))
    }

    /// Hands the site in as the plugin's user would, and watches it until it is live or was rejected.
    fn apply(&self, version: &str, title: &str, good: bool) -> Result<()> {
        let file = format!("shop-{version}.json");
        std::fs::write(self.plane.folder().join(&file), format!("{:#}\n", site(version)))?;
        let status = self.show(title, &["kubectl", "bluegreen", "apply", "--wait", "--timeout=2m", "-f", &file])?;
        if status.success() != good {
            let log = std::fs::read_to_string(self.plane.folder().join("operator.log"))?;
            bail!("that ended with {status}; the operator said:\n{log}");
        }
        Ok(())
    }

    /// Runs a command before everybody's eyes.
    fn show(&self, title: &str, words: &[&str]) -> Result<ExitStatus> {
        if interrupt::pending() {
            bail!("interrupted");
        }
        let terminal = stdout().is_terminal();
        let (bold, dim, plain) = if terminal { ("\x1b[1m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
        println!("\n{bold}▶ {title}{plain}\n{dim}$ {}{plain}", words.join(" "));
        let (program, arguments) = words.split_first().context("no command")?;
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(self.programs.join(program));
        command.args(arguments).current_dir(self.plane.folder());
        command.env("PATH", format!("{}:{path}", self.programs.display())).env("KUBECONFIG", self.plane.kubeconfig());
        command.env("KUBECACHEDIR", self.plane.folder().join("kubectl-cache"));
        command.status().with_context(|| format!("cannot run {program}"))
    }

    /// Waits until this version is live and nothing is under way.
    fn settled(&self, version: &str) -> Result<()> {
        let image = image(version);
        wait::until(&format!("{version} was live"), wait::PATIENCE, || {
            let site = self.plane.json(&["get", "bluegreensites/shop"]).ok()?;
            let colour = site["status"]["live"]["colour"].as_str()?;
            let live = self.plane.json(&["get", &format!("deployment/shop-{colour}")]).ok()?;
            let runs = live["spec"]["template"]["spec"]["containers"][0]["image"] == image;
            (site["status"]["phase"] == "Idle" && runs).then_some(())
        })?;
        Ok(())
    }
}

fn site(version: &str) -> Value {
    // What kwok is told about v3.
    let annotations = if version == "v3" { json!({ POD: "unpullable" }) } else { json!({}) };
    let container =
        json!({ "name": "shop", "image": image(version), "ports": [{ "name": "http", "containerPort": 8080 }] });
    let cluster = json!({
        "replicas": 3,
        "service": { "ports": [{ "name": "http", "port": 80, "targetPort": "http" }] },
        "template": { "metadata": { "annotations": annotations }, "spec": { "containers": [container] } },
    });
    json!({
        "apiVersion": "bluegreen.dev/v1alpha1", "kind": "BlueGreenSite", "metadata": { "name": "shop" },
        "spec": {
            "target": { "cluster": cluster },
            "strategy": { "readyWithin": "8s", "drainWithin": "1s", "bake": "3s", "standby": "10m" },
        },
    })
}

fn image(version: &str) -> String {
    format!("registry.example.com/shop:{version}")
}

fn say(text: &str) {
    println!("{text}");
}
