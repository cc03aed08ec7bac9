//! Whom Git runs as: a user that owns nothing but the copy of the repository. What a server sends is taken apart by Git, and should that be turned
//! against us one day, it is not root who was turned.

use std::process::Command;

use super::error::GitError;
use super::program::Account;
use crate::api::types::UserName;

/// Who it is where nobody is named.
pub const USUAL: &str = "bluegreen-git";

/// Looks the user up. `None`: there is no such user, and nobody is named, so it is root.
pub fn find(named: Option<&UserName>) -> Result<Option<Account>, GitError> {
    let name = match named {
        Some(name) => name.clone(),
        None => match USUAL.parse() {
            Ok(name) => name,
            Err(_) => return Ok(None),
        },
    };
    let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
    let found = entry(&String::from_utf8_lossy(&passwd), &name).or_else(|| entry(&getent(&name), &name));
    let wrong = |why| GitError::User { name: name.clone(), why };
    match found {
        // Everybody who runs something as `nobody` could write into the copy, and decide what is applied.
        Some(account) if account.uid == 65_534 => {
            Err(wrong("nobody is everybody's: it could be used to change what is read"))
        }
        Some(account) if account.uid == 0 => Ok(None),
        Some(account) => Ok(Some(account)),
        None if named.is_some() => Err(wrong("there is no such user")),
        None => Ok(None),
    }
}

fn entry(passwd: &str, name: &UserName) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields[..] {
            [of, _, uid, gid, ..] if of == name.as_str() => {
                Some(Account { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
            }
            _ => None,
        }
    })
}

/// What a directory service knows; nothing if there is none.
fn getent(name: &UserName) -> String {
    let asked = Command::new("getent")
        .args(["--", "passwd", name.as_str()])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output();
    asked.map(|answer| String::from_utf8_lossy(&answer.stdout).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd = "gitx:x:7:7:::\ngit:x:999:998::/:/bin/false\nodd:x:a:b:::\n";
        let find = |name: &str| entry(passwd, &name.parse().expect("a name"));
        assert_eq!(find("git"), Some(Account { uid: 999, gid: 998 }));
        assert_eq!((find("gi"), find("odd")), (None, None));
    }

    #[test]
    fn nobody_and_unknown_users_are_refused_and_root_is_no_other_user() {
        for name in ["nobody", "bluegreen-not-there"] {
            assert!(matches!(find(Some(&name.parse().expect("a name"))), Err(GitError::User { .. })), "{name}");
        }
        assert_eq!(find(Some(&"root".parse().expect("a name"))).expect("found"), None);
    }
}
