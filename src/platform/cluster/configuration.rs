//! The configuration that a template names: read to tell the revision, and copied so that each colour keeps what it was started with.
//!
//! A Secret's digest is keyed, so that nobody who may read digests can guess at its content; the key is a Secret of the site's own. By default no
//! Secret is ever read.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::ask::Failure;
use super::ownership::{Whose, taken, whose};
use super::references::{Need, References, Source, references, rename};
use super::release::{Digests, revision};
use super::{ClusterPlatform, Inner, Wanted};
use crate::api::names::{cluster as names, reasons};
use crate::api::site::SiteOnCluster;
use crate::api::spec::{ConfigMapsSpec, SecretsSpec};
use crate::platform::{Class, Fault};
use crate::rollout::Revision;

/// Configuration is read again so often: nothing tells us of its changes.
const AGAIN: Duration = Duration::from_secs(10);

/// What a specification was found to describe.
pub(super) struct Resolved {
    site: Arc<SiteOnCluster>,
    references: References,
    pub(super) digests: Digests,
    revision: Option<Revision>,
    fault: Option<Fault>,
    at: Instant,
}

impl ClusterPlatform {
    /// The revision that the specification describes; or why it can't be told.
    pub(super) async fn resolve(&self, wanted: &Wanted, inner: &mut Inner) -> (Option<Revision>, Option<Fault>) {
        let site = &wanted.site;
        let known = inner.resolved.take().filter(|known| Arc::ptr_eq(&known.site, site) || same(&known.site, site));
        if let Some(mut known) = known {
            known.site = site.clone();
            if known.references.is_empty() || known.at.elapsed() < AGAIN {
                let answer = (known.revision, known.fault.clone());
                inner.resolved = Some(known);
                return answer;
            }
            inner.resolved = Some(known);
        }
        let (references, before) = match inner.resolved.take() {
            Some(known) => (known.references, known.revision),
            None => (self.wanted_references(site), None),
        };
        let (digests, fault) = match self.digests(wanted, &references).await {
            Ok(digests) => (digests, None),
            Err(fault) => (Digests::new(), Some(fault)),
        };
        let found = match &fault {
            None => Some(revision(&site.target, &digests)),
            // What can't be read just now is what it was; what is missing is not.
            Some(fault) if fault.class == Class::Transient => before,
            Some(_) => None,
        };
        let resolved = Resolved {
            site: site.clone(),
            references,
            digests,
            revision: found,
            fault: fault.clone(),
            at: Instant::now(),
        };
        inner.resolved = Some(resolved);
        (found, fault)
    }

    fn wanted_references(&self, site: &SiteOnCluster) -> References {
        let target = &site.target;
        let mut all = references(&target.template.value());
        all.retain(|(source, _), _| match source {
            Source::ConfigMap => target.config_maps == ConfigMapsSpec::Snapshot,
            Source::Secret => target.secrets != SecretsSpec::Ignore,
        });
        all
    }

    async fn digests(&self, wanted: &Wanted, references: &References) -> Result<Digests, Fault> {
        let mut digests = Digests::new();
        let mut key = None;
        for ((source, name), need) in references {
            let Some(object) = self.configuration(*source, name).await? else {
                if *need == Need::Optional {
                    continue;
                }
                return Err(Fault {
                    class: Class::User,
                    reason: reasons::CONFIGURATION_MISSING,
                    message: format!(
                        "the {} {name} that the template names is not in the namespace {}: create it, or mark it as optional",
                        source.kind(),
                        self.key().namespace()
                    ),
                });
            };
            if *source == Source::Secret && key.is_none() {
                key = Some(self.digest_key(wanted).await?);
            }
            let digest = match (source, &key) {
                (Source::Secret, Some(key)) => keyed(key, content(&object).to_string().as_bytes()),
                _ => hex::encode(Sha256::digest(content(&object).to_string())),
            };
            digests.insert(format!("{}/{name}", source.kind()), digest[..32].to_owned());
        }
        Ok(digests)
    }

    pub(super) async fn configuration(&self, source: Source, name: &str) -> Result<Option<Value>, Fault> {
        Ok(self.ask.read(source.resource(), &self.path_of(source), name).await?)
    }

    pub(super) fn path_of(&self, source: Source) -> String {
        format!("/api/v1/namespaces/{}/{}", self.key().namespace(), source.resource())
    }

