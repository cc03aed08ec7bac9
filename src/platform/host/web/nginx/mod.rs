//! A stock nginx (1.22 or later) as the front door.
//!
//! | part | what it does |
//! |---|---|
//! | `render` | from a shape to the text of files |
//! | `knows` | what one nginx understands and another one doesn't |
//! | `refusal` | what it says when it says no |
//! | `syntax`, `theirs` | what else nginx serves |
//! | `process`, `reload` | a reload, and seeing it in every worker |

pub mod knows;
mod limits;
mod process;
mod refusal;
mod reload;
pub mod render;
mod syntax;
mod theirs;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use self::knows::Knows;
use self::reload::Reload;
pub use self::syntax::Directive;
use self::syntax::Dump;
use super::apply::Change;
use super::files::{Folders, Name, Set};
use super::kind::{self, Kind, Outcome, Places, RenderError, Rendered, Words};
use super::no::{No, Whose};
use super::queue::Front;
use super::serving::{Server, Serving};
use super::trial::{self, Ask, TrialError};
use super::version::{self, Needs, Version};
use super::{Mode, Shape, fault, reason};
use crate::api::types::SiteName;
use crate::platform::{Class, Fault};
use crate::rollout::Colour;

/// nginx as the front door.
pub type Nginx = Front<NginxSettings>;

/// Where nginx is and what it reads. The default is what Debian's package brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NginxSettings {
    /// The program.
    pub program: PathBuf,
    /// Its `-p`, where it is not the built-in one.
    pub prefix: Option<PathBuf>,
    /// Its `-c`, where it is not the built-in one.
    pub conf: Option<PathBuf>,
    /// Where the master writes its number.
    pub pid: PathBuf,
    /// Where our files go.
    pub folders: Folders,
    /// A folder of root's for candidates; made when it is missing, emptied at will.
    pub work: PathBuf,
    /// Where the door listens: an address of loopback, and a port that only root can take.
    pub door: SocketAddr,
    /// How long a reload may take until every worker has it.
    pub reload_within: Duration,
}

impl Default for NginxSettings {
    fn default() -> Self {
        NginxSettings {
            program: "/usr/sbin/nginx".into(),
            prefix: None,
            conf: None,
            pid: "/run/nginx.pid".into(),
            folders: Folders { sites: "/etc/nginx/conf.d".into(), snippets: "/etc/nginx/bluegreen".into() },
            work: "/run/bluegreen/nginx".into(),
            // Of loopback, but not the address that everybody uses; a port that nobody registered, below those that a user may take.
            door: SocketAddr::from((Ipv4Addr::new(127, 98, 103, 1), 947)),
            reload_within: Duration::from_secs(10),
        }
    }
}

impl NginxSettings {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (flag, path) in [("-p", &self.prefix), ("-c", &self.conf)] {
            if let Some(path) = path {
                command.arg(flag).arg(path);
            }
        }
        command
    }

    /// What it understands of that which this site makes a difference with.
    fn knows(&self, shape: &Shape) -> Knows {
        let over_tls = matches!(shape.mode, Mode::Own { tls: Some(_), .. });
        let statics = || Colour::BOTH.into_iter().flat_map(|colour| &shape.side(colour).statics);
        match over_tls || statics().any(|files| files.precompressed) {
            true => Knows::asked(&self.program),
            false => Knows::default(),
        }
    }

    /// The names and addresses in a file of ours, the door's left out.
    fn served_by(&self, name: &Name, text: &[u8]) -> Served {
        let mut served = Served::default();
        for directive in syntax::parse(&name.path(&self.folders), &String::from_utf8_lossy(text)) {
            if directive.name() == "server" {
                let server = theirs::server(&directive);
                if !server.listen.contains(&self.door) {
                    served.tls.extend(theirs::over_tls(&directive));
                    served.names.extend(server.names);
                    served.listen.extend(server.listen);
                }
            }
        }
        served
    }
}

/// What a file of ours serves, the door's left out.
#[derive(Default)]
struct Served {
    names: Vec<String>,
    listen: BTreeSet<SocketAddr>,
    /// Those of them where HTTPS is spoken.
    tls: BTreeSet<SocketAddr>,
}

impl kind::Dump for Dump {
    fn reads(&self, file: &Path) -> bool {
        Dump::reads(self, file)
    }
}

