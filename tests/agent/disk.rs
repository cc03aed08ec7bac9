//! A disk that is full: said, the live colour untouched, and the way on once there is room.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::kit::{Machine, nothing_lost, says, why};

/// A small file system of its own; gone when it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(folder: &Path, bytes: u64) -> SmallDisk {
        let size = std::ffi::CString::new(format!("size={bytes},mode=0755")).unwrap();
        mount("tmpfs", folder, "tmpfs", MountFlags::NODEV, size.as_c_str()).unwrap();
        SmallDisk(folder.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Apps may still have their folders on it; the mount goes when the last of them ends.
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_is_said_and_the_rollout_goes_on_when_there_is_room() {
    let mut machine = Machine::start();
    machine.agent.stop();
    let state = machine.agent.state_dir();
    let _disk = SmallDisk::at(&state, 512 << 20);
    machine.agent.run().unwrap();
    let site = machine.site("shop", 0);
    machine.agent.apply_and_wait(&site.clone().release(&machine.release("v1"))).unwrap();
    let load = machine.load(&site);
    load.wait_for_version("v1").unwrap();
    // As much as there is, down to the last byte.
    let ballast = state.join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    let block = vec![0_u8; 1 << 16];
    while std::io::Write::write_all(&mut file, &block).is_ok() {}
    drop(file);
    let next = site.clone().release(&machine.release("v2"));
    // What can't be written down is refused, or waits: either way nothing is half done.
    let refusal = machine.agent.apply(&next);
    if let Err(refusal) = refusal {
        assert!(format!("{refusal:#}").contains("no space left"), "{refusal:#}");
    }
    // Edited in the folder, nobody hears a refusal: it stands in the condition.
    next.write(&machine.agent.sites_dir().join("shop.yaml")).unwrap();
    let full =
        |site: &serde_json::Value| says(site, "Ready").contains("no space left") || why(site, "Ready") == "DiskFull";
    let now = machine.agent.wait_for("shop", "says that the disk is full", full).unwrap();
    assert_eq!(why(&now, "Available"), "AllInstancesReady", "{now:#}");
    assert_eq!(machine.agent.live_colour("shop").as_deref(), Some("blue"));
    fs::remove_file(&ballast).unwrap();
    fs::write(machine.agent.sites_dir().join("shop.yaml"), next.yaml().unwrap()).unwrap();
    load.wait_for_version("v2").unwrap();
    machine.agent.wait_for("shop", "is live", |site| why(site, "Ready") == "Live").unwrap();
    nothing_lost(&load.stop());
}