    /// The key of this site's digests; made when it is first needed.
    async fn digest_key(&self, wanted: &Wanted) -> Result<Vec<u8>, Fault> {
        let name = format!("{}-digest-key", wanted.site.name);
        let path = self.path_of(Source::Secret);
        for _ in 0..2 {
            if let Some(secret) = self.configuration(Source::Secret, &name).await? {
                let whose = whose(wanted, &secret);
                if !may_be_read(&whose) {
                    return Err(taken("Secret", &name, &whose, false, wanted.site.name.as_str()));
                }
                return Ok(secret["data"]["key"].as_str().unwrap_or_default().as_bytes().to_vec());
            }
            let mut random = [0; 32];
            std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).map_err(|error| {
                Fault {
                    class: Class::Transient,
                    reason: reasons::CONFIGURATION_MISSING,
                    message: format!("cannot read /dev/urandom: {error}"),
                }
            })?;
            let objects = wanted.objects(self.key());
            let mut metadata = objects.metadata(&name, None, json!({}));
            metadata["labels"][names::PART] = json!("digest-key");
            let secret = json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": metadata,
                "immutable": true,
                "stringData": {"key": hex::encode(random)},
            });
            match self.ask.create_other(Source::Secret.resource(), &path, &secret).await {
                Ok(_) | Err(Failure::Exists) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(super::ask::changed("the key of the site's digests went away again"))
    }

    /// Copies what the revision reads, and gives the template that names the copies.
    pub(super) async fn snapshot(&self, wanted: &Wanted, inner: &Inner) -> Result<Value, Fault> {
        let target = &wanted.site.target;
        let mut template = target.template.value();
        let Some(resolved) = &inner.resolved else { return Err(super::ask::changed("the configuration is not known")) };
        let mut copies = BTreeMap::new();
        for (source, name) in resolved.references.keys() {
            let copied = match source {
                Source::ConfigMap => true,
                Source::Secret => target.secrets == SecretsSpec::Snapshot,
            };
            // What is optional and isn't there is left as it is.
            let Some(digest) = resolved.digests.get(&format!("{}/{name}", source.kind())).filter(|_| copied) else {
                continue;
            };
            let copy = self.copy(wanted, *source, name, digest).await?;
            copies.insert((*source, name.clone()), copy);
        }
        rename(&mut template, &copies);
        Ok(template)
    }

    /// Deletes copies that no release reads any more: neither one of these nor the one that is wanted now.
    pub(super) async fn prune_copies(
        &self,
        wanted: &Wanted,
        kept: &[Revision],
        inner: &mut Inner,
    ) -> Result<(), Fault> {
        let site = wanted.site.name.as_str();
        let resolved = inner.resolved.as_ref();
        if resolved.is_none_or(|resolved| resolved.references.is_empty()) {
            return Ok(());
        }
        let digests = resolved.map(|resolved| resolved.digests.clone()).unwrap_or_default();
        let named = |(what, digest): (&String, &String)| Some(copy_name(site, what.split_once('/')?.1, digest));
        let mut read: BTreeSet<String> = digests.iter().filter_map(named).collect();
        for revision in kept {
            let release = self.stored(wanted, *revision, inner).await?;
            read.extend(references(&release.template).into_keys().map(|(_, name)| name));
        }
        let labels = format!("{}={site},{}=configuration", names::SITE, names::PART);
        let mut sources = vec![Source::ConfigMap];
        if wanted.site.target.secrets == SecretsSpec::Snapshot {
            sources.push(Source::Secret);
        }
        for source in sources {
            let path = self.path_of(source);
            let list: Value = self.ask.list(source.resource(), &path, &labels, 500).await?;
            for copy in list["items"].as_array().into_iter().flatten() {
                let name = copy["metadata"]["name"].as_str().unwrap_or_default();
                if !read.contains(name) && may_be_read(&whose(wanted, copy)) {
                    self.ask.delete_other(source.resource(), &path, name).await?;
                }
            }
        }
        Ok(())
    }

    async fn copy(&self, wanted: &Wanted, source: Source, name: &str, digest: &str) -> Result<String, Fault> {
        let Some(object) = self.configuration(source, name).await? else {
            return Err(super::ask::changed(&format!("the {} {name} is gone", source.kind())));
        };
        let now = match source {
            Source::ConfigMap => hex::encode(Sha256::digest(content(&object).to_string())),
            Source::Secret => keyed(&self.digest_key(wanted).await?, content(&object).to_string().as_bytes()),
        };
        if now[..32] != *digest {
            return Err(super::ask::changed(&format!("the {} {name} has changed", source.kind())));
        }
        let copy = copy_name(wanted.site.name.as_str(), name, digest);
        let objects = wanted.objects(self.key());
        let mut metadata = objects.metadata(&copy, None, json!({}));
        metadata["labels"][names::PART] = json!("configuration");
        metadata["labels"][names::DIGEST] = json!(digest);
        let mut body = content(&object);
        body["apiVersion"] = json!("v1");
        body["kind"] = json!(source.kind());
        body["metadata"] = metadata;
        body["immutable"] = json!(true);
        let path = self.path_of(source);
        match self.ask.create_other(source.resource(), &path, &body).await {
            Ok(_) => return Ok(copy),
            Err(Failure::Exists) => {}
            Err(other) => return Err(other.into()),
        }
        let there = self.configuration(source, &copy).await?;
        match there {
            Some(there) if !may_be_read(&whose(wanted, &there)) => {
                Err(taken(source.kind(), &copy, &whose(wanted, &there), false, wanted.site.name.as_str()))
            }
            Some(there) if content(&there) == content(&object) => Ok(copy),
            Some(_) => Err(Fault {
                class: Class::User,
                reason: reasons::NAME_TAKEN,
                message: format!(
                    "the {} {copy} has another content than {name}, whose copy it should be: delete it",
                    source.kind()
                ),
            }),
            None => Err(super::ask::changed("a copy came and went")),
        }
    }
}

