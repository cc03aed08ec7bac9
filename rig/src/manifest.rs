//! A site's manifest, and releases of the app to name in it.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::binaries;

/// A manifest that a test or the demo writes. What isn't said here can be set with [`set`](Manifest::set).
#[derive(Clone, Debug)]
pub struct Manifest {
    name: String,
    value: Value,
}

impl Manifest {
    /// A site of rig-app with these ports, whose rollout takes no longer than it must: no bake, no standby, health asked often.
    #[must_use]
    pub fn app(name: &str, listen: SocketAddr, user: &str, blue: &[u16], green: &[u16]) -> Manifest {
        let value = json!({
            "apiVersion": "bluegreen.dev/v1alpha1",
            "kind": "BlueGreenSite",
            "metadata": { "name": name },
            "spec": {
                "target": { "host": {
                    "hostnames": [format!("{name}.test")],
                    "listen": [listen.to_string()],
                    "release": {},
                    "runtime": { "command": { "argv": ["app", "--port", "$(PORT)"] } },
                    "ports": { "blue": blue, "green": green },
                    "user": user,
                } },
                "health": { "path": "/health", "successes": 1, "interval": "50ms" },
                "strategy": { "bake": "0s", "standby": "0s", "drainWithin": "10s", "readyWithin": "20s" },
            }
        });
        Manifest { name: name.to_owned(), value }
    }

    /// A site of files alone.
    #[must_use]
    pub fn files(name: &str, listen: SocketAddr, user: &str) -> Manifest {
        let manifest = Manifest::app(name, listen, user, &[], &[]);
        let manifest = manifest.unset("/spec/target/host/ports").unset("/spec/health");
        manifest
            .set("/spec/target/host/runtime", json!({ "static": {} }))
            .set("/spec/target/host/static", json!([{ "path": "/", "root": "public" }]))
    }

    /// The manifest of an example, for a machine of the tests: its own names, address, user and ports, and a rollout that takes no longer than it
    /// must.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn example(file: &Path, listen: SocketAddr, user: &str, blue: &[u16], green: &[u16]) -> Result<Manifest> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let value: Value = serde_saphyr::from_str(&text)?;
        let name = value.pointer("/metadata/name").and_then(Value::as_str).context("it has no name")?.to_owned();
        let manifest = Manifest { value, name: name.clone() };
        let quick = json!({ "bake": "0s", "standby": "0s", "drainWithin": "10s", "readyWithin": "30s" });
        let manifest = manifest
            .set("/spec/target/host/hostnames", json!([format!("{name}.test")]))
            .set("/spec/target/host/listen", json!([listen.to_string()]))
            .set("/spec/target/host/ports", json!({ "blue": blue, "green": green }))
            .set("/spec/target/host/user", json!(user))
            .set("/spec/health/successes", json!(1))
            .set("/spec/health/interval", json!("50ms"));
        Ok(manifest.set("/spec/strategy", quick))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name that it answers to.
    #[must_use]
    pub fn host(&self) -> String {
        format!("{}.test", self.name)
    }

    /// With this folder as its release.
    #[must_use]
    pub fn release(self, folder: &Path) -> Manifest {
        self.set("/spec/target/host/release", json!({ "path": folder }))
    }

    /// With this archive as its release.
    #[must_use]
    pub fn archive(self, file: &Path, sha256: Option<&str>) -> Manifest {
        let mut release = json!({ "archive": file });
        if let Some(sum) = sha256 {
            release["sha256"] = json!(sum);
        }
        self.set("/spec/target/host/release", release)
    }

    /// With this path answered by the web server.
    #[must_use]
    pub fn with_static(self, path: &str, root: &str, keep: u8) -> Manifest {
        self.set("/spec/target/host/static", json!([{ "path": path, "root": root, "keep": keep }]))
    }

    /// With this field of `spec.strategy`.
    #[must_use]
    pub fn strategy(self, field: &str, value: &str) -> Manifest {
        self.set(&format!("/spec/strategy/{field}"), json!(value))
    }

    /// With this variable in the app's environment.
    #[must_use]
    pub fn env(self, name: &str, value: &str) -> Manifest {
        self.set(&format!("/spec/target/host/env/{name}"), json!(value))
    }

    /// With this value at this JSON pointer; objects on the way are made.
    #[must_use]
    pub fn set(mut self, pointer: &str, value: Value) -> Manifest {
        let mut at = &mut self.value;
        for part in pointer.split('/').skip(1) {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            at = &mut at[part];
        }
        *at = value;
        self
    }

    /// Without what is at this JSON pointer.
    #[must_use]
    pub fn unset(mut self, pointer: &str) -> Manifest {
        if let Some((parent, key)) = pointer.rsplit_once('/')
            && let Some(Value::Object(parent)) = self.value.pointer_mut(parent)
        {
            parent.remove(key);
        }
        self
    }

    /// As it is written, field by field.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// As YAML.
    ///
    /// # Errors
    /// Never, as long as it is plain data.
    pub fn yaml(&self) -> Result<String> {
        serde_saphyr::to_string(&self.value).context("cannot write the manifest")
    }

    /// Writes it to a file.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, file: &Path) -> Result<()> {
        fs::write(file, self.yaml()?).with_context(|| format!("cannot write {}", file.display()))
    }
}

/// Makes a release of the app that calls itself `version`, with a hashed asset of its own. `behaviour` goes into `rig.env`: a line is an
/// argument of rig-app without its dashes. Returns the folder.
///
/// # Errors
/// When it can't be written, or the app can't be built.
pub fn release(parent: &Path, version: &str, behaviour: &str) -> Result<PathBuf> {
    let folder = parent.join(version);
    let assets = folder.join("public/assets");
    fs::create_dir_all(&assets).with_context(|| format!("cannot make {}", assets.display()))?;
    fs::copy(binaries::rig_app()?, folder.join("app")).context("cannot copy the app into the release")?;
    fs::set_permissions(folder.join("app"), fs::Permissions::from_mode(0o755))?;
    fs::write(folder.join("VERSION"), format!("{version}\n"))?;
    fs::write(folder.join("rig.env"), behaviour)?;
    fs::write(assets.join(asset_name(version)), format!("document.title = \"shop {version}\";\n"))?;
    fs::write(folder.join("public/index.html"), format!("<h1>{version}</h1>\n"))?;
    Ok(folder)
}

/// What the hashed asset of a [`release`] is called.
#[must_use]
pub fn asset_name(version: &str) -> String {
    use sha2::{Digest, Sha256};
    let sum = hex::encode(Sha256::digest(version.as_bytes()));
    format!("app.{}.js", &sum[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_field_can_be_set_and_taken_away() {
        let manifest = Manifest::app("shop", "127.0.0.1:80".parse().expect("it is one"), "somebody", &[1], &[2]);
        let manifest = manifest.env("A", "b").strategy("bake", "1s").unset("/spec/health/path");
        let yaml = manifest.yaml().expect("it is plain data");
        let back: Value = serde_saphyr::from_str(&yaml).expect("it is YAML");
        assert_eq!(back.pointer("/spec/target/host/env/A"), Some(&json!("b")), "{yaml}");
        assert_eq!(back.pointer("/spec/strategy/bake"), Some(&json!("1s")), "{yaml}");
        assert_eq!(back.pointer("/spec/health/path"), None, "{yaml}");
    }
}
