//! Hears from the kernel when somebody changes a table of ours: `nft flush ruleset`, a firewall that is switched on, an editor that is saved.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use tokio::io::unix::AsyncFd;

use super::table::TABLE;

/// The kernel's group for changes of nftables (`NFNLGRP_NFTABLES`), as a bit.
const CHANGES: u32 = 1 << (7 - 1);

/// A place at which changes are heard.
pub(super) struct Ear(AsyncFd<OwnedFd>);

impl Ear {
    /// To be called within a tokio runtime.
    pub(super) fn open() -> io::Result<Ear> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(NETFILTER))?;
        bind(&socket, &SocketAddrNetlink::new(0, CHANGES))?;
        #[expect(
            deprecated,
            reason = "the successor is unsafe because of descriptors that are lent; this one is owned, and closed last"
        )]
        AsyncFd::new(socket).map(Ear)
    }

    /// Returns when something of our table was changed, or when changes may have been missed.
    pub(super) async fn heard(&self) -> io::Result<()> {
        let mut buffer = vec![0u8; 16 << 10];
        let mut ours = false;
        loop {
            let mut ready = self.0.readable().await?;
            match recv(self.0.get_ref(), buffer.as_mut_slice(), RecvFlags::empty()) {
                Ok((length, _)) => ours |= names_us(buffer.get(..length).unwrap_or_default()),
                // All that was waiting is read: what came in one breath is one piece of news.
                Err(Errno::AGAIN) if ours => return Ok(()),
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::NOBUFS) => ours = true,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Whether the table's name, as an attribute holds it, stands in the message.
fn names_us(message: &[u8]) -> bool {
    let name = TABLE[1].as_bytes();
    message.windows(name.len() + 1).any(|window| window.split_last() == Some((&0, name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_message_that_names_the_table_is_about_it() {
        assert!(names_us(b"\x0e\0\x01\0bluegreen\0\0\0"));
        assert!(!names_us(b"\x0e\0\x01\0filter\0\0"));
        assert!(!names_us(b"\x0e\0\x01\0bluegreens\0\0"));
    }
}
