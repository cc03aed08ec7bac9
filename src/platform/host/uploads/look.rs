//! Looks at the folder: reads what is whole, tells which became whole last, and remembers what was seen, so that nothing counts twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::names::{DONE, SUM, checksum, is_archive, is_release};
use super::whole::{Facts, Print, Verdict, What};
use crate::api::site::ReleaseSource;
use crate::api::types::{AbsPath, Sha256};
use crate::platform::host::layout::SiteDir;
use crate::platform::host::release::beneath;
use crate::platform::host::release::{Account, Fingerprint, Kind, Limits, read_fingerprint};
use crate::platform::host::store;
use crate::platform::{Class, Fault};

/// So many names may lie in the folder.
const MOST: u64 = 10_000;
/// The file of a checksum is one line.
const SUM_LIMIT: u64 = 4096;
/// What was touched so recently may be being written: nothing bad is said of it yet. It is no reason to take it.
const FRESH: i128 = 2_000_000_000;

/// What stands in `uploads.json` of a site: the newest release that was whole, and what was seen beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Uploads {
    /// The folder.
    folder: AbsPath,
    /// The one that became whole last; it stays so when its file goes.
    chosen: Option<Chosen>,
    /// What was whole, by name.
    seen: BTreeMap<String, Seen>,
}

/// The release that became whole last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// Its name in the folder.
    pub name: String,
    /// What it is.
    pub fingerprint: Fingerprint,
    /// When it became whole, in nanoseconds.
    pub moment: i128,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    release: Print,
    /// When it became whole, by what lies beside it.
    moment: i128,
    fingerprint: Fingerprint,
}

/// What a look found.
#[derive(Clone, Debug)]
pub struct Looked {
    /// The folder.
    pub folder: AbsPath,
    /// The release that became whole last, if any ever was.
    pub chosen: Option<Chosen>,
    /// What is wrong with something that is newer; or that nothing is whole, or the folder can't be used.
    pub fault: Option<Fault>,
    /// Something was touched a moment ago: to be looked at again soon.
    pub fresh: bool,
}

/// Where one of the releases that arrived lies.
#[must_use]
pub fn source(folder: &AbsPath, name: &str, kind: &Kind) -> Option<ReleaseSource> {
    place(folder, name, *kind == Kind::Folder, None)
}

fn place(folder: &AbsPath, name: &str, is_folder: bool, sha256: Option<Sha256>) -> Option<ReleaseSource> {
    let path: AbsPath = format!("{folder}/{name}").parse().ok()?;
    Some(if is_folder { ReleaseSource::Path(path) } else { ReleaseSource::Archive { file: path, sha256 } })
}

/// Opens the folder, if only those may write in it whom somebody chose.
///
/// # Errors
/// It is missing, a link leads there, or everybody may write in it.
pub fn open(path: &AbsPath) -> Result<OwnedFd, Fault> {
    let wrong = |reason, message| Fault { class: Class::User, reason, message };
    let shown = path.as_str();
    let folder = beneath::absolute(path.as_path(), OFlags::RDONLY | OFlags::DIRECTORY).map_err(|error| {
        match (error, beneath::link_in(path.as_path())) {
            (Errno::NOENT, _) => wrong(
                "UploadsMissing",
                format!(
                    "there is no folder {shown}: make it, for who uploads: `install -d -o USER -g USER -m 0755 {shown}`"
                ),
            ),
            (Errno::LOOP | Errno::NOTDIR | Errno::XDEV, Some((link, _))) => wrong(
                "UploadsUnsafe",
                format!(
                    "{shown} goes through the link {}, and links are not followed here: name what it leads to",
                    link.display()
                ),
            ),
            (error, _) => Fault {
                class: Class::Transient,
                reason: "UploadsNotRead",
                message: format!("{shown}: {}", io::Error::from(error)),
            },
        }
    })?;
    let stat = rustix::fs::fstat(&folder).map_err(|error| unread(path.as_path(), error))?;
    if stat.st_mode & 0o002 != 0 {
        let message = format!(
            "everybody on this machine may write in {shown}, and who does decides what the site runs: `chmod o-w {shown}`, and give it to \
             who uploads (`chown USER {shown}`)"
        );
        return Err(wrong("UploadsUnsafe", message));
    }
    Ok(folder)
}

