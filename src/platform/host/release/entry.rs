//! What the entries of an artifact may be called and where its links may lead. Pure: judged before anything is touched, by the unpacker
//! and again by the take, and the kernel is asked to hold the same line (`openat2`, beneath, without links).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::limits::{Excess, Limits, Measure, bound};

/// A path inside an artifact: one name or more, none of them empty, `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryPath(Vec<Vec<u8>>);

/// What makes an entry unfit for a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Danger {
    /// A path that starts at the root of the machine.
    Absolute,
    /// A path with `..` in it.
    Climbs,
    /// A name that no file can have, or that would mean a folder elsewhere.
    BadName,
    /// A link that leads out of the release, or could.
    LinkClimbs {
        /// Where it leads.
        target: String,
    },
    /// A path that goes through a link.
    ThroughLink,
    /// A path that goes through a file.
    ThroughFile,
    /// A hard link to something that the archive didn't bring before.
    HardLink {
        /// To what.
        target: String,
    },
    /// Neither file nor folder nor link.
    Special(Special),
    /// A file that runs as its owner or its group, whoever starts it.
    SetId,
    /// An entry that was there before.
    Twice,
    /// An entry that needs a password.
    Encrypted,
    /// A file that lies elsewhere too and that the site's user may not read: a way to make root hand it out.
    Foreign {
        /// Who owns it.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
}

/// Kinds of file that have no place in a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Special {
    /// A device.
    Device,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// Something else.
    Other,
}

/// Why an entry was refused by its name or its link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// For what it is.
    Danger(Danger),
    /// For its size.
    Excess(Excess),
}

impl From<Excess> for Judged {
    fn from(excess: Excess) -> Judged {
        Judged::Excess(excess)
    }
}

impl EntryPath {
    /// Reads the name of an entry as it stands in an archive. `None` is the artifact's own root (`.`, `./`).
    ///
    /// # Errors
    /// A path that is absolute, climbs, holds a NUL or a backslash, or is longer or deeper than `limits` allow.
    pub fn parse(raw: &[u8], limits: &Limits) -> Result<Option<EntryPath>, Judged> {
        if raw.first() == Some(&b'/') {
            return Err(Judged::Danger(Danger::Absolute));
        }
        // A backslash is how a packer on Windows separates folders: taken as a name it would make a file that nobody meant.
        if raw.is_empty() || raw.iter().any(|b| matches!(b, 0 | b'\\')) {
            return Err(Judged::Danger(Danger::BadName));
        }
        bound(Measure::Path, length(raw), limits.path)?;
        let mut names = Vec::new();
        for name in raw.split(|b| *b == b'/') {
            match name {
                b"" | b"." => {}
                b".." => return Err(Judged::Danger(Danger::Climbs)),
                name => {
                    bound(Measure::Name, length(name), limits.name)?;
                    names.push(name.to_vec());
                }
            }
        }
        bound(Measure::Depth, u64::try_from(names.len()).unwrap_or(u64::MAX).saturating_sub(1), limits.depth)?;
        Ok((!names.is_empty()).then_some(EntryPath(names)))
    }

    /// The folders that it lies in, outermost first, and its own name.
    #[must_use]
    pub fn split(&self) -> (&[Vec<u8>], &[u8]) {
        match self.0.split_last() {
            Some((name, folders)) => (folders, name),
            None => (&[], &[]),
        }
    }

    /// Whether a symbolic link at this path may lead to `target`.
    ///
    /// # Errors
    /// See [`link`].
    pub fn link(&self, target: &[u8]) -> Result<(), Danger> {
        link(self.0.len() - 1, target)
    }
}

/// Whether a symbolic link that lies `depth` folders below the root of a release may lead to `target`.
///
/// The rule is stricter than "the target lies inside": `..` may stand only at the start, and only as often as there are folders above. After
/// a name, `..` would start from wherever that name leads, were it a link itself, so two links that are each fine could climb
/// out together. With the rule none can, whatever the others are.
///
/// # Errors
/// [`Danger::LinkClimbs`].
pub fn link(depth: usize, target: &[u8]) -> Result<(), Danger> {
    let climbs = || Danger::LinkClimbs { target: show(target) };
    if target.is_empty() || target.first() == Some(&b'/') || target.contains(&0) {
        return Err(climbs());
    }
    let mut up = 0;
    let mut down = false;
    for part in target.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if down => return Err(climbs()),
            b".." => up += 1,
            _ => down = true,
        }
    }
    if up > depth { Err(climbs()) } else { Ok(()) }
}

