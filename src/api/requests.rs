//! How a web server passes requests on, parsed. It is no part of a release: a change is one of the web server's shape, and no new revision.

use std::time::Duration;

use super::types::Invalid;

/// The form of a size, for the schema.
pub const SIZE_PATTERN: &str = "^[1-9][0-9]{0,4}(Ki|Mi|Gi)$";
/// The least and the most of a body that can be asked for, in bytes.
pub const BODY: (u64, u64) = (1 << 10, 1 << 40);

/// How requests are passed on. The spans are whole seconds: Apache knows no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requests {
    /// The largest body of a request, in bytes.
    pub max_body: u64,
    /// How long an app may be silent.
    pub timeout: Duration,
    /// How long a websocket or an event stream may be.
    pub stream_timeout: Duration,
    /// How long a connection to an instance may take.
    pub connect_timeout: Duration,
}

impl Default for Requests {
    fn default() -> Requests {
        Requests {
            max_body: 1 << 30,
            timeout: Duration::from_secs(3600),
            stream_timeout: Duration::from_secs(3600),
            connect_timeout: Duration::from_secs(5),
        }
    }
}

/// Reads a size as Kubernetes writes it: `512Ki`, `20Mi`, `1Gi`.
///
/// # Errors
/// The text has another form; the message says which is right.
pub fn parse_size(text: &str) -> Result<u64, Invalid> {
    let wrong =
        || Invalid(format!("{text:?} is not a size: a number with the unit Ki, Mi or Gi, as in 512Ki, 20Mi or 1Gi"));
    let (digits, shift) = [("Ki", 10), ("Mi", 20), ("Gi", 30)]
        .into_iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)))
        .ok_or_else(wrong)?;
    let plain =
        (1..=5).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    let number: u64 = digits.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
    Ok(number << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_kubernetes_writes_them_and_nothing_else_is() {
        for (text, bytes) in [("1Ki", 1 << 10), ("20Mi", 20 << 20), ("1Gi", 1 << 30), ("99999Gi", 99_999 << 30)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "1", "1g", "1GiB", "0Mi", "01Mi", "-1Mi", "+1Mi", "1.5Gi", "100000Ki", "Ki", "1Ti", "1 Mi"] {
            assert!(parse_size(text).is_err(), "{text:?}");
        }
    }
}
