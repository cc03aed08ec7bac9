//! Files that hold secrets and that others may read, or that decide what runs and that others may write.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::front::Front;
use super::sites::Sites;
use super::{Notes, Places, Severity};

/// Files of a person's that hold passwords or keys.
const OF_PEOPLE: [&str; 8] =
    [".my.cnf", ".pgpass", ".netrc", ".env", ".aws/credentials", ".ssh/id_rsa", ".ssh/id_ecdsa", ".ssh/id_ed25519"];
/// How deep a folder of configuration is looked into.
const DEPTH: u32 = 4;
/// What the names of variables with secrets in them contain.
const SECRET: [&str; 7] = ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "API_KEY", "PRIVATE_KEY", "CREDENTIAL"];

pub(super) fn look(places: &Places, sites: &Sites, front: &Front, notes: &mut Notes) {
    manifests(&places.manifests, notes);
    for site in &sites.all {
        for file in &site.config_files {
            readable(file, &format!("a configuration file of site {}", site.name), DEPTH, notes);
        }
    }
    for key in &front.keys {
        readable(key, "a private key of the web server", 0, notes);
    }
    let homes = fs::read_dir("/home").into_iter().flatten().flatten().map(|entry| entry.path());
    for home in homes.chain([PathBuf::from("/root")]) {
        for name in OF_PEOPLE {
            readable(&home.join(name), "a file with secrets", 0, notes);
        }
    }
    for entry in fs::read_dir("/etc/ssh").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("ssh_host_") && name.ends_with("_key") {
            readable(&entry.path(), "a key of this machine", 0, notes);
        }
    }
}

/// Who writes a manifest decides what runs, and a variable in it may be a password.
fn manifests(folder: &Path, notes: &mut Notes) {
    let Ok(meta) = fs::metadata(folder) else { return };
    if meta.uid() != 0 || meta.permissions().mode() & 0o022 != 0 {
        notes.find(
            Severity::High,
            "ManifestsWritable",
            "others than root may write manifests, and so run anything as any site's user",
            folder.display().to_string(),
            format!("chown root: {0} && chmod go-w {0}", folder.display()),
        );
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if !meta.is_file() || !open_to_others(&path, &meta) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        if let Some(variable) = text.lines().find_map(secret) {
            notes.find(
                Severity::High,
                "SecretReadable",
                format!("everybody on this machine can read {variable} in a manifest"),
                path.display().to_string(),
                format!("chmod 600 {}", path.display()),
            );
        }
    }
}

/// The variable that a line of a manifest sets, if it is one for secrets.
fn secret(line: &str) -> Option<String> {
    let (name, value) = line.split_once(':')?;
    let name = name.trim().trim_start_matches(['-', '{', ' ']).trim_matches(['"', '\'']);
    let upper = name.to_ascii_uppercase();
    let is =
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && SECRET.iter().any(|word| upper.contains(word));
    (is && !value.trim().is_empty()).then(|| name.to_owned())
}

fn readable(path: &Path, what: &str, depth: u32, notes: &mut Notes) {
    // What a link leads to is what counts: its own mode says nothing.
    let Ok(meta) = fs::metadata(path) else { return };
    if meta.is_dir() {
        if depth > 0 {
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                readable(&entry.path(), what, depth - 1, notes);
            }
        }
        return;
    }
    if open_to_others(path, &meta) {
        notes.find(
            Severity::High,
            "SecretReadable",
            format!("everybody on this machine can read {what}"),
            path.display().to_string(),
            format!("chmod o-rwx {}", path.display()),
        );
    }
}

/// Whether everybody may read or write it, and get to it.
fn open_to_others(path: &Path, meta: &Metadata) -> bool {
    let reach = |folder: &Path| fs::metadata(folder).is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0);
    meta.permissions().mode() & 0o006 != 0 && path.ancestors().skip(1).filter(|a| !a.as_os_str().is_empty()).all(reach)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_for_a_secret_is_told_by_its_name() {
        for (line, found) in [
            ("      DB_PASSWORD: hunter2", Some("DB_PASSWORD")),
            ("  env: { API_TOKEN: x }", None),
            ("  - SECRET_KEY: 'x'", Some("SECRET_KEY")),
            ("  PORT: 8080", None),
            ("  DB_PASSWORD:", None),
            ("  # the PASSWORD: is elsewhere", None),
        ] {
            assert_eq!(secret(line).as_deref(), found, "{line}");
        }
    }

    #[test]
    fn a_file_in_a_closed_folder_is_open_to_nobody() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("x");
        fs::write(&file, "x").expect("written");
        for (of_folder, of_file, open) in [(0o755, 0o644, true), (0o755, 0o640, false), (0o750, 0o644, false)] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(of_folder)).expect("a mode");
            fs::set_permissions(&file, fs::Permissions::from_mode(of_file)).expect("a mode");
            assert_eq!(open_to_others(&file, &fs::metadata(&file).expect("there")), open, "{of_folder:o} {of_file:o}");
        }
    }
}
