//! Shuts a process in that reads what somebody uploaded: an empty folder as its whole world, a user with no way to become another, no network, no
//! children, and bounds on time, memory and files.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::UnshareFlags;

/// What it may use of the machine.
pub(super) struct Bounds {
    /// Processor time.
    pub cpu: Duration,
    /// Bytes of one file that it writes.
    pub file: u64,
}

/// Whom it becomes.
#[derive(Clone, Copy)]
pub(super) enum Who {
    /// An account of the machine, which owns the working folder.
    Account {
        /// Its number.
        uid: u32,
        /// That of its group.
        gid: u32,
    },
    /// A number that is nobody's, so that no process is there to be signalled or traced, nor to do so.
    NobodyElse,
}

/// As [`shut`], for root alone. Returns the working folder, which is then also `/`.
pub(super) fn enter(who: Who, parent: u32, bounds: &Bounds) -> io::Result<OwnedFd> {
    if !rustix::process::geteuid().is_root() {
        return Err(io::Error::other("only root can shut anything in"));
    }
    shut(who, parent, bounds)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, "/", flags, Mode::empty())?)
}

/// Gives up everything but the working folder, and becomes this user. Whoever isn't root keeps what that is, within the bounds.
///
/// Must be called while the process has one thread: on Linux rights belong to threads.
pub(super) fn shut(who: Who, parent: u32, bounds: &Bounds) -> io::Result<()> {
    if matches!(who, Who::Account { uid: 0, .. } | Who::Account { gid: 0, .. }) {
        return Err(io::Error::other("what somebody uploaded is never read as root"));
    }
    rustix::process::umask(Mode::from_raw_mode(0o077));
    if rustix::process::geteuid().is_root() {
        narrow_world()?;
        limit(bounds)?;
        match who {
            Who::Account { uid, gid } => become_user(uid, gid)?,
            Who::NobodyElse => {
                let own = FREE + rustix::process::getpid().as_raw_nonzero().get().unsigned_abs();
                match become_user(own, own) {
                    // In a namespace of users that has not got that many.
                    Err(Errno::INVAL) => become_user(NOBODY, NOBODY)?,
                    other => other?,
                }
            }
        }
    } else {
        limit(bounds)?;
    }
    rustix::thread::set_no_new_privs(true)?;
    // The app itself may run as this user: it must not be able to trace us.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // After the change of user, which clears it; and the parent may have died before.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid().is_some_and(|now| now.as_raw_nonzero().get().unsigned_abs() != parent) {
        return Err(io::Error::other("the agent that wanted this is gone"));
    }
    Ok(())
}

/// From here on numbers of users are nobody's: above those of accounts, of services and of containers (systemd's table of them ends below).
const FREE: u32 = 2_000_000_000;
/// The overflow user of the kernel.
const NOBODY: u32 = 65_534;

fn become_user(uid: u32, gid: u32) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

/// Makes the working folder the root of everything.
fn narrow_world() -> io::Result<()> {
    match namespaces() {
        Ok(()) => Ok(()),
        // In a container without the right to make namespaces (the agent can run there, with the supervisor `direct`): what is left is
        // another root folder, another user and the limits. The network stays within reach, of a process that may open no file.
        Err(Errno::PERM | Errno::INVAL | Errno::NOSYS | Errno::ACCESS) => {
            rustix::process::chroot(".")?;
            Ok(rustix::process::chdir("/")?)
        }
        Err(error) => Err(error.into()),
    }
}

fn namespaces() -> Result<(), Errno> {
    let here = rustix::process::getcwd(Vec::new())?;
    // Deprecated for what it does with FILES, which is not among the flags.
    #[expect(deprecated)]
    rustix::thread::unshare(UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS)?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    rustix::mount::mount_bind(here.as_c_str(), here.as_c_str())?;
    rustix::process::chdir(here.as_c_str())?;
    let flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount_remount(here.as_c_str(), flags, "")?;
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}

fn limit(bounds: &Bounds) -> io::Result<()> {
    const MEMORY: u64 = 512 << 20;
    // By the first of the two limits it is told, by the second killed as anybody might have killed it.
    let cpu = bounds.cpu.as_secs().max(1);
    rustix::process::setrlimit(Resource::Cpu, Rlimit { current: Some(cpu), maximum: Some(cpu + 1) })?;
    for (resource, most) in [
        // More than the limit: what passes it is counted and named before the kernel ends us for it.
        (Resource::Fsize, bounds.file.saturating_add(1 << 20)),
        (Resource::Core, 0),
        (Resource::Nproc, 0),
        (Resource::Nofile, 64),
        (Resource::As, MEMORY),
    ] {
        rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}
