//! Requests that began on the old colour, across a cutover.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bluegreen_rig::load::{Answer, Conversation, Fetch, Loss, fetch, get, upload};
use bluegreen_rig::manifest::asset_name;
use bluegreen_rig::wait;
use sha2::{Digest, Sha256};

use crate::begun::{Sites, now_ms};
use crate::kit::{revision, says, why};

/// What takes no notice of being asked to end.
const STUBBORN: &str = "ignore-term";

#[test]
fn what_began_on_the_old_colour_lives_to_its_end_and_only_then_is_that_colour_stopped() {
    let sites = Sites::new(6, "120s");
    let agent = &sites.machine.agent;
    let address = sites.machine.address();
    let silent = sites.site("silent", 0);
    let socket = sites.site("socket", 1);
    let events = sites.site("events", 2);
    let uploads = sites.site("uploads", 3);
    // `shop`, since that is the site whose revisions the kit knows.
    let page = sites.site("shop", 4).with_static("/assets/", "public/assets", 3);
    let all_at_once = sites.site("all", 5);
    let all = [&silent, &socket, &events, &uploads, &page, &all_at_once];
    sites.roll_out(&all, "v1", STUBBORN);
    for site in all {
        sites.wait_for_rest(site.name());
    }

    let body: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
    let sum = hex::encode(Sha256::digest(&body));
    let body_of = |site| Fetch {
        method: "POST".to_owned(),
        body: body.clone(),
        body_over: Duration::from_secs(60),
        ..sites.ask(site, "/upload")
    };
    let (begun, begun_too) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let is_silent = scope.spawn(|| timed(fetch(&sites.ask(&silent, "/silent?ms=20000"))));
        let streams = scope.spawn(|| {
            let as_browsers_ask = vec![("Accept".to_owned(), "text/event-stream".to_owned())];
            timed(fetch(&Fetch { headers: as_browsers_ask, ..sites.ask(&events, "/events?ms=40000") }))
        });
        let uploaded = scope.spawn(|| timed(upload(&body_of(&uploads), || begun.store(true, Ordering::Relaxed))));
        let uploaded_too =
            scope.spawn(|| timed(upload(&body_of(&all_at_once), || begun_too.store(true, Ordering::Relaxed))));
        let is_slow = scope.spawn(|| timed(fetch(&sites.ask(&all_at_once, "/slow?ms=30000"))));
        let mut conversation = Conversation::open(address, &socket.host(), "/ws").unwrap();
        let mut longest = Conversation::open(address, &all_at_once.host(), "/ws").unwrap();
        assert_eq!(conversation.say("before").unwrap(), "v1 before");
        assert_eq!(longest.say("before").unwrap(), "v1 before");
        let old_page = get(address, &page.host(), "/").unwrap().text();
        assert!(old_page.contains(&asset_name("v1")), "{old_page}");
        for path in ["/silent", "/events", "/slow"] {
            sites.wait_for_arrival(path);
        }
        wait::until("nginx waits for both uploads", wait::PATIENCE, || {
            [&begun, &begun_too].iter().all(|begun| begun.load(Ordering::Relaxed)).then_some(())
        })
        .unwrap();

        sites.roll_out(&all, "v2", "");
        assert_eq!(conversation.say("after").unwrap(), "v1 after");
        assert_eq!(longest.say("after").unwrap(), "v1 after");
        let drains = agent.wait_for_phase("all", "Draining").unwrap();
        assert_eq!(why(&drains, "Reconciling"), "Draining");
        assert!(says(&drains, "Ready").contains("blue finishes the requests that it has"), "{drains:#}");
        assert_eq!(why(&drains, "Available"), "AllInstancesReady");
        assert_assets(&sites, &page.host());

        let (answer, silent_ended) = is_silent.join().unwrap();
        assert_right(&answer.unwrap(), "v1");
        assert_eq!(conversation.say("after 20 s").unwrap(), "v1 after 20 s");
        let socket_ended = now_ms();
        conversation.close().unwrap();
        let (answer, slow_ended) = is_slow.join().unwrap();
        assert_right(&answer.unwrap(), "v1");
        let (answer, events_ended) = streams.join().unwrap();
        assert_all_events(&answer.unwrap());

        // Nothing else was in flight there, so the colour that was chosen for this upload is gone when its body is complete.
        let (answer, _) = uploaded.join().unwrap();
        assert_uploaded(&answer.unwrap(), "v2", &body, &sum);
        // Here it still has a conversation.
        let (answer, upload_ended) = uploaded_too.join().unwrap();
        assert_uploaded(&answer.unwrap(), "v1", &body, &sum);
        assert_eq!(longest.say("at last").unwrap(), "v1 at last");
        let longest_ended = now_ms();
        longest.close().unwrap();

        for (site, ended) in [
            ("silent", silent_ended),
            ("socket", socket_ended),
            ("events", events_ended),
            ("all", longest_ended.max(upload_ended).max(slow_ended)),
        ] {
            sites.wait_for_rest(site);
            let stopped = sites.entered(site, "Retiring");
            println!("{site}: the old colour was stopped {} ms after its last request", stopped - ended);
            assert!(stopped >= ended, "{site}: stopped at {stopped}, and its last request ended at {ended}");
        }
    });
    for site in all {
        sites.wait_for_rest(site.name());
        assert_eq!(agent.live_colour(site.name()).as_deref(), Some("green"));
    }
    wait::until("only the new colours were left", wait::PATIENCE, || (agent.apps().len() == all.len()).then_some(()))
        .unwrap();

    let first = revision(&sites.machine, "v1");
    agent.bluegreen(&["rollback", "shop", "--to", &first]).unwrap();
    let back = agent.wait_for("shop", "is back", |site| why(site, "Ready") == "RolledBack").unwrap();
    assert_eq!(why(&back, "Available"), "AllInstancesReady");
    assert_right(&get(address, &page.host(), "/").unwrap(), "v1");
    assert_assets(&sites, &page.host());
}

