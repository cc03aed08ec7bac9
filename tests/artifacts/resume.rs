//! Downloads that break off go on where they were.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bluegreen_rig::manifest::Manifest;
use bluegreen_rig::wait;

use crate::kit::{Asked, Authority, Odd, Then, packed, sum, with};
use crate::machine::Machine;
use crate::served::Served;

/// The answer of a server that has ranges: `content` from where it was asked, cut after `most` bytes.
fn part(content: &[u8], asked: &Asked, most: usize) -> Vec<u8> {
    let from = asked.from.unwrap_or(0);
    let rest = &content[from..];
    let head = match from {
        0 => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", rest.len()),
        _ => format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{}\r\n",
            rest.len(),
            content.len() - 1,
            content.len()
        ),
    };
    let mut all = format!("{head}ETag: \"one\"\r\n\r\n").into_bytes();
    all.extend(&rest[..rest.len().min(most)]);
    all
}

#[test]
fn a_download_that_is_cut_again_and_again_gets_each_byte_once() {
    let served = Served::start();
    let authority = Authority::new();
    let content = packed(&served.machine.release("v2"));
    let cuts = Mutex::new(vec![content.len(), content.len() / 3, 1, 70_000, 1_000].into_iter());
    let mut left: Vec<usize> = cuts.lock().unwrap().by_ref().collect();
    let (digest, length) = (sum(&content), content.len());
    let sent = Arc::new(AtomicUsize::new(0));
    let (counted, cuts) = (sent.clone(), Mutex::new(std::mem::take(&mut left)));
    let odd = Odd::start(&authority, move |asked| {
        let most = cuts.lock().unwrap().pop().unwrap_or(usize::MAX);
        let rest = content.len() - asked.from.unwrap_or(0);
        counted.fetch_add(rest.min(most), Ordering::Relaxed);
        (part(&content, asked, most), Then::Close)
    });
    served.agent().apply_and_wait(&with(&served.site, odd.release(&authority, &digest))).unwrap();
    served.load().wait_for_version("v2").unwrap();
    assert_eq!(odd.began(), [0, 1_000, 71_000, 71_001, 71_001 + length / 3]);
    assert_eq!(sent.load(Ordering::Relaxed), length);
    served.lost_nothing();
}

#[test]
fn a_server_without_ranges_is_asked_from_the_start_and_so_is_one_that_has_another_file_by_now() {
    let served = Served::start();
    let authority = Authority::new();
    let content = packed(&served.machine.release("v2"));
    let digest = sum(&content);
    let count = AtomicUsize::new(0);
    let odd = Odd::start(&authority, move |asked| {
        assert_eq!(asked.if_range.as_deref(), asked.from.map(|_| "\"one\""));
        let whole = Asked::default();
        let most = if count.fetch_add(1, Ordering::Relaxed) == 0 { 5_000 } else { usize::MAX };
        (part(&content, &whole, most), Then::Close)
    });
    served.agent().apply_and_wait(&with(&served.site, odd.release(&authority, &digest))).unwrap();
    served.load().wait_for_version("v2").unwrap();
    assert_eq!(odd.began(), [0, 5_000]);
    served.lost_nothing();
}

#[test]
fn an_agent_that_is_killed_in_the_middle_goes_on_where_it_was() {
    let mut machine = Machine::start();
    let site = machine.site("shop", 0);
    machine.agent.apply_and_wait(&site.clone().release(&machine.release("v1"))).unwrap();
    let authority = Authority::new();
    let content = packed(&machine.release("v2"));
    let digest = sum(&content);
    let odd = Odd::start(&authority, move |asked| match asked.from {
        None => (part(&content, asked, 200_000), Then::Hang),
        Some(_) => (part(&content, asked, usize::MAX), Then::Close),
    });
    let load = machine.load(&site);
    machine.agent.apply(&with(&site, odd.release(&authority, &digest))).unwrap();
    let here = machine.agent.state_dir().join("downloads").join(format!("{digest}.part"));
    let arrived = || here.metadata().is_ok_and(|part| part.len() == 200_000).then_some(());
    wait::until("the first part is here", wait::PATIENCE, arrived).unwrap();
    machine.agent.kill();
    machine.agent.run().unwrap();
    load.wait_for_version("v2").unwrap();
    assert_eq!(odd.began(), [0, 200_000]);
    crate::machine::nothing_lost(&load.stop());
}

#[test]
fn a_server_that_trickles_is_left_and_gone_on_with_from_where_it_was() {
    let served = Served::start();
    let authority = Authority::new();
    let content = packed(&served.machine.release("v2"));
    let digest = sum(&content);
    let odd = Odd::start(&authority, move |asked| match asked.from {
        None => (part(&content, asked, 10_000), Then::Trickle(content[10_000..].to_vec())),
        Some(_) => (part(&content, asked, usize::MAX), Then::Close),
    });
    served.agent().apply_and_wait(&with(&served.site, odd.release(&authority, &digest))).unwrap();
    served.load().wait_for_version("v2").unwrap();
    let began = odd.began();
    // Some bytes trickled, and none of them was fetched twice.
    assert!(began.len() == 2 && began[0] == 0 && began[1] > 10_000, "{began:?}");
    served.lost_nothing();
}

#[test]
fn servers_that_say_nothing_hold_up_no_site_whose_release_is_here() {
    const MANY: usize = 16;
    let machine = Machine::start();
    let authority = Authority::new();
    let odd = Odd::start(&authority, |_| (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec(), Then::Hang));
    let digest = sum(b"never seen");
    for number in 0..MANY {
        let site = Manifest::files(&format!("slow-{number}"), machine.address(), machine.user.name());
        let mut release = odd.release(&authority, &digest);
        // Each its own: what several want is fetched once.
        release["sha256"] = digest.replace(&digest[..2], &format!("{number:02x}")).into();
        machine.agent.apply(&with(&site, release)).unwrap();
    }
    wait::until("all of them were asked", wait::PATIENCE, || (odd.paths().len() >= MANY).then_some(())).unwrap();
    let site = machine.site("shop", 0);
    machine.agent.apply_and_wait(&site.release(&machine.release("v1"))).unwrap();
    assert!(odd.paths().len() < 2 * MANY, "it was live before all of them were given up");
}
