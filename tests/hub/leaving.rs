//! An admin shuts out a host that is alive, and what it ran runs on, whatever becomes of its sites on the hub.

use std::process::Command;

use bluegreen_rig::binaries;
use serde_json::json;

use crate::kit::{Host, PREFIX, nothing_lost, plane, tail};

#[test]
fn what_a_host_runs_goes_on_when_an_admin_shuts_it_out_and_deletes_its_sites_at_once() {
    let host = Host::start(plane());
    let (shop, blog) = (host.site("shop", 0), host.site("blog", 1));
    for site in [&shop, &blog] {
        host.apply(&site.clone().release(&host.release("v1")));
    }
    host.ready("shop");
    host.ready("blog");
    // One goes at once when it is deleted, the other is seen to go by somebody else.
    let kept = json!({ "metadata": { "finalizers": ["bluegreen.dev/host", "example.com/kept"] } }).to_string();
    host.namespace.kubectl(&["patch", "bluegreensite", "blog", "--type=merge", "--patch", &kept]).unwrap();
    let loads = [host.load(&shop), host.load(&blog)];
    let name = host.namespace.name().strip_prefix(PREFIX).unwrap();
    let mut leave = Command::new(binaries::bluegreen().unwrap());
    leave.args(["host", "leave", name, "--force"]).env("KUBECONFIG", host.plane.kubeconfig());
    let said = leave.output().unwrap();
    assert!(said.status.success(), "{said:?}");
    host.namespace.kubectl(&["delete", "bluegreensites", "shop", "blog", "--wait=false"]).unwrap();

    let stands = host.reached(false);
    let why = stands["why"].as_str().unwrap();
    assert!(why.contains("forbids") || why.contains("refuses") || why.contains("knows"), "{stands}");
    // Whatever it had seen before, it has acted upon by now: a session ends with its work.
    let log = host.agent.log();
    assert!(!log.contains("the site goes away"), "{}", tail(&log, 40));
    for (site, load) in ["shop", "blog"].into_iter().zip(loads) {
        let here = host.agent.site(site).unwrap();
        assert!(here["metadata"]["deletionTimestamp"].is_null(), "{here:#}");
        load.wait_for_more(100).unwrap();
        nothing_lost(&load.stop());
    }
    let none = json!({ "metadata": { "finalizers": null } }).to_string();
    host.namespace.kubectl(&["patch", "bluegreensite", "blog", "--type=merge", "--patch", &none]).unwrap();
}

#[test]
fn a_site_whose_finalizer_somebody_took_off_while_the_host_has_its_rights_goes_away_in_order() {
    let host = Host::start(plane());
    host.apply(&host.site("shop", 0).release(&host.release("v1")));
    host.ready("shop");
    host.namespace.kubectl(&["delete", "bluegreensite", "shop", "--wait=false", "--grace-period=0"]).unwrap();
    let none = json!({ "metadata": { "finalizers": null } }).to_string();
    // It may be gone already.
    let _ = host.namespace.kubectl(&["patch", "bluegreensite", "shop", "--type=merge", "--patch", &none]);
    host.gone("shop");
}
