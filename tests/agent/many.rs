//! A hundred sites on one machine, and other people's beside them: what is done to one is nothing to the others.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bluegreen_rig::agent::Agent;
use bluegreen_rig::load::{Ask, Load, Running, get};
use bluegreen_rig::manifest::{Manifest, release};
use bluegreen_rig::ports::Port;
use bluegreen_rig::users::User;
use bluegreen_rig::wait;

use crate::fronts::{Front, told_to_reload};
use crate::kit::{nothing_lost, says, why};

behind_either! {
    a_cutover_of_one_site_is_nothing_to_ninety_nine_others,
    a_name_that_is_nobody_s_gets_nobody_s_site,
}

/// Sites, of which `APPS` have an app and the others are files alone: an app is a process of its own, and what is asked here is what one site's
/// cutover does to the web server that all of them share.
const SITES: usize = 100;
const APPS: usize = 8;
const CUTOVERS: u32 = 5;

struct Host<W> {
    // Dropped in this order: the agent and its apps before the web server in front of them.
    agent: Agent,
    web: W,
    ports: Vec<Port>,
    user: User,
}

impl<W: Front> Host<W> {
    fn site(&self, number: usize) -> Manifest {
        let name = format!("site-{number:02}");
        let (address, user) = (self.web.address(), self.user.name());
        match self.ports.get(number * 2..number * 2 + 2) {
            Some([blue, green]) => Manifest::app(&name, address, user, &[blue.number()], &[green.number()]),
            _ => Manifest::files(&name, address, user),
        }
    }

    /// Files alone, small: ninety copies of an app would fill a disk.
    fn pages(&self, version: &str) -> PathBuf {
        let folder = self.agent.uploads().join(format!("pages-{version}"));
        fs::create_dir_all(folder.join("public")).unwrap();
        fs::write(folder.join("public/index.html"), version).unwrap();
        folder
    }

    /// A client that asks one site, again and again, on a connection that it keeps.
    fn load(&self, number: usize) -> Running {
        let load = Load::to(self.web.address(), &self.site(number).host()).clients(1).think(Duration::from_millis(100));
        let load = if number < APPS { load } else { load.asks(vec![Ask::file("/"), Ask::file("/index.html")]) };
        load.start().unwrap()
    }

    fn page(&self, host: &str, path: &str) -> (u16, String) {
        // Nobody listens before the first site is there.
        let Ok(answer) = get(self.web.address(), host, path) else {
            return (0, String::new());
        };
        (answer.status, String::from_utf8_lossy(&answer.body).trim().to_owned())
    }

    fn apply_all(&self) {
        let (app, pages) = (release(&self.agent.uploads(), "v0", "").unwrap(), self.pages("v0"));
        for number in 0..SITES {
            let folder: &Path = if number < APPS { &app } else { &pages };
            let site = self.site(number).release(folder);
            // Written aside: a manifest is read as soon as it is there.
            let aside = self.agent.folder().join("aside.yaml");
            site.write(&aside).unwrap();
            fs::rename(&aside, self.agent.sites_dir().join(format!("{}.yaml", site.name()))).unwrap();
        }
        for number in 0..SITES {
            // Asked of the web server first: the command line is a program that starts, and a hundred sites need the machine.
            wait::until("the site answers", wait::PATIENCE * 5, || {
                (self.page(&self.site(number).host(), "/").0 == 200).then_some(())
            })
            .unwrap();
        }
        for number in 0..SITES {
            self.agent.wait_for(self.site(number).name(), "is live", |site| why(site, "Ready") == "Live").unwrap();
        }
    }
}

