//! What closes ports on this machine: our own table, ufw, iptables and other tables of nftables.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Serialize;

use super::sites::Sites;
use super::{Notes, Places, Severity};
use crate::api::types::SiteName;
use crate::platform::host::firewall;
use crate::platform::host::store;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Wall {
    /// Its name.
    pub name: &'static str,
    /// How it stands.
    pub state: String,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Walls {
    /// The ports that our own table closes now.
    pub(super) ours: BTreeSet<u16>,
    pub(super) all: Vec<Wall>,
    ufw: Option<Ufw>,
}

/// A ufw that is on.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ufw {
    /// What no rule speaks of gets in.
    lets_in: bool,
    allowed: BTreeSet<u16>,
    denied: BTreeSet<u16>,
}

impl Walls {
    /// Whether ufw is in force.
    pub(super) fn ufw_is_on(&self) -> bool {
        self.ufw.is_some()
    }

    /// Whether ufw keeps everybody off this TCP port.
    pub(super) fn ufw_closes(&self, port: u16) -> bool {
        self.ufw
            .as_ref()
            .is_some_and(|ufw| !ufw.allowed.contains(&port) && (!ufw.lets_in || ufw.denied.contains(&port)))
    }
}

pub(super) async fn look(places: &Places, sites: &Sites, notes: &mut Notes) -> Walls {
    let mut walls = Walls::default();
    our_table(places, sites, &mut walls, notes).await;
    ufw(&mut walls, notes);
    iptables(&mut walls);
    walls
}

async fn our_table(places: &Places, sites: &Sites, walls: &mut Walls, notes: &mut Notes) {
    let name = "nftables, inet bluegreen";
    let rules = places.state.join(firewall::RULES);
    let asked = store::read::<BTreeMap<SiteName, BTreeSet<u16>>>(&places.state.join(firewall::MEMORY), store::LIMIT);
    let mut asked: BTreeSet<u16> = asked.ok().flatten().unwrap_or_default().into_values().flatten().collect();
    asked.extend(sites.all.iter().flat_map(|site| site.ports.iter().copied()));
    let state = match firewall::closed().await {
        Ok(closed) => {
            walls.ours = closed;
            let open: Vec<String> = asked.difference(&walls.ours).map(u16::to_string).collect();
            if !places.firewall {
                "off in the agent's configuration".to_owned()
            } else if asked.is_empty() {
                "nothing to close".to_owned()
            } else if open.is_empty() {
                format!("closes {}", count(walls.ours.len(), "port"))
            } else {
                notes.find(
                    Severity::High,
                    "FirewallNotInForce",
                    format!("the agent's table should close the ports {}, and does not", open.join(", ")),
                    "nftables, table inet bluegreen",
                    format!(
                        "start the agent, which keeps it (`systemctl start bluegreen`), or load it: `nft -f {}`",
                        rules.display()
                    ),
                );
                format!("does not close {}", open.join(", "))
            }
        }
        Err(error) if places.firewall && !asked.is_empty() => {
            notes.find(
                Severity::High,
                "FirewallMissing",
                format!("nothing closes the ports of apps: {error}"),
                "nftables",
                "apt install nftables && systemctl restart bluegreen",
            );
            error
        }
        Err(error) => error,
    };
    walls.all.push(Wall { name, state });
    let booted = Path::new("/run/systemd/system").is_dir();
    let units = Path::new("/etc/systemd/system");
    let enabled = fs::symlink_metadata(units.join("sysinit.target.wants").join(firewall::UNIT)).is_ok();
    let unit = units.join(firewall::UNIT);
    let fix = if !unit.exists() {
        Some("systemctl restart bluegreen (the agent writes and enables it)".to_owned())
    } else if !enabled {
        Some(format!("systemctl enable {}", firewall::UNIT))
    } else {
        None
    };
    if let Some(fix) = fix.filter(|_| booted && places.firewall && rules.exists() && !asked.is_empty()) {
        notes.find(
            Severity::Medium,
            "FirewallNotAtBoot",
            "after a reboot the ports of apps stay open until the agent runs",
            unit.display().to_string(),
            fix,
        );
    }
}

