//! `bluegreen doctor` on a machine with nothing wrong, and on one with many things wrong. The parts of the machine that people keep files in are empty
//! for it, so that only what a test plants is found.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bluegreen_rig::agent::Agent;
use bluegreen_rig::binaries;
use bluegreen_rig::process::Guarded;
use bluegreen_rig::wait;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kit::{EVERYWHERE, Machine, administrator};

/// What `doctor` is to see instead of the machine's own.
const EMPTY: &str =
    "for folder in /home /root /srv /opt /var/www; do [ ! -d $folder ] || mount -t tmpfs none $folder; done";

fn program(argv: &[&str]) -> Guarded {
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Guarded::start(&mut command, Signal::TERM, Duration::from_secs(10)).unwrap()
}

/// Its exit code, and what it printed.
fn run(machine: &Machine, before: &str, arguments: &str) -> (i32, String) {
    ask(&machine.agent, before, arguments)
}

/// The same of any agent's machine.
pub fn ask(agent: &Agent, before: &str, arguments: &str) -> (i32, String) {
    let script = format!(
        "{EMPTY}; {before}\nexec {} doctor --config {} {arguments}",
        binaries::bluegreen().unwrap().display(),
        agent.config_file().display()
    );
    let done = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "bash", "-euc", &script])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let code = done.status.code().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&done.stdout).into_owned(), String::from_utf8_lossy(&done.stderr).into_owned());
    assert!(err.is_empty(), "{err}");
    (code, out)
}

fn report(machine: &Machine, before: &str) -> (i32, Value) {
    let (code, out) = run(machine, before, "-o json");
    (code, serde_json::from_str(&out).unwrap())
}

/// Each finding's reason, place and fix.
pub fn findings(report: &Value) -> Vec<(String, String, String)> {
    let all = report["findings"].as_array().unwrap();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    all.iter().map(|finding| (text(finding, "reason"), text(finding, "where"), text(finding, "fix"))).collect()
}

