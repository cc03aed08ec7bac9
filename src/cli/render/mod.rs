//! From a view to text. Pure: the moment is an argument, and nothing is asked or written.

pub mod describe;
pub mod doctor;
mod requests;
pub mod table;
pub mod tree;

use jiff::Timestamp;

use crate::control::api::SlotView;

/// What stands where there is nothing to say.
pub const NONE: &str = "<none>";

/// How long something has lasted, as kubectl says it: `45s`, `5m30s`, `3h`, `12d`.
#[must_use]
pub fn age(since: Timestamp, now: Timestamp) -> String {
    span(now.duration_since(since).as_secs())
}

/// A span in seconds, in one or two units.
#[must_use]
pub fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 if seconds % 60 > 0 => format!("{minutes}m{}s", seconds % 60),
        120..10_800 => format!("{minutes}m"),
        10_800..28_800 if minutes % 60 > 0 => format!("{hours}h{}m", minutes % 60),
        10_800..172_800 => format!("{hours}h"),
        172_800..691_200 if hours % 24 > 0 => format!("{days}d{}h", hours % 24),
        _ => format!("{days}d"),
    }
}

/// How many of a colour's instances are ready: `2/2`. A site of files has none.
#[must_use]
pub fn instances(slot: &SlotView) -> String {
    let ready = slot.instances.iter().filter(|instance| instance.ready).count();
    let all = slot.wanted.map_or_else(|| slot.instances.len().to_string(), |wanted| wanted.to_string());
    format!("{ready}/{all}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_reads_as_kubectls_does() {
        for (seconds, text) in [
            (-3, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (3600, "60m"),
            (10_800, "3h"),
            (12_000, "3h20m"),
            (86_400, "24h"),
            (180_000, "2d2h"),
            (864_000, "10d"),
        ] {
            assert_eq!(span(seconds), text, "{seconds}");
        }
    }
}
