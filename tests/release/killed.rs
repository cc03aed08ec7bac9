//! A take that is killed with SIGKILL at each of its steps: nothing half is ever visible, and the next take puts it right.
//!
//! The victim is this test program again: it takes until it has made so many steps, says so, and waits to be killed.

use std::cell::Cell;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use bluegreen::platform::host::release::{is_complete, list};

use super::kit::{Shop, Tar, laid, lay, look, write};

const WHERE: &str = "BLUEGREEN_TEST_TAKE_IN";
const WHAT: &str = "BLUEGREEN_TEST_TAKE_SOURCE";
const STEPS: &str = "BLUEGREEN_TEST_TAKE_STEPS";

#[test]
fn a_take_of_a_folder_killed_at_any_step_leaves_nothing_half_and_the_next_one_is_right() {
    killed_at_every_step("1.0", |at| lay(&at.join("1.0"), "one"));
}

#[test]
fn a_take_of_an_archive_killed_at_any_step_leaves_nothing_half_and_the_next_one_is_right() {
    killed_at_every_step("1.0.tar.gz", |at| {
        lay(&at.join("1.0"), "one");
        Tar::new().all(&at.join("1.0")).write(&at.join("1.0.tar.gz"));
    });
}

fn killed_at_every_step(name: &str, upload: fn(&Path)) {
    for steps in 1.. {
        // A kill leaves the page cache alone, so a disk in memory shows as much, and sooner.
        let mut shop = Shop::on_disk("8m");
        upload(&shop.upload(""));
        configure(&mut shop);
        let source = if name.ends_with(".gz") { shop.archive(name) } else { shop.folder(name) };
        let identity = shop.identify(&source).unwrap();
        let revision = identity.revision(&shop.run()).unwrap();

        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "killed::the_victim", "--nocapture"])
            .env(WHERE, shop.dir.path())
            .env(WHAT, name)
            .env(STEPS, steps.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(victim.stdout.take().unwrap()).lines().map_while(Result::ok);
        let reached = said.into_iter().any(|line| line.contains("here"));
        victim.kill().unwrap();
        victim.wait().unwrap();
        if !reached {
            // It came to its end: every step was had.
            assert!(steps > 10, "only {steps} steps were seen");
            assert!(is_complete(&shop.site, revision));
            break;
        }

        // What is visible is whole.
        for (_, record) in list(&shop.site).unwrap() {
            assert_eq!(record.unwrap().revision, revision, "step {steps}");
            assert_eq!(look(&shop.release(revision)), laid("one"), "step {steps}");
        }
        shop.take_as(&source, &identity, &|_| {}).unwrap();
        assert_eq!(look(&shop.release(revision)), laid("one"), "step {steps}");
        let wanted = [revision.to_string(), format!("{revision}.config"), format!("{revision}.json")];
        assert_eq!(shop.shelf(), wanted, "step {steps}");
        let config = shop.site.releases().join(format!("{revision}.config/app.conf"));
        assert_eq!(fs::read_to_string(config).unwrap(), "secret", "step {steps}");
    }
}

fn configure(shop: &mut Shop) {
    write(&shop.upload("app.conf"), "secret", 0o600);
    shop.config_files = vec![super::kit::abs(&shop.upload("app.conf"))];
}

#[test]
#[ignore = "the victim of the tests above, which start it with a place to work in"]
fn the_victim() {
    let Some(place) = std::env::var_os(WHERE) else { return };
    let name = std::env::var(WHAT).unwrap();
    let steps: u32 = std::env::var(STEPS).unwrap().parse().unwrap();
    let mut shop = Shop::new();
    shop.site =
        bluegreen::platform::host::layout::SiteDir::new(&Path::new(&place).join("state"), &"shop".parse().unwrap());
    let file = super::kit::abs(&Path::new(&place).join("upload").join(&name));
    shop.config_files = vec![super::kit::abs(&Path::new(&place).join("upload/app.conf"))];
    let source = if name.ends_with(".gz") {
        bluegreen::api::site::ReleaseSource::Archive { file, sha256: None }
    } else {
        bluegreen::api::site::ReleaseSource::Path(file)
    };
    let identity = shop.identify(&source).unwrap();
    let made = Cell::new(0);
    shop.take_as(&source, &identity, &|_| {
        made.set(made.get() + 1);
        if made.get() == steps {
            // The folder of this process' own is not ours to leave behind: nobody will run a destructor.
            fs::remove_dir_all(shop.dir.path()).unwrap();
            println!("here");
            let _ = std::io::stdin().read(&mut [0]);
        }
    })
    .unwrap();
}
