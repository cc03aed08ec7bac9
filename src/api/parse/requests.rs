//! How requests are passed on, and under which names the idle colour is shown.

use std::time::Duration;

use super::host::HOST;
use super::judge::Judge;
use crate::api::requests::{BODY, Requests, parse_size};
use crate::api::types::Hostname;
use crate::api::{span, spec};

/// From the shortest to the longest that is taken.
const TIMEOUT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
const CONNECT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

impl Judge {
    pub(super) fn requests(&mut self, host: &spec::Host) -> Option<Requests> {
        let path = format!("{HOST}.requests");
        let usual = Requests::default();
        let Some(spec) = &host.requests else { return Some(usual) };
        if spec.max_body_size.is_some() && host.front == spec::Front::Include {
            self.wrong(
                format!("{path}.maxBodySize"),
                "your own server block says how large a body may be (client_max_body_size, LimitRequestBody): leave this out, or write front: Own",
            );
        }
        let max_body = self.size(&format!("{path}.maxBodySize"), spec.max_body_size.as_deref(), usual.max_body);
        let mut seconds = |name: &str, text: &Option<String>, bounds, usual| {
            text.as_ref().map_or(Some(usual), |text| self.seconds(&format!("{path}.{name}"), text, bounds))
        };
        let timeout = seconds("timeout", &spec.timeout, TIMEOUT, usual.timeout);
        let stream_timeout = seconds("streamTimeout", &spec.stream_timeout, TIMEOUT, usual.stream_timeout);
        let connect_timeout = seconds("connectTimeout", &spec.connect_timeout, CONNECT, usual.connect_timeout);
        Some(Requests {
            max_body: max_body?,
            timeout: timeout?,
            stream_timeout: stream_timeout?,
            connect_timeout: connect_timeout?,
        })
    }

    fn size(&mut self, path: &str, text: Option<&str>, usual: u64) -> Option<u64> {
        let Some(text) = text else { return Some(usual) };
        match parse_size(text) {
            Ok(bytes) if (BODY.0..=BODY.1).contains(&bytes) => Some(bytes),
            Ok(_) => {
                self.wrong(path, format!("{text} is out of range: from 1Ki to 1024Gi"));
                None
            }
            Err(error) => {
                self.wrong(path, error.to_string());
                None
            }
        }
    }

    fn seconds(&mut self, path: &str, text: &str, (least, most): (Duration, Duration)) -> Option<Duration> {
        let span = self.span(path, text)?;
        if !(least..=most).contains(&span) || span.subsec_nanos() > 0 {
            let (least, most) = (span::format(least), span::format(most));
            self.wrong(path, format!("{text} is out of range: whole seconds, from {least} to {most}"));
            return None;
        }
        Some(span)
    }

    /// The names under which the idle colour is shown. None of them is a wildcard or one of the site's own: it would be for the web server to choose
    /// which of the two answers.
    pub(super) fn previews(&mut self, host: &spec::Host) -> Option<Vec<Hostname>> {
        let path = format!("{HOST}.previewHostnames");
        let previews = self.each(&path, &host.preview_hostnames, |judge, path, text| {
            let name: Hostname = judge.narrow(path, text)?;
            if text.starts_with('*') {
                judge.wrong(path, format!("{text} is a wildcard, and a preview needs a name of its own: write it out"));
                return None;
            }
            if host.hostnames.contains(text) {
                judge.wrong(
                    path,
                    format!(
                        "{text} is in hostnames too, where the live colour answers: take another name for the preview"
                    ),
                );
                return None;
            }
            Some(name)
        });
        self.once(&path, &host.preview_hostnames);
        previews
    }
}
