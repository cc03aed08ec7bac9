//! A stock Apache (2.4.47 or later) as the front door.
//!
//! | part | what it does |
//! |---|---|
//! | `render` | from a shape to the text of files |
//! | `dump`, `refusal` | what Apache says of a configuration, when it takes it and when it doesn't |
//! | `listen` | who says `Listen` for which address, and whether it can be had |
//! | `certificates` | whether it could use those that are named |
//! | `process`, `reload` | a graceful restart, and seeing it in every child |
//! | `status` | the requests that are being answered |

mod certificates;
mod dump;
mod listen;
mod process;
mod refusal;
mod reload;
pub mod render;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use self::dump::Dump;
use self::listen::Listen;
use self::reload::Reload;
use super::apply::Change;
use super::files::{Folders, Name, Set};
use super::kind::{self, Kind, Outcome, Places, RenderError, Rendered, Words};
use super::no::No;
use super::queue::Front;
use super::serving::{Server, Serving};
use super::trial::{self, Ask, Refusal, TrialError};
use super::version::{self, Needs, Version};
use super::{Shape, door, fault, reason};
use crate::api::types::SiteName;
use crate::platform::{Class, Fault};

/// Apache as the front door.
pub type Apache = Front<ApacheSettings>;

/// The modules that our files need.
const MODULES: [&str; 8] =
    ["headers", "lbmethod_byrequests", "proxy", "proxy_balancer", "proxy_http", "rewrite", "slotmem_shm", "status"];

/// Where Apache is and what it reads. The default is what Debian's package brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApacheSettings {
    /// The program, or one that sets up its environment and passes on its arguments.
    pub program: PathBuf,
    /// Its `-d`, where it is not the built-in one.
    pub prefix: Option<PathBuf>,
    /// Its `-f`, where it is not the built-in one.
    pub conf: Option<PathBuf>,
    /// Where the master writes its number.
    pub pid: PathBuf,
    /// Where our files go.
    pub folders: Folders,
    /// A folder of root's for candidates; made when it is missing, emptied at will.
    pub work: PathBuf,
    /// Where the door listens: an address of loopback, and a port that only root can take.
    pub door: SocketAddr,
    /// How long a graceful restart may take until every child has it.
    pub reload_within: Duration,
}

impl Default for ApacheSettings {
    fn default() -> Self {
        ApacheSettings {
            program: "/usr/sbin/apache2ctl".into(),
            prefix: None,
            conf: None,
            pid: "/run/apache2/apache2.pid".into(),
            folders: Folders { sites: "/etc/apache2/sites-enabled".into(), snippets: "/etc/apache2/bluegreen".into() },
            work: "/run/bluegreen/apache".into(),
            // Of loopback, but not the address that everybody uses; a port that nobody registered, below those that a user may take.
            door: SocketAddr::from((Ipv4Addr::new(127, 98, 103, 1), 947)),
            reload_within: Duration::from_secs(10),
        }
    }
}

impl kind::Dump for Dump {
    fn reads(&self, file: &Path) -> bool {
        self.files.iter().any(|name| name.components().eq(file.components()))
    }
}

impl Kind for ApacheSettings {
    type Dump = Dump;
    type Common = render::Common;

