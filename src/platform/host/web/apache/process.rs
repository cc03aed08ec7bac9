//! Apache's processes: the master that a graceful restart is asked of, and the children that show what became of it. Called by `reload`.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::platform::host::sockets::{self, Socket};
use crate::platform::host::web::process::{Known, children, know, named_by};

/// The master that runs now. `None`: there is none, or it is no Apache.
#[must_use]
pub fn master(pid_file: &Path) -> Option<Known> {
    let is_apache = |known: &Known| {
        let name = fs::read_to_string(format!("/proc/{}/comm", known.pid)).unwrap_or_default();
        ["apache2", "httpd"].contains(&name.trim())
    };
    named_by(pid_file).filter(is_apache)
}

/// The children that take new connections.
#[must_use]
pub fn accepting(among: &[Known]) -> Vec<Known> {
    let Ok(listening) = sockets::listeners() else {
        return among.to_vec();
    };
    among.iter().copied().filter(|child| accepts(*child, &listening)).collect()
}

/// The addresses on which a master listens already.
#[must_use]
pub fn listening(master: Known) -> Vec<SocketAddr> {
    let pid = u32::try_from(master.pid).unwrap_or_default();
    let all = sockets::listeners().unwrap_or_default();
    all.into_iter().filter(|socket| sockets::is_held_by(socket.inode, &[pid])).map(|socket| socket.local).collect()
}

/// The children of a master.
#[must_use]
pub fn all(master: Known) -> Vec<Known> {
    children(master)
}

/// A child that shuts down closes its listeners at once, and goes when its last request is done.
fn accepts(child: Known, listening: &[Socket]) -> bool {
    let Ok(pid) = u32::try_from(child.pid) else {
        return false;
    };
    know(child.pid) == Some(child) && !sockets::ports_of(listening, &[pid]).is_empty()
}
