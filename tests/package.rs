//! The .deb on a booted Debian: installed, upgraded under load, removed and purged. Needs root, `debootstrap`, `systemd-container` and `dpkg-dev`.

#![allow(clippy::panic, reason = "that is how a test fails")]

#[path = "package/apache.rs"]
mod apache;
#[path = "package/kit.rs"]
mod kit;
#[path = "package/life.rs"]
mod life;
#[path = "package/tarball.rs"]
mod tarball;
#[allow(dead_code, reason = "shared with the tests of `booted`")]
#[path = "booted/vps.rs"]
mod vps;
