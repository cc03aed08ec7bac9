//! Takes what somebody uploaded over into a release: root's, read-only, complete before it is visible.
//!
//! Everything happens in a working folder beside the releases that only root may enter; the last step is a rename. Killed at any moment, it leaves a
//! working folder that the next take removes, and never half a release. What was taken is compared with what was wanted: a
//! revision names its content, so an upload that changed meanwhile is not that revision.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use super::account::{Account, AccountError};
use super::beneath;
use super::config::Config;
use super::error::TakeError;
use super::fingerprint::Identity;
use super::limits::{Limits, Tally};
use super::programs;
use super::python;
use super::remote::{self, Fetching};
use super::seal::seal;
use super::shared;
use super::shelf::{self, Record, Shelf};
use super::source::{self, Opened};
use super::work::Work;
use crate::api::site::{ReleaseSource, Run, SettingsGuards};
use crate::platform::host::guards;
use crate::platform::host::layout::SiteDir;
use crate::platform::host::runtime;
use crate::platform::host::store::{self, StoreError};
use crate::rollout::Revision;

/// What to take. Its revision is [`Identity::revision`] of `identity` and `run`.
pub struct Order<'a> {
    /// Where it lies.
    pub source: &'a ReleaseSource,
    /// What it must turn out to be.
    pub identity: &'a Identity,
    /// How it is to be run.
    pub run: &'a Run,
    /// The site's user.
    pub account: &'a Account,
    /// How large it may be.
    pub limits: &'a Limits,
    /// How long installing what it requires may take.
    pub install_within: Duration,
    /// Where what is fetched is kept, for all sites of the machine, and who is told how far it is.
    pub fetching: Fetching<'a>,
    /// The program that unpacks archives and looks into jars: [`super::OURSELVES`], and in tests the one that was built.
    pub unpacker: &'a Path,
    /// What becomes of settings that must not reach production.
    pub settings: SettingsGuards,
    /// Told of each step, for a log or a progress line.
    pub progress: &'a dyn Fn(Step<'_>),
}

/// How far a take has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// What was uploaded is open.
    Opened,
    /// The archive was copied to where nobody else can change it, and is what it should be.
    Secured,
    /// The archive was unpacked.
    Unpacked,
    /// This entry is in the release to be.
    Entry(&'a [u8]),
    /// All of the content is in the release to be.
    Filled,
    /// What it requires is installed.
    Installed,
    /// The configuration files and the record are there.
    Recorded,
    /// Everything is on the disk.
    Synced,
    /// The configuration files have their final name.
    ConfigPlaced,
    /// The record has its final name.
    RecordPlaced,
    /// The release has its final name: it is complete.
    Placed,
}

