//! The user that a site runs as, looked up and judged: never root, never a system user.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use crate::api::types::UserName;
use crate::platform::{Class, Fault};

/// A user account that a site may run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: UserName,
    /// Its number; never 0.
    pub uid: u32,
    /// The number of its own group; never 0.
    pub gid: u32,
    /// Its home folder.
    pub home: PathBuf,
    /// The numbers of all groups that it is in, its own among them; never 0.
    pub groups: Vec<u32>,
}

/// The user can't run a site.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// There is none of this name.
    #[error("there is no user {name} on this machine; make one: `adduser --disabled-password --gecos '' {name}`")]
    Unknown {
        /// The name.
        name: UserName,
    },
    /// It is root, by number or by group.
    #[error(
        "a site never runs as root, and {name} {how}; make a user for it, `adduser --disabled-password --gecos '' NAME`, and name that one in \
         spec.target.host.user"
    )]
    Root {
        /// The name.
        name: UserName,
        /// What makes it root.
        how: &'static str,
    },
    /// It belongs to the system.
    #[error(
        "{name} is a system user (number {uid}; people's and sites' start at {least}), which other programs trust; make a user for the site, \
         `adduser --disabled-password --gecos '' NAME`, and name that one in spec.target.host.user"
    )]
    System {
        /// The name.
        name: UserName,
        /// Its number.
        uid: u32,
        /// The lowest number of an ordinary user here.
        least: u32,
    },
    /// The list of users could not be read.
    #[error("could not look up the user {name}: {source}")]
    LookUp {
        /// The name.
        name: UserName,
        /// What the system said.
        source: io::Error,
    },
}

impl AccountError {
    /// The condition's reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            AccountError::LookUp { .. } => "UserNotLookedUp",
            _ => "UserRefused",
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            AccountError::LookUp { .. } => Class::Transient,
            _ => Class::User,
        }
    }
}

impl From<AccountError> for Fault {
    fn from(error: AccountError) -> Fault {
        Fault { class: error.class(), reason: error.reason(), message: error.to_string() }
    }
}

/// Looks `name` up and judges whether a site may run as it. Users that are not in `/etc/passwd` (a directory service's) are asked of
/// `getent`.
///
/// # Errors
/// See [`AccountError`].
pub fn check_user(name: &UserName) -> Result<Account, AccountError> {
    let look_up = |source| AccountError::LookUp { name: name.clone(), source };
    let least = least_uid(&fs::read_to_string("/etc/login.defs").unwrap_or_default());
    let passwd = read_lossy("/etc/passwd").map_err(look_up)?;
    let group = read_lossy("/etc/group").map_err(look_up)?;
    match judge(name, &passwd, &group, least) {
        Err(AccountError::Unknown { .. }) => {
            let passwd = getent("passwd", name).map_err(look_up)?;
            let mut account = judge(name, &passwd, &group, least)?;
            // `getent initgroups` answers "NAME  100 101": numbers after the name.
            let groups = getent("initgroups", name).map_err(look_up)?;
            account.groups.extend(groups.split_whitespace().skip(1).filter_map(|number| number.parse::<u32>().ok()));
            tidy(account)
        }
        judged => judged,
    }
}

/// The account of `name` according to these files.
fn judge(name: &UserName, passwd: &str, group: &str, least: u32) -> Result<Account, AccountError> {
    let unknown = || AccountError::Unknown { name: name.clone() };
    let fields: Vec<&str> = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() == 7 && fields.first() == Some(&name.as_str()))
        .ok_or_else(unknown)?;
    let [_, _, uid, gid, _, home, _] = fields[..] else {
        return Err(unknown());
    };
    let uid: u32 = uid.parse().map_err(|_| unknown())?;
    let gid: u32 = gid.parse().map_err(|_| unknown())?;
    if uid == 0 {
        return Err(AccountError::Root { name: name.clone(), how: "is root" });
    }
    // 65534 is `nobody`, and what the kernel calls everybody that it has no number for.
    if uid < least || uid == 65_534 || uid == u32::MAX {
        return Err(AccountError::System { name: name.clone(), uid, least });
    }
    let mut groups = vec![gid];
    for line in group.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        if let [_, _, number, members] = fields[..]
            && members.split(',').any(|member| member == name.as_str())
            && let Ok(number) = number.parse()
        {
            groups.push(number);
        }
    }
    tidy(Account { name: name.clone(), uid, gid, home: PathBuf::from(home), groups })
}

