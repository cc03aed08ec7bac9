//! What all apps on a Java virtual machine need: the Java itself, and the one jar or war that a release is about.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::{PATH, wrong};
use crate::api::types::{AbsPath, RelPath};
use crate::platform::host::release::{Jar, JarError};
use crate::platform::{Class, Fault};

/// The Java to run an app on: the one that was named, or the first one on PATH.
pub(super) fn java(named: Option<&AbsPath>) -> Result<String, Fault> {
    let found = match named {
        Some(path) => path.as_path().is_file().then(|| path.as_path().to_owned()),
        None => PATH.split(':').map(|folder| Path::new(folder).join("java")).find(|path| path.is_file()),
    };
    let found = found.as_deref().and_then(Path::to_str);
    found.map(str::to_owned).ok_or_else(|| Fault {
        class: Class::User,
        reason: "JavaMissing",
        message: match named {
            Some(path) => format!("there is no Java at {path}: install one there, or name another in spec.target.host.runtime"),
            None => format!(
                "there is no java in {PATH}: install one (apt-get install openjdk-17-jre-headless), or name it in spec.target.host.runtime"
            ),
        },
    })
}

/// The jar or war that was named, or the only one at the top of the release.
///
/// # Errors
/// There is none, or more than one ([`Class::User`]).
pub fn artifact(release: &Path, named: Option<&RelPath>, ending: &str) -> Result<PathBuf, Fault> {
    if let Some(path) = named {
        let inside = path.below(release);
        return if inside.exists() { Ok(inside) } else { Err(wrong(&format!("the release has no {path}"))) };
    }
    let entries = std::fs::read_dir(release).map_err(|error| Fault {
        class: Class::Transient,
        reason: "ReleaseNotRead",
        message: format!("the release in {}: {error}", release.display()),
    })?;
    let dotted = format!(".{ending}");
    let mut all: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(&dotted) && name.parse::<RelPath>().is_ok())
        .collect();
    all.sort();
    match all.as_slice() {
        [only] => Ok(release.join(only)),
        [] => Err(wrong(&format!("the release has no .{ending} at its top: name the one to run ({ending}: …)"))),
        several => Err(wrong(&format!(
            "the release has several .{ending} files ({}): name the one to run ({ending}: …)",
            several.join(", ")
        ))),
    }
}

/// Looks into a jar or a war, with `reader` as the process that does: whatever its name ends in, it must be whole.
pub(super) fn open(path: &Path, kind: &str, reader: &Path) -> Result<Jar, Fault> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let file = File::open(path).map_err(|error| wrong(&format!("{name} can't be opened: {error}")))?;
    Jar::open(reader, file).map_err(|error| unread(&format!("{name} is not a {kind}"), &error))
}

/// Whether `java -jar` can begin with this jar.
pub(super) fn check_jar(jar: &Path, reader: &Path) -> Result<(), Fault> {
    let name = jar.file_name().unwrap_or_default().to_string_lossy();
    let archive = open(jar, "jar", reader)?;
    let manifest = archive.read("META-INF/MANIFEST.MF");
    let manifest = manifest.map_err(|error| unread(&format!("the manifest of {name} can't be read"), &error))?;
    let manifest = manifest.ok_or_else(|| {
        wrong(&format!("{name} has no manifest (META-INF/MANIFEST.MF), so Java can't run it: build it with spring-boot-maven-plugin's repackage or Gradle's bootJar"))
    })?;
    if manifest.lines().any(|line| line.starts_with("Main-Class:")) {
        return Ok(());
    }
    Err(wrong(&format!(
        "the manifest of {name} names no Main-Class, so Java can't run it (is it the -plain.jar, or the .original?): build it with \
         spring-boot-maven-plugin's repackage or Gradle's bootJar"
    )))
}

fn unread(what: &str, error: &JarError) -> Fault {
    match error.class() {
        Class::User => wrong(&format!("{what}: {error}; upload it again, whole")),
        class => Fault { class, reason: "ReleaseNotRead", message: format!("{what}: {error}") },
    }
}
