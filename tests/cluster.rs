//! The cluster platform against a real control plane: its own driver, its own watches, real Deployments, Services and EndpointSlices. kwok
//! plays the kubelet.
//!
//! | part | what it shows |
//! |---|---|
//! | `rollout` | from a first deployment to the way back |
//! | `drift` | what somebody edits is put back |
//! | `theirs` | what belongs to somebody else is not touched, and what is offered is taken over |
//! | `restored` | a site that comes back takes back what it had |
//! | `bad` | what Kubernetes refuses, what never gets ready, what is not allowed |
//! | `configuration` | ConfigMaps and Secrets that a template names |
//! | `gateway` | an HTTPRoute in the place of the live Service |

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "cluster/bad.rs"]
mod bad;
#[path = "cluster/configuration.rs"]
mod configuration;
#[path = "cluster/drift.rs"]
mod drift;
#[path = "cluster/gateway.rs"]
mod gateway;
#[path = "cluster/kit.rs"]
mod kit;
#[path = "cluster/restored.rs"]
mod restored;
#[path = "cluster/rollout.rs"]
mod rollout;
#[path = "cluster/theirs.rs"]
mod theirs;
