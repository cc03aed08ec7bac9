//! `bluegreen push`: puts an archive into the folder in which a site's releases arrive, in one step, and stays until it is live or rejected. On
//! another machine the same command does it there, started by the system's `ssh`, with the archive as its standard input: what crosses the
//! remote shell is words of letters, digits, `.`, `_`, `+` and `-`, and nothing else.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::fs::{AtFlags, Mode, OFlags};
use sha2::{Digest, Sha256 as Hash};
use tokio::time::{Instant, timeout_at};

use super::follow::Follower;
use super::output::print;
use super::place::Place;
use super::render::tree::plain;
use super::source::Source;
use super::view::Site;
use super::{Exit, bare, explain};
use crate::api::span;
use crate::api::types::{AbsPath, Sha256, SiteName};
use crate::platform::host::uploads::{SUM, is_archive, is_release, open};

/// Upload an archive to a site whose manifest names `release.uploads`, and stay until it is live or rejected.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The archive: .tar.gz, .tgz, .zip, .jar or .war; '-' reads it from the standard input.
    archive: PathBuf,

    /// The site.
    site: String,

    /// The machine of the site, by the system's ssh; default: this one.
    #[arg(long, value_name = "[USER@]HOST", value_parser = destination)]
    host: Option<String>,

    /// With --host: the port of its sshd.
    #[arg(long, short, value_name = "PORT", requires = "host")]
    port: Option<u16>,

    /// With --host: a configuration for ssh, instead of ~/.ssh/config.
    #[arg(long, value_name = "FILE", requires = "host")]
    ssh_config: Option<PathBuf>,

    /// What it is to be called there; default: as it is called here.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Only if this is its SHA-256.
    #[arg(long, value_name = "HEX")]
    sha256: Option<Sha256>,

    /// How long to stay at most, as in 90s or 1h30m. 0s: as long as it takes.
    #[arg(long, value_name = "SPAN", default_value = "0s", value_parser = super::apply::span)]
    timeout: Duration,
}

/// What ssh ends with when it did not get as far as the command.
const SSH_FAILED: i32 = 255;

/// A destination for ssh: never an option, and nothing that a shell or ssh itself reads in another way.
fn destination(text: &str) -> Result<String, String> {
    let word = |part: &str, more: &[u8]| {
        let first = part.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric() || first == b'_');
        first && part.bytes().all(|letter| letter.is_ascii_alphanumeric() || more.contains(&letter))
    };
    let (user, host) = text.rsplit_once('@').map_or((None, text), |(user, host)| (Some(user), host));
    let numeric = host.parse::<std::net::IpAddr>().is_ok();
    if user.is_none_or(|user| word(user, b"._-")) && (numeric || word(host, b"._-")) && text.len() <= 255 {
        Ok(text.to_owned())
    } else {
        Err("write USER@HOST, HOST, or an address; a port is given by --port".to_owned())
    }
}

pub(super) async fn run(place: Place, args: Args) -> anyhow::Result<()> {
    let Place::Host(_) = &place else {
        bail!(
            "push is for sites of a plain machine; on a cluster a release is an image: apply a manifest that names it"
        );
    };
    let site: SiteName = bare(&args.site).parse().map_err(|error| anyhow::anyhow!("{error}"))?;
    let name = name(&args)?;
    match &args.host {
        Some(host) => remote(host, &site, &name, &args),
        None => here(&place.open().await?, &site, &name, &args).await,
    }
}

fn name(args: &Args) -> anyhow::Result<String> {
    let own = args.archive.file_name().and_then(|name| name.to_str()).filter(|_| !is_stdin(&args.archive));
    let name = match (&args.name, own) {
        (Some(name), _) => name.as_str(),
        (None, Some(name)) => name,
        (None, None) => bail!("say what it is to be called there: --name shop-1.4.2.tar.gz"),
    };
    let plain = |letter: u8| letter.is_ascii_alphanumeric() || b"._+-".contains(&letter);
    if !is_release(name) || !is_archive(name) || !name.bytes().all(plain) {
        bail!(
            "{name:?} is no name for an archive: letters, digits, '.', '_', '+' and '-', and at its end .tar.gz, .tgz, .zip, .jar or .war; \
             name it with --name"
        );
    }
    Ok(name.to_owned())
}

