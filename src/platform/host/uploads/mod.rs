//! A folder in which releases arrive, and which of them is whole. Whoever may write there decides what the site's user runs, and nothing else:
//! what lies there is looked at with suspicion, and is copied before it is used.
//!
//! | part | what it does |
//! |---|---|
//! | `names` | what a name in the folder means, and what a checksum's file says |
//! | `whole` | what makes a release whole: the rules, pure |
//! | `watch` | hears of what happens in the folder, and tells a rename from an upload |
//! | `look` | looks at the folder, reads what is whole, and remembers it |
//!
//! The rules, once: a release NAME is whole when its checksum lies beside it and holds (`NAME.sha256`); or, without one, when `NAME.done` lies
//! beside it and is no older than it; or when it was renamed to NAME from a name that is none of a release. That nothing grows any more says
//! nothing. The newest is the one that became whole last; what is taken away, touched, or uploaded again with the same content changes nothing.

mod look;
mod names;
mod watch;
mod whole;

pub use look::{Bad, Chosen, Looked, look, open, source};
pub use names::{DONE, SUM, is_archive, is_release};
pub use watch::{Heard, Watch};
