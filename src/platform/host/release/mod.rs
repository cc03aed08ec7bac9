//! Takes what somebody uploaded over into a release: read-only, root's, for the site's user alone to read but for what the web server
//! answers from, and complete before it is visible.
//!
//! | part | what it does |
//! |---|---|
//! | `account` | the user that a site runs as: looked up, and refused if it is root or the system's |
//! | `source` | opens what was uploaded, a folder or an archive |
//! | `fingerprint` | tells what it is, and which revision that makes |
//! | `config`, `shared` | what comes from outside of the release: copied, and linked |
//! | `take`, `work`, `error` | makes a release of it, in a working folder, or says why not |
//! | `python` | what a release of Python's requires, installed into an environment of its own beside it |
//! | `seal` | who may read it: the site's user, and everybody what the web server answers from |
//! | `remote` | what lies elsewhere: fetched once for all sites of the machine, checked, kept as long as a release of it is |
//! | `programs` | the programs of a CGI site, which must be there and be executable |
//! | `unpack`, `jar` | what is in an archive, unpacked or told, each in a process that may do nothing else (`jail`) |
//! | `shelf` | the releases on disk: which there are, which may go |
//! | `kept` | hashed assets of earlier releases |
//! | `tree`, `beneath`, `entry`, `limits` | what all of them stand on: walking without being led astray |
//!
//! Nothing in here is asynchronous and all of it may block on the disk: the site's glue calls it from a thread of the blocking pool.

mod account;
pub(super) mod beneath;
mod config;
mod entry;
mod error;
mod fingerprint;
mod jail;
mod jar;
mod kept;
mod limits;
mod programs;
mod python;
mod remote;
mod seal;
mod shared;
mod shelf;
mod source;
mod take;
mod tree;
mod unpack;
mod work;

pub use account::{Account, AccountError, check_user};
pub use config::{Config, ConfigDigest, ConfigError, Taken};
pub use entry::{Danger, Special};
pub use error::TakeError;
pub use fingerprint::{Fingerprint, Fingerprints, Identity, read as read_fingerprint, revision};
pub use jar::{Jar, JarError, SUBCOMMAND as READ_JAR, read_jar_main};
pub use kept::{KeptError, keep_assets, kept_dir};
pub use limits::{Excess, Limits, Measure, Tally};
pub use programs::{FCGIWRAP, ProgramError, SPAWN_FCGI, programs};
pub use python::{PythonError, SUBCOMMAND as INSTALL, install_main};
pub use remote::{Downloads, FETCH_FAILED, Fetching};
pub use shared::{SharedError, check as check_shared};
pub use shelf::{Listed, Record, ShelfError, config_dir, env, is_complete, list, prune, record, venv_dir};
pub use source::{Kind, SourceError};
pub use take::{Order, Step, take};
pub use tree::TreeError;
pub use unpack::{OURSELVES, SUBCOMMAND, UnpackError, unpack_main};
