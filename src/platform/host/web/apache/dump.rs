//! What Apache says of a configuration that it takes: the files that it reads, the VirtualHosts in them, its modules and its log. Only `Listen` is
//! nowhere in that, and is read off the files.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::listen::{self, Listen};
use crate::platform::host::web::files::{Folders, Name};
use crate::platform::host::web::serving::{Server, Serving};

/// A configuration, as Apache tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    /// The files that it reads.
    pub files: Vec<PathBuf>,
    /// The modules that are loaded: `rewrite`, `ssl`.
    pub modules: BTreeSet<String>,
    /// Where somebody else's files say `Listen`.
    pub listen: Vec<Listen>,
    servers: Vec<Server>,
    error_log: Option<PathBuf>,
}

impl Dump {
    /// Takes apart what `-t -D DUMP_VHOSTS -D DUMP_INCLUDES -D DUMP_MODULES -D DUMP_RUN_CFG` printed.
    #[must_use]
    pub fn read(text: &str, ours: &Folders) -> Dump {
        let mut dump = Dump::parse(text);
        let theirs: Vec<PathBuf> = dump.files.iter().filter(|file| Name::of(file, ours).is_none()).cloned().collect();
        for file in theirs {
            // One that can't be read by now says nothing that counts.
            let bytes = fs::read(&file).unwrap_or_default();
            dump.listen.extend(listen::in_file(&String::from_utf8_lossy(&bytes), &dump.modules));
        }
        // Of two that match a name, Apache takes the first.
        let is_ours = |server: &Server| matches!(Name::of(&server.file, ours), Some(Name::Site(_)));
        let last = dump.servers.iter().rposition(is_ours).unwrap_or(0);
        for server in dump.servers.iter_mut().take(last) {
            server.greedy = true;
        }
        dump
    }

    fn parse(text: &str) -> Dump {
        let mut dump = Dump::default();
        let mut address = Vec::new();
        for line in text.lines() {
            let (indent, line) = (line.len() - line.trim_start().len(), line.trim());
            if let Some(log) = line.strip_prefix("Main ErrorLog: ") {
                let log = log.trim_matches('"');
                dump.error_log = log.starts_with('/').then(|| log.into());
            } else if let Some(module) = module(line) {
                dump.modules.insert(module.to_owned());
            } else if let Some(file) = included(line) {
                dump.files.push(file);
            } else if let Some((_, server)) = line.split_once(" namevhost ") {
                dump.servers.extend(server_at(server, &address));
            } else if let Some(name) = line.strip_prefix("alias ").or_else(|| line.strip_prefix("wild alias ")) {
                if let Some(server) = dump.servers.last_mut() {
                    server.names.push(name.to_owned());
                }
            } else if indent == 0
                && let Some((first, rest)) = line.split_once(char::is_whitespace)
                && let Some(addresses) = listen::addresses(first)
            {
                address = addresses;
                if !rest.trim().starts_with("is a NameVirtualHost") {
                    dump.servers.extend(server_at(rest.trim(), &address));
                }
            }
        }
        dump
    }

    /// What is served, by this account.
    #[must_use]
    pub fn serving(&self) -> Serving {
        Serving { servers: self.servers.clone(), error_logs: self.error_log.iter().cloned().collect() }
    }
}

/// `rewrite` of ` rewrite_module (shared)`.
fn module(line: &str) -> Option<&str> {
    let (name, how) = line.split_once(' ')?;
    matches!(how, "(shared)" | "(static)").then(|| name.strip_suffix("_module")).flatten()
}

/// The file of `(*) /etc/apache2/apache2.conf`, `(146) /etc/apache2/x.conf`.
fn included(line: &str) -> Option<PathBuf> {
    let (by, file) = line.strip_prefix('(')?.split_once(") ")?;
    (by == "*" || by.bytes().all(|b| b.is_ascii_digit())).then(|| Path::new(file).to_owned())
}

/// `shop.example.com (/etc/apache2/sites-enabled/shop.conf:3)`.
fn server_at(text: &str, listen: &[SocketAddr]) -> Option<Server> {
    let (name, place) = text.split_once(" (")?;
    let (file, line) = place.strip_suffix(')')?.rsplit_once(':')?;
    Some(Server {
        file: file.into(),
        line: line.parse().ok()?,
        listen: listen.iter().copied().collect(),
        names: vec![name.to_owned()],
        greedy: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apache_prints_is_taken_apart() {
        let dump = Dump::parse(
            "Included configuration files:\n  (*) /e/a.conf\n    (25) /e/b c.conf\n\
             VirtualHost configuration:\n127.0.0.1:947          door (/e/a.conf:3)\n\
             *:80                   is a NameVirtualHost\n         default server a.test (/e/b c.conf:7)\n\
             \x20        port 80 namevhost a.test (/e/b c.conf:7)\n                 alias b.test\n                 wild alias *.c.test\n\
             \x20        port 80 namevhost d.test (/e/b c.conf:9)\n\
             ServerRoot: \"/etc/apache2\"\nMain ErrorLog: \"/var/log/e.log\"\nMutex default: dir=\"/run\" mechanism=default \n\
             User: name=\"nobody\" id=65534\nLoaded Modules:\n core_module (static)\n rewrite_module (shared)\n",
        );
        assert_eq!(dump.files, [PathBuf::from("/e/a.conf"), PathBuf::from("/e/b c.conf")]);
        let read: Vec<(u32, usize, Vec<String>)> =
            dump.servers.iter().map(|s| (s.line, s.listen.len(), s.names.clone())).collect();
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            read,
            [(3, 1, names(&["door"])), (7, 2, names(&["a.test", "b.test", "*.c.test"])), (9, 2, names(&["d.test"])),]
        );
        assert_eq!(dump.modules, BTreeSet::from(["core".to_owned(), "rewrite".to_owned()]));
        assert_eq!(dump.serving().error_logs, [PathBuf::from("/var/log/e.log")]);
    }
}
