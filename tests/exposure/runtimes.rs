//! The servers that the mission names, real and at their own defaults: a `command` tells each its port, and nothing of an address, or the one by which
//! people open it in a container. (What the runtimes `springBoot`, `tomcat`, `wsgi` and `asgi` tell them is tested in tests/java and tests/python.)

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use bluegreen_rig::manifest::Manifest;
use bluegreen_rig::{examples, maven, process, wheels};
use serde_json::json;

use crate::kit::{Machine, administrator};

const JAVA: &str = "/usr/bin/java";
const JVM: [&str; 2] = ["-Xmx128m", "-XX:TieredStopAtLevel=1"];
const TOMCAT: &str = "/usr/share/tomcat10";

/// A site of such a server, with its release in this folder.
fn site(machine: &Machine, slot: usize, name: &str, argv: &[&str], release: &Path) -> Manifest {
    machine
        .site(name, slot)
        .set("/spec/target/host/runtime", json!({ "command": { "argv": argv } }))
        .set("/spec/health", json!({ "path": "/", "successes": 1, "interval": "100ms", "timeout": "5s" }))
        .strategy("readyWithin", "55s")
        .release(release)
}

/// A folder that the apps' user may write into, as a package makes one for its server.
fn workshop(machine: &Machine, name: &str) -> PathBuf {
    let folder = machine.agent.folder().join(name);
    fs::create_dir(&folder).unwrap();
    let id = |flag: &str| administrator(&format!("id {flag} {}", machine.user.name())).trim().parse().unwrap();
    chown(&folder, Some(id("-u")), Some(id("-g"))).unwrap();
    folder
}

/// The jar of the example. Nobody tells Spring an address.
fn spring_boot(machine: &Machine, slot: usize) -> Manifest {
    let release = machine.agent.uploads().join("spring-boot");
    fs::create_dir(&release).unwrap();
    fs::copy(maven::example("spring-boot", "target/shop.jar").unwrap(), release.join("shop.jar")).unwrap();
    let temp = format!("-Djava.io.tmpdir={}", workshop(machine, "spring-boot.tmp").display());
    let argv = [JAVA, JVM[0], JVM[1], &temp, "-jar", "shop.jar", "--server.port=$(PORT)"];
    site(machine, slot, "spring-boot", &argv, &release)
}

/// The war of the example on Debian's Tomcat, with the configuration that comes with it: all but the port is as it is there.
fn tomcat(machine: &Machine, slot: usize) -> Manifest {
    let release = machine.agent.uploads().join("tomcat");
    fs::create_dir(&release).unwrap();
    let war = maven::example("tomcat", "target/pages.war").unwrap();
    fs::copy(&war, release.join("pages.war")).unwrap();
    let base = workshop(machine, "tomcat.base");
    let user = machine.user.name();
    administrator(&format!(
        "cd {base}; cp -r {TOMCAT}/etc conf; mkdir webapps logs temp work; cp {war} webapps/ROOT.war; \
         sed -i '0,/port=\"8080\"/s//port=\"${{bluegreen.port}}\"/' conf/server.xml; chown -R {user} .",
        base = base.display(),
        war = war.display()
    ));
    let argv = [
        JAVA,
        JVM[0],
        JVM[1],
        "-Dbluegreen.port=$(PORT)",
        &format!("-Dcatalina.home={TOMCAT}"),
        &format!("-Dcatalina.base={}", base.display()),
        &format!("-Djava.io.tmpdir={}/temp", base.display()),
        "-classpath",
        &format!("{TOMCAT}/bin/bootstrap.jar:{TOMCAT}/bin/tomcat-juli.jar"),
        "org.apache.catalina.startup.Bootstrap",
        "start",
    ];
    site(machine, slot, "tomcat", &argv, &release)
}

/// The app of an example.
fn app(example: &str) -> PathBuf {
    examples::folder().join(example).join("app")
}

/// An example of Python's, in an environment of its own.
fn python(machine: &Machine, slot: usize, example: &str, arguments: &[&str]) -> Manifest {
    let release = machine.agent.uploads().join(example);
    administrator(&format!("cp -r {} {}", app(example).display(), release.display()));
    fs::write(release.join("VERSION"), "v1\n").unwrap();
    let list = fs::read_to_string(release.join("requirements.txt")).unwrap();
    let environment = machine.agent.folder().join(format!("{example}.venv"));
    process::run(Command::new(wheels::PYTHON).args(["-m", "venv"]).arg(&environment)).unwrap();
    let mut pip = Command::new(environment.join("bin/pip"));
    pip.args(["install", "--quiet", "--no-input", "--no-index", "--find-links"]).arg(wheels::wheels(&list).unwrap());
    process::run(pip.arg("-r").arg(release.join("requirements.txt"))).unwrap();
    let interpreter = environment.join("bin/python").display().to_string();
    let argv: Vec<&str> = [interpreter.as_str(), "-m"].into_iter().chain(arguments.iter().copied()).collect();
    site(machine, slot, example, &argv, &release)
        .set("/spec/health/path", json!("/healthz"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
}

#[test]
fn a_scan_from_outside_finds_no_tomcat_spring_boot_gunicorn_or_uvicorn_that_listens_on_every_address() {
    // Within the machine's network there is nobody to fetch anything from.
    maven::example("spring-boot", "target/shop.jar").unwrap();
    maven::example("tomcat", "target/pages.war").unwrap();
    for example in ["flask", "fastapi"] {
        wheels::wheels(&fs::read_to_string(app(example).join("requirements.txt")).unwrap()).unwrap();
    }
    let mut machine = Machine::start();
    let sites = [
        spring_boot(&machine, 0),
        tomcat(&machine, 1),
        python(&machine, 2, "flask", &["gunicorn", "--bind", "0.0.0.0:$(PORT)", "app:app"]),
        python(&machine, 3, "fastapi", &["uvicorn", "--host", "0.0.0.0", "--port", "$(PORT)", "main:app"]),
    ];
    let mut apps = BTreeSet::new();
    for (slot, site) in sites.iter().enumerate() {
        machine.agent.apply_and_wait(site).unwrap();
        apps.insert(machine.ports_of(slot)[0]);
    }
    let web = machine.nginx.port();
    assert_eq!(machine.network.scan().unwrap(), BTreeSet::from([web]));
    for &port in &apps {
        assert!(TcpListener::bind(("0.0.0.0", port)).is_err(), "nothing listens on every address at {port}");
    }
    // Without the table the same scan finds each of them: so it was the table.
    machine.agent.stop();
    administrator("nft delete table inet bluegreen");
    let open: BTreeSet<u16> = machine.network.scan().unwrap();
    assert_eq!(open, apps.iter().copied().chain([web]).collect());
    machine.agent.run().unwrap();
    for &port in &apps {
        machine.wait_until_closed(port);
    }
}
