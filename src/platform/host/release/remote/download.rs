//! Gets one file into the store, in as many goes as it takes: each begins where the one before broke off.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use http::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_RANGE, LAST_MODIFIED,
    RANGE,
};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use sha2::{Digest, Sha256};

use super::client::{Client, Place, QUIET, unwanted};
use super::registry::Registry;
use super::store::{Store, failed};
use super::{refused, transient};
use crate::platform::{Class, Fault};

/// Who sends less than this in [`QUIET`] is as good as silent.
const LEAST: u64 = 4 << 10;
/// How often people are told how far it is.
const TELL: Duration = Duration::from_secs(3);
/// After a connection that brought something and broke.
const GO_ON: Duration = Duration::from_millis(200);

/// What is to be got.
pub(super) struct Wanted<'a> {
    /// Its SHA-256.
    pub digest: &'a str,
    /// Its size, if that is known.
    pub size: Option<u64>,
    /// The manifest of the site names this digest: if it is another one, that is somebody's to mend.
    pub given: bool,
}

/// From where.
pub(super) enum From<'a> {
    /// A URL, and whether its server is told who asks.
    Url { place: &'a Place, known: bool },
    /// A blob of a registry.
    Blob(&'a Registry<'a>),
}

impl From<'_> {
    async fn ask(&self, client: &Client, headers: &HeaderMap, digest: &str) -> Result<Response<Incoming>, Fault> {
        match self {
            From::Url { place, .. } => client.get(place, headers).await,
            From::Blob(registry) => registry.ask(&registry.blob(digest)?, headers).await,
        }
    }

    fn shown(&self, digest: &str) -> String {
        match self {
            From::Url { place, .. } => place.shown(),
            From::Blob(registry) => {
                format!("{}, layer sha256:{}", registry.shown(), digest.get(..12).unwrap_or(digest))
            }
        }
    }

    fn unwanted(&self, status: StatusCode, digest: &str) -> Fault {
        match self {
            From::Url { place, known } => unwanted(status, place, *known),
            From::Blob(registry) => match registry.blob(digest) {
                Ok(place) => unwanted(status, &place, registry.is_known()),
                Err(fault) => fault,
            },
        }
    }
}

/// What is here already.
struct Part {
    file: File,
    length: u64,
    hash: Sha256,
    /// It is of more than one answer.
    resumed: bool,
    /// The server said how much it would send.
    measured: bool,
}

/// Gets a file: whole, and what its digest says.
pub(super) async fn get(
    store: &Store<'_>,
    client: &Client,
    from: &From<'_>,
    headers: &HeaderMap,
    wanted: &Wanted<'_>,
) -> Result<File, Fault> {
    if let Some(file) = store.kept(wanted)? {
        return Ok(file);
    }
    let file = store.part(wanted).await?;
    // Whoever had the lock may have been done.
    if let Some(file) = store.kept(wanted)? {
        store.discard(wanted.digest);
        return Ok(file);
    }
    let shown = from.shown(wanted.digest);
    let mut part = Part::of(file).map_err(|error| failed(Path::new(&shown), &error))?;
    loop {
        let before = part.length;
        match part.go_on(store, client, from, headers, wanted).await {
            Ok(()) => break,
            Err(fault) if fault.class == Class::Transient && part.length > before => tokio::time::sleep(GO_ON).await,
            Err(fault) => {
                if fault.class == Class::User {
                    store.discard(wanted.digest);
                }
                return Err(fault);
            }
        }
    }
    let is = hex::encode(part.hash.clone().finalize());
    if is != wanted.digest {
        store.discard(wanted.digest);
        let both = format!("{shown} has the SHA-256 {is}, and {} was wanted", wanted.digest);
        return Err(if part.resumed || !part.measured || !wanted.given {
            transient(format!("{both}; nothing of it is kept, and it is fetched anew"))
        } else {
            refused(
                "ChecksumMismatch",
                format!(
                    "{both}; nothing of it is kept. Publish it again, or correct the manifest, then `bluegreen retry`"
                ),
            )
        });
    }
    store.finish(&part.file, wanted.digest)?;
    part.file.rewind().map_err(|error| failed(Path::new(&shown), &error))?;
    Ok(part.file)
}

