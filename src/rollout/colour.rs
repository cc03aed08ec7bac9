//! The two places in which a site can run.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the two slots of a site. Exactly one is live at any moment; neither is better than the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    /// The first slot; a first deployment goes here.
    Blue,
    /// The second slot.
    Green,
}

impl Colour {
    /// Both colours, blue first.
    pub const BOTH: [Colour; 2] = [Colour::Blue, Colour::Green];

    /// The colour that this one is not.
    #[must_use]
    pub fn other(self) -> Colour {
        match self {
            Colour::Blue => Colour::Green,
            Colour::Green => Colour::Blue,
        }
    }

    /// The name as it stands in files, paths and labels: `blue` or `green`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Colour::Blue => "blue",
            Colour::Green => "green",
        }
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
