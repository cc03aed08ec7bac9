//! The machine that the other tests stand on.

use std::path::Path;

use bluegreen_rig::booted::Booted;

#[test]
fn a_machine_boots_reboots_loses_its_power_and_leaves_nothing_behind() {
    let bind = Path::new(env!("CARGO_BIN_EXE_bluegreen"));
    let mut machine = Booted::boot(&[(bind, "/usr/local/bin/bluegreen")]).expect("a machine");
    let root = machine.root().to_owned();
    let boot_id = |machine: &Booted| machine.run(&["cat", "/proc/sys/kernel/random/boot_id"]).expect("a boot");
    let first = boot_id(&machine);
    assert_eq!(machine.run(&["cat", "/proc/1/comm"]).expect("a name"), "systemd\n");
    assert!(machine.run(&["systemctl", "--version"]).expect("systemd").starts_with("systemd 252"));
    machine.run(&["test", "-x", "/usr/local/bin/bluegreen"]).expect("our program");
    assert!(machine.run(&["false"]).is_err());
    machine.run(&["touch", "/var/lib/kept"]).expect("a file");
    machine.reboot().expect("a reboot");
    let second = boot_id(&machine);
    machine.power_cut().expect("a power cut");
    let third = boot_id(&machine);
    assert!(first != second && second != third && first != third);
    machine.run(&["test", "-e", "/var/lib/kept"]).expect("its files are kept");
    machine.power_off().expect("off");
    assert!(machine.run(&["true"]).is_err());
    drop(machine);
    assert!(!root.exists());
}
