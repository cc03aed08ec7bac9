//! Spans of time as the Gateway API writes them (GEP-2257): `1h30m`, `10s`, `500ms`.

use std::fmt::Write;
use std::time::Duration;

use super::types::Invalid;

/// The form, for the schema. Kubernetes and this parser accept the same texts.
pub const PATTERN: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// Reads a span: one to four numbers of at most five digits, each with its unit, added up.
///
/// # Errors
/// The text has another form; the message says which is right.
pub fn parse(text: &str) -> Result<Duration, Invalid> {
    let wrong = || {
        Invalid(format!(
            "{text:?} is not a span of time: numbers of at most five digits with the units h, m, s or ms, as in 1h30m, 10s or 500ms"
        ))
    };
    let mut rest = text;
    let mut total = Duration::ZERO;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=5).contains(&digits) || parts == 4 {
            return Err(wrong());
        }
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = &rest[digits..];
        let (millis, length) = match unit.as_bytes() {
            [b'm', b's', ..] => (1, 2),
            [b'h', ..] => (3_600_000, 1),
            [b'm', ..] => (60_000, 1),
            [b's', ..] => (1_000, 1),
            _ => return Err(wrong()),
        };
        total += Duration::from_millis(number * millis);
        rest = &unit[length..];
        parts += 1;
    }
    if parts == 0 { Err(wrong()) } else { Ok(total) }
}

/// Writes a span in the same form, to the millisecond. What GEP-2257 can't hold (more than 99999 hours) is written as hours all the same.
#[must_use]
pub fn format(span: Duration) -> String {
    let millis = span.as_millis();
    let mut text = String::new();
    for (size, unit) in [(3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")] {
        let rest = match unit {
            "h" => millis,
            "m" => millis % 3_600_000,
            "s" => millis % 60_000,
            _ => millis % 1_000,
        };
        if rest / size > 0 {
            // Writing to a string can't fail.
            let _ = write!(text, "{}{unit}", rest / size);
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_apis_own_examples_are_read() {
        for (text, millis) in [
            ("1h", 3_600_000),
            ("2h30m", 9_000_000),
            ("1m15s", 75_000),
            ("10s", 10_000),
            ("500ms", 500),
            ("2h10m5s1ms", 7_805_001),
            ("0s", 0),
            ("1s1s", 2_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn nothing_else_is_a_span() {
        for text in ["", "1", "h", "1.5h", "-5m", "5 m", "123456s", "1d", "1us", "1h1m1s1ms1h", "10S", "1mm"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for millis in [0, 1, 999, 1_000, 61_001, 3_600_000, 5_400_000, 86_399_999] {
            let span = Duration::from_millis(millis);
            assert_eq!(parse(&format(span)), Ok(span), "{}", format(span));
        }
    }
}