#[test]
fn what_outlives_the_drain_limit_is_cut_only_then_and_the_rollout_ends() {
    let sites = Sites::new(2, "4s");
    let agent = &sites.machine.agent;
    let (silent, events) = (sites.site("silent", 0), sites.site("events", 1));
    sites.roll_out(&[&silent, &events], "v1", STUBBORN);
    for site in [&silent, &events] {
        sites.wait_for_rest(site.name());
    }
    thread::scope(|scope| {
        let is_silent = scope.spawn(|| timed(fetch(&sites.ask(&silent, "/silent?ms=100000"))));
        let streams = scope.spawn(|| timed(fetch(&sites.ask(&events, "/events"))));
        for path in ["/silent", "/events"] {
            sites.wait_for_arrival(path);
        }
        sites.roll_out(&[&silent, &events], "v2", "");
        let (answer, silent_ended) = is_silent.join().unwrap();
        assert_eq!(answer.unwrap().status, 502, "what was sent is sent to nobody else");
        let (answer, events_ended) = streams.join().unwrap();
        assert_eq!(answer.unwrap_err(), Loss::BrokenAnswer);
        for (site, ended) in [("silent", silent_ended), ("events", events_ended)] {
            sites.wait_for_rest(site);
            let moved = i64::try_from(agent.moved_ns(site).unwrap() / 1_000_000).unwrap();
            println!("{site}: cut {} ms after the cutover, with a limit of 4000 ms", ended - moved);
            assert!(ended >= moved + 4000, "{site}: cut {} ms after the cutover", ended - moved);
            assert!(sites.entered(site, "Retiring") >= moved + 4000);
        }
    });
}

fn timed(fetched: Result<Answer, Loss>) -> (Result<Answer, Loss>, i64) {
    (fetched, now_ms())
}

fn assert_right(answer: &Answer, version: &str) {
    assert_eq!((answer.status, answer.version()), (200, Some(version)), "{answer:?}");
}

fn assert_uploaded(answer: &Answer, version: &str, body: &[u8], sum: &str) {
    assert_right(answer, version);
    let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&said["bytes"], &said["sha256"]), (&body.len().into(), &sum.into()));
}

/// All of them, in their order, up to the last one.
fn assert_all_events(answer: &Answer) {
    assert_right(answer, "v1");
    let text = answer.text();
    let numbers: Vec<usize> = text.lines().filter_map(|line| line.strip_prefix("id: ")?.parse().ok()).collect();
    assert!(numbers.len() > 10);
    assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>());
    assert!(text.contains("event: end"), "{text}");
}

/// The files of both pages are there, whichever is live.
fn assert_assets(sites: &Sites, host: &str) {
    for version in ["v1", "v2"] {
        let answer = get(sites.machine.address(), host, &format!("/assets/{}", asset_name(version))).unwrap();
        assert_eq!(answer.status, 200, "the file of {version}");
        assert!(answer.text().contains(version));
    }
}