/// Waits until the machine has a listener at this port.
fn until_listening(port: u16) {
    wait::until(&format!("somebody listened on {port}"), wait::PATIENCE, || {
        let listening = administrator("ss -Hltn");
        listening.contains(&format!(":{port} ")).then_some(())
    })
    .unwrap();
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// An ssh server, as an administrator has it: on every address, at a port of its own.
fn sshd(folder: &TempDir, port: u16) -> Guarded {
    let key = folder.path().join("ssh_host_ed25519_key");
    administrator(&format!("ssh-keygen -q -t ed25519 -N '' -f {}; mkdir -p /run/sshd", key.display()));
    let (port_text, key) = (port.to_string(), key.display().to_string());
    let server =
        program(&["/usr/sbin/sshd", "-D", "-f", "/dev/null", "-p", &port_text, "-h", &key, "-o", "PidFile=none"]);
    until_listening(port);
    server
}

fn redis(bind: &str, port: u16) -> Guarded {
    let port_text = port.to_string();
    let server = program(&[
        "redis-server",
        "--bind",
        bind,
        "--port",
        &port_text,
        "--save",
        "",
        "--protected-mode",
        "no",
        "--dir",
        "/tmp",
    ]);
    until_listening(port);
    server
}

/// A machine that systemd booted, as `doctor` is to see it: whether its clock is right, and what stands in the folder of its units, are played.
fn booted(folder: &TempDir, synchronised: &str, units: &str) -> String {
    let program = folder.path().join("timedatectl");
    fs::write(&program, format!("#!/bin/sh\necho {synchronised}\n")).unwrap();
    mode(&program, 0o755);
    format!(
        "mount -t tmpfs none /run; mkdir -p /run/systemd/system; mount --bind {} /usr/bin/timedatectl
         mount -t tmpfs none /etc/systemd/system; cd /etc/systemd/system; {units}",
        program.display()
    )
}

const UNIT: &str = "/etc/systemd/system/bluegreen-firewall.service";
const ENABLED: &str = "touch bluegreen-firewall.service; mkdir sysinit.target.wants; ln -s ../bluegreen-firewall.service sysinit.target.wants/";

#[test]
fn on_a_clean_machine_nothing_is_wrong() {
    let machine = Machine::on_disk();
    let folder = tempfile::tempdir().unwrap();
    let _sshd = sshd(&folder, 60_022);
    let _redis = redis("127.0.0.1", machine.ports[16].number());
    // Programs at their defaults, which the table closes; and one that keeps to itself.
    for (slot, open) in EVERYWHERE.iter().enumerate().take(2) {
        machine.agent.apply_and_wait(&machine.open_site(open, slot, "v1")).unwrap();
    }
    let config = folder.path().join("application-production.yml");
    fs::write(&config, "password: hunter2\n").unwrap();
    mode(&config, 0o600);
    let variables = folder.path().join("quiet.env");
    fs::write(&variables, "DB_PASSWORD=hunter2\n").unwrap();
    mode(&variables, 0o600);
    let quiet = machine
        .site("quiet", 2)
        .release(&machine.release_that("quiet-v1", ""))
        .set("/spec/target/host/configFiles", json!([{ "path": config }]))
        .set("/spec/target/host/envFile", json!(variables));
    machine.agent.apply_and_wait(&quiet).unwrap();
    // A site that is none of ours.
    let other = machine.ports[17].number();
    machine
        .nginx
        .write(
            "theirs.conf",
            &format!(
                "server {{ listen {other}; root /var/empty; location /x {{ proxy_pass http://127.0.0.1:9; }} }}\n"
            ),
        )
        .unwrap();
    machine.nginx.reload_and_wait().unwrap();
    let (code, report) = report(&machine, &booted(&folder, "yes", ENABLED));
    assert_eq!(findings(&report), [], "{report:#}");
    assert_eq!(report["unseen"], json!([]));
    assert_eq!(code, 0);
    let listener = |port: u16| {
        let all = report["listeners"].as_array().unwrap();
        all.iter().find(|one| one["address"].as_str().unwrap().ends_with(&format!(":{port}"))).unwrap().clone()
    };
    for (port, program, verdict) in [
        (60_022, "sshd", "expected"),
        (machine.ports[16].number(), "redis-server", "expected"),
        (machine.nginx.port(), "nginx", "expected"),
        (other, "nginx", "expected"),
        (machine.ports_of(0)[0], "app", "closed"),
        (machine.ports_of(2)[0], "app", "expected"),
    ] {
        let one = listener(port);
        assert_eq!((one["program"].as_str().unwrap(), one["verdict"].as_str().unwrap()), (program, verdict), "{one:#}");
    }
    assert_eq!(listener(machine.ports_of(2)[0])["site"], "quiet");
    assert_eq!(listener(machine.ports_of(2)[0])["user"], machine.user.name());
    let (code, text) = run(&machine, "", "");
    assert!(code == 0 && text.ends_with("Nothing is wrong.\n"), "{text}");
    assert_eq!(run(&machine, "", "--quiet"), (0, String::new()), "cron has nothing to tell");
}

/// A release whose settings are in it, in a jar of it, and in the Git checkout around it.
fn careless(machine: &Machine) -> PathBuf {
    let folder = machine.release_that("careless", &format!("exposed\nfurther-port={}", machine.ports[18].number()));
    fs::create_dir(folder.join("config")).unwrap();
    fs::write(folder.join("config/application-prod.yml"), "spring.datasource.password: hunter2\n").unwrap();
    let jar = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1], 'w'); \
               z.writestr('META-INF/MANIFEST.MF', 'Manifest-Version: 1.0\\n'); z.writestr('BOOT-INF/classes/application-prod.yml', 'x: y'); z.close()";
    let made = Command::new("python3").args(["-c", jar]).arg(folder.join("shop.jar")).status().unwrap();
    assert!(made.success());
    // A tool that somebody checked out into it, with its settings.
    let tool = folder.join("vendor/tool");
    fs::create_dir_all(&tool).unwrap();
    fs::write(tool.join(".env.production"), "API_TOKEN=hunter2\n").unwrap();
    administrator(&format!("git init -q {}", tool.display()));
    let checkout = folder.parent().unwrap();
    fs::write(checkout.join(".env"), "DB_PASSWORD=hunter2\n").unwrap();
    administrator(&format!("cd {} && git init -q . && git add -f .env", checkout.display()));
    folder
}

