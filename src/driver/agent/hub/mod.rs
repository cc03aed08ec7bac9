//! The hub: an API server whose namespace `bluegreen-host-NAME` holds sites of this host, beside those of the local folder.
//!
//! | part | what it does |
//! |---|---|
//! | `membership` | which hub this host has joined, as it stands in its state folder |

pub mod membership;
