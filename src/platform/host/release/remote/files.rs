//! What a site names for what it fetches: credentials, in a file of root's or in a Secret of the hub, and certificates.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use rustix::fs::{FileType, OFlags};
use serde::Deserialize;

use super::{refused, transient};
use crate::api::remote::{Access, Credentials, SecretName};
use crate::api::types::AbsPath;
use crate::platform::Fault;
use crate::platform::host::afar::{Sealed, Secrets, Unread};
use crate::platform::host::release::beneath;

const FIELD: &str = "spec.target.host.release.credentials";
/// What a Secret may hold: what `kubectl create secret docker-registry` makes, the same file under its own name, and lines as in a file.
const KEYS: [&str; 3] = [".dockerconfigjson", "config.json", "netrc"];
const LARGEST: u64 = 1 << 20;

/// Who else may do what with a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// Nobody may read it.
    Nobody,
    /// Nobody may write in it.
    Unwritable,
}

/// Reads a file that must be root's.
pub(super) fn read(path: &AbsPath, who: Who, field: &str) -> Result<Vec<u8>, Fault> {
    let wrong = |why: &str| refused("CredentialsUnsafe", format!("{field}: {path} {why}"));
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = beneath::absolute(path.as_path(), flags).map_err(|error| match beneath::link_in(path.as_path()) {
        Some((link, _)) => wrong(&format!(
            "goes through the link {}, and links are not followed here: name what it leads to",
            link.display()
        )),
        None => refused("CredentialsMissing", format!("{field}: {path}: {error}")),
    })?;
    let stat = rustix::fs::fstat(fd.as_fd()).map_err(|error| transient(format!("{field}: {path}: {error}")))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(wrong("is no regular file"));
    }
    let own = rustix::process::geteuid().as_raw();
    if stat.st_uid != own {
        return Err(wrong(&format!("belongs to the user with number {}: `chown root` it", stat.st_uid)));
    }
    match who {
        Who::Nobody if stat.st_mode & 0o077 != 0 => {
            return Err(wrong(&format!("may be read by others (mode {:04o}): `chmod 600` it", stat.st_mode & 0o7777)));
        }
        Who::Unwritable if stat.st_mode & 0o022 != 0 => {
            return Err(wrong(&format!(
                "may be written by others (mode {:04o}): `chmod 644` it",
                stat.st_mode & 0o7777
            )));
        }
        _ => {}
    }
    let mut text = Vec::new();
    File::from(fd)
        .take(LARGEST)
        .read_to_end(&mut text)
        .map_err(|error| transient(format!("{field}: {path}: {error}")))?;
    Ok(text)
}

