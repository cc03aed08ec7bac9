//! The way to the hub, which can be cut, and can swallow what is sent: a small TCP proxy on loopback.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A proxy; gone when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    way: Arc<Way>,
}

#[derive(Default)]
struct Way {
    cut: AtomicBool,
    swallows: AtomicBool,
    /// Connections before this one were swallowed, and are dead for good: nobody tells their ends.
    dead: AtomicUsize,
    made: AtomicUsize,
    ended: AtomicBool,
    carried: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// To this port of loopback.
    pub fn to(port: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let way = Arc::new(Way::default());
        let theirs = way.clone();
        thread::spawn(move || {
            for here in listener.incoming().flatten() {
                if theirs.ended.load(Ordering::SeqCst) {
                    return;
                }
                if theirs.cut.load(Ordering::SeqCst) {
                    // Dropped: whoever knocked is turned away.
                    continue;
                }
                let number = theirs.made.fetch_add(1, Ordering::SeqCst);
                let Ok(there) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                theirs.open.lock().unwrap().extend([here.try_clone().unwrap(), there.try_clone().unwrap()]);
                carry(number, here.try_clone().unwrap(), there.try_clone().unwrap(), theirs.clone());
                carry(number, there, here, theirs.clone());
            }
        });
        Proxy { address, way }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Cuts every connection, and lets no other one through.
    pub fn cut(&self) {
        self.way.cut.store(true, Ordering::SeqCst);
        for stream in self.way.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Carries nothing any more, and closes nothing, as a router does that has forgotten its connections. Those that there are stay so for ever.
    pub fn swallow(&self) {
        self.way.swallows.store(true, Ordering::SeqCst);
    }

    /// Lets new connections through again.
    pub fn mend(&self) {
        if self.way.swallows.load(Ordering::SeqCst) {
            self.way.dead.store(self.way.made.load(Ordering::SeqCst), Ordering::SeqCst);
            self.way.swallows.store(false, Ordering::SeqCst);
        }
        self.way.cut.store(false, Ordering::SeqCst);
    }

    /// So many bytes went through, either way.
    pub fn carried(&self) -> usize {
        self.way.carried.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.way.ended.store(true, Ordering::SeqCst);
        self.cut();
        // The one that waits for a connection gets one, and ends.
        let _ = TcpStream::connect(self.address);
    }
}

fn carry(number: usize, mut from: TcpStream, mut to: TcpStream, way: Arc<Way>) {
    thread::spawn(move || {
        let mut buffer = [0; 16 << 10];
        loop {
            let read = from.read(&mut buffer);
            let dead = way.swallows.load(Ordering::SeqCst) || number < way.dead.load(Ordering::SeqCst);
            let Ok(count @ 1..) = read else {
                if dead && !way.cut.load(Ordering::SeqCst) {
                    // The other end is not told either.
                    return;
                }
                break;
            };
            if dead {
                continue;
            }
            way.carried.fetch_add(count, Ordering::SeqCst);
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
