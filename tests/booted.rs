//! What only a booted machine can show. Each test boots a Debian of its own; needs root, `debootstrap` and `systemd-container`.

#[path = "booted/machine.rs"]
mod machine;