/// Looks at the folder. `renamed`: what got its name by a rename that says that it is whole. `told`: what was wanted last, for a memory that was
/// lost. `bad`: what was found wrong before, so that it isn't read again. Blocks, as long as it takes to read what is new.
///
/// # Errors
/// The memory can't be read or written; nothing is chosen that would not be remembered.
pub fn look(
    dir: &SiteDir,
    path: &AbsPath,
    (reader, limits): (&Account, &Limits),
    renamed: &BTreeSet<String>,
    told: Option<Chosen>,
    bad: &mut Bad,
) -> Result<Looked, Fault> {
    let file = dir.root().join("uploads.json");
    let memory: Option<Uploads> = match store::read(&file, store::LIMIT) {
        Err(store::StoreError::Damaged { .. }) => None,
        read => read?,
    };
    let before = memory.filter(|memory| memory.folder == *path);
    // What was wanted before stays so, and what lies there was there before: a lost memory rolls nothing out.
    let lost = before.is_none() && told.is_some();
    let mut now =
        before.clone().unwrap_or_else(|| Uploads { folder: path.clone(), chosen: told, seen: BTreeMap::new() });
    let folder = match open(path) {
        Ok(folder) => folder,
        Err(fault) => {
            return Ok(Looked { folder: path.clone(), chosen: now.chosen, fault: Some(fault), fresh: false });
        }
    };
    let mut round = Round {
        path,
        folder: folder.as_fd(),
        reader,
        limits,
        bad,
        faults: Vec::new(),
        waits: Vec::new(),
        fresh: false,
    };
    let names = round.names().map_err(|error| unread(path.as_path(), error))?;
    now.seen.retain(|name, _| names.contains(name));
    let mut arrived = Vec::new();
    for name in names.iter().filter(|name| is_release(name)) {
        if let Some(seen) = round.one(name, now.seen.get(name), renamed.contains(name), &names) {
            let again = now.seen.get(name).is_some_and(|before| before.fingerprint == seen.fingerprint);
            if !again {
                arrived.push((seen.moment, name.clone(), seen.fingerprint.clone()));
            }
            now.seen.insert(name.clone(), seen);
        }
    }
    round.bad.0.retain(|name, _| names.contains(name));
    arrived.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    if let Some((moment, name, fingerprint)) = arrived.pop().filter(|_| !lost) {
        now.chosen = Some(Chosen { name, fingerprint, moment });
    }
    let since = now.chosen.as_ref().map_or(i128::MIN, |chosen| chosen.moment);
    let fault = round.faults.iter().filter(|(moment, _)| *moment > since).max_by_key(|(moment, _)| *moment);
    let fault =
        fault.map(|(_, fault)| fault.clone()).or_else(|| now.chosen.is_none().then(|| nothing(path, &round.waits)));
    let fresh = round.fresh;
    if before.as_ref() != Some(&now) {
        store::write(&file, &now, 0o600)?;
    }
    Ok(Looked { folder: path.clone(), chosen: now.chosen, fault, fresh })
}

/// What was found wrong with what lies in the folder, and how it was when that was found.
#[derive(Debug, Default)]
pub struct Bad(BTreeMap<String, (Print, i128, Fault)>);

struct Round<'a> {
    path: &'a AbsPath,
    folder: BorrowedFd<'a>,
    reader: &'a Account,
    limits: &'a Limits,
    bad: &'a mut Bad,
    faults: Vec<(i128, Fault)>,
    /// What lies there and isn't known to be whole.
    waits: Vec<String>,
    fresh: bool,
}

