//! Whether a web server could use a certificate: looked at before it is told to, since one that it can't use costs all sites.

use std::path::Path;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, InconsistentKeys};

/// What is wrong with a certificate and its key, each a file and its content; what can't be told from here is not. Nothing of the content is in the
/// answer.
#[must_use]
pub fn wrong_with((file, certificate): (&Path, &[u8]), (key_file, key): (&Path, &[u8])) -> Option<String> {
    let shown = file.display();
    if String::from_utf8_lossy(certificate).contains("TRUSTED CERTIFICATE") {
        return None;
    }
    let chain: Vec<CertificateDer<'static>> = match CertificateDer::pem_slice_iter(certificate).collect() {
        Ok(chain) => chain,
        Err(error) => return Some(format!("the certificate {shown} can't be read: {error}")),
    };
    if chain.is_empty() {
        return Some(format!("{shown} holds no certificate"));
    }
    if String::from_utf8_lossy(key).contains("ENCRYPTED") {
        return None;
    }
    let key = match PrivateKeyDer::from_pem_slice(key) {
        Ok(key) => key,
        Err(error) => return Some(format!("{} holds no private key that can be read: {error}", key_file.display())),
    };
    // Of a kind that isn't known here.
    let key = default_provider().key_provider.load_private_key(key).ok()?;
    match CertifiedKey::new(chain, key).keys_match() {
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Some(format!("the certificate {shown} and the private key {} do not belong together", key_file.display()))
        }
        Err(Error::InvalidCertificate(CertificateError::BadEncoding)) => {
            Some(format!("the certificate {shown} is damaged"))
        }
        _ => None,
    }
}
