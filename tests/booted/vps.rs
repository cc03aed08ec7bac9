//! A booted Debian as somebody would have it: the distribution's nginx as it comes, the agent as its unit, and one site with two instances a
//! colour.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread::JoinHandle;

use bluegreen_rig::booted::{Booted, Image};
use bluegreen_rig::load::{Fetch, Load, Running, fetch};
use bluegreen_rig::manifest::{Manifest, release};
use bluegreen_rig::wait;
use serde_json::{Value, json};

const STATE: &str = "var/lib/bluegreen/sites/shop";

pub struct Vps {
    pub machine: Booted,
    pub load: Option<Running>,
}

/// How a machine goes down.
#[derive(Clone, Copy, Debug)]
pub enum Down {
    InOrder,
    AtOnce,
}

impl Vps {
    /// A machine whose agent runs, without a site.
    pub fn start() -> Vps {
        Vps::start_from(Image::Small)
    }

    /// The same with more installed.
    pub fn start_from(image: Image) -> Vps {
        let program = Path::new(env!("CARGO_BIN_EXE_bluegreen"));
        let machine = Booted::boot_from(image, &[(program, "/usr/bin/bluegreen")]).expect("a machine");
        let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd/bluegreen.service");
        fs::copy(unit, machine.root().join("etc/systemd/system/bluegreen.service")).expect("the agent's unit");
        let vps = Vps { machine, load: None };
        vps.run(&["systemctl", "daemon-reload"]);
        vps.run(&["systemctl", "enable", "--now", "--quiet", "nginx.service", "bluegreen.service"]);
        vps
    }

    /// Runs a command inside and returns what it printed.
    pub fn run(&self, argv: &[&str]) -> String {
        self.machine.run(argv).unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    /// Whether a command succeeds inside.
    pub fn does(&self, argv: &[&str]) -> bool {
        self.machine.output(argv).expect("a run").status.success()
    }

    /// The site, whose rollouts take no longer than they must.
    pub fn site(&self) -> Manifest {
        // Where it listens is left out: that is the distribution's port 80.
        Manifest::app("shop", address(), "shop", &[8081, 8082], &[8083, 8084])
            .unset("/spec/target/host/listen")
            .set("/spec/health", json!({ "path": "/health", "successes": 2, "interval": "50ms" }))
    }

    /// With a release that calls itself so, and behaves as told (see `rig_app`'s options).
    pub fn with(&self, site: Manifest, version: &str, behaviour: &str) -> Manifest {
        let uploads = self.machine.root().join("srv/uploads");
        release(&uploads, version, behaviour).expect("a release");
        site.release(&Path::new("/srv/uploads").join(version))
    }

    pub fn apply(&self, site: &Manifest) {
        self.written(site);
        self.run(&["bluegreen", "apply", "-f", "/root/shop.yaml"]);
    }

    pub fn apply_and_wait(&self, site: &Manifest) {
        self.written(site);
        self.run(&["bluegreen", "apply", "-f", "/root/shop.yaml", "--wait", "--timeout", "60s"]);
    }

    fn written(&self, site: &Manifest) {
        site.write(&self.machine.root().join("root/shop.yaml")).expect("a manifest");
    }

    /// The site as `bluegreen get` shows it.
    pub fn get(&self) -> Option<Value> {
        let output = self.machine.output(&["bluegreen", "get", "shop", "-o", "json"]).ok()?;
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Waits until the site is as wanted, and returns it.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = wait::until(what, wait::PATIENCE, || self.get().filter(|site| wanted(site)));
        found.unwrap_or_else(|error| {
            panic!("{error}; it is instead: {:#}\n{}", self.get().unwrap_or_default()["status"], self.log())
        })
    }

    pub fn wait_for_phase(&self, phase: &str) -> Value {
        self.wait_for(&format!("the site is {phase}"), |site| site.pointer("/status/phase") == Some(&phase.into()))
    }

    /// Waits until the rollout is over and this version is live.
    pub fn settles_on(&self, version: &str) {
        self.wait_for(&format!("the site has settled on {version}"), |site| {
            site.pointer("/status/phase") == Some(&"Idle".into()) && self.live_version() == version
        });
    }

    /// The colour that the link names.
    pub fn live(&self) -> &'static str {
        let link = fs::read_link(self.machine.root().join(STATE).join("live")).expect("a link");
        if link.ends_with("blue") { "blue" } else { "green" }
    }

    /// The version in the slot that the link names.
    pub fn live_version(&self) -> String {
        let slot = self.machine.root().join(STATE).join("slots").join(self.live());
        let revision = fs::read_link(slot.join("release")).expect("a release");
        let revision = revision.file_name().expect("a name");
        let version = self.machine.root().join(STATE).join("releases").join(revision).join("VERSION");
        fs::read_to_string(version).expect("a version").trim().to_owned()
    }

