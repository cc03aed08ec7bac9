//! The network between host and hub, cut at moments of chance.

use bluegreen_rig::wait;

use crate::kit::{Host, PATIENCE, is_ready, nothing_lost, plane};

/// So many requests the load makes while a rollout lasts, more or less.
const MOMENTS: u64 = 3000;

/// How often it is cut; the figure that is shown is for 50.
fn cuts() -> u64 {
    std::env::var("BLUEGREEN_HUB_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

#[test]
fn a_network_that_is_cut_at_any_moment_loses_no_request_and_no_specification() {
    let host = Host::start(plane());
    let site = host.site("shop", 0);
    host.apply(&site.clone().release(&host.release("v0")));
    host.ready("shop");
    let load = host.load(&site);
    load.wait_for_version("v0").unwrap();
    let mut dice = Dice::new();
    for round in 1..=cuts() {
        let version = format!("v{round}");
        // Before, while and after the host hears of it.
        let early = dice.below(3) == 0;
        if early {
            host.proxy.cut();
        }
        host.apply(&site.clone().release(&host.release(&version)));
        load.wait_for_more(dice.below(MOMENTS)).unwrap();
        host.proxy.cut();
        load.wait_for_more(dice.below(MOMENTS)).unwrap();
        host.proxy.mend();
        let generation = round + 1;
        host.wait_for("shop", &format!("is ready in round {round}, seed {}", dice.seed), |object| {
            object["metadata"]["generation"] == generation && is_ready(object)
        });
        load.wait_for_version(&version).unwrap();
        let so_far = load.totals();
        assert_eq!(so_far.failed, 0, "round {round}, seed {}: {:?}", dice.seed, so_far.told);
        // Nothing was begun twice, and what runs is what the hub says.
        let here = host.agent.site("shop").unwrap();
        assert_eq!(here["metadata"]["generation"], generation, "seed {}: {here:#}", dice.seed);
        std::fs::remove_dir_all(host.agent.uploads().join(&version)).unwrap();
    }
    wait::until("bytes went through", PATIENCE, || (host.proxy.carried() > 0).then_some(())).unwrap();
    nothing_lost(&load.stop());
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