/// Takes a release, and does nothing if it was taken already (but mends its record). Blocks: for the thread of a pool. Needs root.
///
/// # Errors
/// See [`TakeError`]. Other releases, and whatever runs them, are untouched.
pub fn take(dir: &SiteDir, order: &Order<'_>) -> Result<Record, TakeError> {
    if order.account.uid == 0 || order.account.gid == 0 {
        return Err(TakeError::Account(AccountError::Root { name: order.account.name.clone(), how: "is root" }));
    }
    let revision = order.identity.revision(order.run)?;
    // Before the folder is locked: a server may take its time.
    let fetched = if shelf::is_complete(dir, revision) { None } else { fetch(order)? };
    let shelf = Shelf::open(dir)?;
    shelf.tidy()?;
    let (config_name, env_name) = (format!("{revision}.config"), format!("{revision}.env"));
    let venv_name = format!("{revision}.venv");
    let complete = shelf::is_complete(dir, revision);
    if complete && order.run.runtime.installed().is_some() && !shelf.has(&venv_name) {
        // Somebody removed it: what it was installed from is still here.
        let work = Work::begin(&shelf, revision)?;
        python::install(&work, dir, revision, &dir.release(revision), order)?;
        beneath::sync(work.folder.as_fd(), u64::MAX).map_err(|error| work.failed("syncing", error))?;
        work.put("venv", &venv_name)?;
    }
    let has_config = order.run.config_files.is_empty() || shelf.has(&config_name);
    let has_env = order.run.env_file.is_none() || shelf.has(&env_name);
    if complete && has_config && has_env {
        // What it was taken from may be gone by now.
        return recorded(dir, order, revision);
    }
    let config = Config::of(order.run, order.account)?;
    if config.digest() != order.identity.config {
        return Err(TakeError::Changed {
            path: order
                .run
                .config_files
                .iter()
                .chain(&order.run.env_file)
                .next()
                .map_or_else(PathBuf::new, |file| file.as_path().to_owned()),
        });
    }
    if complete {
        let work = Work::begin(&shelf, revision)?;
        if !has_config {
            config.place(work.folder.as_fd(), "config", order.account)?;
        }
        config.place_env(&work.path.join("env"))?;
        beneath::sync(work.folder.as_fd(), config.len()).map_err(|error| work.failed("syncing", error))?;
        if !has_config {
            work.put("config", &config_name)?;
        }
        if !has_env {
            work.put("env", &env_name)?;
        }
        return recorded(dir, order, revision);
    }
    shared::check(&order.run.shared_dirs, order.account)?;

    // It was complete before the folder was locked, and somebody removed it.
    let fetched = if fetched.is_some() { fetched } else { fetch(order)? };
    let opened = match fetched {
        Some(opened) => opened,
        None => source::open(order.source, order.account, order.limits)?,
    };
    (order.progress)(Step::Opened);
    let work = Work::begin(&shelf, revision)?;
    work.make("release", Mode::RWXU)?;
    let release = work.open("release")?;
    let size = match opened {
        Opened::Folder(folder) => work.copy_folder(&folder, &release, order)?,
        Opened::Archive(kind, file, bytes) => work.take_archive(&kind, file, bytes, &release, order)?,
        Opened::Pieces(pieces) => work.take_pieces(pieces, &release, order)?,
    };
    has_roots(release.as_fd(), order.run)?;
    let inside = work.path.join("release");
    runtime::check(&inside, order.run, order.unpacker).map_err(TakeError::Runtime)?;
    let warnings =
        guards::check(&inside, order.run, &config, order.settings, order.unpacker).map_err(TakeError::Runtime)?;
    shared::link(release.as_fd(), &order.run.shared_dirs)?;
    seal(&inside, order.run, order.account).map_err(|source| TakeError::Io {
        path: shelf.path().to_owned(),
        what: "sealing",
        source,
    })?;
    (order.progress)(Step::Filled);
    programs::check(&inside, &order.run.runtime)?;
    let installed = python::install(&work, dir, revision, &inside, order)?;
    if installed.is_some() {
        (order.progress)(Step::Installed);
    }

    if !config.is_empty() {
        config.place(work.folder.as_fd(), "config", order.account)?;
    }
    config.place_env(&work.path.join("env"))?;
    let record = Record { warnings, ..record(order, revision, size) };
    store::write(&work.path.join("record"), &record, 0o600)?;
    (order.progress)(Step::Recorded);

    let entries = size.entries.saturating_add(config.len()).saturating_add(installed.map_or(0, |size| size.entries));
    beneath::sync(work.folder.as_fd(), entries).map_err(|error| work.failed("syncing", error))?;
    (order.progress)(Step::Synced);
    if !config.is_empty() {
        work.put("config", &config_name)?;
        (order.progress)(Step::ConfigPlaced);
    }
    if installed.is_some() {
        work.put("venv", &venv_name)?;
    }
    if order.run.env_file.is_some() {
        work.put("env", &env_name)?;
    }
    work.put("record", &format!("{revision}.json"))?;
    (order.progress)(Step::RecordPlaced);
    work.put("release", &revision.to_string())?;
    rustix::fs::fsync(&shelf.folder).map_err(|error| work.failed("syncing", error))?;
    (order.progress)(Step::Placed);
    Ok(record)
}

fn fetch(order: &Order<'_>) -> Result<Option<Opened>, TakeError> {
    remote::fetch(order).map_err(TakeError::Fetch)
}

/// Whether the release has the folders that the web server is to answer from. What lies in a shared folder is not the release's.
fn has_roots(release: BorrowedFd<'_>, run: &Run) -> Result<(), TakeError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    for (index, one) in run.statics.iter().enumerate() {
        let root = one.root.as_path();
        let shared = run.shared_dirs.iter().map(|shared| shared.path.as_path());
        if shared.into_iter().any(|path| root.starts_with(path) || path.starts_with(root)) {
            continue;
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        if rustix::fs::openat2(release, root, flags, Mode::empty(), resolve).is_err() {
            return Err(TakeError::NoRoot { index, root: one.root.clone() });
        }
        let Some(file) = &one.fallback else { continue };
        let resolve = resolve | ResolveFlags::NO_SYMLINKS;
        let found = rustix::fs::openat2(
            release,
            root.join(file.as_path()),
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            resolve,
        )
        .and_then(|file| rustix::fs::fstat(&file));
        if !found.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile) {
            return Err(TakeError::NoFallback { index, root: one.root.clone(), file: file.clone() });
        }
    }
    Ok(())
}

/// The record of a release that is there already, put back if it is missing or damaged.
fn recorded(dir: &SiteDir, order: &Order<'_>, revision: Revision) -> Result<Record, TakeError> {
    match shelf::record(dir, revision) {
        Err(StoreError::Damaged { .. }) => {
            let record = record(order, revision, Tally::default());
            store::write(&dir.release_json(revision), &record, 0o600)?;
            Ok(record)
        }
        other => Ok(other?),
    }
}

fn record(order: &Order<'_>, revision: Revision, size: Tally) -> Record {
    Record {
        revision,
        identity: order.identity.clone(),
        run: order.run.clone(),
        source: order.source.clone(),
        taken_at: jiff::Timestamp::now(),
        size,
        warnings: Vec::new(),
    }
}
