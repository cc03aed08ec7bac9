//! A certificate of a test's own, under the names that certbot gives to its files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::load::Trust;
use crate::process;

/// What `openssl` is told for a certificate that signs itself, with a key that is quick to make and has no password.
pub const SELF_SIGNED: [&str; 7] = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/// A certificate and its key, on disk.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Certificate {
    /// Makes one for these names, in a folder that is made where it is missing.
    ///
    /// # Errors
    /// What `openssl` says, or that there is none.
    pub fn make(folder: &Path, names: &[&str]) -> Result<Certificate> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let made = Certificate { certificate: folder.join("fullchain.pem"), key: folder.join("privkey.pem") };
        let names: Vec<String> = names.iter().map(|name| format!("DNS:{name}")).collect();
        let mut openssl = Command::new("openssl");
        openssl.args(SELF_SIGNED).args(["-days", "2"]);
        // rustls takes no certificate of an authority for a server's.
        openssl.args(["-subj", "/CN=test", "-addext", "basicConstraints=critical,CA:FALSE"]);
        openssl.arg("-addext").arg(format!("subjectAltName={}", names.join(",")));
        openssl.arg("-out").arg(&made.certificate).arg("-keyout").arg(&made.key);
        process::run(&mut openssl)?;
        Ok(made)
    }

    /// A client's trust in it, and in nothing else.
    ///
    /// # Errors
    /// When it is gone.
    pub fn trust(&self) -> Result<Trust> {
        Trust::only(&self.certificate)
    }
}
