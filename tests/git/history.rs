//! What a history does: goes back, is rewritten, is signed.

use std::fs;
use std::process::Command;

use bluegreen_rig::process::run;
use bluegreen_rig::wait;

use crate::kit::{Followed, printed};
use crate::machine::{metrics, nothing_lost};
use crate::server::git;

#[test]
fn a_revert_is_a_fast_way_back_to_what_is_still_warm() {
    let followed = Followed::start();
    let shop = followed.shop().strategy("standby", "1h");
    let first = followed.push(&shop, "v1");
    followed.live_by("shop", &first);
    let warm = followed.machine.agent.apps();
    let second = followed.push(&shop, "v2");
    followed.live_by("shop", &second);
    let load = followed.machine.load(&shop);
    load.wait_for_version("v2").unwrap();
    git(&followed.repository.clone(), &["revert", "--no-edit", "HEAD"]);
    let third = followed.repository.push_with(&["--amend"], "back");
    load.wait_for_version("v1").unwrap();
    followed.live_by("shop", &third);
    nothing_lost(&load.stop());
    let now = followed.machine.agent.apps();
    assert!(warm.iter().all(|pid| now.contains(pid)), "what served before serves again: {warm:?}, {now:?}");
}

#[test]
fn a_history_that_was_rewritten_is_followed_and_said() {
    let followed = Followed::start();
    let shop = followed.shop();
    let first = followed.push(&shop, "v1");
    followed.live_by("shop", &first);
    for version in ["v2", "v3"] {
        let commit = followed.push(&shop, version);
        followed.live_by("shop", &commit);
    }
    let old = followed.repository.head();
    let quiet = printed(&followed.machine, &["history", "shop"]);
    assert!(!quiet.contains("HistoryRewritten"), "{quiet}");
    // Two commits at once are no rewriting.
    followed.repository.push("nothing");
    followed.repository.push("nothing more");
    followed.applied(&followed.repository.head());
    let before = followed.repository.head();
    git(&followed.repository.clone(), &["reset", "--quiet", "--hard", &first]);
    let new = followed.push(&shop, "v4");
    followed.live_by("shop", &new);
    let history = printed(&followed.machine, &["history", "shop", "-o", "json"]);
    let events: serde_json::Value = serde_json::from_str(&history).unwrap();
    let said: Vec<&str> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["reason"] == "HistoryRewritten")
        .filter_map(|event| event["message"].as_str())
        .collect();
    assert_eq!(said.len(), 1, "{history}");
    assert!(said[0].contains(&before) && said[0].contains(&new) && !said[0].contains(&old), "{said:?}");
}

#[test]
fn where_signatures_are_asked_for_only_a_commit_of_a_known_key_is_taken() {
    let keys = tempfile::tempdir().unwrap();
    let at = |name: &str| keys.path().join(name).display().to_string();
    for name in ["known", "unknown"] {
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &at(name)])).unwrap();
    }
    let public = fs::read_to_string(at("known.pub")).unwrap();
    fs::write(at("signers"), format!("somebody@example.com namespaces=\"git\" {public}")).unwrap();
    let followed = Followed::with(&format!("  requireSignature: {{ allowedSigners: {} }}\n", at("signers")));
    let sign = |key: &str| {
        let clone = followed.repository.clone();
        git(&clone, &["config", "gpg.format", "ssh"]);
        git(&clone, &["config", "user.signingKey", &at(key)]);
    };
    let shop = followed.shop();
    let push = |version: &str, options: &[&str]| {
        followed.put(&shop.clone().release(&followed.machine.release(version)));
        followed.repository.push_with(options, version)
    };
    let refused = |commit: &str| {
        let line = format!("bluegreen_git_commit{{commit=\"{commit}\",applied=\"false\"}} 1");
        wait::until("the commit was refused", wait::PATIENCE, || {
            metrics(&followed.machine.agent, "/metrics").contains(&line).then_some(())
        })
        .unwrap();
    };
    refused(&push("v1", &[]));
    assert!(followed.machine.agent.site("shop").is_err());
    assert!(followed.machine.agent.log().contains("it has no signature"), "{}", followed.machine.agent.log());
    sign("known");
    let signed = push("v2", &["-S"]);
    followed.live_by("shop", &signed);
    let history = printed(&followed.machine, &["history", "shop"]);
    assert!(history.contains("signed by somebody@example.com"), "{history}");
    let load = followed.machine.load(&shop);
    load.wait_for_version("v2").unwrap();
    sign("unknown");
    let unknown = push("v3", &["-S"]);
    refused(&unknown);
    followed.says("shop", "Warning", "CommitRefused", &[&unknown[..12], "is not signed by anybody"]);
    refused(&push("v4", &[]));
    load.wait_for_more(50).unwrap();
    let totals = load.stop();
    nothing_lost(&totals);
    assert_eq!(totals.versions.keys().collect::<Vec<_>>(), ["v2"]);
    sign("known");
    followed.live_by("shop", &push("v5", &["-S"]));
}