/// What the host is told of who asks; `None`: nothing. It is marked so that nothing prints it.
pub(super) async fn authorization(
    access: &Access,
    host: &str,
    secrets: Option<&dyn Secrets>,
) -> Result<Option<HeaderValue>, Fault> {
    let (text, source) = match &access.credentials {
        None => return Ok(None),
        Some(Credentials::Secret(name)) => (of_hub(name, secrets).await?, format!("{FIELD}.secret: the Secret {name}")),
        Some(Credentials::File(file)) => {
            let field = format!("{FIELD}.file");
            (read(file, Who::Nobody, &field)?, format!("{field}: {file}"))
        }
    };
    // Never a word of the text itself in a message.
    let unreadable = |why: &str| refused("CredentialsUnusable", format!("{source} {why}"));
    let text = std::str::from_utf8(&text).map_err(|_| unreadable("is no text"))?;
    let found = if text.trim_start().starts_with('{') { docker(text, host) } else { netrc(text, host) };
    let (user, password) = found.map_err(unreadable)?.ok_or_else(|| {
        unreadable(&format!(
            "says nothing of {host}: add a line `machine {host} login USER password WORD`, or `docker login {host}`"
        ))
    })?;
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
        .map_err(|_| unreadable("holds what no header can"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// What a Secret says of who asks.
async fn of_hub(name: &SecretName, secrets: Option<&dyn Secrets>) -> Result<Vec<u8>, Fault> {
    let Some(secrets) = secrets else {
        return Err(refused(
            "SecretNotReadable",
            format!(
                "{FIELD}.secret: the Secret {name} would be one of a hub, and this site does not come from one; name a file of this host instead: \
                 credentials: {{ file: /etc/bluegreen/registry.json }}"
            ),
        ));
    };
    let Sealed(mut data) = secrets.read(name.clone()).await.map_err(|unread| match unread {
        Unread::Refused(why) => refused("SecretNotReadable", format!("{FIELD}.secret: {why}")),
        Unread::Away(why) => {
            transient(format!("{FIELD}.secret: the Secret {name} can't be read now, and is asked for again: {why}"))
        }
    })?;
    KEYS.iter().find_map(|key| data.remove(*key)).ok_or_else(|| {
        let keys = KEYS.join(", ");
        refused(
            "CredentialsUnusable",
            format!(
                "{FIELD}.secret: the Secret {name} has none of the keys {keys}: make it with `kubectl create secret docker-registry`, or with \
                 `kubectl create secret generic {name} --from-file=netrc=FILE`"
            ),
        )
    })
}

type Found = Result<Option<(String, String)>, &'static str>;

#[derive(Deserialize)]
struct Docker {
    #[serde(default)]
    auths: std::collections::BTreeMap<String, Auth>,
}

#[derive(Deserialize)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

/// `config.json` as `docker login` writes it. No helper program is ever started.
fn docker(text: &str, host: &str) -> Found {
    let docker: Docker = serde_json::from_str(text).map_err(|_| "is no JSON as `docker login` writes it")?;
    let of = |key: &str| {
        let key = key.strip_prefix("https://").unwrap_or(key);
        let key = key.split('/').next().unwrap_or_default();
        key == host || (host == "registry-1.docker.io" && key == "index.docker.io")
    };
    let Some((_, auth)) = docker.auths.into_iter().find(|(key, _)| of(key)) else { return Ok(None) };
    if let (Some(user), Some(password)) = (auth.username, auth.password) {
        return Ok(Some((user, password)));
    }
    let both = auth
        .auth
        .filter(|auth| !auth.is_empty())
        .ok_or("keeps the password in a helper program, and none is started here")?;
    let both = STANDARD.decode(both).map_err(|_| "has an auth that is no base64")?;
    let both = String::from_utf8(both).map_err(|_| "has an auth that is no text")?;
    let (user, password) = both.split_once(':').ok_or("has an auth without ':'")?;
    Ok(Some((user.to_owned(), password.to_owned())))
}

/// `machine HOST login USER password WORD`, over however many lines.
fn netrc(text: &str, host: &str) -> Found {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mut words = lines.flat_map(str::split_whitespace);
    let (mut here, mut user, mut password) = (false, None, None);
    while let Some(word) = words.next() {
        match word {
            "machine" if here => break,
            "machine" => here = words.next() == Some(host),
            "default" if here => break,
            "default" => {}
            "login" | "password" | "account" => {
                let value = words.next().ok_or("ends in the middle")?;
                match word {
                    "login" if here => user = Some(value),
                    "password" if here => password = Some(value),
                    _ => {}
                }
            }
            _ => {
                return Err(
                    "is neither JSON as `docker login` writes it nor lines of `machine HOST login USER password WORD`",
                );
            }
        }
    }
    match (user, password) {
        (Some(user), Some(password)) => Ok(Some((user.to_owned(), password.to_owned()))),
        _ => Ok(None),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_for_the_host_that_they_name_and_no_other() {
        let lines =
            "# ours\nmachine a.example login joe password one\nmachine b.example:5000\n  login ann\n  password two\n";
        assert_eq!(netrc(lines, "a.example").unwrap(), Some(("joe".into(), "one".into())));
        assert_eq!(netrc(lines, "b.example:5000").unwrap(), Some(("ann".into(), "two".into())));
        assert_eq!(netrc(lines, "b.example").unwrap(), None);
        assert_eq!(netrc("default login x password y", "a.example").unwrap(), None);
        assert!(netrc("joe:one", "a.example").is_err());
        let json = r#"{"auths":{"a.example":{"auth":"am9lOm9uZTp0d28="},"https://b.example/v1/":{"username":"u","password":"p"},"c.example":{}}}"#;
        assert_eq!(docker(json, "a.example").unwrap(), Some(("joe".into(), "one:two".into())));
        assert_eq!(docker(json, "b.example").unwrap(), Some(("u".into(), "p".into())));
        assert_eq!(docker(json, "d.example").unwrap(), None);
        assert!(docker(json, "c.example").is_err());
    }
}
