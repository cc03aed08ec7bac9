//! The copy of the repository that this host keeps: bare, with no history but the newest commit and no file but the manifests, where the server can
//! leave out the rest. It is a copy and nothing else: lost, it is fetched anew.

use std::time::Duration;

use super::account;
use super::config::GitConfig;
use super::error::{GitError, Untaken};
use super::keys;
use super::program::{Call, Git, size_of};
use super::tree::{self, Entry};
use crate::api::names::reasons;
use crate::control::api::MANIFEST_LIMIT;

/// A fetch may take so long.
const FETCH_WITHIN: Duration = Duration::from_secs(600);
/// To be told what a branch names may take so long.
const ASK_WITHIN: Duration = Duration::from_secs(60);
/// So much all manifests of a commit may be together.
const ALL_MANIFESTS: usize = 16 << 20;
/// So many commits are looked back for the one that was followed before.
pub const LOOK_BACK: usize = 200;
/// What we call the newest commit.
const TIP: &str = "refs/bluegreen/tip";

/// How a commit stands to the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Descent {
    /// The one before is among its ancestors.
    Follows,
    /// It isn't, as far as was looked.
    Rewritten,
    /// It could not be told.
    Unknown(String),
}

/// What was read of files.
#[derive(Debug)]
pub enum Read {
    /// All of it.
    All(Vec<Vec<u8>>),
    /// One of them is larger than a manifest may be.
    TooLarge {
        /// Which.
        index: usize,
        /// Its size in bytes.
        size: u64,
    },
    /// Together they are too large.
    TooMany {
        /// What they may be together, in bytes.
        most: u64,
    },
}

/// The copy.
#[derive(Clone, Debug)]
pub struct Mirror {
    git: Git,
    config: GitConfig,
}

impl Mirror {
    /// The copy below this state folder; ends what an earlier agent left behind.
    pub fn open(state: &std::path::Path, config: &GitConfig) -> Result<Mirror, GitError> {
        let account = account::find(config.user.as_ref())?;
        let git = Git { folder: state.join("git"), account, size_limit: config.size_limit };
        git.make(&git.folder, 0o711, false)?;
        keys::take_away(&git)?;
        git.recover()?;
        Ok(Mirror { git, config: config.clone() })
    }

    /// Whether Git runs as root.
    pub fn is_roots(&self) -> bool {
        self.git.account.is_none()
    }

    /// Whether this machine's Git is one that knows what it is told here.
    pub async fn check_program(&self) -> Result<(), GitError> {
        let text = self.git.run(Call::local("asking git for its version", &["version"])).await?;
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        let mut numbers =
            text.trim_start_matches("git version ").split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        if (numbers.next(), numbers.next()) < (Some(2), Some(34)) {
            return Err(GitError::TooOld { version: text });
        }
        Ok(())
    }

    /// Removes the copy.
    pub fn forget(&self) -> Result<(), GitError> {
        self.git.forget_mirror()
    }

    /// What the branch or tag names now, as the server says; the copy is not touched.
    pub async fn ask(&self) -> Result<String, GitError> {
        self.ready().await?;
        let reference = self.config.reference.whole();
        let what = "asking the repository";
        let mut call = self.remote(what, &["ls-remote", "--quiet", "--end-of-options", "origin", reference])?;
        (call.within, call.writes) = (ASK_WITHIN, false);
        let answer = self.finish(self.git.run(call).await)?;
        let text = String::from_utf8_lossy(&answer).into_owned();
        let named = text.lines().find_map(|line| line.split_once('\t').filter(|(_, name)| *name == reference));
        let (object, _) = named.ok_or_else(|| GitError::Failed {
            what,
            said: format!(
                "{} has no {reference}: push it, or name another branch (git.ref; a tag is written refs/tags/NAME)",
                self.config.url
            ),
        })?;
        commit_id(what, object)
    }

