//! Which process holds a socket: its program, its user, the unit that it runs in, and the site that it is of.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::api::types::SiteName;
use crate::platform::host::sockets;
use crate::platform::host::supervise::process::{self, Stat};

/// So far back is looked for whoever was told which site it is of.
const ANCESTORS: usize = 8;

/// A process, as people know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) program: String,
    pub(super) user: String,
    pub(super) unit: Option<String>,
    pub(super) site: Option<String>,
}

/// The process of each socket. Of several, as with a server's workers, the first.
pub(super) fn by_socket() -> BTreeMap<u64, u32> {
    let mut owners = BTreeMap::new();
    let mut pids = process::numbers("/proc");
    pids.sort_unstable();
    for pid in pids {
        for inode in sockets::inodes(pid) {
            owners.entry(inode).or_insert(pid);
        }
    }
    owners
}

/// What is known of a process.
pub(super) fn describe(pid: u32) -> Process {
    let uid = fs::metadata(format!("/proc/{pid}")).map(|meta| meta.uid()).ok();
    let unit = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok().as_deref().and_then(unit);
    Process {
        pid,
        program: Stat::read(pid).map_or_else(|| "?".to_owned(), |stat| stat.name),
        user: uid.map_or_else(|| "?".to_owned(), user_name),
        site: unit.as_deref().and_then(site_of_unit).or_else(|| site(pid)),
        unit,
    }
}

/// The site and the colour that a process was told that it is of.
pub(super) fn told(pid: u32, what: &str) -> Option<String> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let prefix = format!("{what}=");
    let value = environ.split(|&byte| byte == 0).find_map(|entry| entry.strip_prefix(prefix.as_bytes()))?;
    String::from_utf8(value.to_vec()).ok()
}

/// What was told to a process, or to those that it came from: some write their title over what they were told.
fn site(pid: u32) -> Option<String> {
    let line = std::iter::successors(Some(pid), |pid| parent(*pid)).take(ANCESTORS);
    // Only what could be a site's name is shown: anybody may write anything into their own environment.
    let name = line.filter_map(|pid| told(pid, "BLUEGREEN_SITE")).next()?.parse::<SiteName>().ok()?;
    Some(name.to_string())
}

fn parent(pid: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok().filter(|parent| *parent > 1)
}

/// `shop` of `bluegreen-shop-blue@0.service`.
fn site_of_unit(unit: &str) -> Option<String> {
    let (place, _) = unit.strip_prefix("bluegreen-")?.strip_suffix(".service")?.split_once('@')?;
    let (site, _) = place.rsplit_once('-')?;
    site.parse::<SiteName>().ok().map(|site| site.to_string())
}

/// `ssh.service` of `0::/system.slice/ssh.service`.
fn unit(cgroup: &str) -> Option<String> {
    let path = cgroup.lines().next_back()?.splitn(3, ':').nth(2)?;
    let mut parts = path.rsplit('/');
    parts.find(|part| part.ends_with(".service") || part.ends_with(".scope")).map(str::to_owned)
}

fn user_name(uid: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| uid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_the_innermost_service_of_the_path() {
        assert_eq!(unit("0::/system.slice/ssh.service\n").as_deref(), Some("ssh.service"));
        let nested = "0::/user.slice/user-0.slice/user@0.service/app.slice/x.scope/y\n";
        assert_eq!(unit(nested).as_deref(), Some("x.scope"));
        assert_eq!(unit("0::/\n"), None);
        assert_eq!(site_of_unit("bluegreen-my-shop-green@1.service").as_deref(), Some("my-shop"));
        assert_eq!(site_of_unit("bluegreen-firewall.service"), None);
    }
}
