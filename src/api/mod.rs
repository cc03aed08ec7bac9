//! What a user writes and reads: the `BlueGreenSite` resource, its narrow types, and the one place that judges it.
//!
//! | part | what it is |
//! |---|---|
//! | `names` | every name that the outside sees |
//! | `spec`, `status`, `crd` | the resource as it is written, what is reported, its schema |
//! | `types`, `span` | the narrow types, and spans of time |
//! | `site` | a site, parsed: nothing in it can be wrong any more |

pub mod crd;
pub mod names;
pub mod site;
pub mod span;
pub mod spec;
pub mod status;
pub mod types;
