//! The hub: an API server whose namespace `bluegreen-host-NAME` holds sites of this host, beside those of the local folder.
//!
//! | part | what it does |
//! |---|---|
//! | `bearer` | a token, and what it says of itself |
//! | `credentials` | this host's token: read, renewed, written; when it has ended, what to do |
//! | `machine` | which machine this is |
//! | `membership` | which hub this host has joined, as it stands in its state folder |

pub mod bearer;
pub mod credentials;
pub mod machine;
pub mod membership;
