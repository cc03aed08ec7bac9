//! A network of a test's own, and a neighbour in it: a machine as seen from outside, without a packet on anybody else's network. Gone with the
//! thread, the processes that it started, and this.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::process::run;
use crate::wait;

/// The machine's address, as its neighbour calls it.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The same, of IPv6.
pub const OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);

/// A port that answers does so within this.
const ANSWERS_WITHIN: Duration = Duration::from_millis(700);
/// So many knock at once.
const SCANNERS: u16 = 8;

/// The network, and the neighbour's.
#[derive(Debug)]
pub struct Network {
    neighbour: File,
}

impl Network {
    /// Takes this thread, and all processes and threads that it starts from now on, into a network of its own with one neighbour.
    ///
    /// # Errors
    /// When the system refuses; it needs root.
    pub fn enter() -> Result<Network> {
        let neighbour = thread::spawn(|| -> Result<File> {
            leave()?;
            set_up(&["link", "set", "lo", "up"])?;
            here()
        });
        let neighbour = neighbour.join().map_err(|_| anyhow!("the neighbour's thread failed"))??;
        leave()?;
        let there = format!("/proc/{}/fd/{}", std::process::id(), neighbour.as_raw_fd());
        set_up(&["link", "set", "lo", "up"])?;
        set_up(&["link", "add", "outside", "type", "veth", "peer", "name", "machine", "netns", &there])?;
        set_up(&["address", "add", "10.77.0.1/24", "dev", "outside"])?;
        set_up(&["address", "add", "fd77::1/64", "dev", "outside", "nodad"])?;
        set_up(&["link", "set", "outside", "up"])?;
        let network = Network { neighbour };
        network.as_neighbour(|| -> Result<()> {
            set_up(&["address", "add", "10.77.0.2/24", "dev", "machine"])?;
            set_up(&["address", "add", "fd77::2/64", "dev", "machine", "nodad"])?;
            set_up(&["link", "set", "machine", "up"])
        })??;
        Ok(network)
    }

    /// Does something as the neighbour would.
    ///
    /// # Errors
    /// The system refuses.
    pub fn as_neighbour<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let there = scope.spawn(|| {
                move_into_link_name_space(self.neighbour.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(act())
            });
            there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Whether the neighbour gets an answer at this port, by IPv4 and by IPv6.
    ///
    /// # Errors
    /// The system refuses.
    pub fn answers(&self, port: u16) -> Result<(bool, bool)> {
        self.as_neighbour(|| (knock(OUTSIDE.into(), port), knock(OUTSIDE6.into(), port)))
    }

    /// Every TCP port of the machine that answers its neighbour, by either family.
    ///
    /// # Errors
    /// The system refuses.
    pub fn scan(&self) -> Result<BTreeSet<u16>> {
        // A machine whose interface isn't up yet answers nobody, which is no finding.
        wait::until("the neighbour could reach the machine", wait::PATIENCE, || {
            let reach = |address: IpAddr| {
                let refused = TcpStream::connect_timeout(&SocketAddr::new(address, 1), ANSWERS_WITHIN);
                refused.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
            };
            self.as_neighbour(|| reach(OUTSIDE.into()) && reach(OUTSIDE6.into())).ok()?.then_some(())
        })?;
        self.as_neighbour(|| {
            thread::scope(|scope| {
                let knockers: Vec<_> = (0..SCANNERS)
                    .map(|first| {
                        scope.spawn(move || {
                            let ports = (1..=u16::MAX).filter(|port| port % SCANNERS == first);
                            ports
                                .filter(|&port| knock(OUTSIDE.into(), port) || knock(OUTSIDE6.into(), port))
                                .collect::<Vec<u16>>()
                        })
                    })
                    .collect();
                knockers.into_iter().flat_map(|one| one.join().unwrap_or_default()).collect()
            })
        })
    }
}

fn knock(address: IpAddr, port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::new(address, port), ANSWERS_WITHIN).is_ok()
}

pub(crate) fn leave() -> Result<()> {
    #[expect(deprecated, reason = "the successor is unsafe because of CLONE_FILES, which is not asked for")]
    let left = rustix::thread::unshare(UnshareFlags::NEWNET);
    left.context("cannot make a network of its own; this needs root")
}

pub(crate) fn here() -> Result<File> {
    File::open("/proc/thread-self/ns/net").context("cannot open the network of this thread")
}

pub(crate) fn set_up(arguments: &[&str]) -> Result<()> {
    run(Command::new("ip").args(arguments)).map(drop)
}
