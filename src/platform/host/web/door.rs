//! The door: a listener of ours in the web server, on loopback, that says which colour a request gets now and from which generation of the configuration.
//! Asked on a new connection each time, so that a worker which takes no new ones never answers.
//!
//! Not a unix socket: a master that is killed leaves its file behind, and the next start of nginx fails on it ("Address already in
//! use", measured), which would make a site's way back depend on us. What is said here is no secret, and the port is one that only root can take.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::api::types::SiteName;
use crate::rollout::Colour;

/// On the machine itself, and the answer takes microseconds.
const WITHIN: Duration = Duration::from_secs(2);

/// The name of no site: asks for the generation alone.
pub const ANYBODY: &str = "anybody";

/// What the door says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What a request to the site gets.
    pub says: Says,
    /// The generation of the configuration that the answering worker has.
    pub generation: String,
}

/// What a request to the site gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// An answer from this colour.
    Colour(Colour),
    /// 503: no link, or one that can't be read.
    NoColour,
    /// The site is not in nginx's configuration.
    Unknown,
}

/// The name by which the door knows a site: short, so that it never makes nginx ask for bigger hash buckets.
#[must_use]
pub fn name(site: &SiteName) -> String {
    let digest = Sha256::digest(site.as_str());
    format!("s{}", hex::encode(digest.get(..8).unwrap_or_default()))
}

/// Asks the door about the site that it knows by `name`.
///
/// # Errors
/// When nobody answers there, or somebody who isn't the door.
pub fn ask(door: SocketAddr, name: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&door, WITHIN)?;
    stream.set_read_timeout(Some(WITHIN))?;
    stream.set_write_timeout(Some(WITHIN))?;
    stream.write_all(format!("GET / HTTP/1.0\r\nHost: {name}\r\n\r\n").as_bytes())?;
    let mut bytes = Vec::new();
    stream.take(4096).read_to_end(&mut bytes)?;
    parse(&String::from_utf8_lossy(&bytes)).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("whoever answers on {door} is not the web server with our configuration"),
        )
    })
}

fn parse(response: &str) -> Option<Answer> {
    let (head, body) = response.split_once("\r\n\r\n")?;
    if head.split(' ').nth(1) != Some("200") {
        return None;
    }
    let (says, generation) = body.trim().split_once(' ')?;
    let says = match says {
        "blue" => Says::Colour(Colour::Blue),
        "green" => Says::Colour(Colour::Green),
        "none" => Says::NoColour,
        "unknown" => Says::Unknown,
        _ => return None,
    };
    Some(Answer { says, generation: generation.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_door_is_believed() {
        let says =
            |body: &str| parse(&format!("HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n{body}")).map(|answer| answer.says);
        assert_eq!(says("blue abc"), Some(Says::Colour(Colour::Blue)));
        assert_eq!(says("none abc"), Some(Says::NoColour));
        assert_eq!(says("unknown abc"), Some(Says::Unknown));
        assert_eq!(says("red abc"), None);
        assert_eq!(says("blue"), None);
        assert_eq!(parse("HTTP/1.1 404 Not Found\r\n\r\nblue abc"), None);
        assert_eq!(parse("blue abc"), None);
    }
}
