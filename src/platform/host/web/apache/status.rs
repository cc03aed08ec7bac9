//! The requests that Apache is answering, by its own account (mod_status): the evidence that a colour which lost its traffic has nothing in flight
//! any more.
//!
//! The sockets of the instances can't tell it, as they do behind nginx: Apache closes an idle connection only when it has use for the next one. But
//! it holds a worker for as long as a request takes, and that worker's row begins before the request asks the link. So requests of before the
//! cutover are those whose row is older.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};

use super::render::PREVIEW;

/// On the machine itself, and the answer takes milliseconds.
const WITHIN: Duration = Duration::from_secs(2);

/// The workers that answer a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    busy: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    /// For how long, in whole seconds.
    seconds: u64,
    protocol: String,
    /// The VirtualHost's name, without the port.
    server: String,
}

impl Status {
    /// Whether a request that came in longer than `ago` ago is among them: one to the VirtualHost called `id`, or, where the site is included in
    /// others, one to any that is no other site's of ours. `None`: there is one over HTTP/2, whose rows say nothing of its requests.
    #[must_use]
    pub fn in_flight(&self, id: &str, include: bool, ago: Duration) -> Option<bool> {
        let ours = |row: &&Row| row.server == id || include && !is_id(&row.server);
        let mut rows = self.busy.iter().filter(ours).peekable();
        if self.busy.iter().filter(ours).any(|row| row.protocol == "h2") {
            return None;
        }
        // Its seconds were cut off: it may be almost one older.
        Some(rows.any(|row| Duration::from_secs(row.seconds.saturating_add(1)) > ago))
    }

    fn parse(page: &str) -> Status {
        let rows = page.split("<tr><td><b>").skip(1).filter_map(row);
        Status { busy: rows.flatten().collect() }
    }
}

/// Asks the door.
///
/// # Errors
/// When nobody answers there, or nothing that is a status.
pub fn ask(door: SocketAddr) -> io::Result<Status> {
    let mut stream = connect(door)?;
    stream.set_read_timeout(Some(WITHIN))?;
    stream.set_write_timeout(Some(WITHIN))?;
    stream.write_all(b"GET /status HTTP/1.0\r\nHost: bluegreen-door\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.take(64 << 20).read_to_end(&mut bytes)?;
    let page = String::from_utf8_lossy(&bytes);
    let whole = page.starts_with("HTTP/1.1 200") && page.contains("<th>VHost</th>") && page.contains("</html>");
    if !whole {
        let first = page.lines().next().unwrap_or("nothing").to_owned();
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("its status page is {first:?}")));
    }
    Ok(Status::parse(&page))
}

/// From a port that only root can take: by that Apache knows who asks.
fn connect(door: SocketAddr) -> io::Result<TcpStream> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let family = if door.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    for _ in 0..400 {
        let port = 600 + NEXT.fetch_add(1, Ordering::Relaxed) % 340;
        let socket: OwnedFd = rustix::net::socket(family, SocketType::STREAM, None)?;
        match rustix::net::bind(&socket, &SocketAddr::new(door.ip(), port)) {
            Ok(()) => {}
            Err(Errno::ADDRINUSE) => continue,
            Err(error) => return Err(error.into()),
        }
        match rustix::net::connect(&socket, &door) {
            Ok(()) => return Ok(TcpStream::from(socket)),
            Err(Errno::ADDRNOTAVAIL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no port below 1024 is free"))
}

/// A row of the table of workers; `Some(None)`: its worker answers nothing.
fn row(text: &str) -> Option<Option<Row>> {
    let text = text.split("</tr>").next()?;
    let cells: Vec<&str> = text.split("<td").skip(1).map(cell).collect();
    // Srv was before the first; then PID Acc M CPU SS Req Dur Conn Child Slot Client Protocol VHost Request.
    let [_, _, mode, _, seconds, .., protocol, server, _] = cells.as_slice() else {
        return None;
    };
    // W: answering; D, L: on the way to an end of it. While a request is only being read (R), it has not asked the link. A graceful restart
    // makes G of every worker of a child that has something to finish, and its clock begins anew: it may be as old as any.
    let finishing = *mode == "G";
    let busy = finishing || matches!(*mode, "W" | "D" | "L");
    let server = server.rsplit_once(':').map_or(*server, |(name, _)| name);
    Some(busy.then(|| Row {
        // What can't be read counts as old.
        seconds: seconds.parse().ok().filter(|_| !finishing).unwrap_or(u64::MAX),
        protocol: (*protocol).to_owned(),
        server: server.to_owned(),
    }))
}

/// The text of a cell, after its `<td`.
fn cell(text: &str) -> &str {
    let text = text.split_once('>').map_or("", |(_, text)| text);
    let text = text.split("</td>").next().unwrap_or_default().trim();
    text.strip_prefix("<b>").map_or(text, |bold| bold.split("</b>").next().unwrap_or_default()).trim()
}

/// Whether a VirtualHost has the name of one of ours.
fn is_id(server: &str) -> bool {
    server
        .strip_suffix(PREVIEW)
        .unwrap_or(server)
        .strip_prefix('s')
        .is_some_and(|rest| rest.len() == 16 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
        || server == "bluegreen-door"
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "<table border=\"0\"><tr><th>Srv</th><th>VHost</th></tr>\n\n\
        <tr><td><b>0-0</b></td><td>8421</td><td>0/1/1</td><td>_\n</td><td>0.00</td><td>9</td><td>2</td><td>2</td><td>0.0</td><td>0.00</td>\
        <td>0.00\n</td><td>127.0.0.1</td><td>http/1.1</td><td nowrap>s0123456789abcdef:80</td><td nowrap>GET /a HTTP/1.1</td></tr>\n\n\
        <tr><td><b>1-0</b></td><td>8422</td><td>0/1/1</td><td><b>W</b>\n</td><td>0.00</td><td>3</td><td>2</td><td>2</td><td>0.0</td><td>0.00</td>\
        <td>0.00\n</td><td>127.0.0.1</td><td>http/1.1</td><td nowrap>s0123456789abcdef:80</td><td nowrap>GET /&lt;td&gt; HTTP/1.1</td></tr>\n\n\
        <tr><td><b>1-0</b></td><td>8422</td><td>0/1/1</td><td><b>W</b>\n</td><td>0.00</td><td>7</td><td>2</td><td>2</td><td>0.0</td><td>0.00</td>\
        <td>0.00\n</td><td>127.0.0.1</td><td>h2</td><td nowrap>shop.example.com:80</td><td nowrap>GET /b HTTP/2.0</td></tr>\n";

    #[test]
    fn a_request_counts_as_long_as_it_may_be_older_than_the_cutover() {
        let status = Status::parse(PAGE);
        let asked = |ago: u64| status.in_flight("s0123456789abcdef", false, Duration::from_secs(ago));
        assert_eq!(asked(1), Some(true));
        assert_eq!(asked(3), Some(true));
        assert_eq!(asked(4), Some(false), "it is younger than four seconds");
        assert_eq!(status.in_flight("s1111111111111111", false, Duration::ZERO), Some(false));
        assert_eq!(status.in_flight("s1111111111111111", true, Duration::ZERO), None, "one over HTTP/2");
        let finishing = Status::parse(&PAGE.replace("<b>W</b>", "G"));
        let old = finishing.in_flight("s0123456789abcdef", false, Duration::from_secs(4));
        assert_eq!(old, Some(true), "its clock began anew at the restart");
    }
}