    /// Fetches what the branch or tag names now: the commit.
    pub async fn fetch(&self) -> Result<String, GitError> {
        if size_of(&self.git.mirror()) > self.config.size_limit / 2 {
            // Nothing in it is needed again, and without what was left out before it takes less.
            self.forget()?;
        }
        self.ready().await?;
        let what = "fetching the repository";
        let result = self.finish(self.git.run(self.fetching(what, "--depth=1", "--filter=blob:none")?).await);
        if let Err(GitError::Failed { .. }) = &result {
            // Whatever is wrong with the copy must not stand in the way for ever.
            self.forget()?;
        }
        result?;
        self.tip().await
    }

    fn fetching(&self, what: &'static str, depth: &str, filter: &str) -> Result<Call, GitError> {
        let refspec = format!("+{}:{TIP}", self.config.reference.whole());
        let args = [&FETCH[..], &["--force", depth, filter, "--end-of-options", "origin", &refspec]].concat();
        self.remote(what, &args)
    }

    /// The commit that was fetched last.
    pub async fn tip(&self) -> Result<String, GitError> {
        let what = "looking at what was fetched";
        let name = format!("{TIP}^{{commit}}");
        let answer = self.git.run(Call::local(what, &["rev-parse", "--verify", "--quiet", &name])).await?;
        commit_id(what, String::from_utf8_lossy(&answer).trim())
    }

    /// How a commit stands to the one that was followed before.
    pub async fn descent(&self, commit: &str, before: &str) -> Descent {
        let told = async {
            let object = self.git.run(Call::local("reading the commit", &["cat-file", "commit", commit])).await?;
            let text = String::from_utf8_lossy(&object).into_owned();
            let head = text.lines().take_while(|line| !line.is_empty());
            let parents: Vec<&str> = head.filter_map(|line| line.strip_prefix("parent ")).collect();
            if parents.contains(&before) {
                return Ok(true);
            }
            if parents.is_empty() {
                return Ok(false);
            }
            let what = "fetching the history";
            let depth = format!("--depth={LOOK_BACK}");
            self.finish(self.git.run(self.fetching(what, &depth, "--filter=tree:0")?).await)?;
            let mut call = Call::local("reading the history", &["rev-list", commit]);
            call.most = 16 << 20;
            let all = self.git.run(call).await?;
            Ok(String::from_utf8_lossy(&all).lines().any(|line| line == before))
        };
        match told.await {
            Ok(true) => Descent::Follows,
            Ok(false) => Descent::Rewritten,
            Err(error) => Descent::Unknown(GitError::to_string(&error)),
        }
    }

    /// Who signed a commit, if one of those that may did.
    pub async fn signer(&self, commit: &str, signers: &std::path::Path) -> Result<String, Untaken> {
        let file = keys::signers(&self.git, signers)?;
        let mut call = Call::local("verifying the signature", &["verify-commit", "--raw", commit]);
        let set = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        call.config = [
            ("gpg.format", "ssh"),
            ("gpg.ssh.program", "ssh-keygen"),
            ("gpg.ssh.allowedSignersFile", &file),
            // Keys that somebody once put into a keyring are nobody's here.
            ("gpg.program", "/bin/false"),
            ("gpg.openpgp.program", "/bin/false"),
            ("gpg.x509.program", "/bin/false"),
            ("gpg.minTrustLevel", "fully"),
        ]
        .map(set)
        .to_vec();
        let answer = self.git.ask(call).await;
        keys::take_away(&self.git)?;
        let answer = answer?;
        let good = "Good \"git\" signature for ";
        let signer = answer.complaint.split_once(good).and_then(|(_, rest)| rest.split_once(" with "));
        match (answer.code, signer) {
            (Some(0), Some((name, _))) => Ok(name.to_owned()),
            _ => {
                let said =
                    if answer.complaint.is_empty() { "it has no signature".to_owned() } else { answer.complaint };
                Err(Untaken::Refused(super::error::Refusal {
                    reason: reasons::COMMIT_REFUSED,
                    why: format!(
                        "it is not signed by anybody that {} names (git.requireSignature): {said}. Sign it with ssh (git config gpg.format ssh; git commit \
                         -S), or add who signed it to that file",
                        signers.display()
                    ),
                    at_fault: Vec::new(),
                }))
            }
        }
    }

