//! Certificates that Apache would end at. A test of its configuration looks only whether the files are there; what is in them it reads when it
//! restarts, and one that it can't use ends it, with every site. So they are read before.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::listen::holds;
use crate::platform::host::web::certificate;
use crate::platform::host::web::trial::Refusal;

/// A certificate that a VirtualHost names, with the key that goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    certificate: PathBuf,
    key: Option<PathBuf>,
    line: u32,
}

/// Whether Apache could use the certificates that this file names.
///
/// # Errors
/// The first that it couldn't, and why. What can't be told from here is left to Apache.
pub fn check(file: &Path, text: &str, modules: &BTreeSet<String>) -> Result<(), Refusal> {
    for named in named(text, modules) {
        if let Some(wrong) = wrong_with(&named) {
            return Err(Refusal {
                text: format!("{wrong}, named in {}:{}", file.display(), named.line),
                place: Some((file.to_owned(), named.line)),
                address: None,
            });
        }
    }
    Ok(())
}

/// The certificates of the VirtualHosts of a file, as far as its conditions hold. What stands behind a definition is left out, and so is what is
/// put together from variables.
fn named(text: &str, modules: &BTreeSet<String>) -> Vec<Named> {
    let mut found = Vec::new();
    let mut conditions: Vec<bool> = Vec::new();
    let (mut certificates, mut keys, mut off) = (Vec::new(), Vec::new(), false);
    for (line, number) in text.lines().map(str::trim).zip(1u32..) {
        let lower = line.to_ascii_lowercase();
        if let Some(condition) = lower.strip_prefix("<ifmodule") {
            conditions.push(holds(condition.trim().trim_end_matches('>').trim(), modules));
        } else if lower.starts_with("<if") {
            conditions.push(false);
        } else if lower.starts_with("</if") {
            conditions.pop();
        } else if lower.starts_with("<virtualhost") {
            (certificates, keys, off) = (Vec::new(), Vec::new(), false);
        } else if lower.starts_with("</virtualhost") {
            let pairs = std::mem::take(&mut certificates).into_iter().enumerate();
            let keys = std::mem::take(&mut keys);
            let all = pairs.map(|(at, (certificate, line))| Named { certificate, key: keys.get(at).cloned(), line });
            found.extend(all.filter(|_| !off));
        } else if conditions.iter().all(|holds| *holds) {
            let mut words = line.split_whitespace();
            let (name, value) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let path = || {
                Some(PathBuf::from(value.trim_matches('"'))).filter(|path| path.is_absolute() && !value.contains('$'))
            };
            match name.to_ascii_lowercase().as_str() {
                "sslcertificatefile" => certificates.extend(path().map(|path| (path, number))),
                "sslcertificatekeyfile" => keys.extend(path()),
                "sslengine" => off = value.eq_ignore_ascii_case("off"),
                _ => {}
            }
        }
    }
    found
}

fn wrong_with(named: &Named) -> Option<String> {
    // That a file is missing Apache's own test says.
    let certificate = fs::read(&named.certificate).ok()?;
    let key_file = named.key.as_ref().unwrap_or(&named.certificate);
    let key = fs::read(key_file).ok()?;
    certificate::wrong_with((&named.certificate, &certificate), (key_file, &key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_found_with_their_keys_where_their_conditions_hold() {
        let text = "<IfModule mod_ssl.c>\n<VirtualHost *:443>\nSSLCertificateFile /a.pem\nSSLCertificateKeyFile \"/a.key\"\n\
                    sslcertificatefile /b.pem\n</VirtualHost>\n</IfModule>\n<VirtualHost *:444>\nSSLEngine off\nSSLCertificateFile /c.pem\n\
                    </VirtualHost>\n<IfDefine X>\n<VirtualHost *:445>\nSSLCertificateFile /d.pem\n</VirtualHost>\n</IfDefine>\n\
                    <VirtualHost *:446>\nSSLCertificateFile ${etc}/e.pem\n# SSLCertificateFile /f.pem\n</VirtualHost>\n";
        let with = |modules: &[&str]| named(text, &modules.iter().map(ToString::to_string).collect());
        let of = |certificate: &str, key: Option<&str>, line| Named {
            certificate: certificate.into(),
            key: key.map(PathBuf::from),
            line,
        };
        assert_eq!(with(&["ssl"]), [of("/a.pem", Some("/a.key"), 3), of("/b.pem", None, 5)]);
        assert_eq!(with(&[]), []);
    }
}