impl Kind for NginxSettings {
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
            name: "nginx",
            test: "nginx -t",
            block: "server block",
            top: "the http block of its configuration",
            include: "include",
            end: ";",
        }
    }

    fn pool_timeout(&self) -> Duration {
        Duration::from_secs(render::POOL_SECONDS)
    }

    fn site(&self, shape: &Shape) -> Result<Rendered, RenderError> {
        render::site(shape, self.door, self.knows(shape))
    }

    fn lacks(&self, shape: &Shape) -> Option<Fault> {
        let all = Colour::BOTH.into_iter().flat_map(|colour| &shape.side(colour).statics);
        let path = all.filter(|files| files.precompressed).map(|files| &files.path).next()?;
        let message = || {
            format!(
                "the files below {path} are not answered precompressed: {} was built without its module gzip_static; install one that has it",
                self.program.display()
            )
        };
        (!self.knows(shape).gzip_static).then(|| fault(Class::User, reason::MODULE_MISSING, message()))
    }

    fn stub(&self, site: &SiteName) -> Result<String, RenderError> {
        render::stub(site)
    }

    fn common(&self, wanted: &Set, dump: Option<&Dump>, changes: &[&Change]) -> Result<render::Common, No> {
        let serving = dump.map(theirs::serving).unwrap_or_default();
        let hash_bucket = dump.and_then(theirs::hash_bucket);
        let theirs = |server: &Server| Name::of(&server.file, &self.folders).is_none();
        let mut common = render::Common::default();
        let others = serving.addresses(theirs);
        for (name, text) in wanted {
            let Name::Site(site) = name else { continue };
            let served = self.served_by(name, text);
            let free: BTreeSet<SocketAddr> = served.listen.difference(&others).copied().collect();
            common.catch.extend(free.difference(&served.tls));
            common.catch_tls.extend(free.intersection(&served.tls));
            let needed = render::hash_bucket(served.names.iter().map(String::as_str));
            let set = hash_bucket.as_ref().filter(|(_, file, _)| Name::of(file, &self.folders).is_none());
            match set {
                Some((size, file, line)) if *size < needed && changes.iter().any(|c| c.site() == site) => {
                    return Err(No {
                        whose: Whose::Site(site.clone()),
                        fault: fault(
                            Class::User,
                            reason::CONFIGURATION_REFUSED,
                            format!(
                                "the host names of {site} need server_names_hash_bucket_size {needed}, and {}:{line} sets it to {size}; raise it there",
                                file.display()
                            ),
                        ),
                    });
                }
                // nginx's own default, and the least that any machine has.
                None if needed > 64 => common.hash_bucket = common.hash_bucket.max(Some(needed)),
                _ => {}
            }
        }
        Ok(common)
    }

    fn common_text(&self, common: &render::Common, generation: &str) -> Result<String, RenderError> {
        render::common(common, self.door, generation)
    }

    fn generation(&self, common: &str) -> String {
        let after = common.split_once("$bluegreen_generation {").map_or("", |(_, rest)| rest);
        after.split('"').nth(1).unwrap_or_default().to_owned()
    }

    fn listens(&self, name: &Name, text: &[u8]) -> BTreeSet<SocketAddr> {
        self.served_by(name, text).listen
    }

    fn suits(&self) -> Result<(), TrialError> {
        // `$upstream_bytes_sent`. Older than 1.22 is tried by nobody of ours.
        let needs = Needs { mark: "nginx/", name: "nginx", oldest: Version(1, 15, 8) };
        version::check(self.command(), needs)
    }

    fn trial(&self, over: &[(PathBuf, PathBuf)]) -> Result<Dump, TrialError> {
        let mut command = self.command();
        command.arg("-T");
        let ask = Ask { package: "nginx", command, refusal: refusal::refusal, over };
        trial::trial(ask).map(|text| Dump::read(&text))
    }

    fn serving(&self, dump: &Dump) -> Serving {
        theirs::serving(dump)
    }

    fn runs(&self) -> bool {
        process::master(&self.pid).is_some()
    }

    fn reload(&self, generation: &str, logs: &[PathBuf], within: Duration) -> Outcome {
        Reload { pid_file: &self.pid, door: self.door, logs, within }.run(generation)
    }
}
