//! The certificate that a site names: read, looked at, and copied to where nobody else changes it, so that the web server never meets one that it
//! can't use. Another content is another folder, and so another configuration; the one before stays in force until that is.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

use crate::api::names::reasons;
use crate::api::site::Tls;
use crate::api::types::AbsPath;
use crate::platform::host::afar::Fence;
use crate::platform::host::layout::SiteDir;
use crate::platform::host::store;
use crate::platform::host::web::{self, certificate};
use crate::platform::{Class, Fault};

/// The largest certificate or key that is taken.
const LARGEST: u64 = 1 << 20;

/// Copies the certificate and its key, unless that was done already, and says where the copies are. `fence`: where both must lie, if the site comes from
/// afar. Blocks.
///
/// # Errors
/// What is wrong with them, for people; the copies of before are untouched.
pub(super) fn keep(dir: &SiteDir, tls: &Tls, fence: Option<&Fence>) -> Result<web::Tls, Fault> {
    let chain = read(&tls.certificate, false, fence)?;
    let key = read(&tls.key, true, fence)?;
    let wrong = certificate::wrong_with((tls.certificate.as_path(), &chain), (tls.key.as_path(), &key));
    if let Some(wrong) = wrong {
        return Err(refused("CertificateUnusable", format!("{wrong}; mend it, and it is taken up by itself")));
    }
    if String::from_utf8_lossy(&key).contains("ENCRYPTED") {
        let what = "is encrypted, and nobody is there to type its password: write it without (openssl pkey -in …)";
        return Err(refused("CertificateUnusable", format!("the private key {} {what}", tls.key)));
    }
    let folder = folder(dir).join(name(&chain, &key));
    let kept = web::Tls {
        certificate: folder.join("certificate.pem"),
        key: folder.join("key.pem"),
        listen: tls.listen.clone(),
    };
    // The key is written last: where it is, all is.
    if !kept.key.exists() {
        make(&folder)?;
        store::write_bytes(&kept.certificate, &chain, 0o600)?;
        store::write_bytes(&kept.key, &key, 0o600)?;
    }
    Ok(kept)
}

/// The copies that were in force last, if there are any.
pub(super) fn last(dir: &SiteDir, tls: &Tls) -> Option<web::Tls> {
    let all = fs::read_dir(folder(dir)).into_iter().flatten().flatten();
    let whole = all.map(|entry| entry.path()).filter(|path| path.join("key.pem").exists());
    let last = whole.max_by_key(|path| fs::metadata(path).and_then(|about| about.modified()).ok())?;
    Some(web::Tls { certificate: last.join("certificate.pem"), key: last.join("key.pem"), listen: tls.listen.clone() })
}

/// Removes the copies of earlier certificates. Best effort: what is left goes the next time.
pub(super) fn tidy(dir: &SiteDir, kept: Option<&web::Tls>) {
    let kept = kept.and_then(|tls| tls.key.parent());
    for entry in fs::read_dir(folder(dir)).into_iter().flatten().flatten() {
        if Some(entry.path().as_path()) != kept {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn folder(dir: &SiteDir) -> PathBuf {
    dir.root().join("tls")
}

/// Keyed by the content of both; the key adds nothing that could be guessed.
fn name(chain: &[u8], key: &[u8]) -> String {
    let mut hash = Sha256::new();
    for part in [chain, key] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let (front, _) = digest.split_at(16);
    hex::encode(front)
}

/// Links are followed: certbot's names are links. What they led to is judged of the file that was opened, since they may lead elsewhere a moment later.
fn read(path: &AbsPath, secret: bool, fence: Option<&Fence>) -> Result<Vec<u8>, Fault> {
    let failed = |error: &io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            refused("CertificateMissing", format!("there is no file {path}: make it, or name another one in tls"))
        }
        _ => Fault {
            class: Class::Transient,
            reason: "CertificateNotRead",
            message: format!("cannot read {path}: {error}"),
        },
    };
    // What isn't a file must not hold us up before it is seen that it is none.
    let mut options = File::options();
    options.read(true).custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed());
    let file = options.open(path.as_path()).map_err(|error| failed(&error))?;
    if let Some(fence) = fence {
        let is = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(|error| failed(&error))?;
        if !fence.holds(&is) {
            let why =
                "which this host does not allow from afar; allow.certificates of its agent.yaml says what it allows";
            return Err(refused(reasons::NOT_ALLOWED, format!("{path} leads to {}, {why}", is.display())));
        }
    }
    let about = file.metadata().map_err(|error| failed(&error))?;
    if !about.is_file() {
        return Err(refused("CertificateUnusable", format!("{path} is no file")));
    }
    if secret && about.mode() & 0o004 != 0 {
        let what = format!(
            "the private key {path} may be read by everybody on this machine (mode {:04o})",
            about.mode() & 0o7777
        );
        return Err(refused(
            "CertificateExposed",
            format!("{what}; close it, `chmod o= {path}`, and think of a new one"),
        ));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    if bytes.len() as u64 > LARGEST {
        return Err(refused("CertificateUnusable", format!("{path} is larger than {LARGEST} bytes")));
    }
    Ok(bytes)
}

fn make(folder: &Path) -> Result<(), Fault> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| super::cannot(&format!("make {}", folder.display()), &error))
}