fn is_stdin(archive: &Path) -> bool {
    archive == Path::new("-")
}

/// The same command on the other machine.
fn remote(host: &str, site: &SiteName, name: &str, args: &Args) -> anyhow::Result<()> {
    if is_stdin(&args.archive) {
        bail!("with --host name the archive's file: its checksum is sent before it");
    }
    let (mut file, sum) = read(args)?;
    file.rewind().with_context(|| format!("{} can't be read again", args.archive.display()))?;
    let mut ssh = Command::new("ssh");
    ssh.arg("-T");
    if let Some(port) = args.port {
        ssh.arg("-p").arg(port.to_string());
    }
    if let Some(config) = &args.ssh_config {
        ssh.arg("-F").arg(config);
    }
    // Words that no shell reads in another way.
    ssh.arg("--").arg(host).args(["bluegreen", "push", "-", site.as_str(), "--name", name, "--sha256", &sum]);
    ssh.args(["--timeout", &format!("{}s", args.timeout.as_secs())]);
    let status = ssh.stdin(Stdio::from(file)).status().context("ssh can't be started; is openssh-client installed?")?;
    match status.code() {
        Some(0) => Ok(()),
        Some(SSH_FAILED) | None => bail!(
            "ssh to {host} failed: nothing was rolled out, unless the connection broke after the upload; look with \
             `ssh {host} bluegreen get {site}` and push again"
        ),
        Some(127) => bail!("there is no bluegreen on {host} (PATH of its ssh sessions): install it there"),
        // It said why, there.
        Some(code) => Err(Exit::quietly(u8::try_from(code).unwrap_or(1)).into()),
    }
}

/// The archive, open, and its checksum, which is that which was asked for.
fn read(args: &Args) -> anyhow::Result<(File, String)> {
    let shown = args.archive.display();
    let mut file = File::open(&args.archive).with_context(|| format!("{shown} can't be read"))?;
    let (sum, bytes) = copy(&mut file, &mut io::sink()).with_context(|| format!("{shown} can't be read"))?;
    if bytes == 0 {
        bail!("{shown} is empty: nothing was uploaded");
    }
    agree(args, &sum)?;
    Ok((file, sum))
}

