//! What pods print, as kubectl's plugin shows it: by way of the API server from a real kubelet.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;

use bluegreen_rig::cluster::Node;
use bluegreen_rig::{binaries, process, wait};
use serde_json::{Value, json};

use super::kit::{cluster_ip, install, settled, site, told};

#[test]
#[ignore = "needs root and minutes: make test-node"]
fn the_plugin_shows_what_the_live_pods_print() {
    let node = Node::up().expect("a node comes up");
    install(&node);
    let plugins = node.folder().join("plugins");
    std::fs::create_dir(&plugins).expect("it can be made");
    symlink(binaries::bluegreen().expect("it is built"), plugins.join("kubectl-bluegreen")).expect("it can be linked");
    let mut path = plugins.into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let logs = |arguments: &[&str]| {
        let mut command = node.command("kubectl");
        command.args(["bluegreen", "logs", "shop"]).args(arguments).env("PATH", &path);
        command
    };
    let lines = |arguments: &[&str]| -> Vec<String> {
        let said = process::run(&mut logs(arguments)).unwrap_or_else(|error| panic!("{error:#}\n{}", told(&node)));
        String::from_utf8_lossy(&said.stdout).lines().map(str::to_owned).collect()
    };

    node.apply(&talkative("v1").to_string()).expect("the site is accepted");
    let first = settled(&node, None);
    ask(&node, "/slow?ms=1");
    let pods = pods(&node);
    assert_eq!(pods.len(), 2, "{pods:?}");
    let all = wait::until("both pods had printed what they were asked", wait::PATIENCE, || {
        let all = lines(&[]);
        pods.iter().all(|pod| all.iter().any(|line| line.starts_with(&format!("[{pod}] ")))).then_some(all)
    });
    let all = all.unwrap_or_else(|error| panic!("{error}: {:?}", lines(&[])));
    assert!(all.iter().all(|line| line.contains("GET /slow ")), "{all:?}");
    let one = lines(&["--instance", &pods[0], "--tail", "1"]);
    assert_eq!(one.len(), 1, "{one:?}");
    assert!(!one[0].starts_with('['), "of one pod nobody asks whose line it is: {one:?}");

    // Who follows hears what comes.
    let mut follower = Ended(logs(&["--follow"]).stdout(Stdio::piped()).spawn().expect("it starts"));
    let printed = BufReader::new(follower.0.stdout.take().expect("it is piped"));
    let (sender, heard) = mpsc::channel();
    thread::spawn(move || printed.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let hears = |what: &str| {
        while !heard.recv_timeout(wait::PATIENCE).unwrap_or_else(|_| panic!("{what} was not heard")).contains(what) {}
    };
    hears("GET /slow ");
    ask(&node, "/silent?ms=1");
    hears("GET /silent ");
    drop(follower);

    // The live pods are meant, whichever those are.
    node.apply(&talkative("v2").to_string()).expect("the site is accepted");
    settled(&node, Some(&first));
    ask(&node, "/");
    let all = wait::until("the new pods had printed what they were asked", wait::PATIENCE, || {
        let all = lines(&[]);
        (!all.is_empty()).then_some(all)
    })
    .expect("they do");
    assert!(all.iter().all(|line| line.contains("GET / ")), "{all:?}");
}

/// The site, with an app that prints a line for each request.
fn talkative(version: &str) -> Value {
    let mut site = site(version);
    let container = &mut site["spec"]["target"]["cluster"]["template"]["spec"]["containers"][0];
    let env = container["env"].as_array_mut().expect("it has some");
    env.push(json!({ "name": "RIG_ARRIVALS", "value": "/dev/stdout" }));
    site
}

/// Enough requests that each pod has had one.
fn ask(node: &Node, path: &str) {
    let mut load = node.command(binaries::rig_load().expect("it is built"));
    load.args([&format!("{}:80", cluster_ip(node, "shop")), "--fresh", "--count", "40", "--get", path]);
    process::run(&mut load).expect("nothing is lost");
}

/// The pods of the site.
fn pods(node: &Node) -> Vec<String> {
    let said = node.json(&["get", "pods", "--selector=bluegreen.dev/site=shop"]).expect("there are some");
    let names = said["items"].as_array().into_iter().flatten().filter_map(|pod| pod["metadata"]["name"].as_str());
    names.map(str::to_owned).collect()
}

/// A process that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
