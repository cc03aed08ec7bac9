//! Ports that apps from afar may have.

use std::str::FromStr;

use serde::Deserialize;

use crate::api::types::Invalid;

/// Ports, from the first to the last: `8000-8999`, or a single one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    first: u16,
    last: u16,
}

/// What apps may have unless the list says otherwise: above most of what listens on a machine, and below what the kernel gives to connections that go out.
pub(super) const USUAL: Ports = Ports { first: 8000, last: 29_999 };

impl Ports {
    /// Whether it is one of them.
    #[must_use]
    pub fn holds(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl FromStr for Ports {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Ports, Invalid> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first >= 1024 && first <= last => Ok(Ports { first, last }),
            _ => Err(Invalid(format!(
                "{text:?} is no range of ports from 1024 on: FIRST-LAST or a single port is, as in 8000-8999"
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Ports, D::Error> {
        /// A single port is a number to whoever writes it.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            One(u16),
            Text(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::One(port) => port.to_string(),
            Written::Text(text) => text,
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}
