//! Who runs an app: a user name, looked up in the files in which a host lists its users.
//!
//! Users that only a directory service knows are not found; `direct` is for containers and small machines, which have none.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::api::types::UserName;

/// A user, as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user's number.
    pub uid: u32,
    /// The user's own group.
    pub gid: u32,
    /// All groups that the user is in, the own one too.
    pub groups: Vec<u32>,
}

/// The lists of users and groups.
#[derive(Clone, Debug)]
pub struct Accounts {
    passwd: PathBuf,
    group: PathBuf,
}

/// Why a user could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum NoAccount {
    /// There is no such user.
    #[error("there is no user {user} in {}: create it with `useradd --create-home {user}`, or name another in `user`", file.display())]
    Unknown {
        /// Who was looked for.
        user: UserName,
        /// Where.
        file: PathBuf,
    },
    /// A list can't be read.
    #[error("cannot read {}", file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Default for Accounts {
    /// Those of this host.
    fn default() -> Accounts {
        Accounts::new("/etc/passwd".into(), "/etc/group".into())
    }
}

impl Accounts {
    /// Lists in the form of passwd(5) and group(5).
    #[must_use]
    pub fn new(passwd: PathBuf, group: PathBuf) -> Accounts {
        Accounts { passwd, group }
    }

    /// Looks a user up.
    ///
    /// # Errors
    /// There is no such user, or a list can't be read.
    pub fn find(&self, user: &UserName) -> Result<Account, NoAccount> {
        let passwd = read(&self.passwd)?;
        let (uid, gid) = passwd
            .lines()
            .find_map(|line| user_of(line, user.as_str()))
            .ok_or_else(|| NoAccount::Unknown { user: user.clone(), file: self.passwd.clone() })?;
        let mut groups = vec![gid];
        groups.extend(read(&self.group)?.lines().filter_map(|line| group_of(line, user.as_str())));
        groups.sort_unstable();
        groups.dedup();
        Ok(Account { uid, gid, groups })
    }
}

fn read(file: &PathBuf) -> Result<String, NoAccount> {
    fs::read_to_string(file).map_err(|source| NoAccount::Unreadable { file: file.clone(), source })
}

/// `name:password:uid:gid:…`
fn user_of(line: &str, user: &str) -> Option<(u32, u32)> {
    let mut fields = line.split(':');
    if fields.next()? != user {
        return None;
    }
    let mut numbers = fields.skip(1).map(|field| field.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// `name:password:gid:member,member`
fn group_of(line: &str, user: &str) -> Option<u32> {
    let mut fields = line.split(':').skip(2);
    let gid = fields.next()?.parse().ok()?;
    fields.next()?.split(',').any(|member| member == user).then_some(gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_its_own_group_and_those_that_list_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let (passwd, group) = (dir.path().join("passwd"), dir.path().join("group"));
        fs::write(&passwd, "root:x:0:0:root:/root:/bin/sh\nshop:x:1001:1002::/srv:/bin/sh\nbad:x:one:two::\n")
            .expect("passwd");
        fs::write(&group, "www:x:33:mail,shop\nshop:x:1002:\nother:x:5:shopper\n").expect("group");
        let accounts = Accounts::new(passwd, group);
        let shop = accounts.find(&"shop".parse().expect("a name")).expect("a user");
        assert_eq!(shop, Account { uid: 1001, gid: 1002, groups: vec![33, 1002] });
        for missing in ["shopper", "bad", "sho"] {
            assert!(accounts.find(&missing.parse().expect("a name")).is_err(), "{missing}");
        }
    }
}
