//! What the demo came to.

use std::fmt;
use std::time::Duration;

use crate::agent::Event;
use crate::load::{Sample, Totals};

/// What the demo came to.
#[derive(Debug)]
pub struct Report {
    /// What was done, in turn.
    pub acts: Vec<Act>,
    /// What the clients counted.
    pub totals: Totals,
}

/// One thing that was done.
#[derive(Debug)]
pub struct Act {
    title: String,
    outcome: String,
    took: Duration,
    phases: Vec<(String, Duration)>,
    cutover: Option<Duration>,
}

impl Act {
    /// From what happened to the site, when its traffic moved if it did, and the requests around that.
    #[must_use]
    pub fn new(
        title: &str,
        outcome: &str,
        took: Duration,
        events: &[Event],
        moved_ns: Option<u64>,
        samples: &[Sample],
    ) -> Act {
        Act {
            title: title.to_owned(),
            outcome: outcome.to_owned(),
            took,
            phases: phases(events),
            cutover: moved_ns.and_then(|moved| cutover(samples, moved)),
        }
    }
}

impl Report {
    /// The longest cutover: from the moment in which the link was renamed until the new colour had its first request and the old one its
    /// last.
    #[must_use]
    pub fn cutover(&self) -> Option<Duration> {
        self.acts.iter().filter_map(|act| act.cutover).max()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = &self.totals;
        writeln!(f, "requests  {} asked, {} failed", totals.requests, totals.failed)?;
        for (loss, count) in &totals.losses {
            writeln!(f, "          {loss:?}: {count}")?;
        }
        let versions = totals.versions.iter().map(|(version, counted)| format!("{version} {}", counted.answered));
        let colours = totals.colours.iter().map(|(colour, count)| format!("{colour} {count}"));
        let answered: Vec<String> = colours.chain(versions).collect();
        let app: u64 = totals.versions.values().map(|counted| counted.answered).sum();
        let files = totals.requests - totals.failed - app;
        writeln!(f, "answered  {}, files of the web server {files}", answered.join(", "))?;
        let quantile = |share| totals.latency.quantile(share);
        writeln!(f, "latency   p50 {:.1?}, p99 {:.1?}, longest {:.1?}", quantile(0.5), quantile(0.99), quantile(1.0))?;
        for act in &self.acts {
            writeln!(f, "{}: {} after {:.1} s", act.title, act.outcome, act.took.as_secs_f64())?;
            let phases = act.phases.iter().map(|(name, took)| format!("{name} {:.0} ms", took.as_secs_f64() * 1e3));
            writeln!(f, "    {}", phases.collect::<Vec<_>>().join(", "))?;
            if let Some(cutover) = act.cutover {
                writeln!(f, "    all traffic had moved {:.1} ms after the rename", cutover.as_secs_f64() * 1e3)?;
            }
        }
        let cutover = self.cutover().unwrap_or_default().as_micros();
        writeln!(f, "demo: requests={} failed={} cutover_us={cutover}", totals.requests, totals.failed)
    }
}

/// How long each phase lasted; the last one still does, and is left out.
fn phases(events: &[Event]) -> Vec<(String, Duration)> {
    let entered: Vec<&Event> = events.iter().filter(|event| event.reason == "PhaseEntered").collect();
    let name = |event: &Event| event.message.split_whitespace().next().unwrap_or_default().to_owned();
    let lasted = |pair: &[&Event]| {
        let span = pair[1].time.duration_since(pair[0].time);
        (name(pair[0]), Duration::try_from(span).unwrap_or_default())
    };
    entered.windows(2).map(lasted).collect()
}

/// From the rename until the colour that then got requests had its first, and the other one its last.
fn cutover(samples: &[Sample], moved_ns: u64) -> Option<Duration> {
    let arrivals = || samples.iter().filter_map(|sample| Some((sample.colour.as_deref()?, sample.arrived_ns?)));
    let (new, _) = arrivals().max_by_key(|(_, at)| *at)?;
    let first_new = arrivals().filter(|(colour, at)| *colour == new && *at >= moved_ns).map(|(_, at)| at).min()?;
    let last_old = arrivals().filter(|(colour, _)| *colour != new).map(|(_, at)| at).max()?;
    Some(Duration::from_nanos(first_new.max(last_old) - moved_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(colour: &str, arrived_ns: u64) -> Sample {
        Sample {
            id: String::new(),
            start_ns: arrived_ns,
            end_ns: arrived_ns,
            arrived_ns: Some(arrived_ns),
            version: None,
            colour: Some(colour.to_owned()),
            post: false,
            loss: None,
        }
    }

    #[test]
    fn a_cutover_lasts_until_the_new_colour_answers_and_the_old_one_does_not() {
        let early = [sample("blue", 90), sample("green", 130), sample("blue", 140), sample("green", 150)];
        assert_eq!(cutover(&early, 100), Some(Duration::from_nanos(40)));
        let late = [sample("blue", 90), sample("green", 130), sample("green", 150)];
        assert_eq!(cutover(&late, 100), Some(Duration::from_nanos(30)));
    }

    #[test]
    fn phases_last_until_the_next_one_begins() {
        let event = |time: &str, message: &str| Event {
            time: time.parse().expect("it is a time"),
            reason: "PhaseEntered".to_owned(),
            message: message.to_owned(),
        };
        let events = [event("2026-11-22T12:00:00Z", "Starting 1a2b"), event("2026-11-22T12:00:01.5Z", "Idle")];
        assert_eq!(phases(&events), [("Starting".to_owned(), Duration::from_millis(1500))]);
    }
}