    /// What lies in the folder of manifests of a commit; `None`: there is no such folder.
    pub async fn list(&self, commit: &str) -> Result<Option<Vec<Entry>>, GitError> {
        let mut call = Call::local("looking for the folder", &["cat-file", "--batch-check"]);
        call.input = format!("{}\n", self.config.path.tree_of(commit)).into_bytes();
        let answer = self.git.run(call).await?;
        let text = String::from_utf8_lossy(&answer).trim().to_owned();
        let fields: Vec<&str> = text.split(' ').collect();
        let [object, "tree", _] = fields[..] else { return Ok(None) };
        let what = "listing the folder";
        let mut call = Call::local(what, &["ls-tree", "-z", &commit_id(what, object)?]);
        call.most = 4 << 20;
        Ok(Some(tree::entries(&self.git.run(call).await?)?))
    }

    /// The content of files, in the order asked; fetches what the copy lacks.
    pub async fn read(&self, objects: &[String]) -> Result<Read, GitError> {
        if objects.is_empty() {
            return Ok(Read::All(Vec::new()));
        }
        let ask = |how: &str, objects: &[String]| {
            let mut call = Call::local("reading the manifests", &["cat-file", how]);
            call.most = ALL_MANIFESTS;
            call.input = format!("{}\n", objects.join("\n")).into_bytes();
            call
        };
        let sizes = match self.git.run(ask("--batch-check", objects)).await {
            // What isn't there may not be asked for by the way.
            Err(GitError::Failed { .. }) => {
                let args = [&FETCH[..], &["--filter=blob:none", "--stdin", "origin"]].concat();
                let mut call = self.remote("fetching the manifests", &args)?;
                call.input = format!("{}\n", objects.join("\n")).into_bytes();
                call.config.push(("fetch.negotiationAlgorithm".to_owned(), "noop".to_owned()));
                self.finish(self.git.run(call).await)?;
                self.git.run(ask("--batch-check", objects)).await?
            }
            sizes => sizes?,
        };
        let sizes = tree::sizes(&sizes, objects)?;
        if let Some(over) = sizes.iter().position(|size| *size > MANIFEST_LIMIT as u64) {
            return Ok(Read::TooLarge { index: over, size: sizes[over] });
        }
        if sizes.iter().sum::<u64>() > ALL_MANIFESTS as u64 / 2 {
            return Ok(Read::TooMany { most: ALL_MANIFESTS as u64 / 2 });
        }
        Ok(Read::All(tree::contents(&self.git.run(ask("--batch", objects)).await?, objects)?))
    }

    /// Makes the copy, if there is none.
    async fn ready(&self) -> Result<(), GitError> {
        let mirror = self.git.mirror();
        if mirror.join("bluegreen").exists() {
            return Ok(());
        }
        self.forget()?;
        self.git.make(&mirror, 0o700, true)?;
        self.git.run(Call::local("making the copy", &["init", "--quiet", "--bare", "--template="])).await?;
        for (key, value) in [("core.repositoryFormatVersion", "1"), ("extensions.partialClone", "origin")] {
            self.git.run(Call::local("making the copy", &["config", "--local", key, value])).await?;
        }
        // The last step: without it the copy was not made whole.
        self.git.make(&mirror.join("bluegreen"), 0o700, true)
    }

    fn remote(&self, what: &'static str, args: &[&str]) -> Result<Call, GitError> {
        let shown = keys::lay_out(&self.git, &self.config)?;
        let mut call = Call::local(what, args);
        (call.config, call.env) = (shown.config, shown.env);
        call.transport = Some(self.config.url.transport().name());
        (call.within, call.most, call.writes) = (FETCH_WITHIN, 1 << 20, true);
        Ok(call)
    }

    /// After a call that was shown keys.
    fn finish(&self, answer: Result<Vec<u8>, GitError>) -> Result<Vec<u8>, GitError> {
        keys::take_away(&self.git)?;
        answer
    }
}

/// How each fetch begins.
const FETCH: [&str; 6] =
    ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--no-auto-maintenance"];

/// What Git names an object by.
fn commit_id(what: &'static str, text: &str) -> Result<String, GitError> {
    let hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if hex && matches!(text.len(), 40 | 64) {
        return Ok(text.to_owned());
    }
    Err(GitError::Nonsense { what, said: text.chars().take(80).collect() })
}
