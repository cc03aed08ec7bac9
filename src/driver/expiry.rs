//! Until when certificates are good that somebody has to replace by hand: those that kubeconfigs show, and those that a hub is judged by. Only the dates are
//! read; whether a certificate is any good is the business of TLS.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use kube::config::Config;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// So long before its end a certificate is told of.
pub const SOON: Duration = Duration::from_secs(7 * 24 * 3600);

/// When a certificate ends. `None`: it is none that is understood.
#[must_use]
pub fn ends(certificate: &[u8]) -> Option<Timestamp> {
    let (_, whole, _) = element(certificate)?;
    let (_, mut rest, _) = element(whole)?;
    if let (EXPLICIT, _, after) = element(rest)? {
        rest = after;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = element(rest)?;
    let (_, _, end) = element(validity)?;
    let (kind, text, _) = element(end)?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let text = match kind {
        SHORT => {
            let year: u32 = text.get(..2)?.parse().ok()?;
            format!("{}{text}", if year < 50 { 20 } else { 19 })
        }
        LONG => text.to_owned(),
        _ => return None,
    };
    DateTime::strptime("%Y%m%d%H%M%S", text).ok()?.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp())
}

/// The version of a certificate, and both ways to write a time.
const EXPLICIT: u8 = 0xa0;
const SHORT: u8 = 0x17;
const LONG: u8 = 0x18;

/// The first element of what DER encodes: its kind, what it holds, and what comes after it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[kind, first], rest) = bytes.split_first_chunk()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) =
            rest.split_at_checked(usize::from(first & 0x7f)).filter(|(digits, _)| digits.len() <= 4)?;
        (digits.iter().fold(0, |length, digit| (length << 8) | usize::from(*digit)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((kind, content, rest))
}

/// What to say of the first of these certificates that has ended, or ends soon: `what` it is, and when.
#[must_use]
pub fn words<'a>(what: &str, certificates: impl IntoIterator<Item = &'a [u8]>, now: Timestamp) -> Option<String> {
    let end = certificates.into_iter().filter_map(ends).min()?;
    let left = Duration::try_from(end.duration_since(now)).unwrap_or_default();
    if left > SOON {
        return None;
    }
    Some(if left.is_zero() {
        format!("{what} ended at {end:.0}")
    } else {
        format!("{what} ends at {end:.0}, in {} hours", left.as_secs() / 3600)
    })
}

/// What to say of the certificate by which a kubeconfig says who we are, and of those that it judges the API server by. What can't be read is told by whoever
/// uses it.
#[must_use]
pub fn of_kubeconfig(config: &Config, now: Timestamp) -> Vec<String> {
    let shown = config.auth_info.client_certificate_data.as_ref().and_then(|data| STANDARD.decode(data).ok());
    let shown = shown.or_else(|| std::fs::read(config.auth_info.client_certificate.as_ref()?).ok());
    // The first one is ours; the others vouch for it.
    let shown = shown.and_then(|pem| CertificateDer::pem_slice_iter(&pem).next()?.ok());
    let server = config.cluster_url.to_string();
    let server = server.trim_end_matches('/');
    let who = format!("the kubeconfig's client certificate for {server}");
    let whom = format!("the certificate authority by which the kubeconfig judges {server}");
    let who = words(&who, shown.as_deref(), now).map(|words| format!("{words}: ask for another one"));
    let whom = alone(&whom, config.root_cert.iter().flatten().map(Vec::as_slice), now);
    who.into_iter().chain(whom).collect()
}

/// The same of authorities: one that ends is no loss while another one goes on.
#[must_use]
pub fn alone<'a>(what: &str, authorities: impl IntoIterator<Item = &'a [u8]>, now: Timestamp) -> Option<String> {
    let last = authorities.into_iter().filter_map(|one| Some((ends(one)?, one))).max_by_key(|(end, _)| *end)?;
    words(what, [last.1], now)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::process::Command;

    use bluegreen_rig::certificate::SELF_SIGNED;

    use super::*;

    fn certificate(arguments: &[&str]) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        let made = Command::new("openssl")
            .args(SELF_SIGNED)
            .args(["-subj", "/CN=joe"])
            .args(["-outform", "DER", "-keyout"])
            .arg(key)
            .args(arguments)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        made.stdout
    }

    #[test]
    fn a_certificate_is_told_of_from_seven_days_before_its_end() {
        let (week, month, long) =
            (certificate(&["-days", "6"]), certificate(&["-days", "30"]), certificate(&["-days", "36500"]));
        let now = Timestamp::now();
        let said = words("it", [month.as_slice(), week.as_slice()], now).unwrap();
        assert!(said.starts_with("it ends at ") && said.contains("hours"), "{said}");
        for lasts in [&month, &long] {
            assert_eq!(words("it", [lasts.as_slice()], now), None);
        }
        let end = ends(&week).unwrap();
        assert!(words("it", [week.as_slice()], end).unwrap().contains("ended at "));
        assert_eq!(ends(&long).unwrap().duration_since(now).as_hours() / 24, 36_499, "a year with four digits");
        assert_eq!(alone("it", [week.as_slice(), month.as_slice()], now), None, "another one goes on");
        assert!(alone("it", [week.as_slice()], now).is_some());
    }

    #[test]
    fn what_is_no_certificate_says_nothing_and_breaks_nothing() {
        let whole = certificate(&["-days", "1"]);
        for length in 0..whole.len() {
            let _ = ends(&whole[..length]);
        }
        assert_eq!(ends(b""), None);
        assert_eq!(ends(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(words("it", [b"nonsense".as_slice()], Timestamp::now()), None);
    }
}
