//! The environment of a release: root's and read-only, gone with its release, made again after a kill; and no secret of an index anywhere.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bluegreen_rig::wait;

use crate::kit::{Machine, Server, nothing_lost, says};

fn environments(machine: &Machine) -> Vec<PathBuf> {
    let releases = machine.agent.site_dir("flask").join("releases");
    let all = fs::read_dir(releases).unwrap().flatten().map(|entry| entry.path());
    all.filter(|path| path.extension().is_some_and(|ending| ending == "venv")).collect()
}

fn each(path: &Path, look: &mut dyn FnMut(&Path, &fs::Metadata)) {
    let found = fs::symlink_metadata(path).unwrap();
    look(path, &found);
    if found.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            each(&entry.unwrap().path(), look);
        }
    }
}

#[test]
fn an_environment_is_root_s_for_the_sites_user_to_read_and_goes_with_its_release() {
    let machine = Machine::start(Server::Nginx);
    let site = machine.site("flask");
    for number in 0..6 {
        let release = machine.release("flask", &format!("v{number}"));
        machine.deploy(&site.clone().release(&release));
    }
    let all = environments(&machine);
    let releases = fs::read_dir(machine.agent.site_dir("flask").join("releases")).unwrap().flatten();
    let records = releases.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "json")).count();
    assert_eq!(all.len(), records, "one for each release");
    assert!(records < 6, "old ones are gone: {records}");
    let env = &all[0];
    each(env, &mut |path, found| {
        assert_eq!(found.uid(), 0, "{}", path.display());
        // Its group is that of the site's user, and nobody else may read it.
        assert!(found.is_symlink() || found.mode() & 0o227 == 0, "{}: {:o}", path.display(), found.mode());
    });
    // Its scripts know where it lies, and Python knows where it is.
    let script = fs::read_to_string(env.join("bin/flask")).unwrap();
    assert!(script.starts_with(&format!("#!{}/bin/python", env.display())), "{script}");
    let left = fs::read_dir(machine.agent.site_dir("flask").join("releases")).unwrap().flatten();
    assert!(!left.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().starts_with(".taking")));
}

#[test]
fn an_agent_that_is_killed_while_it_installs_goes_on() {
    let mut machine = Machine::start(Server::Nginx);
    let site = machine.site("flask");
    machine.deploy(&site.clone().release(&machine.release("flask", "v1")));
    let load = machine.load(&site);
    let next = machine.release("flask", "v2");
    machine.agent.apply(&site.clone().release(&next)).unwrap();
    let installer = wait::until("pip was at work", wait::PATIENCE, installers_of(&machine)).unwrap();
    machine.agent.kill();
    wait::until("the installer went with it", wait::PATIENCE, || {
        installer.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    })
    .unwrap();
    machine.agent.run().unwrap();
    load.wait_for_version("v2").unwrap();
    machine.agent.wait_for_phase("flask", "Idle").unwrap();
    nothing_lost(&load.stop());
    assert_eq!(environments(&machine).len(), 2);
}

/// The processes of the site's user that install something.
fn installers_of(machine: &Machine) -> impl FnMut() -> Option<Vec<u32>> {
    let releases = machine.agent.site_dir("flask").join("releases").display().to_string();
    move || {
        let all =
            fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let found: Vec<u32> = all
            .filter(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).into_owned();
                line.contains(&releases) && line.contains("--require-virtualenv")
            })
            .collect();
        (!found.is_empty()).then_some(found)
    }
}

#[test]
fn a_password_of_an_index_is_shown_nowhere() {
    let machine = Machine::start(Server::Nginx);
    // An index that has nothing; it answers as the real ones do.
    let index = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = index.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in index.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    let release = machine.release("flask", "v1");
    fs::remove_dir_all(release.join("wheels")).unwrap();
    let url = format!("http://me:hunter2secret@127.0.0.1:{port}/simple?token=t0psecret");
    fs::write(
        release.join("requirements.txt"),
        format!("--extra-index-url http://you:al5osecret@127.0.0.1:{port}/other\nno-such-thing\n"),
    )
    .unwrap();
    let site = machine.site("flask").env("PIP_INDEX_URL", &url);
    let now = machine.refused(&site, &release);
    let why = says(&now, "Stalled");
    assert!(why.contains("No matching distribution found for no-such-thing"), "{why}");
    let describe = machine.agent.bluegreen(&["describe", "flask"]).unwrap();
    let history = format!("{:?}", machine.agent.history("flask").unwrap());
    let shown = [
        now["status"].to_string(),
        machine.agent.log(),
        String::from_utf8_lossy(&describe.stdout).into_owned(),
        history,
    ];
    for secret in ["hunter2secret", "t0psecret", "al5osecret"] {
        for text in &shown {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}
