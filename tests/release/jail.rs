//! The unpacker is really shut in: looked at from outside, through /proc, while it waits for the rest of an archive.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::chown;
use std::process::{Child, Command, Stdio};

use super::kit::{Shop, Tar, UNPACKER, until};

/// A process that is ended with the test.
pub struct Shut(pub Child);

impl Drop for Shut {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn task(shop: &Shop, uid: u32, parent: u32) -> String {
    serde_json::json!({
        "kind": "tarGz", "uid": uid, "gid": uid, "parent": parent, "limits": shop.limits,
    })
    .to_string()
}

/// What the kernel says of a process; nothing if it is gone.
pub fn status(pid: u32) -> BTreeMap<String, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect()
}

/// Whether it gave up its rights and waits for input.
pub fn waits(pid: u32) -> bool {
    let status = status(pid);
    let is = |key: &str, start: &str| status.get(key).is_some_and(|value| value.starts_with(start));
    is("NoNewPrivs", "1") && is("State", "S")
}

#[test]
fn it_is_the_sites_user_for_good_in_an_empty_world_without_network_or_children() {
    let shop = Shop::new();
    let (uid, gid) = (shop.account.uid, shop.account.gid);
    let inside = shop.upload("inside");
    fs::create_dir(&inside).unwrap();
    chown(&inside, Some(uid), Some(gid)).unwrap();
    let mut unpacker = Shut(
        Command::new(UNPACKER)
            .args(["unpack", &task(&shop, uid, std::process::id())])
            .current_dir(&inside)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let bytes = Tar::new().file("first", "1").file("second", vec![1; 1000]).bytes();
    let (half, rest) = bytes.split_at(20);
    let mut stdin = unpacker.0.stdin.take().unwrap();
    stdin.write_all(half).unwrap();

    let proc = format!("/proc/{}", unpacker.0.id());
    until("it gave up its rights and waits", || waits(unpacker.0.id()));
    let status = status(unpacker.0.id());
    assert_eq!(status["Uid"], format!("{uid} {uid} {uid} {uid}"));
    assert_eq!(status["Gid"], format!("{gid} {gid} {gid} {gid}"));
    assert_eq!(status["Groups"], "");
    assert_eq!(status["CapEff"], "0000000000000000");
    assert_eq!(status["CapPrm"], "0000000000000000");
    assert_eq!(status["Threads"], "1");
    assert_eq!(status["Umask"], "0077");

    assert_eq!(fs::read_link(format!("{proc}/cwd")).unwrap(), fs::read_link(format!("{proc}/root")).unwrap());
    let mounts = fs::read_to_string(format!("{proc}/mountinfo")).unwrap();
    let [mount] = &mounts.lines().collect::<Vec<_>>()[..] else {
        panic!("it sees more than its own folder:\n{mounts}");
    };
    assert!(mount.contains("/upload/inside / ") && mount.contains("nosuid,nodev,noexec"), "{mount}");
    for namespace in ["net", "mnt", "ipc", "uts"] {
        let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/{namespace}")).unwrap();
        assert_ne!(of(&unpacker.0.id().to_string()), of("self"), "{namespace}");
    }
    let devices = fs::read_to_string(format!("{proc}/net/dev")).unwrap();
    assert!(devices.lines().skip(2).all(|line| line.trim_start().starts_with("lo:")), "{devices}");
    let limits = fs::read_to_string(format!("{proc}/limits")).unwrap();
    for (name, most) in [("Max core file size", "0"), ("Max processes", "0"), ("Max open files", "64")] {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        let words: Vec<&str> = line[name.len()..].split_whitespace().collect();
        assert_eq!(words[..2], [most, most], "{line}");
    }
    // Apart from what whoever started these tests let everybody inherit.
    let open: Vec<_> = fs::read_dir(format!("{proc}/fd"))
        .unwrap()
        .map(|fd| fd.unwrap())
        .map(|fd| (fd.file_name(), fs::read_link(fd.path()).unwrap()))
        .filter(|(number, to)| {
            !fs::read_link(std::path::Path::new("/proc/self/fd").join(number)).is_ok_and(|ours| ours == *to)
        })
        .collect();
    // The archive, what it says, the folder that it fills, the archive again.
    assert!(open.len() <= 4, "{open:?}");

    stdin.write_all(rest).unwrap();
    drop(stdin);
    assert!(unpacker.0.wait().unwrap().success());
    assert_eq!(fs::read_to_string(inside.join("first")).unwrap(), "1");
}

#[test]
fn it_refuses_to_be_root_and_to_work_for_nobody() {
    let shop = Shop::new();
    let bytes = Tar::new().file("first", "1").bytes();
    fs::write(shop.upload("a.tgz"), bytes).unwrap();
    let inside = shop.upload("inside");
    fs::create_dir(&inside).unwrap();
    for (task, words) in [
        (task(&shop, 0, std::process::id()), "never read as root"),
        (task(&shop, shop.account.uid, 1), "is gone"),
        ("nonsense".to_owned(), "for the agent's own use"),
    ] {
        let output = Command::new(UNPACKER)
            .args(["unpack", &task])
            .current_dir(&inside)
            .stdin(fs::File::open(shop.upload("a.tgz")).unwrap())
            .output()
            .unwrap();
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains(words), "{output:?}");
        assert_eq!(fs::read_dir(&inside).unwrap().count(), 0);
    }
}

