//! What nginx says when it refuses a configuration, or a reload.

use std::path::PathBuf;

use crate::platform::host::web::trial::Refusal;

/// From what nginx writes to its standard error or its log: `nginx: [emerg] unknown directive "x" in /etc/nginx/nginx.conf:3`.
#[must_use]
pub fn refusal(messages: &str) -> Refusal {
    let grave = |line: &&str| line.contains("[emerg]") || line.contains("[alert]") || line.contains("[crit]");
    let line = messages
        .lines()
        .rfind(grave)
        .or_else(|| messages.lines().rfind(|line| !line.trim().is_empty()))
        .unwrap_or("it says nothing");
    let text = line.split_once("] ").map_or(line, |(_, text)| text);
    // In a log, the number of the process stands before the message.
    let text = match text.split_once(": ") {
        Some((process, text)) if process.bytes().all(|b| b.is_ascii_digit() || b == b'#') => text,
        _ => text,
    };
    let place = text.rsplit_once(" in ").and_then(|(_, place)| {
        let (file, line) = place.trim().rsplit_once(':')?;
        Some((PathBuf::from(file), line.parse().ok()?))
    });
    let address = text
        .strip_prefix("bind() to ")
        .and_then(|rest| rest.split(' ').next())
        .and_then(|address| address.parse().ok());
    Refusal { text: text.trim().to_owned(), place, address }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nginx_says_is_read_with_its_place() {
        for (said, text, place) in [
            (
                "nginx: [warn] conflicting\nnginx: [emerg] unknown directive \"x\" in /etc/nginx/a b.conf:12\nnginx: configuration file /e test failed\n",
                "unknown directive \"x\" in /etc/nginx/a b.conf:12",
                Some(("/etc/nginx/a b.conf", 12)),
            ),
            (
                "2026/11/22 18:29:40 [emerg] 1204#1204: bind() to 0.0.0.0:80 failed (98: Address already in use)\n",
                "bind() to 0.0.0.0:80 failed (98: Address already in use)",
                None,
            ),
            ("", "it says nothing", None),
            ("segfault\n\n", "segfault", None),
        ] {
            let read = refusal(said);
            assert_eq!(read.text, text);
            assert_eq!(read.address.is_some(), said.contains("bind()"));
            assert_eq!(read.place, place.map(|(file, line)| (PathBuf::from(file), line)));
        }
    }
}
