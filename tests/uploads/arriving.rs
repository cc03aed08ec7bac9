//! The ways of being whole, and which of several is the newest.

use std::fs;
use std::process::Command;

use bluegreen_rig::process::run;
use bluegreen_rig::wait;

use crate::kit::{Site, sum};
use crate::machine::{says, why};

#[test]
fn each_way_of_being_whole_goes_live_and_nothing_else_does() {
    let site = Site::start();
    let at = |name: &str| site.folder.join(name).display().to_string();
    let put = |file: &std::path::Path, name: &str| format!("put {} {}", file.display(), at(name));
    let begun = site.begun();

    // Renamed, as WinSCP does, and as FileZilla does: the second makes OpenSSH's server link and unlink.
    for (version, rename) in [("v2", "rename"), ("v3", "rename -l")] {
        let name = format!("shop-{version}.tar.gz");
        let part = format!("{name}.filepart");
        site.sshd.sftp(&[put(&site.archive(version), &part), format!("{rename} {} {}", at(&part), at(&name))]);
        site.goes_live(version);
    }

    // A marker beside it.
    site.sshd.sftp(&[put(&site.archive("v4"), "shop-v4.tar.gz")]);
    site.served.load().wait_for_more(50).unwrap();
    assert_eq!(site.begun(), begun + 2, "nothing says yet that it is whole");
    let empty = site.agent().folder().join("empty");
    fs::write(&empty, "").unwrap();
    site.sshd.sftp(&[put(&empty, "shop-v4.tar.gz.done")]);
    site.goes_live("v4");

    // A checksum, by scp.
    let file = site.archive("v5");
    let sums = site.agent().folder().join("v5.sha256");
    fs::write(&sums, format!("{} *v5.tar.gz\n", sum(&file))).unwrap();
    run(site.sshd.client("scp").arg(&file).arg(&sums).arg(format!("site:{}", site.folder.display()))).unwrap();
    // Beside another name it is that of nothing.
    run(Command::new("mv").current_dir(&site.folder).args(["v5.sha256", "v5.tar.gz.sha256"])).unwrap();
    site.goes_live("v5");

    // A folder, with a marker.
    let folder = site.served.machine.release("v6");
    run(Command::new("cp").arg("-r").arg(folder).arg(site.folder.join("v6"))).unwrap();
    site.put("v6.done", b"");
    site.goes_live("v6");
    assert_eq!(site.begun(), begun + 5);
    site.served.ends_with_versions(&["v1b", "v2", "v3", "v4", "v5", "v6"]);
}

#[test]
fn a_marker_from_before_says_nothing_of_an_upload_in_its_place() {
    let site = Site::start();
    let whole = fs::read(site.archive("v2")).unwrap();
    let begun = site.begun();
    // Over the first one, whose marker is still there.
    site.put("shop-1.tar.gz", &whole[..whole.len() / 2]);
    site.served.load().wait_for_more(100).unwrap();
    assert_eq!(site.begun(), begun);
    site.put("shop-1.tar.gz", &whole);
    fs::remove_file(site.folder.join("shop-1.tar.gz.done")).unwrap();
    site.put("shop-1.tar.gz.done", b"");
    site.goes_live("v2");
    assert_eq!(site.begun(), begun + 1);
    site.served.ends_with_versions(&["v1b", "v2"]);
}

#[test]
fn what_goes_is_touched_or_was_rejected_brings_nothing_back_and_a_restart_neither() {
    let mut site = Site::start();
    let put_whole = |site: &Site, version: &str, behaviour: &str| {
        let bytes = fs::read(site.archive_that(version, behaviour)).unwrap();
        site.put(&format!("{version}.tar.gz.part"), &bytes);
        let at = |name: String| site.folder.join(name);
        fs::rename(at(format!("{version}.tar.gz.part")), at(format!("{version}.tar.gz"))).unwrap();
    };
    put_whole(&site, "v2", "");
    site.goes_live("v2");
    put_whole(&site, "v3", "never-ready");
    site.served.says("ReadyDeadlineExceeded", &[]);
    let begun = site.begun();
    // The rejected one and an old one are touched, the live one's file goes, the agent is killed and comes back.
    run(Command::new("chmod").arg("0600").arg(site.folder.join("v3.tar.gz"))).unwrap();
    site.put("shop-1.tar.gz.done", b"");
    fs::remove_file(site.folder.join("v2.tar.gz")).unwrap();
    site.served.machine.agent.kill();
    site.served.machine.agent.run().unwrap();
    // Its memory of them lost, too.
    site.served.machine.agent.kill();
    fs::remove_file(site.agent().site_dir("shop").join("uploads.json")).unwrap();
    site.served.machine.agent.run().unwrap();
    let memory = site.agent().site_dir("shop").join("uploads.json");
    wait::until("the folder was looked at", wait::PATIENCE, || memory.exists().then_some(())).unwrap();
    site.served.load().wait_for_more(100).unwrap();
    assert_eq!(site.begun(), begun);
    let now = site.agent().site("shop").unwrap();
    assert_eq!(why(&now, "Stalled"), "ReadyDeadlineExceeded", "{}", says(&now, "Stalled"));
    // The next one that arrives goes live.
    put_whole(&site, "v4", "");
    site.goes_live("v4");
    // A rollback holds although the newest lies there, until another one arrives.
    site.agent().bluegreen(&["rollback", "shop"]).unwrap();
    site.agent().wait_for("shop", "is rolled back", |site| why(site, "Ready") == "RolledBack").unwrap();
    put_whole(&site, "v5", "");
    site.goes_live("v5");
}

#[test]
fn of_two_uploads_at_once_the_one_that_is_whole_last_stays() {
    let site = Site::start();
    let files = [site.archive("v2"), site.archive("v3")];
    let sizes = files.each_ref().map(|file| fs::metadata(file).unwrap().len() * 8 / 1000);
    // Side by side: the first takes about three seconds, the second one.
    std::thread::scope(|scope| {
        for ((file, size), (name, seconds)) in files.iter().zip(sizes).zip([("v2.tar.gz", 3), ("v3.tar.gz", 1)]) {
            let (sshd, at) = (&site.sshd, site.folder.join(name).display().to_string());
            let batch = site.agent().folder().join(format!("{name}.batch"));
            fs::write(&batch, format!("put {} {at}.part\nrename {at}.part {at}\n", file.display())).unwrap();
            scope.spawn(move || {
                let mut sftp = sshd.client("sftp");
                run(sftp.args(["-l", &(size / seconds).to_string(), "-b"]).arg(batch).arg("site")).unwrap();
            });
        }
    });
    site.goes_live("v2");
    let told = site.agent().bluegreen(&["get", "shop", "-o", "json"]).unwrap();
    assert!(String::from_utf8_lossy(&told.stdout).contains("Live"));
    site.served.lost_nothing();
}