/// Copies that an earlier site of this name left do as well as ours. They are not taken back: that would want the right to change every ConfigMap.
fn may_be_read(whose: &Whose) -> bool {
    matches!(whose, Whose::Ours | Whose::Left)
}

/// The name of a copy. Names have at most 253 characters.
fn copy_name(site: &str, name: &str, digest: &str) -> String {
    let name: String = name.chars().take(180).collect();
    format!("{site}-{}-{}", name.trim_end_matches(['.', '-']), &digest[..10])
}

/// What makes a ConfigMap or a Secret: its fields are in an order.
fn content(object: &Value) -> Value {
    let mut content = json!({});
    for field in ["data", "binaryData", "type"] {
        match object.get(field) {
            None | Some(Value::Null) => {}
            Some(Value::Object(map)) if map.is_empty() => {}
            Some(value) => content[field] = value.clone(),
        }
    }
    content
}

/// HMAC-SHA256, as hexadecimal digits.
fn keyed(key: &[u8], content: &[u8]) -> String {
    const BLOCK: usize = 64;
    let mut block = [0; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let padded = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(content).finalize();
    hex::encode(Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize())
}

/// Whether two specifications describe the same release, as far as they say it themselves.
fn same(one: &SiteOnCluster, other: &SiteOnCluster) -> bool {
    let (one, other) = (&one.target, &other.target);
    one.template == other.template
        && one.config_maps == other.config_maps
        && one.secrets == other.secrets
        && one.inject_pre_stop == other.inject_pre_stop
        && one.incarnation == other.incarnation
        && one.ports == other.ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_secrets_are_hmac_sha256() {
        // RFC 4231, test cases 2 and 6.
        assert_eq!(
            keyed(b"Jefe", b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            keyed(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn an_empty_and_a_missing_map_are_the_same_content() {
        assert_eq!(content(&json!({"data": {}, "metadata": {"name": "a"}})), content(&json!({"binaryData": null})));
        assert_ne!(content(&json!({"data": {"a": "1"}})), content(&json!({"data": {"a": "2"}})));
    }

    #[test]
    fn the_name_of_a_copy_is_a_name() {
        let long = "x".repeat(170) + &"a.b-".repeat(20);
        let name = copy_name(&"s".repeat(49), &long, &"0123456789abcdef".repeat(2));
        assert!(name.len() <= 253, "{}", name.len());
        assert!(name.ends_with("-0123456789"));
        assert!(!name.contains("--0") && !name.contains(".-0"));
    }
}