    fn places(&self) -> Places<'_> {
        Places {
            folders: &self.folders,
            work: &self.work,
            door: self.door,
            pid: &self.pid,
            reload_within: self.reload_within,
        }
    }

    fn words(&self) -> Words {
        Words {
            name: "Apache",
            test: "apachectl configtest",
            block: "VirtualHost",
            top: "its configuration",
            include: "Include",
            end: "",
        }
    }

    fn pool_timeout(&self) -> Duration {
        Duration::from_secs(render::POOL_SECONDS)
    }

    fn site(&self, shape: &Shape) -> Result<Rendered, RenderError> {
        render::site(shape, self.door)
    }

    fn stub(&self, site: &SiteName) -> Result<String, RenderError> {
        render::stub(site)
    }

    fn common(&self, wanted: &Set, dump: Option<&Dump>, _changes: &[&Change]) -> Result<render::Common, No> {
        let ours: BTreeSet<SocketAddr> = wanted.iter().flat_map(|(name, text)| self.listens(name, text)).collect();
        let theirs = |server: &Server| Name::of(&server.file, &self.folders).is_none();
        let blocks = dump.map(|dump| dump.serving().addresses(theirs)).unwrap_or_default();
        let listening = dump.map(|dump| dump.listen.clone()).unwrap_or_default();
        let mut tls = BTreeMap::new();
        for text in wanted.iter().filter(|(name, _)| matches!(name, Name::Site(_))).map(|(_, text)| text) {
            tls.extend(over_tls(&String::from_utf8_lossy(text)));
        }
        Ok(render::Common {
            listen: listen::needed(&ours, &listening),
            catch: ours.difference(&blocks).filter(|address| !tls.contains_key(address)).map(render::block).collect(),
            catch_tls: tls
                .iter()
                .filter(|(address, _)| !blocks.contains(address))
                .map(|(address, pair)| (render::block(address), pair.clone()))
                .collect(),
        })
    }

    fn common_text(&self, common: &render::Common, generation: &str) -> Result<String, RenderError> {
        render::common(common, self.door, generation)
    }

    fn generation(&self, common: &str) -> String {
        let line = common.lines().find_map(|line| line.strip_prefix("Define bluegreen_generation "));
        line.unwrap_or_default().trim().to_owned()
    }

    fn listens(&self, name: &Name, text: &[u8]) -> BTreeSet<SocketAddr> {
        let Name::Site(_) = name else {
            return BTreeSet::new();
        };
        let text = String::from_utf8_lossy(text);
        let line = text.lines().find_map(|line| line.strip_prefix("# Listens on:"));
        line.unwrap_or_default().split_whitespace().filter_map(|address| address.parse().ok()).collect()
    }

    fn suits(&self) -> Result<(), TrialError> {
        // `upgrade=` of a balancer's member.
        let needs = Needs { mark: "Apache/", name: "Apache", oldest: Version(2, 4, 47) };
        version::check(Command::new(&self.program), needs)
    }

    fn trial(&self, over: &[(PathBuf, PathBuf)]) -> Result<Dump, TrialError> {
        let mut command = Command::new(&self.program);
        for (flag, path) in [("-d", &self.prefix), ("-f", &self.conf)] {
            if let Some(path) = path {
                command.arg(flag).arg(path);
            }
        }
        command.arg("-t");
        for what in ["DUMP_VHOSTS", "DUMP_INCLUDES", "DUMP_MODULES", "DUMP_RUN_CFG"] {
            command.args(["-D", what]);
        }
        let ask = Ask { package: "apache2", command, refusal: refusal::refusal, over };
        let dump = Dump::read(&trial::trial(ask).map_err(missing_module)?, &self.folders);
        let missing: Vec<&str> = MODULES.into_iter().filter(|name| !dump.modules.contains(*name)).collect();
        if missing.is_empty() { Ok(dump) } else { Err(TrialError::NoModule("Apache", missing.join(" "))) }
    }

    fn serving(&self, dump: &Dump) -> Serving {
        dump.serving()
    }

    fn before_reload(&self, dump: &Dump, live: &Set, wanted: &Set) -> Result<(), Refusal> {
        // Without a master nothing is told to reload; and one that only isn't found would look like somebody who holds its addresses.
        let Some(master) = process::master(&self.pid) else {
            return Ok(());
        };
        let modules = &dump.modules;
        if modules.contains("ssl") {
            for file in dump.files.iter().filter(|file| Name::of(file, &self.folders).is_none()) {
                let text = std::fs::read(file).unwrap_or_default();
                certificates::check(file, &String::from_utf8_lossy(&text), modules)?;
            }
            for (name, text) in wanted {
                certificates::check(&name.path(&self.folders), &String::from_utf8_lossy(text), modules)?;
            }
        }
        let said = |set: &Set| listen::said(set.get(&Name::Common).map(Vec::as_slice).unwrap_or_default());
        let before = said(live);
        let ours = said(wanted).into_iter().filter(|what| !before.contains(what));
        // Apache ends at one of somebody else's that it can't have just as well.
        let new: Vec<Listen> = ours.chain(dump.listen.iter().copied()).collect();
        // What it listens on already it keeps.
        let has = process::listening(master);
        new.into_iter().filter(|what| !what.is_among(&has)).try_for_each(listen::probe)
    }

    fn runs(&self) -> bool {
        process::master(&self.pid).is_some()
    }

    fn reload(&self, generation: &str, logs: &[PathBuf], within: Duration) -> Outcome {
        Reload { pid_file: &self.pid, door: self.door, logs, within }.run(generation)
    }

    fn in_flight(&self, site: &SiteName, ago: Duration) -> Result<Option<bool>, Fault> {
        let include = Name::Snippet(site.clone()).path(&self.folders).exists();
        let status = status::ask(self.door).map_err(|error| {
            fault(
                Class::Transient,
                reason::NOT_IN_FORCE,
                format!("Apache does not tell on {} which requests it answers: {error}", self.door),
            )
        })?;
        Ok(status.in_flight(&door::name(site), include, ago))
    }
}

/// The addresses on which a file of ours speaks HTTPS, with the certificate and its key.
fn over_tls(text: &str) -> BTreeMap<SocketAddr, (String, String)> {
    let value =
        |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)).map(|v| v.trim_matches([' ', '"']));
    let (Some(addresses), Some(certificate), Some(key)) =
        (value("# HTTPS on:"), value("SSLCertificateFile "), value("SSLCertificateKeyFile "))
    else {
        return BTreeMap::new();
    };
    let addresses = addresses.split_whitespace().filter_map(|address| address.parse().ok());
    addresses.map(|address| (address, (certificate.to_owned(), key.to_owned()))).collect()
}

/// A directive that Apache doesn't know in a file of ours is one of a module that isn't loaded.
fn missing_module(error: TrialError) -> TrialError {
    let TrialError::Refused(refusal) = &error else {
        return error;
    };
    match refusal.text.split('\'').nth(1).and_then(module_of) {
        Some(module) if refusal.text.contains("perhaps misspelled") => {
            TrialError::NoModule("Apache", module.to_owned())
        }
        _ => error,
    }
}

/// The module of a directive that our files begin with.
fn module_of(directive: &str) -> Option<&'static str> {
    match directive {
        "ExtendedStatus" => Some("status"),
        "RewriteEngine" => Some("rewrite"),
        "RequestHeader" | "Header" => Some("headers"),
        "ProxyPreserveHost" | "ProxyAddHeaders" => Some("proxy"),
        "SSLEngine" => Some("ssl"),
        _ => None,
    }
}