fn agree(args: &Args, sum: &str) -> anyhow::Result<()> {
    match &args.sha256 {
        Some(wanted) if wanted.as_str() != sum => bail!(
            "{} has the SHA-256 {sum}, and {wanted} was asked for: the upload was cut or is another file; nothing changed, push it again",
            if is_stdin(&args.archive) { "what arrived".to_owned() } else { args.archive.display().to_string() }
        ),
        _ => Ok(()),
    }
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<(String, u64)> {
    let mut hash = Hash::new();
    let mut buffer = vec![0; 128 << 10];
    let mut bytes = 0;
    loop {
        let got = match from.read(&mut buffer) {
            Ok(0) => return Ok((hex::encode(hash.finalize()), bytes)),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(&buffer[..got]);
        to.write_all(&buffer[..got])?;
        bytes += got as u64;
    }
}

async fn here(source: &Source, site: &SiteName, name: &str, args: &Args) -> anyhow::Result<()> {
    let view = match source.site(site.as_str()).await {
        Ok(view) => Site::try_from(view)?,
        Err(error) => return Err(explain(source, site.as_str(), error).await),
    };
    let uploads = view.spec.as_ref().and_then(|spec| match &spec.target {
        crate::api::spec::Target::Host(host) => host.release.uploads.clone(),
        crate::api::spec::Target::Cluster(_) => None,
    });
    let Some(uploads) = uploads else {
        bail!(
            "{site} takes no uploads: write `release: {{ uploads: /srv/{site}/releases }}` into its manifest and apply it"
        );
    };
    let folder: AbsPath = uploads.parse().map_err(|error| anyhow::anyhow!("{error}"))?;
    let sum = put(&folder, name, args, view.upload.as_ref().map(|upload| upload.sha256.as_str()))?;
    let mut follower = Follower::until_uploaded(site.as_str(), &sum);
    let far = Instant::now() + Duration::from_secs(100 * 365 * 86_400);
    let deadline = if args.timeout.is_zero() { far } else { Instant::now() + args.timeout };
    match timeout_at(deadline, follower.follow(source)).await {
        Ok(done) => done,
        Err(_) => {
            let last = follower.last().map(|site| format!(": {}", plain(site))).unwrap_or_default();
            bail!(
                "{name} is not live after {}{last}; the rollout goes on without this wait: {}",
                span::format(args.timeout),
                source.hint(&format!("get {site} -w"))
            )
        }
    }
}

/// Puts the archive into the folder, whole or not at all. Returns its checksum.
fn put(folder: &AbsPath, name: &str, args: &Args, wanted: Option<&str>) -> anyhow::Result<String> {
    let opened = open(folder).map_err(|fault| anyhow::anyhow!("{fault}"))?;
    let at = format!("{folder}/{name}");
    if rustix::fs::statat(&opened, format!("{name}{SUM}"), AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        bail!("{at}{SUM} lies there already, from an earlier upload: remove it, or push under another name (--name)");
    }
    let mut passing = Passing::make(opened, format!(".{name}.push-{}", std::process::id()))
        .with_context(|| format!("no file can be made in {folder}; who pushes needs to own that folder"))?;
    let done = match &mut passing.file {
        None => Err(io::ErrorKind::NotFound.into()),
        Some(file) if is_stdin(&args.archive) => copy(&mut io::stdin().lock(), file),
        Some(file) => File::open(&args.archive).and_then(|mut archive| copy(&mut archive, file)),
    };
    let (sum, bytes) = done.with_context(|| format!("{at} can't be written"))?;
    if bytes == 0 {
        bail!("the archive is empty: nothing was uploaded");
    }
    agree(args, &sum)?;
    if wanted == Some(&sum) {
        print(&format!("{name} is what is wanted already (sha256 {sum})"))?;
        return Ok(sum);
    }
    if passing.is_there(name, &sum) {
        bail!(
            "{at} lies there already with this very content, and another release arrived since: go back with `bluegreen rollback`, or push it \
             under another name (--name)"
        );
    }
    passing.name(name).with_context(|| format!("{at} can't be written"))?;
    print(&format!("{at} uploaded ({bytes} bytes, sha256 {sum})"))?;
    Ok(sum)
}

/// A file under a name that is none of a release; gone when it is dropped without having got one.
struct Passing {
    folder: OwnedFd,
    /// Closed before it gets its name: what is written under its name is not whole yet.
    file: Option<File>,
    own: Option<String>,
}

impl Passing {
    fn make(folder: OwnedFd, own: String) -> io::Result<Passing> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&folder, own.as_str(), flags, Mode::from_raw_mode(0o644))?;
        Ok(Passing { folder, file: Some(File::from(fd)), own: Some(own) })
    }

    /// Whether a file of this name and content is there.
    fn is_there(&self, name: &str, sum: &str) -> bool {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(fd) = rustix::fs::openat(self.folder.as_fd(), name, flags, Mode::empty()) else { return false };
        let mut file = File::from(fd);
        let regular = file.metadata().is_ok_and(|meta| meta.is_file());
        regular && copy(&mut file, &mut io::sink()).is_ok_and(|(there, _)| there == sum)
    }

    /// Gives it its name, once it is on the disk.
    fn name(&mut self, name: &str) -> io::Result<()> {
        if let Some(file) = self.file.take() {
            file.sync_all()?;
        }
        if let Some(own) = &self.own {
            rustix::fs::renameat(&self.folder, own.as_str(), &self.folder, name)?;
        }
        self.own = None;
        Ok(rustix::fs::fsync(&self.folder)?)
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if let Some(own) = &self.own {
            let _ = rustix::fs::unlinkat(&self.folder, own.as_str(), AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_never_an_option_nor_anything_else() {
        for good in ["shop", "deploy@shop.example.com", "deploy@192.0.2.7", "2001:db8::7", "d_1@web-1"] {
            assert!(destination(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-oProxyCommand=id",
            "a@-oProxyCommand=id",
            "-l@x",
            "a b",
            "a;b",
            "$(id)@x",
            "x\ny",
            "a@b@c",
            "ssh://x",
            "a@",
        ] {
            assert!(destination(bad).is_err(), "{bad:?}");
        }
    }
}
