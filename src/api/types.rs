//! The narrow types: what a user wrote reaches a shell, a configuration file or a path only as one of these.
//!
//! Each is made by parsing and holds nothing that could be read as syntax where it is used: no quote, semicolon, brace,
//! newline, control character, variable sign or dot-dot.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The text is not one of the narrow types. Says what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

macro_rules! narrow {
    ($(#[$doc:meta])* $name:ident, $pattern:literal, $check:expr, $right:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The same form as a regular expression, for a schema. Lengths stand beside it there.
            pub const PATTERN: &str = $pattern;

            /// The text, as it was parsed.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok($name(text.to_owned()))
                } else {
                    Err(Invalid(format!("{text:?} is not {}", $right)))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

narrow!(
    /// The name of a site: `metadata.name`. It becomes part of unit names, paths, object names and upstream groups.
    SiteName,
    r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
    |s| s.len() <= 49 && is_label(s),
    "a site's name: lower-case letters, digits and '-', a letter or digit at both ends, at most 49 characters"
);

narrow!(
    /// The name of a host on its hub. It becomes part of the name of a namespace.
    HostName,
    r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
    |s| s.len() <= 48 && is_label(s),
    "a host's name: lower-case letters, digits and '-', a letter or digit at both ends, at most 48 characters"
);

narrow!(
    /// A DNS label: the name of a Service.
    Label,
    r"^[a-z]([a-z0-9-]*[a-z0-9])?$",
    |s| s.len() <= 63 && is_label(s) && s.starts_with(|first: char| first.is_ascii_lowercase()),
    "a Service's name: lower-case letters, digits and '-', a letter at its beginning, a letter or digit at its end, at most 63 characters"
);

narrow!(
    /// The name of a port of a Service or of a container.
    PortName,
    r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
    |s| s.len() <= 15 && is_label(s) && !s.contains("--") && s.contains(|letter: char| letter.is_ascii_lowercase()),
    "a port's name: lower-case letters, digits and '-', at least one letter, at most 15 characters"
);

narrow!(
    /// A host name that a site answers to: a DNS name, lower case, optionally with `*.` as its first label.
    Hostname,
    r"^([*][.])?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?([.][a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$",
    |s| {
        let name = s.strip_prefix("*.").unwrap_or(s);
        name.len() <= 253 && name.split('.').all(is_label) && !name.ends_with('.')
    },
    "a host name: lower-case labels of letters, digits and '-', joined by dots, optionally '*.' in front"
);

narrow!(
    /// A path of a URL, without query: starts with `/`, and holds only characters that mean nothing to a web server's
    /// configuration.
    UrlPath,
    r"^/(([A-Za-z0-9_~+@,=-][A-Za-z0-9_.~+@,=-]*|[.][A-Za-z0-9_~+@,=-][A-Za-z0-9_.~+@,=-]*|[.][.][A-Za-z0-9_.~+@,=-]+)(/([A-Za-z0-9_~+@,=-][A-Za-z0-9_.~+@,=-]*|[.][A-Za-z0-9_~+@,=-][A-Za-z0-9_.~+@,=-]*|[.][.][A-Za-z0-9_.~+@,=-]+))*/?)?$",
    |s| s.starts_with('/') && s.len() <= 1024 && !climbs(s) && !s.contains("//") && s.bytes().all(is_plain_path_byte),
    "a URL path: it starts with '/' and holds letters, digits, '-', '_', '.', '~', '+', '@', ',' and '=', without '..' or '//'"
);

narrow!(
    /// A path inside a release or a site's folder: relative, without `.` or `..`.
    RelPath,
    r"^([A-Za-z0-9_~+@,=-][A-Za-z0-9_.~+@,=-]*|[.][A-Za-z0-9_~+@,=-][A-Za-z0-9_.~+@,=-]*|[.][.][A-Za-z0-9_.~+@,=-]+)(/([A-Za-z0-9_~+@,=-][A-Za-z0-9_.~+@,=-]*|[.][A-Za-z0-9_~+@,=-][A-Za-z0-9_.~+@,=-]*|[.][.][A-Za-z0-9_.~+@,=-]+))*$",
    |s| {
        !s.is_empty()
            && s.len() <= 1024
            && s.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
            && s.bytes().all(is_plain_path_byte)
    },
    "a path inside the release: relative, of letters, digits, '-', '_', '.', '~', '+', '@', ',' and '=', without '.' or '..' as a part"
);

narrow!(
    /// An absolute path on the host, without `.` or `..`.
    AbsPath,
    r"^(/([A-Za-z0-9_~+@,=-][A-Za-z0-9_.~+@,=-]*|[.][A-Za-z0-9_~+@,=-][A-Za-z0-9_.~+@,=-]*|[.][.][A-Za-z0-9_.~+@,=-]+))+$",
    |s| {
        s.len() <= 4096
            && s.strip_prefix('/').is_some_and(|rest| {
                rest.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
            })
            && s.bytes().all(is_plain_path_byte)
    },
    "an absolute path of letters, digits, '-', '_', '.', '~', '+', '@', ',' and '=', without '.' or '..' as a part"
);

narrow!(
    /// The name of a user account on the host.
    UserName,
    r"^[a-z_][a-z0-9_-]{0,31}$",
    |s| {
        s.len() <= 32
            && s.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    },
    "a user name: lower-case letters, digits, '-' and '_', a letter or '_' first, at most 32 characters"
);

narrow!(
    /// The active profiles of a Spring app, joined by commas. They become part of file names.
    Profiles,
    r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*(,[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$",
    |s| {
        s.len() <= 256
            && s.split(',').all(|one| {
                !one.is_empty()
                    && !one.starts_with('.')
                    && one.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
            })
    },
    "a profile, or several joined by commas: letters, digits, '-', '_' and '.', without blanks"
);

narrow!(
    /// The name of an environment variable.
    EnvName,
    r"^[A-Za-z_][A-Za-z0-9_]{0,127}$",
    |s| {
        s.len() <= 128
            && s.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    },
    "a variable's name: letters, digits and '_', not a digit first"
);

narrow!(
    /// What a Python server is to import: a module and an attribute of it, `shop.wsgi:application`.
    PythonApp,
    r"^[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z_][A-Za-z0-9_]*)*$",
    |s| s.len() <= 256 && s.split_once(':').is_some_and(|(module, name)| is_dotted(module) && is_dotted(name)),
    "an app as MODULE:ATTRIBUTE, as in shop.wsgi:application, of letters, digits and '_', with '.' between names"
);

impl PythonApp {
    /// The module that is imported.
    #[must_use]
    pub fn module(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }
}

narrow!(
    /// A SHA-256 checksum: 64 lower-case hexadecimal digits.
    Sha256,
    r"^[0-9a-f]{64}$",
    |s| s.len() == 64 && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
    "a SHA-256 checksum: 64 lower-case hexadecimal digits"
);

narrow!(
    /// What a `restart` asked for: another token makes another incarnation of the same release.
    Token,
    r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$",
    |s| {
        s.len() <= 64
            && s.starts_with(|c: char| c.is_ascii_alphanumeric())
            && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
    },
    "a token: letters, digits, '.', '_', ':' and '-', a letter or digit first, at most 64 characters"
);

narrow!(
    /// A value of the header `Cache-Control`, as a response carries it: directives that are known, joined by commas.
    CacheControl,
    r"^(public|private|no-cache|no-store|no-transform|must-revalidate|proxy-revalidate|must-understand|immutable|(max-age|s-maxage|stale-while-revalidate|stale-if-error)=[0-9]{1,10})(, ?(public|private|no-cache|no-store|no-transform|must-revalidate|proxy-revalidate|must-understand|immutable|(max-age|s-maxage|stale-while-revalidate|stale-if-error)=[0-9]{1,10}))*$",
    |s| {
        s.len() <= 256 && s.split(',').enumerate().all(|(n, part)| is_cache_directive(part.strip_prefix(' ').filter(|_| n > 0).unwrap_or(part)))
    },
    "a value of Cache-Control: public, private, no-cache, no-store, no-transform, must-revalidate, proxy-revalidate, must-understand, immutable, \
     and max-age, s-maxage, stale-while-revalidate, stale-if-error with '=SECONDS', joined by ', '"
);

impl CacheControl {
    /// Its directives, one by one.
    pub fn directives(&self) -> impl Iterator<Item = &str> {
        self.0.split(',').map(str::trim)
    }
}

impl UrlPath {
    /// The form of a path that ends with `/`.
    pub const FOLDER_PATTERN: &str = r"^/(([A-Za-z0-9_~+@,=-][A-Za-z0-9_.~+@,=-]*|[.][A-Za-z0-9_~+@,=-][A-Za-z0-9_.~+@,=-]*|[.][.][A-Za-z0-9_.~+@,=-]+)/)*$";
}

impl AbsPath {
    /// As a path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl RelPath {
    /// As a path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// This path below `root`.
    #[must_use]
    pub fn below(&self, root: &Path) -> PathBuf {
        root.join(&self.0)
    }
}

fn is_label(s: &str) -> bool {
    !s.is_empty()
        && s.len() <= 63
        && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !s.starts_with('-')
        && !s.ends_with('-')
}

fn is_plain_path_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'~' | b'+' | b'@' | b',' | b'=')
}

/// Names of Python's, joined by dots: a module.
pub(crate) fn is_dotted(s: &str) -> bool {
    s.split('.').all(|name| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    })
}

fn is_cache_directive(s: &str) -> bool {
    const PLAIN: [&str; 9] = [
        "public",
        "private",
        "no-cache",
        "no-store",
        "no-transform",
        "must-revalidate",
        "proxy-revalidate",
        "must-understand",
        "immutable",
    ];
    const LASTING: [&str; 4] = ["max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"];
    match s.split_once('=') {
        None => PLAIN.contains(&s),
        Some((name, seconds)) => {
            LASTING.contains(&name) && (1..=10).contains(&seconds.len()) && seconds.bytes().all(|b| b.is_ascii_digit())
        }
    }
}

fn climbs(s: &str) -> bool {
    s.split('/').any(|part| part == "." || part == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_read_as_syntax_is_no_narrow_type() {
        for bad in ["a;b", "a}b", "a{b", "a\nb", "a\"b", "a'b", "a$b", "a`b", "a\\b", "a b", "a\0b", "a#b", "a*b", ""] {
            assert!(bad.parse::<SiteName>().is_err(), "site {bad:?}");
            assert!(bad.parse::<Hostname>().is_err(), "hostname {bad:?}");
            assert!(format!("/{bad}").parse::<UrlPath>().is_err() || bad.is_empty(), "url path {bad:?}");
            assert!(bad.parse::<RelPath>().is_err(), "path {bad:?}");
            assert!(format!("/{bad}").parse::<AbsPath>().is_err(), "absolute path {bad:?}");
            assert!(bad.parse::<UserName>().is_err(), "user {bad:?}");
        }
    }

    #[test]
    fn no_path_climbs_out_of_its_folder() {
        for bad in ["..", "a/../b", "../a", "a/..", "./a", "a//b", "a/./b"] {
            assert!(bad.parse::<RelPath>().is_err(), "{bad}");
            assert!(format!("/{bad}").parse::<AbsPath>().is_err(), "/{bad}");
            assert!(format!("/{bad}").parse::<UrlPath>().is_err(), "/{bad}");
        }
    }

    #[test]
    fn a_python_app_is_a_module_and_an_attribute() {
        for good in ["main:app", "shop.wsgi:application", "_a.b1:make.app"] {
            assert!(good.parse::<PythonApp>().is_ok(), "{good}");
        }
        for bad in
            ["main", "main:", ":app", "main:app()", "main:app --reload", "-m:app", "a..b:c", "a:b:c", "1a:b", "a/b:c"]
        {
            assert!(bad.parse::<PythonApp>().is_err(), "{bad}");
        }
    }

    #[test]
    fn hostnames_are_dns_names() {
        for good in ["shop.example.com", "localhost", "*.example.com", "xn--bcher-kva.example"] {
            assert!(good.parse::<Hostname>().is_ok(), "{good}");
        }
        for bad in ["-a.example", "a..b", ".a", "a.", "UPPER.example", "*.*.example", "a_b.example"] {
            assert!(bad.parse::<Hostname>().is_err(), "{bad}");
        }
    }
}
