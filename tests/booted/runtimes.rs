//! Every kind of app as a unit of systemd, shut in as units are: from version to version under load, and up again after a reboot.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bluegreen_rig::booted::Image;
use bluegreen_rig::load::{Ask, Fetch, Load, fetch};
use bluegreen_rig::manifest::Manifest;
use bluegreen_rig::{examples, maven, wait};
use serde_json::{Value, json};

use super::vps::{Vps, address};

const CUTOVERS: usize = 3;

/// A site of one kind.
struct Kind {
    site: Manifest,
    /// The site with another version.
    with: fn(&Vps, &Manifest, &str) -> Manifest,
    clients: usize,
}

fn kinds(vps: &Vps) -> Vec<Kind> {
    let java = |name: &str, ports: [u16; 2], runtime: Value| {
        Manifest::app(name, address(), "shop", &ports[..1], &ports[1..])
            .set("/spec/target/host/runtime", runtime)
            .set("/spec/health", json!({ "successes": 2, "interval": "100ms", "timeout": "3s" }))
    };
    let example = |name: &str, ports: [u16; 2]| {
        let file = examples::folder().join(name).join("site.yaml");
        Manifest::example(&file, address(), "shop", &ports[..1], &ports[1..]).expect("an example")
    };
    let jvm = ["-Xmx128m", "-XX:TieredStopAtLevel=1"];
    let secrets = vps.machine.root().join("etc/django.json");
    fs::write(&secrets, "{\"secretKey\": \"kept out of the release\"}").expect("a file");
    fs::set_permissions(&secrets, fs::Permissions::from_mode(0o600)).expect("a mode");
    let django = example("django", [8085, 8086])
        .set("/spec/target/host/configFiles", json!([{ "path": "/etc/django.json" }]))
        .env("ALLOWED_HOSTS", "django.test");
    let of_example = |vps: &Vps, site: &Manifest, version: &str| {
        let uploads = vps.machine.root().join("srv").join(site.name());
        examples::release(site.name(), &uploads, version).expect("a release");
        site.clone().release(&Path::new("/srv").join(site.name()).join(version))
    };
    let spring = java("spring", [8081, 8082], json!({ "springBoot": { "profile": "production", "jvm": jvm } }));
    let tomcat = java("tomcat", [8083, 8084], json!({ "tomcat": { "jvm": jvm } }));
    let mut kinds = vec![
        Kind {
            site: spring
                .archive(&uploaded(vps, &maven::example("spring-boot", "target/shop.jar").expect("a jar")), None),
            with: |_, site, version| site.clone().env("SHOP_VERSION", version),
            clients: 4,
        },
        Kind {
            site: tomcat.archive(&uploaded(vps, &maven::example("tomcat", "target/pages.war").expect("a war")), None),
            with: |_, site, version| site.clone().env("PAGES_VERSION", version),
            clients: 4,
        },
        Kind { site: django, with: of_example, clients: 8 },
        Kind { site: example("fastapi", [8087, 8088]), with: of_example, clients: 8 },
        // A program that is started for each request takes a thousand times as long as an answer does.
        Kind { site: example("cgi", [8089, 8090]), with: of_example, clients: 2 },
        Kind {
            site: Manifest::files("pages", address(), "shop"),
            with: |vps, site, version| vps.with(site.clone(), version, ""),
            clients: 8,
        },
    ];
    for kind in &mut kinds {
        // Where it listens is left out: that is the distribution's port 80. A machine may have other things to do.
        kind.site = kind.site.clone().unset("/spec/target/host/listen").strategy("readyWithin", "2m");
    }
    kinds
}

fn uploaded(vps: &Vps, file: &Path) -> PathBuf {
    let to = Path::new("srv").join(file.file_name().expect("a name"));
    fs::copy(file, vps.machine.root().join(&to)).expect("an upload");
    Path::new("/").join(to)
}

fn deploy(vps: &Vps, site: &Manifest) {
    site.write(&vps.machine.root().join("root/site.yaml")).expect("a manifest");
    vps.run(&["bluegreen", "apply", "-f", "/root/site.yaml", "--wait", "--timeout", "8m"]);
}

/// The version that a site answers with.
fn answers(vps: &Vps, site: &Manifest) -> Option<String> {
    let asked = vps.machine.in_its_network(|| fetch(&Fetch::get(address(), &site.host(), "/")));
    let answer = asked.expect("a network").ok().filter(|answer| answer.status == 200)?;
    // A page says it in its heading.
    let page = answer.text().trim().trim_start_matches("<h1>").trim_end_matches("</h1>").to_owned();
    Some(answer.version().map_or(page, str::to_owned))
}

