//! An OCI registry: an image's layers, or the files of another artifact, by digest.

use http::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, OnceCell};

use super::client::{Client, Place, SentOn, unwanted};
use super::download::{self, From, Wanted};
use super::store::{MANIFEST, Store};
use super::{FETCH_FAILED, files, refused, transient};
use crate::api::remote::{Access, ImageRef};
use crate::api::types::{RelPath, Sha256 as Digest256};
use crate::platform::Fault;
use crate::platform::host::afar::Secrets;
use crate::platform::host::release::source::{Kind, Piece, kind_of};

const TITLE: &str = "org.opencontainers.image.title";
const ORAS_UNPACK: &str = "io.deis.oras.content.unpack";
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
const IMAGES: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
/// More layers than any image has.
const MOST_LAYERS: usize = 256;

/// One repository of a registry.
pub(super) struct Registry<'a> {
    client: Client,
    image: &'a ImageRef,
    host: String,
    access: &'a Access,
    secrets: Option<&'a dyn Secrets>,
    /// What it is told of who asks.
    basic: OnceCell<Option<HeaderValue>>,
    /// What it is told since it asked.
    token: Mutex<Option<HeaderValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    artifact_type: Option<String>,
    config: Option<Described>,
    layers: Option<Vec<Described>>,
    manifests: Option<Vec<Described>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// Everything that the image or artifact is made of, checked, in the order in which it is to be unpacked.
pub(super) async fn pieces(
    store: &Store<'_>,
    image: &ImageRef,
    inside: Option<&RelPath>,
    access: &Access,
    secrets: Option<&dyn Secrets>,
) -> Result<Vec<Piece>, Fault> {
    let registry = Registry::new(image, access, secrets)?;
    let mut manifest = registry.manifest(store, image.digest(), true).await?;
    if let Some(all) = manifest.manifests.take() {
        let chosen = registry.choose(&all)?;
        manifest = registry.manifest(store, chosen, false).await?;
    }
    let Some(layers) = &manifest.layers else {
        return Err(registry.wrong("is neither an image nor an artifact: it names no layers"));
    };
    let is_image = manifest.artifact_type.is_none()
        && manifest.config.as_ref().is_some_and(|config| IMAGES.contains(&config.media_type.as_str()));
    if !is_image && inside.is_some() {
        return Err(registry.wrong("is no image but another artifact, which has no folders to choose from: leave out spec.target.host.release.oci.path"));
    }
    let total = layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.size));
    if layers.len() > MOST_LAYERS || total > store.limit() {
        let what = format!(
            "has {total} bytes in {} layers; {} bytes in {MOST_LAYERS} are fetched at most",
            layers.len(),
            store.limit()
        );
        return Err(refused("ReleaseTooLarge", format!("{} {what}", registry.shown())));
    }
    // What each is comes first: nothing is fetched of what can't be unpacked.
    let kinds = layers
        .iter()
        .map(|layer| if is_image { registry.layer(layer, inside) } else { registry.file(layer, layers.len()) })
        .collect::<Result<Vec<_>, _>>()?;
    let mut pieces = Vec::new();
    for (layer, kind) in layers.iter().zip(kinds) {
        let digest = registry.hex(&layer.digest)?;
        let wanted = Wanted { digest, size: Some(layer.size), given: false };
        let from = From::Blob(&registry);
        let file = download::get(store, &registry.client, &from, &HeaderMap::new(), &wanted).await?;
        pieces.push(Piece { kind, file, bytes: layer.size });
    }
    Ok(pieces)
}

