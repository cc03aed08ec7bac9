//! The network between two hosts and their hub, cut or silent at moments of chance.

use bluegreen_rig::load::Running;
use bluegreen_rig::manifest::Manifest;

use crate::kit::{Host, condition, is_ready, nothing_lost, plane};

/// So many requests the load makes while a rollout lasts, more or less.
const MOMENTS: u64 = 2000;

/// How often it is cut; the figure that is shown is for 50.
fn cuts() -> u64 {
    std::env::var("BLUEGREEN_HUB_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

/// What a commit brings.
#[derive(Debug)]
enum Commit {
    Good,
    Bad,
    /// Back to what is live.
    Back,
    /// Back to the version before the one that is live.
    FurtherBack,
}

fn commit(round: u64) -> Commit {
    match round % 5 {
        3 if round < cuts() => Commit::Bad,
        4 => Commit::Back,
        0 => Commit::FurtherBack,
        _ => Commit::Good,
    }
}

#[test]
fn a_network_that_is_cut_or_silent_at_any_moment_loses_no_request_and_no_specification() {
    let hosts = [Host::start(plane()), Host::start(plane())];
    let site = |host: &Host, version: &str| {
        let site = host.site("shop", 0).strategy("standby", "1m").strategy("readyWithin", "3s");
        site.release(&host.agent.uploads().join(version))
    };
    let all = |version: &str, behaviour: &str| {
        for host in &hosts {
            host.release_that(version, behaviour);
        }
    };
    all("v0", "");
    for host in &hosts {
        host.apply(&site(host, "v0"));
        host.ready("shop");
    }
    let loads: Vec<Running> = hosts.iter().map(|host| host.load(&site(host, "v0"))).collect();
    let mut dice = Dice::new();
    // What was live and was not taken back.
    let mut good = vec!["v0".to_owned()];
    for round in 1..=cuts() {
        let (commit, next) = (commit(round), format!("v{round}"));
        let wanted = match commit {
            Commit::Good => {
                all(&next, "");
                good.push(next);
                good[good.len() - 1].clone()
            }
            Commit::Bad => {
                all(&next, "never-ready\n");
                next
            }
            Commit::Back => good[good.len() - 1].clone(),
            Commit::FurtherBack => {
                good.pop();
                good[good.len() - 1].clone()
            }
        };
        let bad = matches!(commit, Commit::Bad);
        let what = format!("round {round}, {commit:?} {wanted}, seed {}", dice.seed);
        // Before, while and after a host hears of it.
        for host in &hosts {
            if dice.below(3) == 0 {
                interrupt(host, &mut dice);
            }
        }
        for host in &hosts {
            host.apply(&site(host, &wanted));
        }
        for (host, load) in hosts.iter().zip(&loads) {
            load.wait_for_more(dice.below(MOMENTS)).unwrap();
            interrupt(host, &mut dice);
        }
        for (host, load) in hosts.iter().zip(&loads) {
            load.wait_for_more(dice.below(MOMENTS)).unwrap();
            host.proxy.mend();
        }
        for (host, load) in hosts.iter().zip(&loads) {
            let ended = format!("has carried it out in {what}");
            host.wait_for("shop", &ended, |object| {
                let rejected = condition(object, "Ready")["reason"] == "ReadyDeadlineExceeded"
                    && object["status"]["observedGeneration"] == object["metadata"]["generation"];
                object["metadata"]["generation"] == round + 1 && if bad { rejected } else { is_ready(object) }
            });
            host.agrees("shop");
            assert_eq!(host.served(&site(host, "v0")).as_ref(), good.last(), "{what}");
            let so_far = load.totals();
            assert_eq!(so_far.failed, 0, "{what}: {:?}", so_far.told);
            if bad {
                std::fs::remove_dir_all(host.agent.uploads().join(&wanted)).unwrap();
            }
        }
    }
    for (host, load) in hosts.iter().zip(loads) {
        serves_what_the_hub_says(host, &site(host, "v0"));
        assert!(host.proxy.carried() > 0, "it went another way");
        nothing_lost(&load.stop());
    }
}

/// The network goes, in one of its ways.
fn interrupt(host: &Host, dice: &mut Dice) {
    if dice.below(2) == 0 { host.proxy.cut() } else { host.proxy.swallow() }
}

fn serves_what_the_hub_says(host: &Host, site: &Manifest) {
    let object = host.object("shop").unwrap();
    let path = object.pointer("/spec/target/host/release/path").unwrap().as_str().unwrap();
    let version = std::path::Path::new(path).file_name().unwrap().to_str();
    assert_eq!(host.served(site).as_deref(), version);
    let here = host.agent.site("shop").unwrap();
    assert_eq!(here["status"]["live"]["revision"], object["status"]["live"]["revision"]);
    assert_eq!(here["spec"], object["spec"]);
}

/// Numbers that differ from run to run; `BLUEGREEN_SEED` repeats a run.
struct Dice {
    seed: u64,
    state: u64,
}

impl Dice {
    fn new() -> Dice {
        let given = std::env::var("BLUEGREEN_SEED").ok().and_then(|text| text.parse().ok());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = given.unwrap_or_else(|| u64::from(now.subsec_nanos()) | 1);
        Dice { seed, state: seed }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % limit
    }
}
