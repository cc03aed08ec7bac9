//! What the agent is told of a repository: `git:` of its configuration, and the words of the command line that stand before it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::account;
use super::names::{GitPath, GitRef, GitUrl, Transport};
use crate::api::requests::parse_size;
use crate::api::span;
use crate::api::types::{AbsPath, UserName};

/// The repository that this host follows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GitConfig {
    /// Where it is.
    pub url: GitUrl,
    /// The branch or tag that is followed. Default: `main`.
    #[serde(rename = "ref", default)]
    pub reference: GitRef,
    /// The folder in it that holds the manifests. Default: its top.
    #[serde(default)]
    pub path: GitPath,
    /// How often it is asked for. Default: every minute.
    #[serde(default = "every_minute", deserialize_with = "a_span")]
    pub interval: Duration,
    /// The key that is shown to an ssh server.
    pub ssh_key_file: Option<PathBuf>,
    /// The ssh servers that are believed, as `ssh-keyscan` prints them.
    pub known_hosts_file: Option<PathBuf>,
    /// The token that is shown to an HTTPS server.
    pub token_file: Option<PathBuf>,
    /// What an HTTPS server's certificate is judged by. Default: what the machine trusts.
    pub ca_file: Option<PathBuf>,
    /// The user that Git runs as. Default: `bluegreen-git`, if there is one, and otherwise root.
    pub user: Option<UserName>,
    /// What a repository may take on this disk, in bytes. Default: 1Gi.
    #[serde(default = "a_gibibyte", deserialize_with = "a_size")]
    pub size_limit: u64,
    /// Where a server may tell of a push.
    pub webhook: Option<WebhookConfig>,
    /// Who has to have signed a commit.
    pub require_signature: Option<SignatureConfig>,
    /// Whether a commit may take all sites away.
    #[serde(default)]
    pub allow_empty: bool,
}

/// Where a server may tell of a push.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookConfig {
    /// An address; with port 0 a free one is taken, and stands in `RUNDIR/webhook.addr`.
    pub listen: SocketAddr,
    /// The secret that both sides know.
    pub secret_file: PathBuf,
}

/// Who has to have signed a commit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignatureConfig {
    /// The keys, in the form that `ssh-keygen` calls ALLOWED SIGNERS.
    pub allowed_signers: PathBuf,
}

/// What the command line says of a repository; it stands before the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitWords {
    /// Where it is.
    pub url: Option<GitUrl>,
    /// What is followed.
    pub reference: Option<GitRef>,
    /// The folder in it.
    pub path: Option<GitPath>,
}

impl GitConfig {
    /// This repository, with a default for everything else.
    #[must_use]
    pub fn of(url: GitUrl) -> GitConfig {
        GitConfig {
            url,
            reference: GitRef::default(),
            path: GitPath::default(),
            interval: every_minute(),
            ssh_key_file: None,
            known_hosts_file: None,
            token_file: None,
            ca_file: None,
            user: None,
            size_limit: a_gibibyte(),
            webhook: None,
            require_signature: None,
            allow_empty: false,
        }
    }

    /// The configuration's, with what the command line says.
    ///
    /// # Errors
    /// It says something of a repository that nobody names.
    pub fn with(configured: Option<GitConfig>, words: GitWords) -> Result<Option<GitConfig>, String> {
        let git = match (words.url, configured) {
            (Some(url), Some(git)) => Some(GitConfig { url, ..git }),
            (Some(url), None) => Some(GitConfig::of(url)),
            (None, git) => git,
        };
        match git {
            Some(git) => Ok(Some(GitConfig {
                reference: words.reference.unwrap_or(git.reference),
                path: words.path.unwrap_or(git.path),
                ..git
            })),
            None if words.reference.is_some() || words.path.is_some() => Err(
                "--ref and --path are about a repository: name it with --git URL, or as git.url of the configuration"
                    .to_owned(),
            ),
            None => Ok(None),
        }
    }

