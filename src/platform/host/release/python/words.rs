//! What pip says, for people: the lines that decide, and no password of an index.

/// What was printed, without secrets.
pub(super) struct Said(String);

/// So many lines are shown, of so many letters each.
const LINES: usize = 6;
const LETTERS: usize = 300;

impl Said {
    /// `secrets`: the values of variables that the installer was given.
    pub fn new(text: &str, secrets: &[&str]) -> Said {
        let mut text = text.to_owned();
        for secret in secrets.iter().filter(|secret| secret.len() >= 4) {
            text = text.replace(secret, "****");
        }
        Said(text.split_inclusive(char::is_whitespace).map(without_secrets).collect())
    }

    /// The lines that say why.
    pub fn decisive(&self) -> String {
        let lines: Vec<&str> = self.0.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let of = |start: &str| lines.iter().any(|line| line.starts_with(start));
        let chosen: Vec<&str> = match lines.iter().position(|line| line.starts_with("ERROR:")) {
            // What follows belongs to it: which packages conflict, and over what.
            Some(first) => {
                lines[first..].iter().copied().filter(|line| !line.starts_with("WARNING:")).take(LINES).collect()
            }
            None if of("error:") => {
                lines.iter().copied().filter(|line| line.starts_with("error:")).take(LINES).collect()
            }
            None => lines.iter().copied().skip(lines.len().saturating_sub(LINES)).collect(),
        };
        if chosen.is_empty() {
            return "it was ended before it said anything".to_owned();
        }
        let short: Vec<String> = chosen.iter().map(|line| shorten(line.trim_start_matches("ERROR: "))).collect();
        short.join("\n")
    }

    /// Whether an index was not reached, and so nothing is known of what it has.
    pub fn is_unreached(&self) -> bool {
        [
            "Retrying (Retry(",
            "NewConnectionError",
            "ConnectTimeoutError",
            "ReadTimeoutError",
            "Temporary failure in name resolution",
        ]
        .iter()
        .any(|sign| self.0.contains(sign))
    }
}

fn shorten(line: &str) -> String {
    let mut short: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LETTERS).collect();
    if line.chars().nth(LETTERS).is_some() {
        short.push('…');
    }
    short
}

/// A word without the user, the password and the query of a URL in it.
fn without_secrets(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let end = rest
        .find(|c: char| matches!(c, '/' | '"' | '\'' | ')' | ']' | ',' | '>') || c.is_whitespace())
        .unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (path, query) = after.find('?').map_or((after, ""), |at| after.split_at(at));
    let space: String = query.chars().rev().take_while(|c| c.is_whitespace()).collect();
    format!("{scheme}://{host}{path}{space}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_that_decide_are_shown() {
        let said = Said::new(
            "python 3.11.2\nLooking in links: /r/wheels\nERROR: Could not find a version that satisfies the requirement nope==1 (from versions: none)\n\
             ERROR: No matching distribution found for nope==1\n",
            &[],
        );
        assert_eq!(
            said.decisive(),
            "Could not find a version that satisfies the requirement nope==1 (from versions: none)\nNo matching distribution found for nope==1"
        );
        assert!(!said.is_unreached());
        assert!(Said::new("", &[]).decisive().contains("before it said"));
    }

    #[test]
    fn no_password_of_an_index_is_shown() {
        for (text, secret) in [
            ("ERROR: https://me:s3cret@index.test/simple/x/", "s3cret"),
            ("ERROR: Link requires (from https://me:p@ss@index.test/simple?token=s3cret)\nx", "p@ss"),
            ("ERROR: index.test?token=s3cret4", "s3cret4"),
        ] {
            let said = Said::new(text, &["s3cret4"]).decisive();
            assert!(!said.contains(secret) && said.contains("index.test"), "{said}");
        }
    }
}