    /// The first processes of a colour's instances that are up.
    pub fn up(&self, colour: &str) -> Vec<String> {
        let units = [0, 1].map(|index| format!("bluegreen-shop-{colour}@{index}.service"));
        let up = units.iter().filter(|unit| self.does(&["systemctl", "is-active", "--quiet", unit]));
        up.map(|unit| self.run(&["systemctl", "show", "--property=MainPID", "--value", unit]).trim().to_owned())
            .collect()
    }

    /// At the next reboot the agent still runs when the live colour has been stopped already, and the other colour runs longer than both: as
    /// happens by chance when there is much to stop.
    pub fn the_agent_outlives_the_live_colour(&self) {
        let idle = if self.live() == "blue" { "green" } else { "blue" };
        for (unit, text) in [
            ("bluegreen.service", "[Service]\nExecStop=/usr/bin/sleep 2\n".to_owned()),
            (&format!("bluegreen-shop-{idle}@.service"), "[Unit]\nBefore=bluegreen.service\n".to_owned()),
        ] {
            // Gone after the reboot.
            let folder = format!("/run/systemd/system/{unit}.d");
            self.run(&["mkdir", "-p", &folder]);
            self.run(&["sh", "-c", &format!("printf '{text}' > {folder}/test.conf")]);
        }
        self.run(&["systemctl", "daemon-reload"]);
    }

    /// The version that answers on port 80.
    pub fn answers(&self) -> Option<String> {
        let asked = self.machine.in_its_network(|| fetch(&Fetch::get(address(), "shop.test", "/")));
        let answer = asked.expect("a network").ok()?;
        (answer.status == 200).then(|| answer.version().map(str::to_owned))?
    }

    pub fn waits_for_answers_of(&self, version: &str) {
        let what = format!("{version} answers through nginx");
        let answered =
            wait::until(&what, wait::PATIENCE, || (self.answers().as_deref() == Some(version)).then_some(()));
        answered.unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
    }

    /// A request that takes longer than anybody waits.
    pub fn a_long_request(&self) -> JoinHandle<()> {
        let asked = self.machine.in_its_network(|| {
            std::thread::spawn(|| {
                // What comes of it is the reboot's to say.
                let _ =
                    fetch(&Fetch { within: wait::PATIENCE, ..Fetch::get(address(), "shop.test", "/silent?ms=90000") });
            })
        });
        asked.expect("a network")
    }

    pub fn begin_load(&mut self) {
        let load = self.machine.in_its_network(|| Load::to(address(), "shop.test").clients(8).start());
        let load = load.expect("a network").expect("load");
        load.wait_for_more(50).expect("answers");
        self.load = Some(load);
    }

    /// Ends the load; nothing of it was lost.
    pub fn end_load(&mut self, what: &str) -> u64 {
        let load = self.load.take().expect("load");
        load.wait_for_more(50).expect("answers");
        let totals = load.stop();
        assert_eq!(totals.broken_clients, 0);
        assert_eq!(
            totals.failed,
            0,
            "{what}: {:?} of {} requests: {:?}\n{}",
            totals.losses,
            totals.requests,
            totals.told,
            self.log()
        );
        totals.requests
    }

    /// Goes down and comes up again, without the agent.
    pub fn reboot(&mut self, down: Down) {
        match down {
            Down::InOrder => self.machine.reboot(),
            Down::AtOnce => self.machine.power_cut(),
        }
        .expect("a reboot");
        assert!(!self.does(&["systemctl", "is-active", "--quiet", "bluegreen"]), "the agent is disabled");
    }

    /// `bluegreen doctor` has seen everything and found nothing wrong. Returns the unit of each port that is listened at.
    pub fn doctor_is_content(&self) -> BTreeMap<u64, String> {
        let output = self.machine.output(&["bluegreen", "doctor", "-o", "json"]).expect("a run");
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        let list = |key: &str| report[key].as_array().expect("a list").clone();
        // The disk and the kernel are those of the machine that the test runs on.
        let theirs = ["DiskAlmostFull", "InodesAlmostGone", "InotifyLimit"];
        let wrong: Vec<Value> =
            list("findings").into_iter().filter(|one| !theirs.iter().any(|theirs| one["reason"] == *theirs)).collect();
        assert!(wrong.is_empty() && list("unseen").is_empty(), "{report:#}");
        let unit = |one: &Value| {
            let port = one["address"].as_str()?.rsplit_once(':')?.1.parse().ok()?;
            Some((port, one["unit"].as_str()?.to_owned()))
        };
        list("listeners").iter().filter_map(unit).collect()
    }

    /// What the agent and the units said, and how the site is.
    pub fn log(&self) -> String {
        let journal = ["journalctl", "--no-pager", "--output=short-precise", "--lines=150"];
        let units = ["--unit=bluegreen", "--unit=nginx", "--unit=bluegreen-*", "--unit=init.scope"];
        self.machine.run(&[&journal[..], &units].concat()).unwrap_or_else(|error| error.to_string())
    }
}

/// Where the distribution's web server listens.
pub fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 80))
}
