//! Who asks, as the kernel says (SO_PEERCRED), and what that caller may.
//!
//! The socket's mode already keeps strangers out; this is the second lock on the same door, and the one that tells looking and
//! commanding apart from deciding what runs as whom.

use std::fmt;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::net::UnixListener;

use super::api::{Failure, GROUP};

/// The process at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its user; `None`: the kernel didn't say, and it may nothing.
    pub uid: Option<u32>,
    /// Whether it belongs to the socket's group.
    pub in_group: bool,
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// To look, and to command rollouts of what root has already allowed.
    Group,
    /// To decide what runs as whom.
    Root,
}

impl Peer {
    /// Whether this caller may do `what`, which needs `need`.
    pub fn may(self, need: Need, what: &str) -> Result<(), Failure> {
        let Some(uid) = self.uid else {
            return Err(Failure::forbidden(format!(
                "{what}: the kernel doesn't say who is asking, so nothing is allowed"
            )));
        };
        // Who can do anything to this process anyway may ask it for anything.
        if uid == 0 || uid == rustix::process::geteuid().as_raw() {
            return Ok(());
        }
        match need {
            Need::Group if self.in_group => Ok(()),
            Need::Group => Err(Failure::forbidden(format!(
                "{what}: user {uid} may not; become root, or have root run `usermod -aG {GROUP} USER` and log in again"
            ))),
            Need::Root => Err(Failure::forbidden(format!(
                "{what}: only root may, since a manifest decides what runs as whom; try again with sudo"
            ))),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.uid {
            Some(uid) => write!(f, "uid {uid}"),
            None => f.write_str("unknown"),
        }
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Peer {
        match stream.io().peer_cred() {
            Ok(cred) => Peer {
                uid: Some(cred.uid()),
                in_group: group_id(GROUP)
                    .is_some_and(|gid| cred.gid() == gid || supplementary(cred.pid(), cred.uid(), gid)),
            },
            Err(_) => Peer { uid: None, in_group: false },
        }
    }
}

/// The id of a group of this machine. `None`: there is no such group.
#[must_use]
pub fn group_id(name: &str) -> Option<u32> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        fields.nth(1)?.parse().ok()
    })
}

/// Whether a process has a group besides its first one. The pid may have been used again since it connected, so what is read counts only
/// if that process is the same user's, who could then have asked through it.
fn supplementary(pid: Option<i32>, uid: u32, gid: u32) -> bool {
    let status = pid.and_then(|pid| procfs::process::Process::new(pid).ok()).and_then(|process| process.status().ok());
    status.is_some_and(|s| s.ruid == uid && s.euid == uid && s.groups.contains(&gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stranger(in_group: bool) -> Peer {
        Peer {
            // Not the user who runs the test, whoever that is.
            uid: Some(rustix::process::geteuid().as_raw().wrapping_add(4321)),
            in_group,
        }
    }

    #[test]
    fn a_stranger_may_nothing_and_is_told_what_to_do() {
        let refusal = stranger(false).may(Need::Group, "get sites").expect_err("refused");
        assert_eq!(refusal.code, 403);
        assert!(refusal.message.contains("usermod -aG bluegreen"), "{refusal}");
        assert!(stranger(false).may(Need::Root, "apply").is_err());
    }

    #[test]
    fn the_group_may_look_and_command_but_not_apply() {
        assert!(stranger(true).may(Need::Group, "approve").is_ok());
        let refusal = stranger(true).may(Need::Root, "apply").expect_err("refused");
        assert!(refusal.message.contains("sudo"), "{refusal}");
    }

    #[test]
    fn a_caller_whom_the_kernel_does_not_name_may_nothing() {
        let nobody = Peer { uid: None, in_group: true };
        assert!(nobody.may(Need::Group, "get").is_err());
    }

    #[test]
    fn roots_group_is_zero_and_an_unknown_group_is_none() {
        assert_eq!(group_id("root"), Some(0));
        assert_eq!(group_id("no-such-group-here"), None);
    }
}