/// A name of somebody else's choosing, fit for a message: no control characters, not endless.
#[must_use]
pub fn show(raw: &[u8]) -> String {
    const MOST: usize = 200;
    let text = String::from_utf8_lossy(raw);
    let mut shown: String = text.chars().take(MOST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

fn length(raw: &[u8]) -> u64 {
    u64::try_from(raw.len()).unwrap_or(u64::MAX)
}

impl fmt::Display for Danger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Danger::Absolute => f.write_str("is an absolute path; pack it with paths relative to the release's folder"),
            Danger::Climbs => f.write_str("climbs out of the release with '..'"),
            Danger::BadName => f.write_str("is no name for a file here (empty, or with a NUL or a backslash in it)"),
            Danger::LinkClimbs { target } => write!(
                f,
                "is a link to {target:?}, which is not surely inside the release; links must be relative, with '..' only in front"
            ),
            Danger::ThroughLink => f.write_str("lies behind a link; a path in a release goes through folders only"),
            Danger::ThroughFile => f.write_str("lies below something that is no folder"),
            Danger::HardLink { target } => {
                write!(f, "is a hard link to {target:?}, which the archive didn't bring before it as a file")
            }
            Danger::Special(special) => write!(f, "is a {special}; a release holds files, folders and links"),
            Danger::SetId => f.write_str("has a setuid or setgid bit; take it away with `chmod ug-s`"),
            Danger::Twice => f.write_str("is there twice; pack the archive anew"),
            Danger::Encrypted => f.write_str("is encrypted; pack it without a password"),
            Danger::Foreign { owner, mode } => write!(
                f,
                "is a hard link to a file of the user with number {owner}, mode {mode:04o}, which the site's user may not read; copy it, \
                 or make it readable"
            ),
        }
    }
}

impl fmt::Display for Special {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Special::Device => "device",
            Special::Fifo => "named pipe",
            Special::Socket => "socket",
            Special::Other => "file of an unknown kind",
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {

    use proptest::prelude::*;

    use super::*;

    fn parse(raw: &str) -> Result<Option<EntryPath>, Judged> {
        EntryPath::parse(raw.as_bytes(), &Limits::default())
    }

    #[test]
    fn ordinary_names_are_taken_and_the_root_is_no_entry() {
        assert_eq!(parse("./a//b/").unwrap(), parse("a/b").unwrap());
        assert_eq!(parse("./").unwrap(), None);
        let path = parse("a/b/c").unwrap().unwrap();
        assert_eq!(path.split().1, b"c");
        assert_eq!(path.split().0.len(), 2);
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for bad in ["/etc/passwd", "..", "a/../b", "../a", "a/..", "", "a\0b", "a\\..\\b"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        assert!(parse(&"a".repeat(256)).is_err());
        assert!(parse(&"a/".repeat(50)).is_err());
    }

    #[test]
    fn links_lead_inside_or_nowhere() {
        for (depth, good) in [(0, "b"), (1, "../b"), (2, "../../b/c"), (0, "./b"), (0, "a/b"), (1, "..")] {
            assert!(link(depth, good.as_bytes()).is_ok(), "{depth} {good}");
        }
        for (depth, bad) in [(0, "../b"), (1, "../../b"), (0, "/etc"), (0, ""), (3, "a/../b"), (1, "./../../b")] {
            assert!(link(depth, bad.as_bytes()).is_err(), "{depth} {bad}");
        }
    }

    proptest! {
        #[test]
        fn no_name_that_is_taken_has_a_part_that_climbs(raw in "[a./\\\\\u{0}-]{0,40}") {
            if let Ok(Some(path)) = parse(&raw) {
                let (folders, name) = path.split();
                for part in folders.iter().map(Vec::as_slice).chain([name]) {
                    prop_assert!(!part.is_empty() && part != b"." && part != b".." && !part.contains(&b'/'));
                }
            }
        }

        /// The kernel's way through links, in small: a set of links that were all taken never leads above the root.
        #[test]
        fn no_set_of_links_that_are_taken_climbs_out_together(
            links in prop::collection::btree_map("(a|b|c|d/a|d/b|d/e/a|d/e/b)", "(\\.\\./|a/|b/|c/|d/|e/|\\.\\.|a|b|d){1,4}", 1..6),
            start in "(a|b|c|d/a|d/b|d/e/a|d/e/b)",
        ) {
            let links: std::collections::BTreeMap<_, _> = links
                .into_iter()
                .filter(|(at, to)| link(at.matches('/').count(), to.as_bytes()).is_ok())
                .collect();
            let mut todo: Vec<String> = start.rsplit('/').map(str::to_owned).collect();
            let mut at: Vec<String> = Vec::new();
            for _ in 0..200 {
                let Some(part) = todo.pop() else { break };
                if part == ".." {
                    prop_assert!(at.pop().is_some(), "{start} climbs with {links:?}");
                } else if !part.is_empty() {
                    at.push(part);
                    if let Some(to) = links.get(&at.join("/")) {
                        at.pop();
                        todo.extend(to.rsplit('/').map(str::to_owned));
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_shown_holds_no_control_characters() {
        assert_eq!(show(b"a\x1b[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
        assert!(show(&[b'x'; 500]).len() < 210);
    }
}
