//! What a site may name that lies elsewhere: an artifact at a URL, an image or an artifact in a registry, and whatever is needed to get there.
//! Narrow types, as in [`super::types`]: parsed once, and nothing in them can be read as anything else.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::types::{AbsPath, Invalid, RelPath, Sha256};

macro_rules! text {
    ($name:ident) => {
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

/// Where an archive is to be had: `https` alone, without user, password or fragment, and with a name that tells what it is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ArchiveUrl(String);
text!(ArchiveUrl);

impl ArchiveUrl {
    /// The form, for a schema.
    pub const PATTERN: &str = r"^https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?/[A-Za-z0-9/._~%!&()*+,:=@-]*[.](tar[.]gz|tgz|zip|jar|war)([?][A-Za-z0-9/._~%!&()*+,:=@?-]*)?$";
    /// The longest one.
    pub const LONGEST: usize = 2048;

    /// The whole URL. What follows a `?` is often as good as a password: for the server alone, never for a message.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// The URL without its query.
    #[must_use]
    pub fn shown(&self) -> &str {
        self.0.split('?').next().unwrap_or_default()
    }

    /// The name of the file.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.shown().rsplit('/').next().unwrap_or_default()
    }
}

/// A message or a log never holds the query.
impl fmt::Debug for ArchiveUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.shown(), f)
    }
}

impl FromStr for ArchiveUrl {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = |why: &str| Err(Invalid(format!("{:?} {why}", text.split('?').next().unwrap_or_default())));
        let Some(rest) = text.strip_prefix("https://") else {
            return wrong("is not fetched: only https:// is, so that nobody on the way reads or changes anything");
        };
        let Some((authority, path)) = rest.split_once('/') else { return wrong("has no path after its host") };
        // Before anything is repeated in a message: what stands before an '@' is a password.
        if authority.contains('@') {
            return Err(Invalid("holds a user or a password: give them as credentials: { file: … }".to_owned()));
        }
        if !is_authority(authority) {
            return wrong(
                "has no host that is understood: lower-case letters, digits, '-' and '.', optionally ':PORT'",
            );
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._~%!&()*+,:=@-?".contains(&b);
        if text.len() > Self::LONGEST || !path.bytes().all(plain) {
            return wrong("holds what is no part of a URL here: a fragment, a quote, a blank; encode it as %XX");
        }
        let url = ArchiveUrl(text.to_owned());
        let endings = [".tar.gz", ".tgz", ".zip", ".jar", ".war"];
        if !endings.iter().any(|ending| url.file_name().ends_with(ending)) {
            return wrong(&format!("is no archive that is understood: its name ends in {}", endings.join(", ")));
        }
        if url.file_name().parse::<RelPath>().is_err() {
            return wrong(
                "ends in a name that no file has here: letters, digits, '-', '_', '.', '~', '+', '@', ',' and '='",
            );
        }
        Ok(url)
    }
}

/// An image, or any other artifact, in a registry: one and the same for ever, by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageRef(String);
text!(ImageRef);

impl ImageRef {
    /// The form, for a schema.
    pub const PATTERN: &str = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?/[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?@sha256:[0-9a-f]{64}$";
    /// The longest one.
    pub const LONGEST: usize = 512;

    /// The registry's host, with its port if it names one.
    #[must_use]
    pub fn registry(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// The repository in the registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        let name = self.0.split('@').next().unwrap_or_default();
        let rest = name.split_once('/').map_or("", |(_, rest)| rest);
        rest.split(':').next().unwrap_or_default()
    }

    /// The digest, without the name of its kind.
    #[must_use]
    pub fn digest(&self) -> &str {
        self.0.rsplit(':').next().unwrap_or_default()
    }
}

impl FromStr for ImageRef {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = |why: &str| Err(Invalid(format!("{text:?} {why}")));
        let Some((name, digest)) = text.split_once('@') else {
            return wrong(
                "names no digest, and what a tag means changes: add @sha256:…, as `docker buildx imagetools inspect` or `oras resolve` prints it",
            );
        };
        if digest.strip_prefix("sha256:").is_none_or(|hex| hex.parse::<Sha256>().is_err()) {
            return wrong("has a digest that is not sha256: and 64 lower-case hexadecimal digits");
        }
        let Some((registry, rest)) = name.split_once('/') else {
            return wrong("names no registry: write it in front, as in docker.io/library/shop@sha256:…");
        };
        if !is_authority(registry) || !(registry.contains(['.', ':']) || registry == "localhost") {
            return wrong("begins with no registry's host: write it in front, as in docker.io/library/shop@sha256:…");
        }
        let (repository, tag) = rest.split_once(':').map_or((rest, None), |(name, tag)| (name, Some(tag)));
        let tag_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let tag = tag.is_none_or(|tag| {
            (1..=128).contains(&tag.len()) && tag.bytes().all(tag_byte) && !tag.starts_with(['.', '-'])
        });
        if text.len() > Self::LONGEST || !tag || !repository.split('/').all(is_repository_part) {
            return wrong("is no reference to an image: REGISTRY/NAME@sha256:DIGEST, with a name in lower case");
        }
        Ok(ImageRef(text.to_owned()))
    }
}

