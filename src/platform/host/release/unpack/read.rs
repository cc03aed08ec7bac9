//! Reads tar and zip archives and hands each entry to `place`. A whole archive is read to its very end, so that one that is cut off
//! anywhere is seen to be.

use std::fs::File;
use std::io::{self, BufReader, Read};

use flate2::read::MultiGzDecoder;
use tar::EntryType;
use zip::ZipArchive;
use zip::result::ZipError;

use super::place::{Described, Place, refused};
use super::{UnpackError, layer, words};
use crate::platform::host::release::entry::{Danger, Special, show};
use crate::platform::host::release::source::Kind;

/// Unpacks an archive.
pub(super) fn archive(kind: &Kind, file: File, place: &mut Place) -> Result<(), UnpackError> {
    match kind {
        Kind::TarGz => tar_gz(file, place)?,
        Kind::Zip => zip(file, place)?,
        Kind::Layer { gzip, inside } => return layer::lay(file, *gzip, inside.as_ref(), place),
        Kind::File(name) => {
            let plain = Described { executable: false, changed: None };
            place.file(name.as_bytes(), &mut BufReader::with_capacity(128 << 10, file), &plain)?;
        }
        Kind::Folder | Kind::Oci(_) => {
            return Err(UnpackError::Failed { what: "what it was given is no archive".to_owned() });
        }
    }
    if place.tally().entries == 0 {
        return Err(UnpackError::Damaged { at: "at its start".to_owned(), why: "nothing is in it".to_owned() });
    }
    Ok(())
}

fn tar_gz(file: File, place: &mut Place) -> Result<(), UnpackError> {
    let mut last = "at its start".to_owned();
    let mut archive = tar::Archive::new(MultiGzDecoder::new(BufReader::with_capacity(128 << 10, file)));
    let damaged = |at: &str, error: &io::Error| match error.kind() {
        // A name or an attribute that is larger than what an unpacker may hold.
        io::ErrorKind::OutOfMemory => UnpackError::Stopped { how: words(error) },
        _ => UnpackError::Damaged { at: at.to_owned(), why: words(error) },
    };
    for entry in archive.entries().map_err(|error| damaged(&last, &error))? {
        let mut entry = entry.map_err(|error| damaged(&last, &error))?;
        let name = entry.path_bytes().into_owned();
        tar_entry(&mut entry, &name, place)?;
        last = format!("after {:?}", show(&name));
    }
    // What follows the last entry is padding; the checksum of the whole stands behind it. Bounded by what gzip can make of the archive's
    // own size, and by the processor time that we have.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(|error| damaged(&last, &error))?;
    Ok(())
}

pub(super) fn tar_entry(
    entry: &mut tar::Entry<'_, impl Read>,
    name: &[u8],
    place: &mut Place,
) -> Result<(), UnpackError> {
    let kind = entry.header().entry_type();
    let mode = entry.header().mode().unwrap_or(0);
    let target = entry.link_name_bytes().map(|target| target.into_owned()).unwrap_or_default();
    match kind {
        EntryType::XGlobalHeader => Ok(()),
        EntryType::Directory => place.folder(name),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse if mode & 0o6000 != 0 => {
            Err(refused(name, Danger::SetId))
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let described = Described {
                executable: mode & 0o111 != 0,
                changed: entry.header().mtime().ok().and_then(|time| i64::try_from(time).ok()),
            };
            place.file(name, entry, &described)
        }
        EntryType::Symlink => place.link(name, &target),
        EntryType::Link => place.hard_link(name, &target),
        EntryType::Char | EntryType::Block => Err(refused(name, Danger::Special(Special::Device))),
        EntryType::Fifo => Err(refused(name, Danger::Special(Special::Fifo))),
        _ => Err(refused(name, Danger::Special(Special::Other))),
    }
}

fn zip(file: File, place: &mut Place) -> Result<(), UnpackError> {
    let mut last = "at its start".to_owned();
    let damaged = |at: &str, error: &ZipError| UnpackError::Damaged { at: at.to_owned(), why: words(error) };
    let mut archive =
        ZipArchive::new(BufReader::with_capacity(128 << 10, file)).map_err(|error| damaged(&last, &error))?;
    if archive.has_duplicate_names() {
        return Err(refused(b"a name", Danger::Twice));
    }
    for index in 0..archive.len() {
        let data = archive.by_index_data(index).map_err(|error| damaged(&last, &error))?;
        let name = data.name_raw().to_vec();
        if data.encrypted() {
            return Err(refused(&name, Danger::Encrypted));
        }
        let mut entry = archive.by_index(index).map_err(|error| damaged(&last, &error))?;
        zip_entry(&mut entry, &name, place)?;
        last = format!("after {:?}", show(&name));
    }
    Ok(())
}

fn zip_entry(entry: &mut zip::read::ZipFile<'_, impl Read>, name: &[u8], place: &mut Place) -> Result<(), UnpackError> {
    const KIND: u32 = 0o170_000;
    const SET_ID: u32 = 0o6000;
    // The library takes the setuid and setgid bits away in silence. An archive that asks for them is refused instead.
    let mode = entry.unix_mode().unwrap_or(0) | (entry.external_attributes() >> 16 & SET_ID);
    let folder = name.ends_with(b"/");
    match mode & KIND {
        0o040_000 => place.folder(name),
        0o120_000 => {
            // A target is a path; what is longer than any path is cut, and then leads nowhere good.
            let mut target = Vec::new();
            let read = entry.take(4097).read_to_end(&mut target);
            read.map_err(|error| UnpackError::Damaged { at: format!("in {:?}", show(name)), why: words(&error) })?;
            place.link(name, &target)
        }
        0 | 0o100_000 if folder => place.folder(name),
        0 | 0o100_000 if mode & SET_ID != 0 => Err(refused(name, Danger::SetId)),
        0 | 0o100_000 => {
            let described =
                Described { executable: mode & 0o111 != 0, changed: entry.last_modified().and_then(seconds) };
            place.file(name, entry, &described)
        }
        0o020_000 | 0o060_000 => Err(refused(name, Danger::Special(Special::Device))),
        0o010_000 => Err(refused(name, Danger::Special(Special::Fifo))),
        0o140_000 => Err(refused(name, Danger::Special(Special::Socket))),
        _ => Err(refused(name, Danger::Special(Special::Other))),
    }
}

/// A zip archive's times have no zone: taken as UTC, so that the same archive gives the same times everywhere.
fn seconds(time: zip::DateTime) -> Option<i64> {
    let part = |number: u8| i8::try_from(number).ok();
    let civil = jiff::civil::DateTime::new(
        i16::try_from(time.year()).ok()?,
        part(time.month())?,
        part(time.day())?,
        part(time.hour())?,
        part(time.minute())?,
        part(time.second())?,
        0,
    );
    let zoned = civil.ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_second())
}
