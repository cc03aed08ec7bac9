//! Why changes are not in force, and whose reason it is: what `draft` and `apply` answer when they can't go on.

use super::files::FilesError;
use super::kind::{Kind, RenderError};
use super::trial::TrialError;
use super::{fault, reason};
use crate::api::types::SiteName;
use crate::platform::host::sockets;
use crate::platform::{Class, Fault};

/// Why a group of changes is not in force, and who gave the reason.
pub struct No {
    /// Whose reason it is.
    pub whose: Whose,
    /// What the sites concerned are told.
    pub fault: Fault,
}

/// Whose reason it is.
pub enum Whose {
    /// One site: without it the others can go on.
    Site(SiteName),
    /// One of the group, nobody knows which.
    Somebody,
    /// None of the group: it would be the same for each.
    Everyone,
}

/// The web server does not run.
pub fn down(kind: &impl Kind) -> Fault {
    fault(
        Class::Transient,
        reason::DOWN,
        format!(
            "{} is not running ({} names no master); start it: its configuration is in place",
            kind.words().name,
            kind.places().pid.display()
        ),
    )
}

/// The text of a site's files can't be written.
pub fn unrendered(site: &SiteName, error: &RenderError) -> No {
    No {
        whose: Whose::Site(site.clone()),
        fault: fault(
            Class::User,
            reason::CONFIGURATION_REFUSED,
            format!("the configuration of {site} can't be written: {error}"),
        ),
    }
}

/// Our files can't be read or written.
pub fn unwritten(error: FilesError) -> No {
    let class = match error {
        FilesError::NotOurs(_) => Class::User,
        FilesError::Io(..) => Class::Transient,
    };
    everyone(fault(class, reason::FILES, error.to_string()))
}

/// The web server could not be asked for its opinion.
pub fn unasked(error: &TrialError) -> Fault {
    match error {
        TrialError::NoProgram(..) => fault(Class::User, reason::MISSING, error.to_string()),
        TrialError::TooOld { .. } => fault(Class::User, reason::TOO_OLD, error.to_string()),
        TrialError::NoModule(..) => fault(Class::User, reason::MODULE_MISSING, error.to_string()),
        _ => fault(Class::Transient, reason::UNTESTED, error.to_string()),
    }
}

/// A reason that none of the group gave.
pub fn everyone(fault: Fault) -> No {
    No { whose: Whose::Everyone, fault }
}

/// A fault is told to each site that it concerns.
pub fn copy(of: &Fault) -> Fault {
    fault(of.class, of.reason, of.message.clone())
}

/// ` by nginx (123)`: who listens on a port, as far as that can be told.
pub fn by_whom(port: u16) -> String {
    let listening = sockets::listeners().unwrap_or_default();
    let holder = listening.iter().filter(|socket| socket.local.port() == port).find_map(|s| sockets::holder(s.inode));
    holder.map(|holder| format!(" by {} ({})", holder.program, holder.pid)).unwrap_or_default()
}
