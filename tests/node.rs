//! Cutovers on a real node: kubelet, containerd and kube-proxy, the operator in a pod of its own with the chart's own roles, and clients
//! that never repeat a request. `make test-node` runs these: they need root, and minutes.
//!
//! | part | what it shows |
//! |---|---|
//! | `service` | through a Service, and from a Service that somebody made by hand |
//! | `gateway` | through an HTTPRoute and a real Gateway |
//! | `program` | that the program of the image needs nothing but the kernel |
//! | `logs` | what pods print, from a real kubelet |

#![allow(clippy::panic, reason = "a failure tells what the node says")]

#[path = "node/gateway.rs"]
mod gateway;
#[path = "node/kit.rs"]
mod kit;
#[path = "node/logs.rs"]
mod logs;
#[path = "node/program.rs"]
mod program;
#[path = "node/service.rs"]
mod service;