fn tidy(mut account: Account) -> Result<Account, AccountError> {
    account.groups.sort_unstable();
    account.groups.dedup();
    if account.groups.contains(&0) {
        return Err(AccountError::Root { name: account.name, how: "is in root's group" });
    }
    Ok(account)
}

/// `UID_MIN` of `/etc/login.defs`: where ordinary users start.
fn least_uid(login_defs: &str) -> u32 {
    login_defs
        .lines()
        .filter_map(|line| line.trim().strip_prefix("UID_MIN"))
        .filter_map(|rest| rest.split_whitespace().next()?.parse().ok())
        .next_back()
        .unwrap_or(1000)
}

fn read_lossy(path: &str) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
}

/// What `getent` says; nothing if it isn't there or knows nobody.
fn getent(database: &str, name: &UserName) -> io::Result<String> {
    let asked = Command::new("getent")
        .args(["--", database, name.as_str()])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output();
    match asked {
        Ok(answer) => Ok(String::from_utf8_lossy(&answer.stdout).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\ntoor:x:0:1000::/:/bin/sh\nwww-data:x:33:33:www:/var/www:/usr/sbin/nologin\n\
        nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\nshop:x:1001:1001:Shop,,,:/home/shop:/bin/bash\n\
        half:x:1002\nodd:x:abc:1:::\nwheel:x:1003:1003::/home/wheel:/bin/sh\n";
    const GROUP: &str = "root:x:0:wheel\nshop:x:1001:\nmedia:x:2000:other,shop\nmed:x:2001:shopper\n";

    fn of(name: &str) -> Result<Account, AccountError> {
        judge(&name.parse().unwrap(), PASSWD, GROUP, 1000)
    }

    #[test]
    fn an_ordinary_user_is_taken_with_all_its_groups() {
        let shop = of("shop").unwrap();
        assert_eq!((shop.uid, shop.gid), (1001, 1001));
        assert_eq!(shop.groups, [1001, 2000]);
        assert_eq!(shop.home, PathBuf::from("/home/shop"));
    }

    #[test]
    fn root_is_refused_by_name_by_number_and_by_group() {
        for name in ["root", "toor", "wheel"] {
            let error = of(name).unwrap_err();
            assert_eq!(error.reason(), "UserRefused", "{name}");
            assert!(error.to_string().contains("adduser"), "{error}");
            assert!(error.to_string().contains("never runs as root"), "{error}");
        }
    }

    #[test]
    fn system_users_and_nobody_are_refused() {
        for name in ["www-data", "nobody"] {
            let error = of(name).unwrap_err();
            assert!(matches!(error, AccountError::System { .. }), "{name}: {error}");
            assert!(error.to_string().contains("adduser"), "{error}");
        }
    }

    #[test]
    fn a_user_that_is_not_there_or_not_whole_is_unknown() {
        for name in ["nemo", "half", "odd"] {
            assert!(matches!(of(name).unwrap_err(), AccountError::Unknown { .. }), "{name}");
        }
    }

    #[test]
    fn ordinary_users_start_where_login_defs_says() {
        assert_eq!(least_uid("# UID_MIN 5\nUID_MIN\t\t\t  500\nUID_MAX 60000\n"), 500);
        assert_eq!(least_uid(""), 1000);
    }

    #[test]
    fn on_this_machine_root_is_refused_and_nobody_knows_nemo() {
        assert_eq!(check_user(&"root".parse().unwrap()).unwrap_err().reason(), "UserRefused");
        assert!(matches!(check_user(&"nemo-bluegreen".parse().unwrap()).unwrap_err(), AccountError::Unknown { .. }));
    }
}