fn ufw(walls: &mut Walls, notes: &mut Notes) {
    let Ok(conf) = fs::read_to_string("/etc/ufw/ufw.conf") else {
        walls.all.push(Wall { name: "ufw", state: "not installed".to_owned() });
        return;
    };
    let on = setting(&conf, "ENABLED").is_some_and(|value| value == "yes");
    let loaded = output("nft", &["list", "chains"]).is_some_and(|text| text.contains("ufw-before-input"))
        || output("iptables", &["-S", "ufw-before-input"]).is_some();
    let state = match (on, loaded) {
        (_, true) => {
            let policy = fs::read_to_string("/etc/default/ufw").unwrap_or_default();
            let rules = ["/etc/ufw/user.rules", "/etc/ufw/user6.rules"];
            let rules: String = rules.iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
            let ufw = read(&policy, &rules);
            let state = format!(
                "on, {} what no rule speaks of, lets in {}",
                if ufw.lets_in { "lets in" } else { "drops" },
                if ufw.allowed.is_empty() { "nothing".to_owned() } else { list(&ufw.allowed) }
            );
            walls.ufw = Some(ufw);
            state
        }
        (true, false) => {
            notes.find(
                Severity::High,
                "UfwNotLoaded",
                "ufw says that it is enabled, and none of its rules is in force: something flushed them",
                "ufw",
                "ufw reload",
            );
            "enabled, but not in force".to_owned()
        }
        (false, false) => "off".to_owned(),
    };
    walls.all.push(Wall { name: "ufw", state });
}

fn iptables(walls: &mut Walls) {
    let counted: Vec<String> = [("IPv4", "iptables-save"), ("IPv6", "ip6tables-save")]
        .iter()
        .filter_map(|(family, program)| {
            let text = output(program, &[])?;
            Some(format!("{} for {family}", count(text.lines().filter(|line| line.starts_with("-A ")).count(), "rule")))
        })
        .collect();
    let state = if counted.is_empty() { "not installed".to_owned() } else { counted.join(", ") };
    walls.all.push(Wall { name: "iptables", state });
}

/// ufw's own account: its policy, and the comment that stands before each rule of a person's.
fn read(policy: &str, rules: &str) -> Ufw {
    let mut ufw =
        Ufw { lets_in: setting(policy, "DEFAULT_INPUT_POLICY").is_some_and(|p| p == "ACCEPT"), ..Ufw::default() };
    for tuple in rules.lines().filter_map(|line| line.strip_prefix("### tuple ### ")) {
        let mut words = tuple.split_ascii_whitespace();
        let (Some(action), Some(protocol), Some(ports), Some(_to), Some(_), Some(from)) =
            (words.next(), words.next(), words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        if !matches!(protocol, "tcp" | "any") {
            continue;
        }
        for part in ports.split(',') {
            let (first, last) = part.split_once(':').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else { continue };
            let set = if action.starts_with("allow") || action.starts_with("limit") {
                &mut ufw.allowed
            } else {
                &mut ufw.denied
            };
            // A rule that denies some senders closes nothing to the others.
            if action.starts_with("allow") || action.starts_with("limit") || matches!(from, "0.0.0.0/0" | "::/0") {
                set.extend(first..=last);
            }
        }
    }
    ufw
}

fn setting<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix('='))?;
    Some(line.trim().trim_matches('"'))
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let done = Command::new(program).args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned())
}

fn list(ports: &BTreeSet<u16>) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ufw_lets_in_is_read_off_its_own_files() {
        let rules = "### tuple ### allow tcp 60022 0.0.0.0/0 any 0.0.0.0/0 in\n\
                     ### tuple ### allow any 80,443 0.0.0.0/0 any 0.0.0.0/0 in\n\
                     ### tuple ### allow udp 53 0.0.0.0/0 any 0.0.0.0/0 in\n\
                     ### tuple ### deny tcp 8081 0.0.0.0/0 any 10.0.0.1 in\n### tuple ### deny tcp 8082 0.0.0.0/0 any 0.0.0.0/0 in\n";
        let ufw = read("DEFAULT_INPUT_POLICY=\"DROP\"\n", rules);
        assert_eq!(ufw.allowed, BTreeSet::from([80, 443, 60022]));
        assert_eq!(ufw.denied, BTreeSet::from([8082]));
        assert!(!ufw.lets_in);
        let walls = Walls { ufw: Some(ufw), ..Walls::default() };
        assert!(walls.ufw_closes(8081) && !walls.ufw_closes(443));
        let open = Walls { ufw: Some(read("DEFAULT_INPUT_POLICY=\"ACCEPT\"\n", rules)), ..Walls::default() };
        assert!(open.ufw_closes(8082) && !open.ufw_closes(8081));
        assert!(!Walls::default().ufw_closes(8082));
    }
}
