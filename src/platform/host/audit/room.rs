//! Whether the next rollout finds room: memory for two colours at once, disk for another release; and a clock that can be believed.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::processes;
use super::sites::Sites;
use super::{Notes, Places, Severity};
use crate::platform::host::memory;
use crate::platform::host::supervise::process;

/// Less than this part of the disk is too little.
const DISK_PART: u64 = 10;
/// Less than this is too little, however large the disk.
const DISK_LEAST: u64 = 256 << 20;
/// The agent watches each site's folder and the web server's.
const WATCHES_LEAST: u64 = 8192;
const INSTANCES_LEAST: u64 = 64;

pub(super) fn look(places: &Places, sites: &Sites, notes: &mut Notes) {
    memory(sites, notes);
    disk(places, sites, notes);
    limits(Path::new("/proc/sys/fs/inotify"), notes);
    clock(notes);
}

fn memory(sites: &Sites, notes: &mut Notes) {
    let Some(left) = memory::left() else {
        notes.unseen("how much memory is left: /proc/meminfo does not say");
        return;
    };
    let told = |pid| Some((pid, processes::told(pid, "BLUEGREEN_SITE")?, processes::told(pid, "BLUEGREEN_COLOUR")?));
    let apps: Vec<(u32, String, String)> = process::numbers("/proc").into_iter().filter_map(told).collect();
    for site in &sites.all {
        let Some(colour) = site.alone else { continue };
        let own = apps.iter().filter(|(_, of, on)| of == site.name.as_str() && on == colour.name());
        if let Some((what, fix)) = too_little(memory::another(own.map(|(pid, ..)| *pid)), left) {
            notes.find(Severity::Medium, "MemoryForOneColour", what, format!("site {}", site.name), fix);
        }
    }
}

/// What is wrong with the memory, if two colours would not fit.
fn too_little(need: u64, left: u64) -> Option<(String, String)> {
    (left < need).then(|| {
        let what = format!(
            "the live colour took up to {} MiB, and {} MiB are left (with the free swap): the other colour does not fit beside it",
            need >> 20,
            left >> 20
        );
        (what, format!("give the app less (for Java -Xmx{}m), or the machine more", (left >> 20) * 3 / 4))
    })
}

fn disk(places: &Places, sites: &Sites, notes: &mut Notes) {
    let stat = match rustix::fs::statvfs(&places.state) {
        Ok(stat) => stat,
        // No agent has run here yet.
        Err(rustix::io::Errno::NOENT) => return,
        Err(error) => {
            notes.unseen(format!("how much disk is free at {}: {error}", places.state.display()));
            return;
        }
    };
    let (free, all) = (stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize);
    let largest = sites.all.iter().map(|site| site.largest).max().unwrap_or(0);
    let needed = largest * 2;
    let place = places.state.display().to_string();
    let fix = "journalctl --vacuum-size=100M && apt clean, or put stateDir on a larger disk";
    if free < needed.max(DISK_LEAST.min(all / DISK_PART)) || free < all / DISK_PART {
        let severity = if free < needed { Severity::High } else { Severity::Medium };
        notes.find(
            severity,
            "DiskAlmostFull",
            format!(
                "{} MiB of {} MiB are free, and the next release needs up to {} MiB",
                free >> 20,
                all >> 20,
                needed >> 20
            ),
            place,
            fix,
        );
    } else if stat.f_files > 0 && stat.f_favail < stat.f_files / 20 {
        notes.find(
            Severity::Medium,
            "InodesAlmostGone",
            "less than a twentieth of the disk's inodes are free",
            place,
            fix,
        );
    }
}

fn limits(folder: &Path, notes: &mut Notes) {
    for (name, least) in [("max_user_watches", WATCHES_LEAST), ("max_user_instances", INSTANCES_LEAST)] {
        let Some(now) = fs::read_to_string(folder.join(name)).ok().and_then(|text| text.trim().parse::<u64>().ok())
        else {
            continue;
        };
        if now < least {
            notes.find(
                Severity::Medium,
                "InotifyLimit",
                format!("only {now} allowed, and what can't be watched is noticed late"),
                format!("fs.inotify.{name}"),
                format!("echo fs.inotify.{name}={} > /etc/sysctl.d/60-inotify.conf && sysctl --system", least * 8),
            );
        }
    }
}

/// In a container the clock is the host's affair.
fn clock(notes: &mut Notes) {
    if !Path::new("/run/systemd/system").is_dir() || Path::new("/run/systemd/container").exists() {
        return;
    }
    let asked = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output();
    match asked {
        Ok(output) if output.status.success() => {
            if String::from_utf8_lossy(&output.stdout).trim() == "no" {
                notes.find(
                    Severity::Medium,
                    "ClockNotSynchronised",
                    "nothing keeps the clock right: certificates, logs and deadlines depend on it",
                    "the clock",
                    "apt install systemd-timesyncd && timedatectl set-ntp true",
                );
            }
        }
        Ok(_) | Err(_) => notes.unseen("whether the clock is synchronised: timedatectl does not say"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_colours_fit_when_as_much_is_free_as_the_live_one_ever_took() {
        assert_eq!(too_little(1 << 30, 1 << 30), None);
        assert_eq!(too_little(0, 0), None);
        let (what, fix) = too_little(1 << 30, 400 << 20).expect("too little");
        assert!(what.contains("up to 1024 MiB, and 400 MiB are left") && fix.contains("-Xmx300m"), "{what} {fix}");
    }

    #[test]
    fn a_limit_that_is_too_low_is_named_with_a_better_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, value) in [("max_user_watches", "100"), ("max_user_instances", "128")] {
            fs::write(folder.path().join(name), value).expect("written");
        }
        let mut notes = Notes::default();
        limits(folder.path(), &mut notes);
        let found: Vec<&str> = notes.findings.iter().map(|finding| finding.place.as_str()).collect();
        assert_eq!(found, ["fs.inotify.max_user_watches"]);
    }
}
