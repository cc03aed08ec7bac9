//! What closes the ports again at a reboot, before a site's unit starts and whether the agent runs or not: a unit that loads the file.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::platform::host::store::{self, StoreError};

/// The unit's name.
pub const UNIT: &str = "bluegreen-firewall.service";

/// The unit. Others that load rules may flush the whole ruleset first, so it comes after them; nothing of a network is up yet. Starting it again,
/// as after `systemctl restart nftables`, loads the file again.
fn text(nft: &Path, rules: &Path, state: &Path) -> String {
    format!(
        "# Written by bluegreen, which keeps {rules} equal to what its sites need.\n\n\
         [Unit]\n\
         Description=bluegreen: closes the ports of apps\n\
         DefaultDependencies=no\n\
         RequiresMountsFor={state}\n\
         After=local-fs.target nftables.service ufw.service netfilter-persistent.service iptables.service ip6tables.service\n\
         Wants=network-pre.target\n\
         Before=network-pre.target network.target shutdown.target\n\
         Conflicts=shutdown.target\n\
         PartOf=nftables.service\n\
         ConditionPathExists={rules}\n\n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         StandardInput=null\n\
         ExecStart={nft} -f {rules}\n\n\
         [Install]\n\
         WantedBy=sysinit.target\n",
        nft = nft.display(),
        rules = rules.display(),
        state = state.display(),
    )
}

/// Writes and enables the unit; whether anything changed, so that systemd has to be told.
pub(super) fn write(units: &Path, nft: &Path, rules: &Path, state: &Path) -> Result<bool, StoreError> {
    let file = units.join(UNIT);
    let text = text(nft, rules, state);
    let wants = units.join("sysinit.target.wants");
    let link = wants.join(UNIT);
    let linked = fs::read_link(&link).is_ok();
    if linked && fs::read(&file).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(false);
    }
    store::write_bytes(&file, text.as_bytes(), 0o644)?;
    let enable = || -> io::Result<()> {
        fs::create_dir_all(&wants)?;
        match symlink(&file, &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => fs::File::open(&wants)?.sync_all(),
        }
    };
    enable().map_err(|source| StoreError::Write { path: link.clone(), source })?;
    Ok(true)
}

/// Removes the unit; whether there was one.
pub(super) fn remove(units: &Path) -> Result<bool, StoreError> {
    let file = units.join(UNIT);
    let there = fs::symlink_metadata(&file).is_ok();
    let link = units.join("sysinit.target.wants").join(UNIT);
    match fs::remove_file(&link) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(StoreError::Write { path: link, source });
        }
        _ => {}
    }
    store::remove(&file)?;
    Ok(there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_written_once_enabled_and_comes_after_what_may_flush() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let units = folder.path();
        let put = || {
            write(units, Path::new("/usr/sbin/nft"), Path::new("/s/firewall.nft"), Path::new("/s")).expect("written")
        };
        assert!(put());
        assert!(!put(), "nothing changed");
        let text = fs::read_to_string(units.join("sysinit.target.wants").join(UNIT)).expect("enabled");
        assert!(text.contains("After=local-fs.target nftables.service ufw.service"), "{text}");
        assert!(text.contains("ExecStart=/usr/sbin/nft -f /s/firewall.nft"), "{text}");
        assert!(remove(units).expect("removed") && !remove(units).expect("nothing to remove"));
        assert!(fs::symlink_metadata(units.join("sysinit.target.wants").join(UNIT)).is_err());
    }
}
