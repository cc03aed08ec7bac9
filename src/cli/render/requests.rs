//! `target.host.requests`, for people: what differs from the usual.

use crate::api::spec::RequestsSpec;

/// `bodies up to 20Mi, given up after 30s`.
pub(super) fn requests(spec: &RequestsSpec) -> String {
    let parts = [
        ("bodies up to", &spec.max_body_size),
        ("given up after", &spec.timeout),
        ("streams silent for at most", &spec.stream_timeout),
        ("the next instance after", &spec.connect_timeout),
    ];
    let said = parts.into_iter().filter_map(|(words, value)| value.as_ref().map(|value| format!("{words} {value}")));
    said.collect::<Vec<_>>().join(", ")
}
