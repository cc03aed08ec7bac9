//! What somebody may name of a repository, as narrow types: nothing of it can be read as an option, as another transport, as a path of this
//! machine, or as words of a shell.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

use crate::api::types::{Invalid, RelPath};

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTPS, with a token or without.
    Https,
    /// ssh, with a key.
    Ssh,
}

impl Transport {
    /// As Git calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Transport::Https => "https",
            Transport::Ssh => "ssh",
        }
    }
}

/// Where a repository is: `https://HOST/PATH`, `ssh://[USER@]HOST/PATH` or `[USER@]HOST:PATH`. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitUrl {
    text: String,
    transport: Transport,
    user: Option<String>,
}

impl GitUrl {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How its server is spoken to.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Whom it names, if it does.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }
}

impl fmt::Display for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for GitUrl {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<GitUrl, Invalid> {
        let wrong = |why: &str| {
            // What stands before an @ may be a password that somebody pasted.
            let shown = text.rsplit_once('@').map_or_else(|| text.to_owned(), |(_, rest)| format!("…@{rest}"));
            Invalid(format!(
                "{shown:?} is no address of a repository: {why}; write https://HOST/PATH, ssh://USER@HOST/PATH or USER@HOST:PATH"
            ))
        };
        if text.len() > 1024 {
            return Err(wrong("it is longer than 1024 characters"));
        }
        let (transport, authority, path) = if let Some(rest) = text.strip_prefix("https://") {
            let (authority, path) = rest.split_once('/').ok_or_else(|| wrong("it names no repository"))?;
            (Transport::Https, authority, path)
        } else if let Some(rest) = text.strip_prefix("ssh://") {
            let (authority, path) = rest.split_once('/').ok_or_else(|| wrong("it names no repository"))?;
            (Transport::Ssh, authority, path)
        } else if text.contains("://") || text.contains("::") {
            return Err(wrong("only https and ssh are spoken"));
        } else {
            let (authority, path) = text
                .split_once(':')
                .ok_or_else(|| wrong("it names no server; folders of this machine are not taken"))?;
            if authority.contains('/') || authority.is_empty() {
                return Err(wrong("it names no server; folders of this machine are not taken"));
            }
            (Transport::Ssh, authority, path.strip_prefix('/').unwrap_or(path))
        };
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => {
                return Err(wrong("it holds a password; put a token into a file and name that (tokenFile)"));
            }
            Some((user, place)) if is_word(user) => (Some(user.to_owned()), place),
            Some(_) => return Err(wrong("its user is no name")),
            None => (None, authority),
        };
        if !is_place(place) {
            return Err(wrong("its host is no name or address"));
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        let fine = |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(is_plain);
        if !path.split('/').all(fine) || path.starts_with('-') {
            return Err(wrong(
                "its path holds something else than letters, digits, '-', '_', '.', '~' and '+', or climbs",
            ));
        }
        Ok(GitUrl { text: text.to_owned(), transport, user })
    }
}

/// A branch or a tag: `main`, `refs/heads/main`, `refs/tags/v1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitRef(String);

impl Default for GitRef {
    fn default() -> GitRef {
        GitRef("refs/heads/main".to_owned())
    }
}

impl GitRef {
    /// Whole, as in `refs/heads/main`.
    #[must_use]
    pub fn whole(&self) -> &str {
        &self.0
    }
}

/// As people call it.
impl fmt::Display for GitRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.strip_prefix("refs/heads/").unwrap_or(&self.0))
    }
}

impl FromStr for GitRef {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<GitRef, Invalid> {
        let wrong = || {
            Err(Invalid(format!(
                "{text:?} is no branch or tag: write a branch (main, release/1) or a whole name (refs/heads/main, refs/tags/v1), of letters, digits, \
                 '-', '_', '.', '+' and '/'"
            )))
        };
        let fine = |part: &str| {
            !part.is_empty()
                && !part.starts_with(['.', '-'])
                && !part.ends_with('.')
                && !part.ends_with(".lock")
                && !part.contains("..")
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+'))
        };
        if text.len() > 200 || !text.split('/').all(fine) {
            return wrong();
        }
        match text.strip_prefix("refs/") {
            None => Ok(GitRef(format!("refs/heads/{text}"))),
            Some(rest) if rest.starts_with("heads/") || rest.starts_with("tags/") => Ok(GitRef(text.to_owned())),
            Some(_) => wrong(),
        }
    }
}

/// The folder of a repository that holds the manifests; by default all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitPath(Option<RelPath>);

impl GitPath {
    /// The folder in this commit, as Git names a tree.
    #[must_use]
    pub fn tree_of(&self, commit: &str) -> String {
        match &self.0 {
            None => format!("{commit}^{{tree}}"),
            Some(path) => format!("{commit}:{path}"),
        }
    }

    /// A file in it, as people name it.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        match &self.0 {
            None => name.to_owned(),
            Some(path) => format!("{path}/{name}"),
        }
    }
}

impl fmt::Display for GitPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_ref().map_or(".", RelPath::as_str))
    }
}

