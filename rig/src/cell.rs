//! A network of a host's own, from which one way leads out: TCP to one port of one neighbour, who passes it on to a port of this machine's loopback. Nothing
//! leads in. It touches no network but its own, and is gone with its processes and this.

use std::fs::File;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::network::{here, leave, set_up};
use crate::process::run;

/// The neighbour, by an address that an API server's certificate names: that of its own Service.
pub const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// The network of a host.
#[derive(Debug)]
pub struct Cell {
    inside: File,
    neighbour: File,
    port: u16,
    ends: Arc<AtomicBool>,
}

impl Cell {
    /// One whose way out leads to this port of loopback.
    ///
    /// # Errors
    /// When the system refuses; it needs root.
    pub fn new(port: u16) -> Result<Cell> {
        let neighbour = apart(|| {
            leave()?;
            set_up(&["link", "set", "lo", "up"])?;
            here()
        })?;
        let there = format!("/proc/{}/fd/{}", std::process::id(), neighbour.as_raw_fd());
        let inside = apart(move || {
            leave()?;
            set_up(&["link", "set", "lo", "up"])?;
            set_up(&["link", "add", "out", "type", "veth", "peer", "name", "in", "netns", &there])?;
            set_up(&["address", "add", "10.96.0.2/24", "dev", "out"])?;
            set_up(&["link", "set", "out", "up"])?;
            wall(port)?;
            here()
        })?;
        let ends = Arc::new(AtomicBool::new(false));
        let cell = Cell { inside, neighbour, port, ends };
        let listener = cell.within(&cell.neighbour, || -> Result<TcpListener> {
            set_up(&["address", "add", &format!("{NEIGHBOUR}/24"), "dev", "in"])?;
            set_up(&["link", "set", "in", "up"])?;
            Ok(TcpListener::bind((NEIGHBOUR, port))?)
        })??;
        let over = cell.ends.clone();
        // What is made out here leads to this machine's own loopback.
        thread::spawn(move || {
            for there in listener.incoming().flatten() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(here) = TcpStream::connect(("127.0.0.1", port)) {
                    let _ = pass(&there, &here).and_then(|()| pass(&here, &there));
                }
            }
        });
        Ok(cell)
    }

    /// What to call the API server in here.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{NEIGHBOUR}:{}", self.port)
    }

    /// Does something in here; the processes and threads that it starts stay in here.
    ///
    /// # Errors
    /// The system refuses.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T> {
        self.within(&self.inside, act)
    }

    /// Does something as the neighbour would.
    ///
    /// # Errors
    /// The system refuses.
    pub fn as_neighbour<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T> {
        self.within(&self.neighbour, act)
    }

    fn within<T: Send>(&self, network: &File, act: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let there = scope.spawn(|| {
                move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(act())
            });
            there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // The one that waits for a connection gets one, and ends.
        let address = SocketAddr::from((NEIGHBOUR, self.port));
        let _ = self.as_neighbour(|| drop(TcpStream::connect_timeout(&address, Duration::from_secs(1))));
    }
}

/// Does something in a thread of its own, whose network it may leave.
fn apart<T: Send + 'static>(act: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    thread::spawn(act).join().map_err(|_| anyhow!("the thread failed"))?
}

/// Out to that port, and the answers; nothing else.
fn wall(port: u16) -> Result<()> {
    let rules = format!(
        "table inet cell {{\n chain out {{ type filter hook output priority 0; policy drop; oif lo accept; ip daddr {NEIGHBOUR} tcp dport {port} accept; }}\n \
         chain in {{ type filter hook input priority 0; policy drop; iif lo accept; ct state established accept; }}\n}}\n"
    );
    let mut nft = Command::new("nft");
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), rules)?;
    run(nft.arg("--file").arg(file.path()).stdin(Stdio::null())).map(drop).context("nft")
}

fn pass(from: &TcpStream, to: &TcpStream) -> Result<()> {
    let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
    Ok(())
}