fn cutovers(vps: &Vps, kind: &Kind) {
    let (site, mut load) = (&kind.site, Load::to(address(), &kind.site.host()).clients(kind.clients));
    deploy(vps, &(kind.with)(vps, site, "v0"));
    assert_eq!(answers(vps, site).as_deref(), Some("v0"), "{}: {}", site.name(), vps.log());
    if site.value().pointer("/spec/target/host/runtime/static").is_some() {
        load = load.asks(vec![Ask::file("/")]);
    }
    let load = vps.machine.in_its_network(|| load.think(Duration::from_millis(10)).start());
    let load = load.expect("a network").expect("load");
    for number in 1..=CUTOVERS {
        load.wait_for_more(50).expect("answers");
        let version = format!("v{number}");
        deploy(vps, &(kind.with)(vps, site, &version));
        assert_eq!(answers(vps, site), Some(version), "{}: {}", site.name(), vps.log());
    }
    load.wait_for_more(50).expect("answers");
    let totals = load.stop();
    println!("{}: {CUTOVERS} cutovers, {} requests, {} failed", site.name(), totals.requests, totals.failed);
    assert_eq!(totals.broken_clients, 0);
    assert_eq!(totals.failed, 0, "{}: {:?} {:?}\n{}", site.name(), totals.losses, totals.told, vps.log());
}

/// The processes of the units of apps, each with its unit's name.
fn apps(vps: &Vps) -> Vec<(String, String)> {
    let units = vps.run(&["systemctl", "list-units", "--plain", "--no-legend", "--state=running", "bluegreen-*@*"]);
    let names = units.lines().filter_map(|line| line.split_whitespace().next());
    let of = |name: &str| vps.run(&["systemctl", "show", "--property=MainPID", "--value", name]).trim().to_owned();
    names.map(|name| (name.to_owned(), of(name))).collect()
}

fn is_shut_in(vps: &Vps, (unit, pid): &(String, String)) {
    let of = |file: &str| vps.run(&["cat", &format!("/proc/{pid}/{file}")]);
    let (status, mounts) = (of("status"), of("mountinfo"));
    for line in ["CapBnd:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{unit}: {status}");
    }
    assert!(!status.contains("Uid:\t0"), "{unit}: {status}");
    let root = mounts.lines().find(|line| line.split_whitespace().nth(4) == Some("/")).expect("a root");
    assert!(root.split_whitespace().nth(5).is_some_and(|options| options.starts_with("ro")), "{unit}: {mounts}");
    assert!(mounts.lines().any(|line| line.split_whitespace().nth(4) == Some("/tmp")), "{unit}: {mounts}");
}

/// Where installing could not be shut in, the scripts of an environment don't know where they lie.
fn was_installed_in_a_jail(vps: &Vps, site: &str, script: &str) {
    let releases = Path::new("/var/lib/bluegreen/sites").join(site).join("releases");
    let folder = vps.machine.root().join(releases.strip_prefix("/").expect("a path"));
    let all = fs::read_dir(&folder).expect("releases").map(|entry| entry.expect("an entry").path());
    let environments: Vec<PathBuf> =
        all.filter(|path| path.extension().is_some_and(|ending| ending == "venv")).collect();
    assert!(!environments.is_empty(), "{}", folder.display());
    for environment in environments {
        let text = fs::read_to_string(environment.join("bin").join(script)).expect("a script");
        let lies = releases.join(environment.file_name().expect("a name"));
        assert!(text.starts_with(&format!("#!{}/bin/python", lies.display())), "{text}");
    }
}

#[test]
fn every_kind_of_app_goes_from_version_to_version_as_a_unit_and_comes_up_after_a_reboot() {
    let mut vps = Vps::start_from(Image::Full);
    let kinds = kinds(&vps);
    kinds.iter().for_each(|kind| cutovers(&vps, kind));
    let up = apps(&vps);
    assert_eq!(up.len(), kinds.len() - 1, "one for each but the pages: {up:?}");
    up.iter().for_each(|app| is_shut_in(&vps, app));
    was_installed_in_a_jail(&vps, "django", "gunicorn");
    was_installed_in_a_jail(&vps, "fastapi", "uvicorn");
    let listening: BTreeSet<String> = vps.doctor_is_content().into_values().collect();
    let units: BTreeSet<String> = up.iter().map(|(unit, _)| unit.clone()).collect();
    assert!(listening.is_superset(&units), "{listening:?} {units:?}");

    vps.run(&["systemctl", "disable", "--quiet", "bluegreen"]);
    vps.machine.reboot().expect("a reboot");
    let last = format!("v{CUTOVERS}");
    for kind in &kinds {
        let site = &kind.site;
        wait::until(&format!("{} is up without the agent", site.name()), wait::PATIENCE, || {
            (answers(&vps, site).as_ref() == Some(&last)).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", vps.log()));
    }
}