fn a_cutover_of_one_site_is_nothing_to_ninety_nine_others<W: Front>() {
    let mut web = W::begin();
    let mine = tempfile::tempdir().unwrap();
    fs::set_permissions(mine.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(mine.path().join("index.html"), "by hand").unwrap();
    let by_hand = web.block("mine.test", &mine.path().display().to_string(), "", true);
    web.put("mine.conf", &by_hand);
    web.read_again();
    let user = User::ordinary().unwrap();
    let host = Host { agent: Agent::start(&web).unwrap(), web, ports: Port::take_many(APPS * 2).unwrap(), user };
    host.apply_all();
    assert_eq!(host.page("mine.test", "/index.html"), (200, "by hand".to_owned()));

    let (reloads, told) = (host.web.reloads(), told_to_reload(&host.agent));
    let subject = host.site(0);
    let others: Vec<Running> = (1..SITES).map(|number| host.load(number)).collect();
    let theirs =
        Load::to(host.web.address(), "mine.test").clients(1).asks(vec![Ask::file("/index.html")]).start().unwrap();
    let own = Load::to(host.web.address(), &subject.host()).clients(8).start().unwrap();
    for number in 1..=CUTOVERS {
        let version = format!("v{number}");
        let folder = release(&host.agent.uploads(), &version, "").unwrap();
        let before: Vec<u64> = others.iter().map(|other| other.totals().requests).collect();
        host.agent.apply_and_wait(&subject.clone().release(&folder)).unwrap();
        own.wait_for_version(&version).unwrap();
        for (other, before) in others.iter().zip(before) {
            wait::until("each site was asked since", wait::PATIENCE, || {
                (other.totals().requests >= before + 2).then_some(())
            })
            .unwrap();
        }
    }
    nothing_lost(&own.stop());
    nothing_lost(&theirs.stop());
    for other in others {
        let totals = other.stop();
        assert!(totals.requests >= u64::from(CUTOVERS) * 2);
        nothing_lost(&totals);
    }
    assert_eq!(host.web.reloads(), reloads, "{}", host.web.said());
    assert_eq!(told_to_reload(&host.agent), told);

    // Somebody breaks a file of theirs: what needs no reload goes on, and what needs one says why it waits.
    let file = host.web.folder().join("conf.d/mine.conf");
    assert_eq!(fs::read_to_string(&file).unwrap(), by_hand, "nobody touched it");
    host.web.put("mine.conf", &format!("{by_hand}\nnonsense on;\n"));
    let folder = release(&host.agent.uploads(), "v-last", "").unwrap();
    host.agent.apply_and_wait(&subject.clone().release(&folder)).unwrap();
    assert_eq!(host.page(&subject.host(), "/health").0, 200);
    let late = Manifest::files("late", host.web.address(), host.user.name()).release(&host.pages("v1"));
    host.agent.apply(&late).unwrap();
    let waits = host
        .agent
        .wait_for("late", "says what is in its way", |site| format!("{site}").contains("WebServerConfigBroken"));
    let waits = waits.unwrap();
    let told = format!("{} {}", says(&waits, "Ready"), says(&waits, "Stalled"));
    assert!(told.contains("mine.conf:") && told.contains("bluegreen has no part in it"), "{waits:#}");
    assert_eq!(host.page(&host.site(APPS).host(), "/"), (200, "v0".to_owned()));
    assert_eq!(host.page("mine.test", "/index.html"), (200, "by hand".to_owned()));
    assert_eq!(host.web.reloads(), reloads);
    // Mended, it goes on by itself.
    host.web.put("mine.conf", &by_hand);
    host.agent.wait_for("late", "is live", |site| why(site, "Ready") == "Live").unwrap();
    assert_eq!(host.page("late.test", "/"), (200, "v1".to_owned()));
}

fn a_name_that_is_nobody_s_gets_nobody_s_site<W: Front>() {
    let web = W::begin();
    let user = User::ordinary().unwrap();
    let host = Host { agent: Agent::start(&web).unwrap(), web, ports: Vec::new(), user };
    for number in 0..2 {
        host.agent.apply_and_wait(&host.site(number).release(&host.pages("v0"))).unwrap();
    }
    assert_eq!(host.page("site-00.test", "/"), (200, "v0".to_owned()));
    for unknown in ["evil.test", "site-00.test.evil.test", "127.0.0.1", "localhost"] {
        assert_eq!(host.page(unknown, "/").0, 404, "{unknown}");
    }
}