fn refused(reason: &'static str, message: String) -> Fault {
    Fault { class: Class::User, reason, message: format!("spec.target.host.tls: {message}") }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    fn make(folder: &Path, name: &str) -> Tls {
        let path = |end: &str| folder.join(format!("{name}.{end}")).to_str().expect("text").to_owned();
        let (certificate, key) = (path("crt"), path("key"));
        let kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
        let made = Command::new("openssl")
            .args(kind)
            .args(["-subj", "/CN=shop.test", "-keyout", &key, "-out", &certificate])
            .output()
            .expect("openssl is there");
        assert!(made.status.success());
        let parsed = |path: String| path.parse().expect("a path");
        Tls { certificate: parsed(certificate), key: parsed(key), listen: Vec::new() }
    }

    fn reason(kept: Result<web::Tls, Fault>) -> &'static str {
        kept.expect_err("it can't be used").reason
    }

    #[test]
    fn a_certificate_is_copied_once_and_another_one_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = SiteDir::new(folder.path(), &"shop".parse().expect("a name"));
        let tls = make(folder.path(), "a");
        let first = keep(&dir, &tls, None).expect("good");
        assert_eq!(fs::metadata(&first.key).expect("it is there").mode() & 0o7777, 0o600);
        assert_eq!(keep(&dir, &tls, None).expect("good"), first);
        let other = make(folder.path(), "b");
        for (from, to) in [(&other.certificate, &tls.certificate), (&other.key, &tls.key)] {
            fs::copy(from.as_path(), to.as_path()).expect("copied");
        }
        let second = keep(&dir, &tls, None).expect("good");
        assert!(first != second && first.key.exists(), "what is in force stays until the other one is");
        tidy(&dir, Some(&second));
        assert!(!first.key.exists() && second.key.exists());
        tidy(&dir, None);
        assert!(!second.key.exists());
    }

    #[test]
    fn a_link_that_led_to_a_fair_certificate_and_now_leads_elsewhere_is_refused_when_it_is_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = SiteDir::new(folder.path(), &"shop".parse().expect("a name"));
        let at = |name: &str| folder.path().join(name);
        for name in ["fair", "secret"] {
            fs::create_dir(at(name)).expect("made");
        }
        let (fair, secret) = (make(&at("fair"), "a"), make(&at("secret"), "a"));
        let named =
            |end: &str| at(&format!("fair/live.{end}")).to_str().expect("text").parse::<AbsPath>().expect("a path");
        let tls = Tls { certificate: named("crt"), key: named("key"), listen: Vec::new() };
        let lead = |to: &Tls| {
            for (link, to) in [(&tls.certificate, &to.certificate), (&tls.key, &to.key)] {
                let _ = fs::remove_file(link.as_path());
                std::os::unix::fs::symlink(to.as_path(), link.as_path()).expect("linked");
            }
        };
        let fence = Fence::new(vec![at("fair")], Vec::new());
        lead(&fair);
        let first = keep(&dir, &tls, Some(&fence)).expect("it lies where it may");
        lead(&secret);
        let fault = keep(&dir, &tls, Some(&fence)).expect_err("it leads elsewhere by now");
        assert!(fault.reason == "NotAllowed" && fault.message.contains("allow.certificates"), "{fault}");
        assert!(first.key.exists(), "what is in force stays");
        keep(&dir, &tls, None).expect("root's own manifest may name what it likes");
        let never = Fence::new(vec![at("")], vec![at("secret")]);
        assert_eq!(reason(keep(&dir, &tls, Some(&never))), "NotAllowed");
    }

    #[test]
    fn what_is_no_file_holds_nobody_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = SiteDir::new(folder.path(), &"shop".parse().expect("a name"));
        let tls = make(folder.path(), "a");
        fs::remove_file(tls.key.as_path()).expect("it was there");
        let made = Command::new("mkfifo").arg(tls.key.as_path()).status().expect("mkfifo is there");
        assert!(made.success());
        assert_eq!(reason(keep(&dir, &tls, None)), "CertificateUnusable");
    }

    #[test]
    fn what_a_web_server_could_not_use_is_refused_and_so_is_a_key_that_everybody_may_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = SiteDir::new(folder.path(), &"shop".parse().expect("a name"));
        let (tls, other) = (make(folder.path(), "a"), make(folder.path(), "b"));
        assert_eq!(reason(keep(&dir, &Tls { key: other.key.clone(), ..tls.clone() }, None)), "CertificateUnusable");
        let missing: AbsPath = "/nowhere/shop.pem".parse().expect("a path");
        assert_eq!(reason(keep(&dir, &Tls { certificate: missing, ..tls.clone() }, None)), "CertificateMissing");
        fs::set_permissions(other.key.as_path(), fs::Permissions::from_mode(0o644)).expect("it is ours");
        let fault = keep(&dir, &other, None).expect_err("everybody may read it");
        assert_eq!(fault.reason, "CertificateExposed");
        assert!(fault.message.contains("chmod o= "), "{fault}");
        let whole = fs::read(tls.certificate.as_path()).expect("it is there");
        for broken in [&whole[..whole.len() / 2], b"", b"no certificate"] {
            fs::write(tls.certificate.as_path(), broken).expect("it is ours");
            assert_eq!(reason(keep(&dir, &tls, None)), "CertificateUnusable");
        }
        assert!(fs::read_dir(dir.root().join("tls")).is_err(), "nothing was copied");
    }
}
