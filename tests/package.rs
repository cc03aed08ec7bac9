//! The .deb on a booted Debian: installed, upgraded under load, removed and purged. Needs root, `debootstrap`, `systemd-container` and `dpkg-dev`.

#![allow(clippy::panic, reason = "that is how a test fails")]

#[path = "package/life.rs"]
mod life;
#[allow(dead_code, reason = "shared with the tests of `booted`")]
#[path = "booted/vps.rs"]
mod vps;
