//! A user for apps to run as: an agent that is root refuses root and system users.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::{process, wait};

/// A user that an agent of this process may run apps as.
#[derive(Debug)]
pub struct User {
    name: String,
    passing: bool,
}

impl User {
    /// As root: a user of the tests' own, made if it isn't there, and left for the next test. Otherwise ourselves, since nobody else can be
    /// run as.
    ///
    /// # Errors
    /// When the user can't be made.
    pub fn ordinary() -> Result<User> {
        User::named("bluegreen-rig", false)
    }

    /// As [`ordinary`](User::ordinary), but a user that nobody else uses, for [`remove`](User::remove).
    ///
    /// # Errors
    /// When the user can't be made.
    pub fn temporary(name: &str) -> Result<User> {
        User::named(name, true)
    }

    fn named(name: &str, passing: bool) -> Result<User> {
        let uid = rustix::process::getuid();
        if !uid.is_root() {
            let name = name_of(uid.as_raw())?.context("this process's user has no name")?;
            return Ok(User { name, passing: false });
        }
        // Other tests may be making it, or anybody another user, at this moment: useradd refuses then.
        let mut why = None;
        let there = wait::until("there is a user", Duration::from_secs(20), || {
            if !is_there(name).unwrap_or(false) {
                let mut command = Command::new("useradd");
                command.args(["--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]);
                why = process::run(command.args(["--comment", "apps in tests of bluegreen", name])).err();
            }
            is_there(name).unwrap_or(false).then_some(())
        });
        there.with_context(|| why.map_or_else(String::new, |why| format!("{why:#}")))?;
        Ok(User { name: name.to_owned(), passing })
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Removes a temporary user again.
    ///
    /// # Errors
    /// When it still runs something.
    pub fn remove(self) -> Result<()> {
        if self.passing {
            process::run(Command::new("userdel").arg(&self.name))?;
        }
        Ok(())
    }
}

fn is_there(name: &str) -> Result<bool> {
    let users = fs::read_to_string("/etc/passwd").context("cannot read the list of users")?;
    Ok(users.lines().any(|line| line.split(':').next() == Some(name)))
}

fn name_of(uid: u32) -> Result<Option<String>> {
    let users = fs::read_to_string("/etc/passwd").context("cannot read the list of users")?;
    let mut fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let own = fields.find(|fields| fields.get(2).and_then(|text| text.parse().ok()) == Some(uid));
    Ok(own.map(|fields| fields[0].to_owned()))
}
