//! Reads what Git prints of a folder and of files. Pure.

use super::error::GitError;

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Its content's name.
    pub object: String,
    /// Its name.
    pub name: String,
}

/// What a name in a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A symbolic link.
    Link,
    /// A folder.
    Folder,
    /// A commit of another repository.
    Submodule,
}

/// So many names a folder may hold.
const NAMES: usize = 20_000;

/// Reads `ls-tree -z`.
pub fn entries(text: &[u8]) -> Result<Vec<Entry>, GitError> {
    let wrong = |line: &str| GitError::Nonsense { what: "listing the folder", said: line.chars().take(80).collect() };
    let mut all = Vec::new();
    for line in text.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        // A name that is no text is none of ours.
        let line = String::from_utf8_lossy(line);
        let (head, name) = line.split_once('\t').ok_or_else(|| wrong(&line))?;
        let fields: Vec<&str> = head.split(' ').collect();
        let [mode, _, object] = fields[..] else { return Err(wrong(&line)) };
        let kind = match mode {
            "120000" => Kind::Link,
            "160000" => Kind::Submodule,
            "040000" => Kind::Folder,
            _ if mode.starts_with("100") => Kind::File,
            _ => return Err(wrong(&line)),
        };
        all.push(Entry { kind, object: object.to_owned(), name: name.to_owned() });
        if all.len() > NAMES {
            return Err(wrong("more than 20000 names"));
        }
    }
    Ok(all)
}

/// Reads `cat-file --batch-check` of these files: their sizes, in bytes.
pub fn sizes(text: &[u8], objects: &[String]) -> Result<Vec<u64>, GitError> {
    let text = String::from_utf8_lossy(text);
    let mut lines = text.lines();
    objects.iter().map(|object| head(lines.next().unwrap_or_default(), object)).collect()
}

/// Reads `cat-file --batch` of these files.
pub fn contents(mut text: &[u8], objects: &[String]) -> Result<Vec<Vec<u8>>, GitError> {
    let mut all = Vec::new();
    for object in objects {
        let end = text.iter().position(|byte| *byte == b'\n').ok_or_else(|| wrong("it ended too early"))?;
        let size = head(&String::from_utf8_lossy(&text[..end]), object)?;
        let rest = &text[end + 1..];
        let size = usize::try_from(size).ok().filter(|size| rest.len() > *size).ok_or_else(|| wrong("it was cut"))?;
        all.push(rest[..size].to_vec());
        text = &rest[size + 1..];
    }
    Ok(all)
}

/// `OBJECT blob SIZE`.
fn head(line: &str, object: &str) -> Result<u64, GitError> {
    let fields: Vec<&str> = line.split(' ').collect();
    match fields[..] {
        [of, "blob", size] if of == object => size.parse().map_err(|_| wrong(line)),
        _ => Err(wrong(line)),
    }
}

fn wrong(said: &str) -> GitError {
    GitError::Nonsense { what: "reading the manifests", said: said.chars().take(80).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_kind_are_told_apart() {
        let text = b"100644 blob aa\tshop.yaml\x00100755 blob bb\tx\ty\x00120000 blob cc\tblog.yaml\x00160000 commit dd\tsub\x00040000 tree ee\tmore\x00";
        let all = entries(text).expect("read");
        let kinds: Vec<Kind> = all.iter().map(|entry| entry.kind).collect();
        assert_eq!(kinds, [Kind::File, Kind::File, Kind::Link, Kind::Submodule, Kind::Folder]);
        assert_eq!(all[1].name, "x\ty");
        assert!(entries(b"100644 blob\0").is_err() && entries(b"7 blob aa\tx\0").is_err());
        assert_eq!(entries(b"").expect("read"), []);
    }

    #[test]
    fn files_are_cut_where_their_size_says_and_nonsense_is_an_error() {
        let objects = ["aa".to_owned(), "bb".to_owned()];
        let text = b"aa blob 4\na\nb\n\nbb blob 0\n\n";
        assert_eq!(contents(text, &objects).expect("read"), [b"a\nb\n".to_vec(), Vec::new()]);
        assert_eq!(sizes(b"aa blob 4\nbb blob 0\n", &objects).expect("read"), [4, 0]);
        assert!(sizes(b"aa blob 4\n", &objects).is_err() && sizes(b"aa blob 4\nbb tree 1\n", &objects).is_err());
        for bad in ["", "aa blob 4\na", "aa missing\n", "xx blob 0\n\n", "aa tree 0\n\n", "aa blob x\n\n"] {
            assert!(contents(bad.as_bytes(), &objects[..1]).is_err(), "{bad:?}");
        }
    }
}