#[test]
fn where_it_may_make_no_namespaces_it_still_has_another_root_and_another_user() {
    // As in a container: root without the right to administrate.
    let shop = Shop::new();
    let uid = shop.account.uid;
    let inside = shop.upload("inside");
    fs::create_dir(&inside).unwrap();
    chown(&inside, Some(uid), Some(uid)).unwrap();
    let mut unpacker = Shut(
        // Apart from that, with more groups than it should keep.
        Command::new("setpriv")
            .args(["--groups", "4,27"])
            .args(["--bounding-set", "-sys_admin", UNPACKER, "unpack", &task(&shop, uid, std::process::id())])
            .current_dir(&inside)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut stdin = unpacker.0.stdin.take().unwrap();
    let bytes = Tar::new().file("first", "1").bytes();
    stdin.write_all(&bytes[..20]).unwrap();
    let pid = unpacker.0.id();
    until("it waits", || waits(pid));
    assert_eq!(status(pid)["Uid"], format!("{uid} {uid} {uid} {uid}"));
    assert_eq!(status(pid)["CapEff"], "0000000000000000");
    assert_eq!(status(pid)["Groups"], "");
    assert_eq!(fs::read_link(format!("/proc/{pid}/root")).unwrap(), inside);
    stdin.write_all(&bytes[20..]).unwrap();
    drop(stdin);
    assert!(unpacker.0.wait().unwrap().success());
    assert_eq!(fs::read_to_string(inside.join("first")).unwrap(), "1");
}

#[test]
fn it_dies_with_the_agent() {
    let shop = Shop::new();
    let uid = shop.account.uid;
    let inside = shop.upload("inside");
    fs::create_dir(&inside).unwrap();
    chown(&inside, Some(uid), Some(uid)).unwrap();
    // A shell plays the agent; its number is only known to itself.
    let task = task(&shop, uid, 4_000_000_000).replace("4000000000", "'$$'");
    let script = format!("exec 3<&0; {UNPACKER} unpack '{task}' <&3 & echo $!; wait");
    let mut agent = Shut(
        Command::new("sh")
            .args(["-c", &script])
            .current_dir(&inside)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    // Held open: the unpacker waits for the rest.
    let _stdin = agent.0.stdin.take().unwrap();
    let mut line = String::new();
    BufReader::new(agent.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid: u32 = line.trim().parse().unwrap();
    until("it waits", || waits(pid));
    agent.0.kill().unwrap();
    agent.0.wait().unwrap();
    until("it is gone", || {
        fs::read_to_string(format!("/proc/{pid}/status")).map_or(true, |status| status.contains("State:\tZ"))
    });
}

#[test]
fn a_site_of_roots_is_refused_by_the_take_itself() {
    let mut shop = Shop::new();
    super::kit::lay(&shop.upload("1.0"), "one");
    let identity = shop.identify(&shop.folder("1.0")).unwrap();
    shop.account.uid = 0;
    let error = shop.take_as(&shop.folder("1.0"), &identity, &|_| {}).unwrap_err();
    assert_eq!(error.reason(), "UserRefused");
    assert!(shop.shelf().is_empty());
}

#[test]
fn an_unpacker_that_says_nothing_sensible_or_cannot_be_started_is_an_error() {
    let shop = Shop::new();
    Tar::new().file("first", "1").write(&shop.upload("a.tgz"));
    let source = shop.archive("a.tgz");
    let identity = shop.identify(&source).unwrap();
    for (program, reason) in [("/bin/true", "ReleaseTooLarge"), ("/nonexistent", "ReleaseNotUnpacked")] {
        let downloads = bluegreen::platform::host::release::Downloads::of(shop.dir.path());
        let within = std::time::Duration::from_secs(60);
        let order = bluegreen::platform::host::release::Order {
            fetching: bluegreen::platform::host::release::Fetching {
                downloads: &downloads,
                within,
                told: &|_| {},
                secrets: None,
            },
            source: &source,
            identity: &identity,
            run: &shop.run(),
            account: &shop.account,
            limits: &shop.limits,
            install_within: std::time::Duration::from_secs(60),
            unpacker: std::path::Path::new(program),
            settings: bluegreen::api::site::SettingsGuards::default(),
            progress: &|_| {},
        };
        let error = bluegreen::platform::host::release::take(&shop.site, &order).unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
        assert!(shop.shelf().is_empty());
    }
}
