//! The file systems that machines are copied from: made once, and kept in the user's cache folder under the hash of what went into them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::run;

const SUITE: &str = "bookworm";
const PACKAGES: &str = "systemd,systemd-sysv,dbus,nginx-light,iproute2,curl,nftables,python3-minimal,procps";
/// Run inside the new file system before it is kept. Grows with what tests need.
const FINISH: &[&[&str]] = &[
    &["useradd", "--create-home", "--shell", "/bin/sh", "shop"],
    // So that the journal outlives a reboot.
    &["mkdir", "-p", "/var/log/journal"],
    &["systemctl", "mask", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer"],
    // Each machine gets an identity of its own at its first boot.
    &["truncate", "--size", "0", "/etc/machine-id"],
    &["systemctl", "disable", "nginx.service"],
];

/// What [`Image::Full`] has besides.
const MORE: &[&str] = &["apache2", "default-jre-headless", "tomcat10", "python3-venv", "fcgiwrap", "spawn-fcgi"];
/// What nobody asked to run.
const IDLE: &[&str] = &["apache2.service", "tomcat10.service", "fcgiwrap.service", "fcgiwrap.socket"];

/// What is installed on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// nginx, and little else.
    Small,
    /// Everything that any kind of app needs, and Apache beside nginx; both are off.
    Full,
}

impl Image {
    /// The file system of a machine that was never booted; made now if it isn't in the cache.
    pub(super) fn files(self) -> io::Result<PathBuf> {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let cache = cache.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache")));
        let cache = cache.ok_or_else(|| io::Error::other("neither XDG_CACHE_HOME nor HOME is set"))?.join("bluegreen");
        fs::create_dir_all(&cache)?;
        let lock = File::create(cache.join("debian.lock"))?;
        lock.lock()?;
        let named = |what: String| cache.join(format!("debian-{SUITE}-{:016x}", hash(&what)));
        let recipe = format!("{SUITE} {PACKAGES} {FINISH:?}");
        let small = named(recipe.clone());
        make(&small, bootstrap)?;
        if self == Image::Small {
            return Ok(small);
        }
        let full = named(format!("{recipe} {MORE:?} {IDLE:?}"));
        make(&full, |new| {
            run(Command::new("cp").args(["--archive", "--reflink=auto"]).args([&small, new]))?;
            install(new)
        })?;
        Ok(full)
    }
}

/// Makes a folder, whole or not at all, unless it is there.
fn make(image: &Path, fill: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    if image.exists() {
        return Ok(());
    }
    let new = image.with_extension("new");
    if new.exists() {
        fs::remove_dir_all(&new)?;
    }
    fill(&new)?;
    fs::rename(&new, image)
}

fn bootstrap(new: &Path) -> io::Result<()> {
    run(Command::new("debootstrap").args(["--variant=minbase", &format!("--include={PACKAGES}"), SUITE]).arg(new))?;
    for argv in FINISH {
        run(Command::new("chroot").arg(new).args(*argv).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))?;
    }
    Ok(())
}

fn install(new: &Path) -> io::Result<()> {
    let script = format!(
        "set -e; export DEBIAN_FRONTEND=noninteractive
        printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d
        apt-get -qq update; apt-get -qq install -y --no-install-recommends {}
        rm -r /usr/sbin/policy-rc.d /var/lib/apt/lists; apt-get clean; systemctl disable {}",
        MORE.join(" "),
        IDLE.join(" ")
    );
    // With a network, unlike the machines that are booted.
    let mut inside = Command::new("systemd-nspawn");
    inside.args(["--quiet", "--register=no", "--keep-unit", "--console=pipe", "--as-pid2", "--directory"]).arg(new);
    run(inside.args(["sh", "-c", &script]))?;
    fs::write(new.join("etc/machine-id"), "")
}

/// FNV-1a: the same on every machine and with every compiler.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