impl FromStr for GitPath {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<GitPath, Invalid> {
        let text = text.strip_prefix("./").unwrap_or(text);
        let text = text.strip_suffix('/').unwrap_or(text);
        if matches!(text, "" | ".") {
            return Ok(GitPath(None));
        }
        text.parse().map(|path| GitPath(Some(path))).map_err(|_| {
            Invalid(format!(
                "{text:?} is no folder of a repository: a path from its top, of letters, digits, '-', '_', '.', '~', '+', '@', ',' and '=', \
                 without '.' or '..' as a part"
            ))
        })
    }
}

macro_rules! read_as_text {
    ($($name:ident)*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}
read_as_text!(GitUrl GitRef GitPath);

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'+')
}

fn is_word(text: &str) -> bool {
    !text.starts_with(['-', '.'])
        && (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A host, perhaps with a port: a name, an address, or an address in brackets.
fn is_place(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            ("x", if rest.is_empty() { Some("1") } else { rest.strip_prefix(':') })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("1")),
        },
    };
    let label = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let port = port
        .is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0));
    port && host.len() <= 253 && host.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_servers_are_taken() {
        for (text, transport, user) in [
            ("https://git.example.com/shop/sites.git", Transport::Https, None),
            ("https://deploy@git.example.com:8443/shop/sites", Transport::Https, Some("deploy")),
            ("https://127.0.0.1:4433/sites.git/", Transport::Https, None),
            ("https://[::1]:4433/sites.git", Transport::Https, None),
            ("ssh://git@git.example.com:2222/~shop/sites.git", Transport::Ssh, Some("git")),
            ("git@github.com:shop/sites.git", Transport::Ssh, Some("git")),
            ("git@host:/srv/sites.git", Transport::Ssh, Some("git")),
        ] {
            let url: GitUrl = text.parse().expect(text);
            assert_eq!((url.as_str(), url.transport(), url.user()), (text, transport, user));
        }
    }

    #[test]
    fn whatever_could_run_something_read_this_machine_or_climb_is_no_address() {
        for text in [
            "",
            "--upload-pack=touch /tmp/x",
            "-oProxyCommand=x:y",
            "ext::sh -c touch% /tmp/x",
            "ext::sh",
            "fd::17",
            "file:///etc",
            "file://host/etc",
            "/etc",
            "../sites",
            "./a:b",
            "http://git.example.com/x",
            "git://git.example.com/x",
            "https://git.example.com",
            "https://git.example.com/",
            "https://git.example.com/a/../b",
            "https://git.example.com/a//b",
            "https://git.example.com/a b",
            "https://git.example.com/$(touch x)",
            "https://git.example.com/a;b",
            "https://git.example.com:0/x",
            "https://git.example.com:99999/x",
            "https://-oProxyCommand=x/y",
            "https://user:password@git.example.com/x",
            "ssh://-oProxyCommand=x/y",
            "ssh://git@-oProxyCommand=x/y",
            "ssh://-x@host/y",
            "git@host:-x",
            "git@host:a\nb",
            "host\n:x",
        ] {
            assert!(text.parse::<GitUrl>().is_err(), "{text:?}");
        }
        let refusal = "https://user:secret@host/x".parse::<GitUrl>().expect_err("refused").to_string();
        assert!(!refusal.contains("secret") && refusal.contains("tokenFile"), "{refusal}");
    }

    #[test]
    fn branches_and_tags_are_taken_and_nothing_else_is() {
        for (text, whole) in [
            ("main", "refs/heads/main"),
            ("release/1.2", "refs/heads/release/1.2"),
            ("refs/heads/main", "refs/heads/main"),
            ("refs/tags/v1", "refs/tags/v1"),
        ] {
            assert_eq!(text.parse::<GitRef>().expect(text).whole(), whole);
        }
        assert_eq!(GitRef::default().to_string(), "main");
        for text in [
            "",
            "-x",
            "--upload-pack=x",
            "a..b",
            "a/../b",
            "a//b",
            "/a",
            "a/",
            ".a",
            "a.lock",
            "a b",
            "a:b",
            "a^{}",
            "a@{1}",
            "a~1",
            "a*",
            "refs/x",
            "refs/../x",
            "a\n",
        ] {
            assert!(text.parse::<GitRef>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_folder_is_below_the_top() {
        for text in ["", ".", "./", "/"] {
            let path: GitPath = text.parse().expect(text);
            assert_eq!(path.tree_of("c"), "c^{tree}", "{text:?}");
            assert_eq!(path.file("x.yaml"), "x.yaml");
        }
        let path: GitPath = "sites/prod/".parse().expect("a folder");
        assert_eq!((path.tree_of("c"), path.file("x.yaml")), ("c:sites/prod".into(), "sites/prod/x.yaml".into()));
        for text in ["../x", "a/../b", "/etc", "a//b", "a b", "a\nb", "a:b", "*"] {
            assert!(text.parse::<GitPath>().is_err(), "{text:?}");
        }
    }
}
