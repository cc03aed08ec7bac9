//! Servers and registries that releases from afar may be fetched from.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::api::types::Invalid;

/// A server, or a part of one: `HOST`, `HOST:PORT`, `HOST/PATH`. It stands for everything below the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source(String);

impl Source {
    /// Whether it stands for this address, which is written without its scheme: `HOST[:PORT]/PATH`.
    #[must_use]
    pub fn covers(&self, address: &str) -> bool {
        let path = address.split(['?', '#']).next().unwrap_or_default();
        // What a server may take for another path than the one that is written is covered by nothing.
        let plain =
            !path.split('/').any(|part| part == ".." || part == ".") && !path.contains('%') && !path.contains('\\');
        let rest = path.strip_prefix(self.0.as_str());
        plain && rest.is_some_and(|rest| rest.starts_with('/'))
    }
}

impl FromStr for Source {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Source, Invalid> {
        let wrong = || {
            Invalid(format!(
                "{text:?} is no server: HOST, HOST:PORT or HOST/PATH is, in lower case and without https://, as in releases.example.com/shop"
            ))
        };
        let (host, path) = text.split_once('/').map_or((text, None), |(host, path)| (host, Some(path)));
        let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
        let is_word = |part: &str, more: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c))
        };
        let is_path = |path: &str| {
            path.split('/').all(|part| {
                !matches!(part, "" | "." | "..")
                    && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-~+".contains(c))
            })
        };
        let good =
            is_word(name, ".-") && port.is_none_or(|port| port.parse::<u16>().is_ok()) && path.is_none_or(is_path);
        if good { Ok(Source(text.to_owned())) } else { Err(wrong()) }
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Source, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_stands_for_what_is_below_it_and_for_nothing_that_only_begins_like_it() {
        let source: Source = "releases.example.com/shop".parse().expect("it is one");
        for good in ["releases.example.com/shop/1.tar.gz", "releases.example.com/shop/a/b.zip?token=../x"] {
            assert!(source.covers(good), "{good}");
        }
        for bad in [
            "releases.example.com/shop.evil/1.zip",
            "releases.example.com/shopping/1.zip",
            "releases.example.com/other/1.zip",
            "releases.example.com.evil.test/shop/1.zip",
            "releases.example.com:8443/shop/1.zip",
            "releases.example.com/shop/../other/1.zip",
            "releases.example.com/shop/%2e%2e/other/1.zip",
        ] {
            assert!(!source.covers(bad), "{bad}");
        }
        let whole: Source = "registry.example.com:5000".parse().expect("it is one");
        assert!(whole.covers("registry.example.com:5000/team/shop@sha256:0"));
        assert!(!whole.covers("registry.example.com:50001/team/shop"));
    }

    #[test]
    fn what_is_no_server_is_no_source() {
        for text in ["", "/shop", "https://x", "X.example.com", "x/", "x//y", "x/../y", "x:y/z", "x:99999", "a b", "*"]
        {
            assert!(text.parse::<Source>().is_err(), "{text:?}");
        }
    }
}