#[test]
fn every_planted_fault_is_found_with_its_fix_and_nothing_else() {
    let mut machine = Machine::on_disk();
    let folder = tempfile::tempdir().unwrap();
    mode(folder.path(), 0o755);
    let at = |name: &str| folder.path().join(name);
    let _sshd = sshd(&folder, 60_022);
    let config = at("database.yml");
    fs::write(&config, "password: hunter2\n").unwrap();
    mode(&config, 0o600);
    let variables = at("shop.env");
    fs::write(&variables, "OTHER=hunter2\n").unwrap();
    mode(&variables, 0o600);
    let [blue, green] = machine.ports_of(0);
    let further = machine.ports[18].number();
    let site = machine
        .site("shop", 0)
        .release(&careless(&machine))
        .env("DB_PASSWORD", "hunter2")
        .set("/spec/target/host/configFiles", json!([{ "path": config }]))
        .set("/spec/target/host/envFile", json!(variables));
    machine.agent.apply_and_wait(&site).unwrap();

    // 1 and 2: the agent is off and somebody flushed the rules, so the app and its debugger are open (3).
    machine.agent.stop();
    administrator("nft flush ruleset");
    // 4: a database for everybody. 5: something that nobody remembers.
    let (database, forgotten) = (machine.ports[16].number(), machine.ports[17].number());
    let _redis = redis("0.0.0.0", database);
    let _forgotten =
        program(&["python3", "-m", "http.server", "--directory", "/var/empty", "--bind", "::", &forgotten.to_string()]);
    until_listening(forgotten);
    // 6: settings for everybody's eyes. 7: a manifest with a password. 8: a folder of manifests for everybody's hand.
    mode(&config, 0o644);
    mode(&variables, 0o644);
    let manifest = machine.agent.sites_dir().join("shop.yaml");
    mode(&manifest, 0o644);
    mode(&machine.agent.sites_dir(), 0o777);
    // 9, 10 and 11: the release, the jar and the checkout (see `careless`). 12 and 13: a server block that goes past us and hands out everything, with
    // 14: a key for everybody's eyes.
    let (key, certificate) = (at("key.pem"), at("cert.pem"));
    administrator(&format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x -keyout {} -out {} 2>/dev/null",
        key.display(),
        certificate.display()
    ));
    mode(&key, 0o644);
    let uploads = machine.agent.uploads();
    let theirs = format!(
        "server {{\n  listen {} ssl;\n  ssl_certificate {};\n  ssl_certificate_key {};\n  root {};\n  location /shop {{\n    proxy_pass http://127.0.0.1:{blue};\n  }}\n}}\n",
        machine.ports[19].number(),
        certificate.display(),
        key.display(),
        uploads.display()
    );
    machine.nginx.write("theirs.conf", &theirs).unwrap();
    machine.nginx.reload_and_wait().unwrap();
    // 15: a disk that the next release does not fit on. 16: a ufw that only says that it is on.
    machine.agent.disk().unwrap().fill_but(1 << 20).unwrap();
    let ufw = "cp -a /etc/ufw /srv/ufw; mount --bind /srv/ufw /etc/ufw; sed -i s/ENABLED=no/ENABLED=yes/ /etc/ufw/ufw.conf; rm -f /srv/ufw/x";
    // 17: somebody else on the port that the next version is to have. 18 and 19: on a machine that systemd booted, nothing keeps the clock right, and
    // the unit that closes the ports at a reboot is gone. 20 and 21: a checkout in the release, with its settings.
    let _taker = redis("127.0.0.1", green);
    let ufw = &format!("{ufw}\n{}", booted(&folder, "no", ""));

    let (code, report) = report(&machine, ufw);
    let rules = machine.agent.state_dir().join("firewall.nft").display().to_string();
    let block = machine.nginx.conf_d().join("theirs.conf").display().to_string();
    let [config, variables, manifest, key] = [config, variables, manifest, key].map(|path| path.display().to_string());
    let checkout = uploads.join(".env").display().to_string();
    let planted: Vec<(&str, String, String)> = vec![
        ("FirewallNotInForce", "inet bluegreen".to_owned(), format!("nft -f {rules}")),
        ("AppExposed", format!("0.0.0.0:{blue} (app, pid "), format!("127.0.0.1:{blue}")),
        ("AppExposed", format!("[::]:{further} (app, pid "), "systemctl restart bluegreen".to_owned()),
        (
            "ServiceExposed",
            format!("0.0.0.0:{database} (redis-server, pid "),
            "`bind 127.0.0.1 -::1` in /etc/redis/redis.conf".to_owned(),
        ),
        (
            "UnknownExposed",
            format!("[::]:{forgotten} (python3, pid "),
            format!("let it listen on 127.0.0.1:{forgotten}"),
        ),
        ("SecretReadable", config.clone(), format!("chmod o-rwx {config}")),
        ("SecretReadable", variables.clone(), format!("chmod o-rwx {variables}")),
        ("SecretReadable", manifest.clone(), format!("chmod 600 {manifest}")),
        ("SecretReadable", key.clone(), format!("chmod o-rwx {key}")),
        ("ManifestsWritable", machine.agent.sites_dir().display().to_string(), "chmod go-w".to_owned()),
        (
            "ProductionFileInRelease",
            "config/application-prod.yml in ".to_owned(),
            "spec.target.host.configFiles".to_owned(),
        ),
        (
            "ProductionFileInArchive",
            "BOOT-INF/classes/application-prod.yml in ".to_owned(),
            "leave BOOT-INF/classes/application-prod.yml out".to_owned(),
        ),
        ("ProductionFileInGit", checkout, "rm --cached .env".to_owned()),
        ("WebServerBypass", format!("{block}:7"), "shop.conf;".to_owned()),
        ("WebServerHandsOutFiles", format!("{block}:5"), "a folder of public files alone".to_owned()),
        ("DiskAlmostFull", machine.agent.state_dir().display().to_string(), "larger disk".to_owned()),
        ("UfwNotLoaded", "ufw".to_owned(), "ufw reload".to_owned()),
        (
            "PortTaken",
            format!("127.0.0.1:{green} (redis-server, pid "),
            "give the site another one in spec.target.host.ports".to_owned(),
        ),
        ("ClockNotSynchronised", "the clock".to_owned(), "timedatectl set-ntp true".to_owned()),
        ("FirewallNotAtBoot", UNIT.to_owned(), "systemctl restart bluegreen".to_owned()),
        ("GitInRelease", "vendor/tool/.git/HEAD in ".to_owned(), "leave .git out of what you upload".to_owned()),
        (
            "ProductionFileInRelease",
            "vendor/tool/.env.production in ".to_owned(),
            "spec.target.host.configFiles".to_owned(),
        ),
    ];
    let mut found = findings(&report);
    // A file that lies in the checkout is found there as well, and is two findings for a reason: each place needs its own hand.
    found.retain(|(reason, place, _)| {
        let twice = place.ends_with("config/application-prod.yml") || place.ends_with("tool/.env.production");
        !(reason == "ProductionFileInGit" && twice)
    });
    for (reason, place, fix) in &planted {
        let at = found.iter().position(|one| one.0 == *reason && one.1.contains(place.as_str()));
        let at = at.unwrap_or_else(|| panic!("{reason} at {place} is not among {found:#?}"));
        let (_, _, told) = found.remove(at);
        assert!(told.contains(fix.as_str()), "{reason}: {fix:?} is not in {told:?}");
    }
    assert_eq!(found, [], "nothing was planted of these");
    assert_eq!(code, 1);
    let (_, text) = run(&machine, ufw, "--quiet");
    assert!(text.contains("HIGH  ServiceExposed"), "{text}");

    // A unit that is there and not enabled is another matter.
    let (_, disabled) = self::report(&machine, &booted(&folder, "yes", "touch bluegreen-firewall.service"));
    let unit = findings(&disabled).into_iter().find(|one| one.0 == "FirewallNotAtBoot").unwrap();
    assert_eq!((unit.1.as_str(), unit.2.as_str()), (UNIT, "systemctl enable bluegreen-firewall.service"));

    // The fixes that are commands do what they say.
    for (reason, _, fix) in
        findings(&report).iter().filter(|one| ["SecretReadable", "ManifestsWritable"].contains(&one.0.as_str()))
    {
        assert!(fix.starts_with("chmod") || fix.starts_with("chown"), "{reason}: {fix}");
        administrator(fix);
    }
    administrator(&format!("nft -f {rules}"));
    let (_, report) = self::report(&machine, "");
    let left: Vec<String> = findings(&report).into_iter().map(|one| one.0).collect();
    for mended in ["SecretReadable", "ManifestsWritable", "FirewallNotInForce", "AppExposed"] {
        assert!(!left.contains(&mended.to_owned()), "{mended} among {left:?}");
    }
    assert_eq!(machine.network.answers(green).unwrap(), (false, false));
}

#[test]
fn what_cannot_be_looked_at_is_said_and_has_a_code_of_its_own() {
    let machine = Machine::on_disk();
    machine.nginx.write("broken.conf", "server { nonsense; }\n").unwrap();
    let (code, report) = report(&machine, "");
    assert_eq!((code, findings(&report)), (2, vec![]));
    assert!(report["unseen"][0].as_str().unwrap().contains("nonsense"), "{report:#}");
    let missing =
        Command::new(binaries::bluegreen().unwrap()).args(["doctor", "--config", "/nowhere.yaml"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/nowhere.yaml"));
}
