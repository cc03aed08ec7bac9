//! How requests are passed on, for the templates.

use serde::Serialize;

use crate::api::requests::Requests;
use crate::api::span;

/// How requests are passed on, in nginx's words.
#[derive(Serialize)]
pub(super) struct Limits {
    max_body: String,
    timeout: String,
    stream_timeout: String,
    /// The longer of the two.
    longest: String,
    connect_timeout: String,
    /// Whether a websocket may be silent for another time than an answer.
    apart: bool,
}

impl Limits {
    pub(super) fn of(requests: &Requests) -> Limits {
        Limits {
            max_body: size(requests.max_body),
            timeout: span::format(requests.timeout),
            stream_timeout: span::format(requests.stream_timeout),
            longest: span::format(requests.timeout.max(requests.stream_timeout)),
            connect_timeout: span::format(requests.connect_timeout),
            apart: requests.timeout != requests.stream_timeout,
        }
    }
}

/// A number of bytes as nginx writes it.
fn size(bytes: u64) -> String {
    let unit = [(30, "g"), (20, "m"), (10, "k")].into_iter().find(|(shift, _)| bytes.trailing_zeros() >= *shift);
    unit.map_or_else(|| bytes.to_string(), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_written_in_the_largest_unit_that_fits() {
        for (bytes, text) in [(1 << 30, "1g"), (1536 << 20, "1536m"), (512 << 10, "512k"), (1000, "1000")] {
            assert_eq!(size(bytes), text);
        }
    }
}