    /// The files of this machine that it names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let webhook = self.webhook.as_ref().map(|webhook| &webhook.secret_file);
        let signers = self.require_signature.as_ref().map(|signature| &signature.allowed_signers);
        let own = [&self.ssh_key_file, &self.known_hosts_file, &self.token_file, &self.ca_file];
        own.into_iter().filter_map(Option::as_ref).chain(webhook).chain(signers).map(PathBuf::as_path)
    }

    /// Whether an app that runs as this user could change what is read of the repository.
    #[must_use]
    pub fn is_its_user(&self, user: &UserName) -> bool {
        self.user.as_ref().map_or(user.as_str() == account::USUAL, |own| own == user)
    }

    /// Whether its parts go together.
    ///
    /// # Errors
    /// What doesn't, with its key, and what would be right.
    pub fn check(&self, state: &Path) -> Result<(), String> {
        let https = self.url.transport() == Transport::Https;
        let only = |there: bool, key: &str, what: &str| match there {
            true => {
                Err(format!("git.{key}: is for {what}, and git.url is {}: leave it out, or name another url", self.url))
            }
            false => Ok(()),
        };
        only(https && self.ssh_key_file.is_some(), "sshKeyFile", "ssh")?;
        only(https && self.known_hosts_file.is_some(), "knownHostsFile", "ssh")?;
        only(!https && self.token_file.is_some(), "tokenFile", "https")?;
        only(!https && self.ca_file.is_some(), "caFile", "https")?;
        if !https && self.ssh_key_file.is_none() {
            return Err(format!(
                "git.sshKeyFile: is missing, and {} is asked by ssh: make a key with `ssh-keygen -t ed25519 -N '' -f FILE`, let the server know \
                 FILE.pub for reading, and name FILE here",
                self.url
            ));
        }
        if !https && self.known_hosts_file.is_none() {
            return Err(format!(
                "git.knownHostsFile: is missing, and {} is asked by ssh: without it anybody between could be the server. Write what `ssh-keyscan HOST` \
                 prints to a file, compare it with what the server's owner tells you, and name it here",
                self.url
            ));
        }
        if self.interval < Duration::from_secs(1) {
            return Err("git.interval: is less than a second; a webhook is quicker than asking often".to_owned());
        }
        if self.size_limit < 1 << 20 {
            return Err("git.sizeLimit: is less than 1Mi, which the smallest repository takes".to_owned());
        }
        if state.to_str().is_none_or(|text| text.parse::<AbsPath>().is_err()) {
            return Err(format!(
                "stateDir: {} holds characters that ssh can't be told of; with git: take letters, digits, '-', '_' and '.'",
                state.display()
            ));
        }
        let files = [
            ("sshKeyFile", self.ssh_key_file.as_ref()),
            ("knownHostsFile", self.known_hosts_file.as_ref()),
            ("tokenFile", self.token_file.as_ref()),
            ("caFile", self.ca_file.as_ref()),
            ("webhook.secretFile", self.webhook.as_ref().map(|webhook| &webhook.secret_file)),
            ("requireSignature.allowedSigners", self.require_signature.as_ref().map(|wanted| &wanted.allowed_signers)),
        ];
        for (key, file) in files {
            if let Some(file) = file.filter(|file| !file.is_absolute()) {
                return Err(format!("git.{key}: {} is not an absolute path", file.display()));
            }
        }
        Ok(())
    }
}

fn every_minute() -> Duration {
    Duration::from_secs(60)
}

fn a_gibibyte() -> u64 {
    1 << 30
}

fn a_span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    span::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn a_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    parse_size(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<GitConfig, String> {
        let git: GitConfig = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        git.check(Path::new("/var/lib/bluegreen")).map(|()| git)
    }

    #[test]
    fn every_key_is_read_and_all_but_one_have_a_default() {
        let least = read("url: https://git.example.com/sites.git").expect("valid");
        assert_eq!(least, GitConfig::of("https://git.example.com/sites.git".parse().expect("a url")));
        let all = "
url: git@git.example.com:sites.git
ref: refs/tags/live
path: sites/
interval: 30s
sshKeyFile: /k
knownHostsFile: /h
user: bluegreen-git
sizeLimit: 20Mi
webhook: { listen: '127.0.0.1:9416', secretFile: /s }
requireSignature: { allowedSigners: /a }
allowEmpty: true
";
        let all = read(all).expect("valid");
        assert_eq!((all.interval, all.size_limit, all.allow_empty), (Duration::from_secs(30), 20 << 20, true));
        assert_eq!(all.reference.whole(), "refs/tags/live");
    }

    #[test]
    fn what_does_not_go_together_is_said_with_its_key() {
        for (text, says) in [
            ("url: file:///srv/sites", "https://HOST/PATH"),
            ("url: https://h/x\nref: --upload-pack=x", "branch"),
            ("url: https://h/x\npath: ../x", "folder"),
            ("url: git@h:x", "git.sshKeyFile"),
            ("url: git@h:x\nsshKeyFile: /k", "git.knownHostsFile"),
            ("url: https://h/x\nsshKeyFile: /k", "git.sshKeyFile"),
            ("url: git@h:x\nsshKeyFile: /k\nknownHostsFile: /h\ntokenFile: /t", "git.tokenFile"),
            ("url: https://h/x\ntokenFile: t", "not an absolute path"),
            ("url: https://h/x\ninterval: 10ms", "git.interval"),
            ("url: https://h/x\ninterval: soon", "span of time"),
            ("url: https://h/x\nsizeLimit: 1Ki", "git.sizeLimit"),
            ("url: https://h/x\nbranch: main", "branch"),
        ] {
            let why = read(text).expect_err("invalid");
            assert!(why.contains(says), "{text}: {why}");
        }
    }

    #[test]
    fn the_command_line_stands_before_the_configuration() {
        let words = |url: Option<&str>, reference: Option<&str>| GitWords {
            url: url.map(|text| text.parse().expect("a url")),
            reference: reference.map(|text| text.parse().expect("a branch")),
            path: None,
        };
        assert_eq!(GitConfig::with(None, GitWords::default()), Ok(None));
        assert!(GitConfig::with(None, words(None, Some("x"))).is_err());
        let configured = read("url: https://h/x\ninterval: 5s").expect("valid");
        let both =
            GitConfig::with(Some(configured), words(Some("https://h/y"), Some("x"))).expect("valid").expect("one");
        assert_eq!((both.url.as_str(), both.reference.whole()), ("https://h/y", "refs/heads/x"));
        assert_eq!(both.interval, Duration::from_secs(5));
    }
}