impl Part {
    fn of(mut file: File) -> io::Result<Part> {
        let mut hash = Sha256::new();
        let (mut buffer, mut length) = (vec![0; 128 << 10], 0);
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                got => {
                    hash.update(&buffer[..got]);
                    length += got as u64;
                }
            }
        }
        Ok(Part { file, length, hash, resumed: length > 0, measured: true })
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        (self.length, self.hash, self.resumed) = (0, Sha256::new(), false);
        Ok(())
    }

    /// One question, and as much of the answer as comes.
    async fn go_on(
        &mut self,
        store: &Store<'_>,
        client: &Client,
        from: &From<'_>,
        headers: &HeaderMap,
        wanted: &Wanted<'_>,
    ) -> Result<(), Fault> {
        let shown = from.shown(wanted.digest);
        let io = |error: io::Error| failed(Path::new(&shown), &error);
        if wanted.size == Some(self.length) {
            return Ok(());
        }
        let mut asked = headers.clone();
        asked.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if self.length > 0 {
            let put = |asked: &mut HeaderMap, name: HeaderName, text: &str| {
                HeaderValue::from_str(text).map(|value| asked.insert(name, value)).is_ok()
            };
            put(&mut asked, RANGE, &format!("bytes={}-", self.length));
            if let Some(same) = store.same(wanted.digest) {
                put(&mut asked, IF_RANGE, &same);
            }
        }
        let answer = from.ask(client, &asked, wanted.digest).await?;
        let said = |name: &HeaderName| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let total = match answer.status() {
            StatusCode::OK => {
                self.begin_anew().map_err(io)?;
                said(&CONTENT_LENGTH).and_then(|length| length.parse().ok())
            }
            StatusCode::PARTIAL_CONTENT => match said(&CONTENT_RANGE).and_then(content_range) {
                Some((start, total)) if start == self.length => {
                    self.resumed = true;
                    total
                }
                _ => {
                    self.begin_anew().map_err(io)?;
                    return Err(transient(format!(
                        "{shown} answers with another part than it was asked for; it is fetched anew"
                    )));
                }
            },
            StatusCode::RANGE_NOT_SATISFIABLE => {
                self.begin_anew().map_err(io)?;
                return Err(transient(format!("{shown} has less than what is here of it already; it is fetched anew")));
            }
            status => return Err(from.unwanted(status, wanted.digest)),
        };
        // A weak tag says that it means the same, not that it is the same.
        let same = said(&ETAG).filter(|tag| !tag.starts_with("W/")).or_else(|| said(&LAST_MODIFIED));
        store.set_same(wanted.digest, same);
        self.measured = total.is_some();
        let most = wanted.size.unwrap_or_else(|| store.limit());
        if total.is_some_and(|total| total > most || wanted.size.is_some_and(|size| size != total)) {
            return Err(too_large(&shown, total, most, wanted));
        }
        let expected = total.or(wanted.size);
        store.room(expected.unwrap_or(self.length).saturating_sub(self.length))?;
        self.take(store, answer.into_body(), &shown, expected, most, wanted).await?;
        match expected {
            Some(expected) if self.length < expected => Err(transient(format!(
                "{shown} broke off after {} of {expected} bytes; it is gone on with",
                self.length
            ))),
            _ => Ok(()),
        }
    }

    async fn take(
        &mut self,
        store: &Store<'_>,
        mut body: Incoming,
        shown: &str,
        expected: Option<u64>,
        most: u64,
        wanted: &Wanted<'_>,
    ) -> Result<(), Fault> {
        let mut told = Instant::now();
        let (mut since, mut had) = (Instant::now(), self.length);
        loop {
            let Ok(frame) = tokio::time::timeout(QUIET, body.frame()).await else {
                return Err(transient(format!("{shown} sent nothing for {} s; it is gone on with", QUIET.as_secs())));
            };
            let Some(frame) = frame else { return Ok(()) };
            let broke = |error| {
                transient(format!("{shown} broke off after {} bytes: {error}; it is gone on with", self.length))
            };
            let frame = frame.map_err(broke)?;
            let Some(data) = frame.data_ref() else { continue };
            if self.length.saturating_add(data.len() as u64) > most {
                return Err(too_large(shown, None, most, wanted));
            }
            self.file.write_all(data).map_err(|error| failed(Path::new(shown), &error))?;
            self.hash.update(data);
            self.length += data.len() as u64;
            if told.elapsed() > TELL {
                told = Instant::now();
                store.tell(format!("fetching {shown}: {}", far(self.length, expected)));
            }
            if since.elapsed() > QUIET {
                if self.length - had < LEAST {
                    return Err(transient(format!(
                        "{shown} sent {} bytes in {} s; it is gone on with",
                        self.length - had,
                        since.elapsed().as_secs()
                    )));
                }
                (since, had) = (Instant::now(), self.length);
            }
        }
    }
}

fn too_large(shown: &str, total: Option<u64>, most: u64, wanted: &Wanted<'_>) -> Fault {
    match wanted.size {
        Some(size) => transient(format!(
            "{shown} answers with another size than the {size} bytes that it has; it is fetched anew"
        )),
        None => {
            let is = total.map_or_else(|| "more".to_owned(), |total| total.to_string());
            refused(
                "ReleaseTooLarge",
                format!("{shown} has {is} bytes; {most} are fetched at most, and nothing of it is kept"),
            )
        }
    }
}

/// `bytes 5-9/10`: the first byte, and how many there are in all.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()))
}

fn far(length: u64, expected: Option<u64>) -> String {
    let mega = |bytes: u64| bytes / 1_000_000;
    match expected {
        Some(expected) => format!("{} of {} MB", mega(length), mega(expected)),
        None => format!("{} MB", mega(length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_says_where_it_begins_and_how_much_there_is() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        for bad in ["bytes */10", "5-9/10", "bytes x-9/10", ""] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