impl<'a> Registry<'a> {
    fn new(image: &'a ImageRef, access: &'a Access, secrets: Option<&'a dyn Secrets>) -> Result<Registry<'a>, Fault> {
        // The one that everybody knows by another name.
        let host = if image.registry() == "docker.io" { "registry-1.docker.io" } else { image.registry() };
        Ok(Registry {
            client: Client::new(access.ca_file.as_ref())?,
            image,
            host: host.to_owned(),
            access,
            secrets,
            basic: OnceCell::new(),
            token: Mutex::new(None),
        })
    }

    /// For messages.
    pub fn shown(&self) -> String {
        format!("{}/{}", self.image.registry(), self.image.repository())
    }

    /// Whether it is told who asks.
    pub fn is_known(&self) -> bool {
        self.access.credentials.is_some()
    }

    /// Who asks. Read once the registry wants to know: what was fetched already needs neither a file nor a hub.
    async fn basic(&self) -> Result<Option<HeaderValue>, Fault> {
        let read = || files::authorization(self.access, &self.host, self.secrets);
        self.basic.get_or_try_init(read).await.cloned()
    }

    /// Where a blob is.
    pub fn blob(&self, digest: &str) -> Result<Place, Fault> {
        self.place("blobs", digest)
    }

    fn place(&self, what: &str, digest: &str) -> Result<Place, Fault> {
        let url = format!("https://{}/v2/{}/{what}/sha256:{digest}", self.host, self.image.repository());
        Place::parse(&url).map_err(|why| self.wrong(why))
    }

    /// Asks, and says who asks if the registry wants to know.
    pub async fn ask(&self, at: &Place, headers: &HeaderMap) -> Result<Response<Incoming>, Fault> {
        let mut headers = headers.clone();
        if let Some(token) = self.token.lock().await.clone() {
            headers.insert(AUTHORIZATION, token);
        }
        let answer = self.client.get(at, &headers).await?;
        // Where it sent us on to is told nothing: it may ask for what only the registry should know.
        if answer.status() != StatusCode::UNAUTHORIZED || answer.extensions().get::<SentOn>().is_some() {
            return Ok(answer);
        }
        // The last one may have ended, as tokens do.
        let Some(token) = self.authorize(answer.headers()).await? else { return Ok(answer) };
        headers.insert(AUTHORIZATION, token.clone());
        *self.token.lock().await = Some(token);
        self.client.get(at, &headers).await
    }

    /// What the registry wants to be told.
    async fn authorize(&self, answer: &HeaderMap) -> Result<Option<HeaderValue>, Fault> {
        let asked = answer.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (scheme, rest) = asked.split_once(' ').unwrap_or((asked, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return self.basic().await;
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Ok(None);
        }
        let realm = parameter(rest, "realm").ok_or_else(|| self.wrong("wants a token and doesn't say from where"))?;
        let mut query = format!("scope=repository:{}:pull", self.image.repository());
        if let Some(service) = parameter(rest, "service") {
            query = format!("service={}&{query}", encode(service));
        }
        let joint = if realm.contains('?') { '&' } else { '?' };
        let place = Place::parse(&format!("{realm}{joint}{query}"))
            .map_err(|why| self.wrong(&format!("wants a token from a place that {why}")))?;
        let mut headers = HeaderMap::new();
        if let Some(basic) = self.basic().await? {
            headers.insert(AUTHORIZATION, basic);
        }
        let (status, body) = self.client.small(&place, &headers, 256 << 10).await?;
        if status != StatusCode::OK {
            return Err(unwanted(status, &place, self.is_known()));
        }
        // Never a word of the answer in a message.
        let unusable = || transient(format!("{}: the answer is no token", place.shown()));
        let token: Token = serde_json::from_slice(&body).map_err(|_| unusable())?;
        let token = token.token.or(token.access_token).ok_or_else(unusable)?;
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| unusable())?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// `given`: the site's manifest names this digest.
    async fn manifest(&self, store: &Store<'_>, digest: &str, given: bool) -> Result<Manifest, Fault> {
        let wanted = Wanted { digest, size: None, given };
        if store.kept(&wanted)?.is_none() {
            let at = self.place("manifests", digest)?;
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
            // Asked once for the token, which a small answer doesn't get by itself.
            let first = self.ask(&at, &headers).await?;
            if first.status() != StatusCode::OK {
                return Err(unwanted(first.status(), &at, self.is_known()));
            }
            let body = self.client.rest(&at, first, MANIFEST).await?;
            let is = hex::encode(Sha256::digest(&body));
            if is != digest {
                let both =
                    format!("{} has the SHA-256 {is}, and {digest} was wanted; nothing of it is kept", at.shown());
                return Err(if given { refused("ChecksumMismatch", both) } else { transient(both) });
            }
            store.put(digest, &body)?;
        }
        let Some(mut file) = store.kept(&wanted)? else {
            return Err(transient(format!("{}: what was fetched is gone", self.shown())));
        };
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut text)
            .map_err(|error| transient(format!("{}: {error}", self.shown())))?;
        serde_json::from_slice(&text).map_err(|error| self.wrong(&format!("has a manifest that is none: {error}")))
    }

    /// The image for this machine.
    fn choose<'b>(&self, all: &'b [Described]) -> Result<&'b str, Fault> {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let ours = |platform: &Platform| platform.os == "linux" && platform.architecture == architecture;
        match all.iter().find(|one| one.platform.as_ref().is_some_and(ours)) {
            Some(one) => self.hex(&one.digest),
            None => {
                let has: Vec<String> = all
                    .iter()
                    .filter_map(|one| one.platform.as_ref())
                    .map(|p| format!("{}/{}", p.os, p.architecture))
                    .take(20)
                    .collect();
                Err(self.wrong(&format!("has no image for linux/{architecture}, only for: {}", has.join(", "))))
            }
        }
    }

    /// What a layer of an image is.
    fn layer(&self, layer: &Described, inside: Option<&RelPath>) -> Result<Kind, Fault> {
        let kind = |gzip| Ok(Kind::Layer { gzip, inside: inside.cloned() });
        match layer.media_type.as_str() {
            "application/vnd.oci.image.layer.v1.tar+gzip" | "application/vnd.docker.image.rootfs.diff.tar.gzip" => kind(true),
            "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => kind(false),
            other => Err(self.wrong(&format!(
                "has a layer of the type {other:?}, which is not unpacked here: build it with layers that are packed by gzip"
            ))),
        }
    }

    /// What a file of another artifact is. One archive alone is unpacked, as one that was uploaded.
    fn file(&self, layer: &Described, count: usize) -> Result<Kind, Fault> {
        let title = layer.annotations.get(TITLE).ok_or_else(|| {
            self.wrong(&format!("has a file without a name (the annotation {TITLE}): push it with `oras push`"))
        })?;
        if layer.annotations.get(ORAS_UNPACK).is_some_and(|unpack| unpack == "true") {
            return Ok(Kind::TarGz);
        }
        let name: RelPath =
            title.parse().map_err(|error| self.wrong(&format!("has a file whose name can't be used: {error}")))?;
        match kind_of(name.as_str()) {
            Some(kind) if count == 1 => Ok(kind),
            _ => Ok(Kind::File(name.to_string())),
        }
    }

    fn hex<'b>(&self, digest: &'b str) -> Result<&'b str, Fault> {
        let hex = digest.strip_prefix("sha256:").filter(|hex| hex.parse::<Digest256>().is_ok());
        hex.ok_or_else(|| self.wrong("names a part by something that is no SHA-256 digest"))
    }

    fn wrong(&self, why: &str) -> Fault {
        refused(FETCH_FAILED, format!("{} {why}", self.shown()))
    }
}

/// A parameter of a challenge: `realm="…",service="…"`.
fn parameter<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split(',').find_map(|part| {
        let (key, value) = part.trim().split_once('=')?;
        (key.eq_ignore_ascii_case(name)).then(|| value.trim_matches('"'))
    })
}

fn encode(text: &str) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~:/".contains(b);
    text.bytes().map(|b| if plain(&b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_says_where_the_token_comes_from() {
        let asked = r#"realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push""#;
        assert_eq!(parameter(asked, "realm"), Some("https://auth.example/token"));
        assert_eq!(parameter(asked, "service"), Some("registry.example"));
        assert_eq!(parameter(asked, "none"), None);
        assert_eq!(encode("a b&c"), "a%20b%26c");
    }
}