impl Round<'_> {
    fn names(&self) -> Result<BTreeSet<String>, Errno> {
        let names = beneath::names(self.folder, MOST)?;
        Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }

    /// One release, if it is whole.
    fn one(&mut self, name: &str, seen: Option<&Seen>, renamed: bool, names: &BTreeSet<String>) -> Option<Seen> {
        let release = print(self.folder, name)?;
        if release.what == What::File && !is_archive(name) {
            return None;
        }
        let beside = |ending: &str| {
            let other = format!("{name}{ending}");
            names.contains(&other).then(|| print(self.folder, &other)).flatten()
        };
        let sum = beside(SUM).map(|print| (print, self.sum(name, print)));
        let facts = Facts { release, done: beside(DONE), sum, renamed };
        let moment = facts.moment();
        let known = seen.filter(|seen| seen.release.same(&release));
        // What was whole as it is stays so, unless something new lies beside it.
        let outside_tells = release.what == What::File && facts.sum.is_none();
        if known.is_some_and(|known| moment <= known.moment || outside_tells) {
            return None;
        }
        let sha256 = match facts.judge(name) {
            Verdict::Whole(sha256) => sha256,
            Verdict::NotYet(why) => {
                self.waits.push(why);
                return None;
            }
            Verdict::Wrong(why) => {
                self.wrong(&facts, Fault { class: Class::User, reason: "UploadRefused", message: self.at(&why) });
                return None;
            }
        };
        if let Some((before, at, fault)) = self.bad.0.get(name)
            && before.same(&release)
            && *at == moment
        {
            let fault = fault.clone();
            self.wrong(&facts, fault);
            return None;
        }
        let source = place(self.path, name, release.what == What::Folder, sha256)?;
        let read = read_fingerprint(&source, self.reader, self.limits);
        // What was written meanwhile is another upload, of which nothing is known.
        if print(self.folder, name).is_none_or(|after| !after.same(&release)) {
            self.fresh = true;
            return None;
        }
        match read {
            Ok(fingerprint) => Some(Seen { release, moment, fingerprint }),
            Err(error) => {
                let fault = Fault::from(error);
                let message = fault.message.replace("spec.target.host.release.sha256", &format!("{name}{SUM}"));
                let fault = Fault { class: Class::User, message, ..fault };
                self.bad.0.insert(name.to_owned(), (release, moment, fault.clone()));
                self.wrong(&facts, fault);
                None
            }
        }
    }

    /// What the file of a checksum says.
    fn sum(&self, name: &str, print: Print) -> Result<Sha256, String> {
        if print.what != What::File {
            return Err("it is no regular file".to_owned());
        }
        let mut text = String::new();
        beneath::file(self.folder, format!("{name}{SUM}").as_str())
            .map_err(io::Error::from)
            .and_then(|file: File| file.take(SUM_LIMIT).read_to_string(&mut text))
            .map_err(|error| error.to_string())?;
        checksum(&text, name)
    }

    fn wrong(&mut self, facts: &Facts, fault: Fault) {
        let moment = facts.moment();
        if jiff::Timestamp::now().as_nanosecond() - moment < FRESH {
            self.fresh = true;
        } else {
            self.faults.push((moment, fault));
        }
    }

    fn at(&self, why: &str) -> String {
        format!("in {}: {why}", self.path)
    }
}

fn print(folder: BorrowedFd<'_>, name: &str) -> Option<Print> {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let what = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => What::File,
        FileType::Directory => What::Folder,
        _ => What::Other,
    };
    let nanoseconds = |seconds: i64, rest: u64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    Some(Print {
        what,
        number: stat.st_ino,
        bytes: u64::try_from(stat.st_size).unwrap_or_default(),
        written: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
        changed: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
    })
}

fn nothing(path: &AbsPath, waits: &[String]) -> Fault {
    let (how, more) = match waits {
        [] => ("upload one as docs/uploads.md says, or with `bluegreen push ARCHIVE SITE`".to_owned(), String::new()),
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
            (first.clone(), more)
        }
    };
    Fault {
        class: Class::User,
        reason: "NoUpload",
        message: format!("no whole release has arrived in {path}: {how}{more}"),
    }
}

fn unread(path: &Path, error: Errno) -> Fault {
    let source = io::Error::from(error);
    Fault {
        class: Class::Transient,
        reason: "UploadsNotRead",
        message: format!("the releases that arrive in {} can't be looked at: {source}", path.display()),
    }
}
