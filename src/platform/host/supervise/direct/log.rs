//! What instances printed: one file each, kept small.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A log that is larger is moved to `.1`, which replaces the one before.
const LIMIT: u64 = 10 << 20;
const BLOCK: u64 = 16 << 10;

/// Moves a log that has grown too large out of the way, before it is opened anew.
pub(crate) fn rotate(log: &Path) -> io::Result<()> {
    if is_large(log)? {
        fs::rename(log, older(log))?;
    }
    Ok(())
}

/// Does the same for a log that an app has open: it is copied and emptied, since the app keeps its file. What is printed between the two is
/// lost.
pub(crate) fn rotate_open(log: &Path) -> io::Result<()> {
    if is_large(log)? {
        fs::copy(log, older(log))?;
        File::options().write(true).open(log)?.set_len(0)?;
    }
    Ok(())
}

/// The last lines, newest last, from the older file too where the newer one has too few.
pub(crate) fn tail(log: &Path, lines: usize) -> io::Result<Vec<String>> {
    let mut found = tail_of(log, lines)?;
    if found.len() < lines {
        let mut all = tail_of(&older(log), lines - found.len())?;
        all.append(&mut found);
        found = all;
    }
    Ok(found)
}

fn tail_of(log: &Path, lines: usize) -> io::Result<Vec<String>> {
    let mut file = match File::open(log) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut start = file.metadata()?.len();
    let mut text = Vec::new();
    // One newline more than lines: the last one ends the last line.
    while start > 0 && text.iter().filter(|&&byte| byte == b'\n').count() <= lines {
        let end = start;
        start = start.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        let mut block = Vec::new();
        (&mut file).take(end - start).read_to_end(&mut block)?;
        block.append(&mut text);
        text = block;
    }
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    Ok(all.iter().skip(all.len().saturating_sub(lines)).map(|&line| line.to_owned()).collect())
}

/// Whether it is time.
pub(crate) fn is_large(log: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(log) {
        Ok(meta) => Ok(meta.len() > LIMIT),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn older(log: &Path) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_tail_is_the_last_lines_across_blocks_and_files() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = dir.path().join("blue.0.log");
        assert!(tail(&log, 3).expect("no log yet").is_empty());
        let line = |n: u32| format!("{n} {}", "x".repeat(1000));
        let write = |path: &Path, range: std::ops::Range<u32>| {
            let mut file = File::create(path).expect("a log");
            for n in range {
                writeln!(file, "{}", line(n)).expect("a line");
            }
        };
        write(&older(&log), 0..40);
        write(&log, 40..90);
        let last = tail(&log, 60).expect("a tail");
        assert_eq!(last, (30..90).map(line).collect::<Vec<_>>());
        assert_eq!(tail(&log, 1).expect("a tail"), [line(89)]);
        assert_eq!(tail(&log, 1000).expect("a tail").len(), 90);
    }

    #[test]
    fn a_large_log_is_moved_aside_once_and_a_small_one_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = dir.path().join("blue.0.log");
        fs::write(&log, "small\n").expect("a log");
        rotate(&log).expect("nothing to do");
        assert_eq!(tail(&log, 5).expect("a tail"), ["small"]);
        let mut open = File::options().append(true).open(&log).expect("the app's file");
        File::options().write(true).open(&log).expect("a log").set_len(LIMIT + 1).expect("a large log");
        rotate_open(&log).expect("room");
        assert_eq!(fs::metadata(&log).expect("a log").len(), 0);
        writeln!(open, "after").expect("the app goes on");
        assert_eq!(fs::read_to_string(&log).expect("a log"), "after\n");
        assert_eq!(fs::metadata(older(&log)).expect("the old log").len(), LIMIT + 1);
    }
}
