//! Shuts the installer in: the system's programs and settings to be read, the release to be read, the environment to be filled, a folder of its own for
//! everything else, and nothing more; the site's user with no way to become another; no network where wheels are at hand; processor time
//! and the size of files bounded. What it starts dies with it.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::{Resource, Rlimit, Signal};
use rustix::thread::UnshareFlags;

use super::Task;

/// What is shown of the system, to be read.
const SYSTEM: [&str; 10] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/nix", "/run/systemd/resolve"];
/// Devices without which little works.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// If the agent dies, nobody waits for this any more.
pub(super) fn die_with_parent() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Whether what is started next is the first process of a namespace: all that it starts dies with it. Where that isn't allowed (in a container), it goes on
/// without.
pub(super) fn own_processes() -> io::Result<bool> {
    #[expect(deprecated)]
    match rustix::thread::unshare(UnshareFlags::NEWPID) {
        Ok(()) => Ok(true),
        Err(Errno::PERM | Errno::INVAL | Errno::NOSYS | Errno::ACCESS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Gives up everything else. Returns where the release and the environment are found from now on.
pub(super) fn enter(task: &Task) -> io::Result<[PathBuf; 2]> {
    if task.uid == 0 || task.gid == 0 {
        return Err(io::Error::other("nothing is ever installed as root"));
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let places = match namespaces(task) {
        Ok(()) => {
            world(task).map_err(|error| io::Error::other(format!("it can't shut itself in: {error}")))?;
            [task.release[1].clone(), task.env.clone()]
        }
        // What is left is another user and the limits. The paths are those of the working folder: what is installed must be called as a module.
        Err(Errno::PERM | Errno::INVAL | Errno::NOSYS | Errno::ACCESS) => {
            fs::set_permissions(&task.work, Permissions::from_mode(0o711))?;
            [task.release[0].clone(), task.work.join("built")]
        }
        Err(error) => return Err(error.into()),
    };
    for (resource, most) in [(Resource::Cpu, task.cpu), (Resource::Fsize, task.bytes), (Resource::Core, 0)] {
        rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    let (uid, gid) = (Uid::from_raw(task.uid), Gid::from_raw(task.gid));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    rustix::thread::set_no_new_privs(true)?;
    // The change of user has cleared it.
    die_with_parent()?;
    Ok(places)
}

/// The folder for temporary files.
pub(super) fn home(task: &Task) -> PathBuf {
    let inside = PathBuf::from("/tmp");
    let shut_in = !task.work.exists();
    if shut_in { inside } else { task.work.join("tmp") }
}

fn namespaces(task: &Task) -> Result<(), Errno> {
    let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    if task.wheels {
        flags |= UnshareFlags::NEWNET;
    }
    #[expect(deprecated)]
    rustix::thread::unshare(flags)?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
}

/// Builds another root and moves into it.
fn world(task: &Task) -> io::Result<()> {
    let root = task.work.join("root");
    let quiet = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("tmpfs", &root, "tmpfs", quiet, c"size=1m,mode=755")?;
    // What lies around the agent's own state is not shown.
    for path in SYSTEM.map(Path::new).into_iter().filter(|path| !task.work.starts_with(path)) {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_symlink() => symlink(fs::read_link(path)?, below(&root, path))?,
            Ok(found) if found.is_dir() => bind(path, &root, path, quiet | MountFlags::RDONLY)?,
            _ => {}
        }
    }
    fs::create_dir(root.join("dev"))?;
    for name in DEVICES {
        let (device, place) = (Path::new("/dev").join(name), root.join("dev").join(name));
        File::create(&place)?;
        rustix::mount::mount_bind(&device, &place)?;
    }
    bind(Path::new("/proc"), &root, Path::new("/proc"), quiet)?;
    bind(&task.work.join("tmp"), &root, Path::new("/tmp"), quiet)?;
    bind(&task.release[0], &root, &task.release[1], quiet | MountFlags::RDONLY)?;
    bind(&task.work.join("built"), &root, &task.env, quiet)?;
    let flags = MountFlags::BIND | MountFlags::RDONLY | quiet;
    rustix::process::chdir(&root)?;
    rustix::mount::mount_remount(".", flags, c"")?;
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}

/// Shows `what` at `place` of the new root.
fn bind(what: &Path, root: &Path, place: &Path, flags: MountFlags) -> io::Result<()> {
    let at = below(root, place);
    fs::create_dir_all(&at)?;
    rustix::mount::mount_bind_recursive(what, &at)?;
    Ok(rustix::mount::mount_remount(&at, flags | MountFlags::BIND, c"")?)
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
