//! Evidence that nothing is in flight any more to a colour that lost its traffic.
//!
//! The socket table can't tell a silent request from an idle connection that the web server keeps in its pool, so both count. Once the
//! pool's time-out has passed since the link moved, no idle one is left, and what is still open is a request.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use super::{OwnConnections, connections};

/// So often in a row nothing must be seen: a connection may be between its two ends for a moment.
const TWICE: u8 = 2;

/// A colour that lost its traffic.
#[derive(Clone, Debug)]
pub struct Drain {
    ports: BTreeSet<u16>,
    idle_gone: Instant,
    clear: u8,
}

impl Drain {
    /// How often it is worth looking.
    pub const PAUSE: Duration = Duration::from_millis(50);

    /// The colour with these ports lost its traffic at `moved`; the web server keeps idle connections for `pool`.
    #[must_use]
    pub fn new(ports: BTreeSet<u16>, moved: Instant, pool: Duration) -> Drain {
        Drain { ports, idle_gone: moved + pool, clear: 0 }
    }

    /// Looks at the sockets: whether nothing is in flight any more. Once true, it stays so.
    ///
    /// # Errors
    /// The kernel does not tell: nothing is known.
    pub fn look(&mut self, now: Instant, own: &OwnConnections) -> io::Result<bool> {
        if self.clear < TWICE && now >= self.idle_gone {
            let open = connections(&self.ports)?.iter().filter(|socket| !own.holds(socket)).count();
            self.count(open);
        }
        Ok(self.clear >= TWICE)
    }

    /// When to look again: at the end of the pool's time-out, then every [`Drain::PAUSE`].
    #[must_use]
    pub fn again(&self, now: Instant) -> Instant {
        self.idle_gone.max(now + Drain::PAUSE)
    }

    fn count(&mut self, open: usize) {
        self.clear = if open == 0 { self.clear + 1 } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_colour_is_drained_when_nothing_was_open_twice_after_the_pool_is_empty() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address");
        let own = OwnConnections::default();
        let (moved, pool) = (Instant::now(), Duration::from_secs(2));
        let mut drain = Drain::new(BTreeSet::from([address.port()]), moved, pool);
        assert_eq!(drain.again(moved), moved + pool);
        for early in [0, 1000, 1999] {
            assert!(
                !drain.look(moved + Duration::from_millis(early), &own).expect("sockets"),
                "the pool may hold some"
            );
        }
        let late = moved + pool;
        assert!(!drain.look(late, &own).expect("sockets"), "once is not enough");
        let client = TcpStream::connect(address).expect("a connection");
        assert!(!drain.look(late, &own).expect("sockets"), "a request came between");
        let note = own.note(client.local_addr().expect("an address").port());
        assert!(!drain.look(late, &own).expect("sockets"));
        assert!(drain.look(late, &own).expect("sockets"), "a connection of ours is no request");
        drop(note);
        assert!(drain.look(late, &own).expect("sockets"), "what was drained stays so");
    }
}
