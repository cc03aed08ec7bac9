//! A server that is away, a repository that is too large, an agent that is killed while it fetches.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use bluegreen_rig::wait;

use crate::kit::{Followed, counted, noise};
use crate::machine::{nothing_lost, why};

#[test]
fn a_server_that_is_away_costs_nothing_and_what_was_pushed_meanwhile_is_taken_when_it_is_back() {
    let mut followed = Followed::start();
    let shop = followed.shop();
    let first = followed.push(&shop, "v1");
    followed.live_by("shop", &first);
    let load = followed.machine.load(&shop);
    followed.https.nginx.stop();
    followed.says("shop", "Warning", "GitNotFetched", &["was not read since", "goes on"]);
    assert!(counted(&followed.machine, "bluegreen_git_fetches_total{result=\"failed\"}") > 0.0);
    assert!(counted(&followed.machine, "bluegreen_git_last_fetch_timestamp_seconds") > 0.0);
    let second = followed.push(&shop, "v2");
    // An agent that starts meanwhile goes on from what it has.
    followed.machine.agent.stop();
    followed.machine.agent.run().unwrap();
    followed.live_by("shop", &first);
    load.wait_for_more(50).unwrap();
    followed.https.nginx.start_again().unwrap();
    load.wait_for_version("v2").unwrap();
    let site = followed.live_by("shop", &second);
    nothing_lost(&load.stop());
    let site = if why(&site, "Warning").is_empty() {
        site
    } else {
        followed.machine.agent.wait_for("shop", "has no warning", |site| why(site, "Warning").is_empty()).unwrap()
    };
    assert_eq!(why(&site, "Warning"), "");
}

#[test]
fn a_token_that_is_wrong_is_said_without_being_shown() {
    let mut followed = Followed::prepared();
    followed.push(&followed.shop(), "v1");
    let secret = "a-wrong-token-that-nobody-sees";
    let file = followed.machine.agent.folder().join("token");
    crate::server::private(&file, secret);
    let right = followed.https.configuration();
    let token = right.lines().find(|line| line.contains("tokenFile")).unwrap();
    let wrong = right.replace(token, &format!("  tokenFile: {}", file.display()));
    crate::kit::follow(&mut followed.machine, &wrong, "");
    let log = || followed.machine.agent.log();
    wait::until("it was said", wait::PATIENCE, || log().contains("asking the repository failed").then_some(()))
        .unwrap();
    assert!(!log().contains(secret), "{}", log());
    // A file that others may read is no secret.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    wait::until("it was refused", wait::PATIENCE, || log().contains("may be read by others than root").then_some(()))
        .unwrap();
}

/// How large the repository is; the figure that is shown is for 2048.
fn mebibytes() -> usize {
    std::env::var("BLUEGREEN_GIT_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

/// The most memory in MiB that the agent may ever take, however large a repository is.
const AGENT_MIB: u64 = 150;

#[test]
fn a_repository_that_is_too_large_fills_no_disk_and_is_read_where_its_server_leaves_files_out() {
    let mut followed = Followed::prepared();
    let shop = followed.shop();
    noise(&followed.repository.clone().join("video.bin"), mebibytes());
    followed.repository.partial(false);
    let commit = followed.push(&shop, "v1");
    followed.follow("  sizeLimit: 20Mi\n");
    wait::until("it was said", LONG, || {
        followed.machine.agent.log().contains("takes more than 20 MiB here").then_some(())
    })
    .unwrap();
    assert!(counted(&followed.machine, "bluegreen_git_fetches_total{result=\"too-large\"}") > 0.0);
    let mirror = followed.machine.agent.state_dir().join("git/mirror");
    wait::until("the copy was removed", wait::PATIENCE, || (!mirror.exists()).then_some(())).unwrap();
    assert!(followed.machine.agent.site("shop").is_err());
    followed.repository.partial(true);
    followed.follow("  sizeLimit: 20Mi\n");
    followed.live_by("shop", &commit);
    assert!(size(&mirror) < 1 << 20, "{} bytes", size(&mirror));
    fits(&followed);
    // One that may take as much is copied whole, and no agent holds it in memory.
    followed.repository.partial(false);
    followed.machine.agent.stop();
    fs::remove_dir_all(followed.machine.agent.state_dir().join("git")).unwrap();
    followed.follow(&format!("  sizeLimit: {}Mi\n", mebibytes() * 2));
    let next = followed.push(&shop, "v2");
    wait::until("the next commit was live", LONG, || {
        let site = followed.machine.agent.site("shop").ok()?;
        let origin = site["metadata"]["annotations"]["bluegreen.dev/origin"].as_str()?.to_owned();
        (origin.contains(&next[..12]) && why(&site, "Ready") == "Live").then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", followed.machine.agent.log()));
    assert!(size(&mirror) >= (mebibytes() as u64) << 20, "{} bytes", size(&mirror));
    fits(&followed);
}

/// Two gigabytes take a while.
const LONG: std::time::Duration = std::time::Duration::from_secs(600);

fn fits(followed: &Followed) {
    let most = bluegreen_rig::process::peak_memory(followed.machine.agent.pid().unwrap()).unwrap() >> 20;
    assert!(most < AGENT_MIB, "the agent took {most} MiB");
}

fn size(folder: &std::path::Path) -> u64 {
    fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| match entry.metadata().unwrap() {
            meta if meta.is_dir() => size(&entry.path()),
            meta => meta.len(),
        })
        .sum()
}

#[test]
fn an_agent_that_is_killed_while_it_fetches_ends_that_fetch_and_begins_anew() {
    let mut followed = Followed::prepared();
    let shop = followed.shop();
    noise(&followed.repository.clone().join("video.bin"), 24);
    followed.repository.partial(false);
    let commit = followed.push(&shop, "v1");
    followed.https.configure("limit_rate 1m;");
    followed.follow("");
    let mirror = followed.machine.agent.state_dir().join("git/mirror/objects/pack");
    let busy = followed.machine.agent.state_dir().join("git/busy.json");
    wait::until("it fetched", wait::PATIENCE, || {
        let packs = fs::read_dir(&mirror).ok()?.flatten();
        packs.into_iter().any(|entry| entry.metadata().is_ok_and(|meta| meta.len() > 1 << 20)).then_some(())
    })
    .unwrap();
    followed.machine.agent.kill();
    let told: serde_json::Value = serde_json::from_str(&fs::read_to_string(&busy).unwrap()).unwrap();
    let left = u32::try_from(told["process"]["pid"].as_u64().unwrap()).unwrap();
    followed.https.configure("");
    followed.machine.agent.run().unwrap();
    followed.live_by("shop", &commit);
    assert!(!bluegreen_rig::process::exists(left), "the fetch of the agent that was killed still runs");
    wait::until("nothing was left", wait::PATIENCE, || (!busy.exists()).then_some(())).unwrap();
}
