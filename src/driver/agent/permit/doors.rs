//! Ports of this machine that no site from afar may have, whatever the list allows: the firewall closes an app's ports, and would lock others out of what
//! listens there now or, after a restart, a moment later.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::platform::host::sockets;

/// Ports on which somebody listens who is none of `ours`.
pub(super) fn taken(wanted: &BTreeSet<u16>, ours: &BTreeSet<u16>) -> BTreeSet<u16> {
    // What the kernel doesn't tell is no reason to refuse a site: who starts an app looks at its port again.
    let listening = sockets::listeners().unwrap_or_default();
    let ports = listening.iter().map(|socket| socket.local.port());
    ports.filter(|port| wanted.contains(port) && !ours.contains(port)).collect()
}

/// The way in: the ports that the configuration of sshd, or of its socket, names below `root`.
pub(super) fn of_sshd(root: &Path) -> BTreeSet<u16> {
    let mut ports = BTreeSet::new();
    let ssh = root.join("etc/ssh");
    let mut files = vec![ssh.join("sshd_config")];
    files.extend(within(&ssh.join("sshd_config.d")));
    for file in files {
        ports.extend(lines(&file).iter().filter_map(|line| in_config(line)));
    }
    for place in ["etc/systemd/system", "run/systemd/generator", "run/systemd/system"] {
        for unit in ["ssh.socket", "sshd.socket"] {
            let unit = root.join(place).join(unit);
            let mut files = within(&unit.with_extension("socket.d"));
            files.push(unit);
            for file in files {
                ports.extend(lines(&file).iter().filter_map(|line| in_unit(line)));
            }
        }
    }
    ports
}

/// `Port 2222`, `ListenAddress 0.0.0.0:2222`, `ListenAddress [::]:2222`: key and value, whatever stands between them.
fn in_config(line: &str) -> Option<u16> {
    let (key, value) = line.split_once(|c: char| c.is_ascii_whitespace() || c == '=')?;
    let value = value.trim_matches(|c: char| c.is_ascii_whitespace() || matches!(c, '=' | '"'));
    let value = value.split_ascii_whitespace().next()?;
    match key.to_ascii_lowercase().as_str() {
        "port" => value.parse().ok(),
        // An address of IPv6 without a port has more colons than one.
        "listenaddress" if value.contains("]:") || value.matches(':').count() == 1 => {
            value.rsplit_once(':')?.1.parse().ok()
        }
        _ => None,
    }
}

/// `ListenStream=2222`, `ListenStream=0.0.0.0:2222`.
fn in_unit(line: &str) -> Option<u16> {
    let (key, value) = line.split_once('=')?;
    let port = value.trim().rsplit(':').next()?;
    (key.trim() == "ListenStream").then(|| port.parse().ok())?
}

fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.starts_with('#')).collect()
}

fn within(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.map(|file| file.path()).filter(|file| file.extension().is_some_and(|end| end == "conf")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn whatever_way_the_port_of_sshd_is_written_it_is_found() {
        let root = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert!(of_sshd(root.path()).is_empty());
        write(
            "etc/ssh/sshd_config",
            "# Port 1\nport 60022\n  Port = 60023\nPort\t60024 # theirs\nListenAddress 0.0.0.0:60025\nListenAddress [::]:60026\nListenAddress ::1\n\
             ListenAddress 192.0.2.1\nPermitRootLogin no\n",
        );
        write("etc/ssh/sshd_config.d/50-more.conf", "Port=\"60027\"\n");
        write("etc/ssh/sshd_config.d/old.bak", "Port 7\n");
        write("etc/systemd/system/ssh.socket.d/listen.conf", "[Socket]\nListenStream=\nListenStream=60028\n");
        write("run/systemd/generator/ssh.socket.d/addresses.conf", "[Socket]\nListenStream=[::]:60029\n");
        assert_eq!(of_sshd(root.path()), (60_022..=60_029).collect());
    }

    #[test]
    fn a_port_on_which_somebody_else_listens_is_taken_and_one_of_ours_is_not() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let wanted = BTreeSet::from([port]);
        assert_eq!(taken(&wanted, &BTreeSet::new()), wanted);
        assert!(taken(&wanted, &wanted).is_empty());
        assert!(taken(&BTreeSet::new(), &BTreeSet::new()).is_empty());
    }
}
