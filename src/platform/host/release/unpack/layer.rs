//! Lays one layer of an image over those before it.
//!
//! A layer is read twice: first for what it takes away of the layers before it (whiteouts, and whatever it has something else in place of), then for
//! what it brings. So the order of its entries doesn't matter, and what it brings itself it never takes away.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};

use flate2::read::MultiGzDecoder;
use rustix::fs::FileType;
use tar::EntryType;

use super::place::{Place, refused};
use super::read::tar_entry;
use super::{UnpackError, words};
use crate::api::types::RelPath;
use crate::platform::host::release::entry::{Danger, show};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Lays a layer over what is there.
pub(super) fn lay(mut file: File, gzip: bool, inside: Option<&RelPath>, place: &mut Place) -> Result<(), UnpackError> {
    let inside: Vec<&[u8]> =
        inside.map_or_else(Vec::new, |path| path.as_str().as_bytes().split(|b| *b == b'/').collect());
    each(&mut file, gzip, |entry, raw| take_away(entry.header().entry_type(), raw, &inside, place))?;
    each(&mut file, gzip, |entry, raw| bring(entry, raw, &inside, place))
}

type Entry<'a> = tar::Entry<'a, Box<dyn Read>>;

fn each(
    file: &mut File,
    gzip: bool,
    mut with: impl FnMut(&mut Entry<'_>, &[u8]) -> Result<(), UnpackError>,
) -> Result<(), UnpackError> {
    let mut last = "at its start".to_owned();
    let damaged = |at: &str, error: &io::Error| match error.kind() {
        io::ErrorKind::OutOfMemory => UnpackError::Stopped { how: words(error) },
        _ => UnpackError::Damaged { at: at.to_owned(), why: words(error) },
    };
    file.rewind().map_err(|error| damaged(&last, &error))?;
    let again = file.try_clone().map_err(|error| damaged(&last, &error))?;
    let buffered = BufReader::with_capacity(128 << 10, again);
    let content: Box<dyn Read> = if gzip { Box::new(MultiGzDecoder::new(buffered)) } else { Box::new(buffered) };
    let mut archive = tar::Archive::new(content);
    for entry in archive.entries().map_err(|error| damaged(&last, &error))? {
        let mut entry = entry.map_err(|error| damaged(&last, &error))?;
        let name = entry.path_bytes().into_owned();
        with(&mut entry, &name)?;
        last = format!("after {:?}", show(&name));
    }
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(|error| damaged(&last, &error))?;
    Ok(())
}

/// Where an entry is, seen from the folder that is wanted.
enum Where {
    Elsewhere,
    /// The folder itself, or one that it lies in.
    Around,
    /// In it, by this path.
    Inside(Vec<u8>),
}

fn place_of(raw: &[u8], inside: &[&[u8]]) -> Where {
    // Absolute ones are refused wherever they are.
    if inside.is_empty() || raw.first() == Some(&b'/') {
        return Where::Inside(raw.to_vec());
    }
    let parts: Vec<&[u8]> = raw.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    if inside.starts_with(&parts) {
        Where::Around
    } else if parts.starts_with(inside) {
        Where::Inside(parts[inside.len()..].join(&b'/'))
    } else {
        Where::Elsewhere
    }
}

/// What this entry takes away of the layers before.
fn take_away(kind: EntryType, raw: &[u8], inside: &[&[u8]], place: &mut Place) -> Result<(), UnpackError> {
    if kind == EntryType::XGlobalHeader {
        return Ok(());
    }
    let (folder, name) = match raw.iter().rposition(|b| *b == b'/') {
        Some(at) => (&raw[..at], &raw[at + 1..]),
        None => (&b"."[..], raw),
    };
    if name == OPAQUE {
        return match place_of(folder, inside) {
            Where::Elsewhere => Ok(()),
            Where::Around => place.empty(b"."),
            Where::Inside(path) => place.empty(&path),
        };
    }
    if let Some(gone) = name.strip_prefix(WHITEOUT) {
        let path = [folder, b"/", gone].concat();
        return match place_of(&path, inside) {
            Where::Elsewhere => Ok(()),
            Where::Around => place.empty(b"."),
            Where::Inside(path) => place.remove(&path),
        };
    }
    match place_of(raw, inside) {
        Where::Elsewhere => Ok(()),
        Where::Around if kind == EntryType::Directory => Ok(()),
        Where::Around => place.empty(b"."),
        Where::Inside(path) => match place.is(&path)? {
            None => Ok(()),
            Some(FileType::Directory) if kind == EntryType::Directory => Ok(()),
            Some(_) => place.remove(&path),
        },
    }
}

fn bring(entry: &mut Entry<'_>, raw: &[u8], inside: &[&[u8]], place: &mut Place) -> Result<(), UnpackError> {
    let name = raw.rsplit(|b| *b == b'/').next().unwrap_or_default();
    if name.starts_with(WHITEOUT) {
        return Ok(());
    }
    match place_of(raw, inside) {
        Where::Elsewhere | Where::Around => Ok(()),
        Where::Inside(path) if entry.header().entry_type() == EntryType::Link => {
            let target = entry.link_name_bytes().map(|target| target.into_owned()).unwrap_or_default();
            match place_of(&target, inside) {
                Where::Inside(target) => place.hard_link(&path, &target),
                _ => Err(refused(raw, Danger::HardLink { target: show(&target) })),
            }
        }
        Where::Inside(path) => tar_entry(entry, &path, place),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::platform::host::release::{Limits, beneath};

    /// A layer: `path` is a folder if it ends with `/`, a symbolic link if its content begins with `->`.
    fn layer(entries: &[(&str, &str)]) -> File {
        let mut tar = tar::Builder::new(tempfile::tempfile().unwrap());
        for (path, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(if *content == "setuid" { 0o4755 } else { 0o644 });
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            if let Some(target) = content.strip_prefix("->") {
                header.set_entry_type(EntryType::Symlink);
                header.set_size(0);
                header.set_link_name_literal(target).unwrap();
            } else if path.ends_with('/') {
                header.set_entry_type(EntryType::Directory);
                header.set_size(0);
            } else {
                header.set_size(content.len() as u64);
            }
            header.set_cksum();
            let content = if header.entry_type() == EntryType::Regular { content } else { "" };
            tar.append(&header, content.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn all(layers: &[&[(&str, &str)]], inside: Option<&str>) -> Result<Vec<String>, UnpackError> {
        let dir = tempfile::tempdir().unwrap();
        let inside = inside.map(|path| path.parse().unwrap());
        for one in layers {
            let mut place = Place::new(beneath::own(dir.path()).unwrap(), Limits::default());
            lay(layer(one), false, inside.as_ref(), &mut place)?;
        }
        let mut found = Vec::new();
        list(dir.path(), dir.path(), &mut found);
        found.sort();
        Ok(found)
    }

    fn list(root: &Path, at: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if path.is_dir() && !path.is_symlink() {
                list(root, &path, found);
            } else if path.is_symlink() {
                found.push(format!("{name}->{}", std::fs::read_link(&path).unwrap().display()));
            } else {
                found.push(format!("{name}={}", std::fs::read_to_string(&path).unwrap()));
            }
        }
    }

    #[test]
    fn a_later_layer_replaces_and_takes_away() {
        let first: &[(&str, &str)] = &[
            ("app/", ""),
            ("app/a", "1"),
            ("app/b", "1"),
            ("app/d/", ""),
            ("app/d/x", "1"),
            ("app/e/x", "1"),
            ("f", "1"),
        ];
        let second: &[(&str, &str)] = &[
            ("app/a", "2"),
            ("app/.wh.b", ""),
            ("app/d/y", "2"),
            ("app/d/.wh..wh..opq", ""),
            ("app/e", "2"),
            (".wh.f", ""),
            ("f2", "->app/a"),
        ];
        assert_eq!(all(&[first, second], None).unwrap(), ["app/a=2", "app/d/y=2", "app/e=2", "f2->app/a"]);
        assert_eq!(all(&[first, second], Some("app")).unwrap(), ["a=2", "d/y=2", "e=2"]);
        assert_eq!(all(&[first, second], Some("app/d")).unwrap(), ["y=2"]);
        assert!(all(&[first, second], Some("srv")).unwrap().is_empty());
    }

    #[test]
    fn what_a_layer_takes_away_around_the_folder_takes_the_folder_away() {
        let first: &[(&str, &str)] = &[("srv/app/a", "1")];
        for second in
            [(".wh.srv", ""), ("srv/.wh.app", ""), ("srv/.wh..wh..opq", ""), ("srv", "->etc"), ("srv/app", "file")]
        {
            assert!(all(&[first, &[second]], Some("srv/app")).unwrap().is_empty(), "{second:?}");
        }
        let back: &[(&str, &str)] = &[("srv/.wh.app", ""), ("srv/app/b", "2")];
        assert_eq!(all(&[first, back], Some("srv/app")).unwrap(), ["b=2"]);
    }

    #[test]
    fn evil_entries_are_refused_where_they_would_land_and_left_out_elsewhere() {
        for evil in [
            ("/app/x", "1"),
            ("app/../../x", "1"),
            ("app/l", "->/etc/passwd"),
            ("app/l", "->../../x"),
            ("app/x", "setuid"),
            ("app/.wh...", ""),
            ("app/.wh.", ""),
        ] {
            let one: &[(&str, &str)] = &[("app/fine", "1"), evil];
            let found = all(&[one], Some("app"));
            assert!(found.is_err() || found.as_ref().is_ok_and(|found| found == &["fine=1"]), "{evil:?}: {found:?}");
        }
        assert!(all(&[&[("app/x", "setuid")]], Some("app")).is_err());
        assert!(all(&[&[("app/l", "->/etc/passwd")]], None).is_err());
        let elsewhere: &[(&str, &str)] = &[("usr/bin/su", "setuid"), ("etc/mtab", "->/proc/mounts"), ("app/a", "1")];
        assert_eq!(all(&[elsewhere], Some("app")).unwrap(), ["a=1"]);
        assert!(all(&[elsewhere], None).is_err());
    }

    #[test]
    fn a_layer_never_reaches_through_a_link_of_a_layer_before() {
        let first: &[(&str, &str)] = &[("d/keep", "1"), ("l", "->d")];
        assert!(all(&[first, &[("l/x", "2")]], None).is_err());
        assert_eq!(all(&[first, &[("l/.wh.keep", "")]], None).unwrap(), ["d/keep=1", "l->d"]);
    }
}
