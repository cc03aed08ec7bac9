//! Ports that nobody else takes meanwhile.
//!
//! A port that was bound as 0 and released again can be taken by any outgoing connection before its user binds it, since both come from the
//! same range; under load that happens. So these come from below that range, and a name that only one process of a network namespace can
//! hold keeps other tests off for as long as the [`Port`] lives.

use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, bail};

const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port of 127.0.0.1, taken until this is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    // An abstract name: it is nowhere on disk, and free again whatever becomes of this process.
    _name: UnixListener,
}

impl Port {
    /// Takes a port that nobody listens on.
    ///
    /// # Errors
    /// When every port is taken.
    pub fn take() -> Result<Port> {
        let offset = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap_or(0);
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = FIRST + (offset.wrapping_mul(7) % COUNT + step % COUNT) % COUNT;
            let Ok(name) =
                UnixListener::bind_addr(&SocketAddr::from_abstract_name(format!("bluegreen-rig-port-{number}"))?)
            else {
                continue;
            };
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Port { number, _name: name });
            }
        }
        bail!("no free port between {FIRST} and {}", FIRST + COUNT)
    }

    /// Takes several.
    ///
    /// # Errors
    /// As [`Port::take`].
    pub fn take_many(count: usize) -> Result<Vec<Port>> {
        (0..count).map(|_| Port::take()).collect()
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_port_is_handed_out_twice_while_it_is_taken() {
        let ports = Port::take_many(50).expect("there are plenty");
        let numbers: BTreeSet<u16> = ports.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), ports.len());
    }
}
