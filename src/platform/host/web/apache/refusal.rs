//! What Apache says when it refuses a configuration, or ends at one.

use std::path::PathBuf;

use crate::platform::host::web::trial::Refusal;

/// From what Apache writes to its standard error: `AH00526: Syntax error on line 3 of /etc/apache2/x.conf:`, and on the next line what is wrong.
#[must_use]
pub fn refusal(messages: &str) -> Refusal {
    let lines: Vec<&str> = messages.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let at = lines.iter().position(|line| line.contains("yntax error on line "));
    let place = at.and_then(|at| place(lines.get(at)?));
    let text = match (at.and_then(|at| lines.get(at + 1)), &place) {
        (Some(what), Some((file, line))) => format!("{what} in {}:{line}", file.display()),
        // What it says last but for the formal end.
        _ => lines.iter().rfind(|line| !line.starts_with("Action '")).map_or("it says nothing", |line| line).to_owned(),
    };
    Refusal { text, place, address: None }
}

fn place(line: &str) -> Option<(PathBuf, u32)> {
    let (number, file) = line.split_once("yntax error on line ")?.1.split_once(" of ")?;
    Some((PathBuf::from(file.trim_end_matches(':')), number.parse().ok()?))
}

/// What Apache wrote into its log since it was told to restart, if it was why it ended.
#[must_use]
pub fn last_words(log: &str) -> Option<Refusal> {
    let grave = |line: &&str| {
        [":emerg]", ":alert]", ":crit]"].iter().any(|level| line.contains(level)) || line.starts_with('(')
    };
    let line = log.lines().rfind(grave)?;
    let text = line.rsplit("] ").next().unwrap_or(line).trim().to_owned();
    let address = text.split_once("could not bind to address ").and_then(|(_, address)| address.trim().parse().ok());
    Some(Refusal { text, place: None, address })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apache_says_is_read_with_its_place() {
        let said = "AH00526: Syntax error on line 3 of /etc/apache2/a b.conf:\nInvalid command 'nonsense', perhaps misspelled\n\
                    Action '-t' failed.\nThe Apache error log may have more information.\n";
        let read = refusal(said);
        assert_eq!(read.text, "Invalid command 'nonsense', perhaps misspelled in /etc/apache2/a b.conf:3");
        assert_eq!(read.place, Some((PathBuf::from("/etc/apache2/a b.conf"), 3)));
        assert_eq!(refusal("").text, "it says nothing");
        assert_eq!(refusal("apache2: could not open\n").text, "apache2: could not open");
    }

    #[test]
    fn the_address_that_it_could_not_have_is_read_off_the_log() {
        let log = "[Mon] [core:notice] [pid 1] AH00094: x\n\
                   (98)Address already in use: AH00072: make_sock: could not bind to address 127.0.0.1:80\n\
                   [Mon] [mpm_event:notice] [pid 1] bye\n";
        assert_eq!(last_words(log).unwrap().address, Some("127.0.0.1:80".parse().unwrap()));
        assert_eq!(last_words("[Mon] [core:notice] [pid 1] fine\n"), None);
    }
}
