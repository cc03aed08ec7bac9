//! Which version a web server is, by its own account: one that is too old would take a configuration of ours for nonsense, or worse, for something
//! else.

use std::fmt;
use std::process::{Command, Stdio};

use super::trial::TrialError;

/// `2.4.47`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16, pub u16, pub u16);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Version {
    /// The version after `mark` in what a program says of itself: `nginx/1.22.1`, `Apache/2.4.62 (Debian)`. `None`: it says none, as what is built
    /// of another's source under a name of its own.
    #[must_use]
    pub fn after(mark: &str, said: &str) -> Option<Version> {
        let (_, rest) = said.split_once(mark)?;
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let mut parts = rest.get(..end)?.split('.').map(str::parse);
        let (major, minor) = (parts.next()?.ok()?, parts.next()?.ok()?);
        Some(Version(major, minor, parts.next().and_then(Result::ok).unwrap_or(0)))
    }
}

/// What is needed of a web server.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// What stands before its version.
    pub mark: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The oldest that has what our files say.
    pub oldest: Version,
}

/// Asks a program for its version (`-v`) and compares. One that can't be asked, or doesn't tell, is left to the test of the configuration.
///
/// # Errors
/// [`TrialError::TooOld`].
pub fn check(mut command: Command, needs: Needs) -> Result<(), TrialError> {
    let Some(said) = said(command.arg("-v")) else {
        return Ok(());
    };
    match Version::after(needs.mark, &said) {
        Some(found) if found < needs.oldest => {
            Err(TrialError::TooOld { name: needs.name, found, oldest: needs.oldest })
        }
        _ => Ok(()),
    }
}

/// What a program says of itself. `None`: it can't be asked.
#[must_use]
pub fn said(command: &mut Command) -> Option<String> {
    let output = command.env("LC_ALL", "C").stdin(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_off_what_a_program_says() {
        for (mark, said, version) in [
            ("nginx/", "nginx version: nginx/1.22.1\n", Some(Version(1, 22, 1))),
            ("nginx/", "nginx version: nginx/1.9.15 (Ubuntu)\n", Some(Version(1, 9, 15))),
            ("nginx/", "nginx version: openresty/1.25.3.1\n", None),
            ("Apache/", "Server version: Apache/2.4.62 (Debian)\nServer built:   x\n", Some(Version(2, 4, 62))),
            ("Apache/", "Server version: Apache/2.5-dev (Unix)\n", Some(Version(2, 5, 0))),
            ("Apache/", "", None),
        ] {
            assert_eq!(Version::after(mark, said), version, "{said}");
        }
        assert!(Version(1, 9, 15) < Version(1, 15, 8));
    }
}