/// The name of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecretName(String);
text!(SecretName);

impl SecretName {
    /// The form, for a schema.
    pub const PATTERN: &str = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$";
}

impl FromStr for SecretName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.len() <= 253 && text.split('.').all(is_label) {
            return Ok(SecretName(text.to_owned()));
        }
        Err(Invalid(format!("{text:?} is no name of a Secret: lower-case letters, digits, '-' and '.'")))
    }
}

/// How a server that holds an artifact is talked to. It is no part of what the artifact is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// Further authorities that its certificate may come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<AbsPath>,
    /// Who we are there; `None`: anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
}

impl Access {
    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Access::default()
    }
}

/// Where credentials are. The credentials themselves are in no type of this program that can be printed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Credentials {
    /// In a file of this host that root alone may read.
    File(AbsPath),
    /// In a Secret of the hub's namespace of this host.
    Secret(SecretName),
}

fn is_authority(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    host.len() <= 253
        && host.split('.').all(is_label)
        && port.is_none_or(|port| port.len() <= 5 && port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_repository_part(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(plain) && text.ends_with(plain) && text.chars().all(|c| plain(c) || matches!(c, '.' | '_' | '-'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_url_is_https_with_a_name_that_tells_what_it_is() {
        for good in [
            "https://a.example/shop-1.4.2.tar.gz",
            "https://127.0.0.1:8443/x/y.zip",
            "https://a.example/shop.jar?X-Amz-Signature=abc%2F",
        ] {
            assert!(good.parse::<ArchiveUrl>().is_ok(), "{good}");
        }
        for bad in [
            "http://a.example/a.zip",
            "https://user:pass@a.example/a.zip",
            "https://a.example",
            "https://a.example/a.rar",
            "https://a.example/a.zip#x",
            "https://a.example/a'b.zip",
            "https://A.example/a.zip",
            "https://a.example:0/a.zip",
            "https://a.example/%2e%2e.zip",
            "file:///etc/a.zip",
        ] {
            assert!(bad.parse::<ArchiveUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn neither_a_password_nor_a_query_is_ever_repeated() {
        let error = "https://joe:hunter2@a.example/a.zip".parse::<ArchiveUrl>().unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        let error = "http://a.example/a.zip?sig=hunter2".parse::<ArchiveUrl>().unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        let url: ArchiveUrl = "https://a.example/a.zip?sig=hunter2".parse().unwrap();
        assert!(!format!("{url:?} {}", url.shown()).contains("hunter2"));
    }

    #[test]
    fn an_image_is_named_by_registry_and_digest() {
        let image: ImageRef = format!("r.example:5000/team/shop:1.4@{DIGEST}").parse().unwrap();
        assert_eq!((image.registry(), image.repository()), ("r.example:5000", "team/shop"));
        assert_eq!(image.digest().len(), 64);
        for bad in ["r.example/shop:1.4", "shop@sha256:00", "r.example/shop"] {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad}");
        }
        for bad in
            ["shop", "team/shop", "r.example/Shop", "r.example/a//b", "r.example/../b", "r.example/a:", "u@r.example/a"]
        {
            assert!(format!("{bad}@{DIGEST}").parse::<ImageRef>().is_err(), "{bad}");
        }
    }
}
