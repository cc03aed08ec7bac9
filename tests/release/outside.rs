//! What comes from outside of the artifact: configuration files, shared folders.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use bluegreen::api::site::SharedDir;
use bluegreen::platform::Class;
use bluegreen::platform::host::release::{Config, config_dir};

use super::kit::{Shop, abs, lay, write};

const SECRET: &str = "password=hunter2";

fn shop_with(place: impl FnOnce(&Path)) -> Shop {
    let mut shop = Shop::new();
    lay(&shop.upload("1.0"), "one");
    let path = shop.dir.path().join("etc/app.conf");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    place(&path);
    shop.config_files = vec![abs(&path)];
    shop
}

#[test]
fn configuration_is_copied_for_the_users_eyes_only_and_belongs_to_the_revision() {
    let shop = shop_with(|path| write(path, SECRET, 0o600));
    let first = shop.take(&shop.folder("1.0")).unwrap();
    let folder = config_dir(&shop.site, first.revision);
    let file = folder.join("app.conf");
    for (path, mode) in [(&folder, 0o500), (&file, 0o400)] {
        let meta = fs::metadata(path).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (mode, shop.account.uid, shop.account.gid));
    }
    let read_as = |uid: u32| {
        let read = Command::new("cat").arg(&file).uid(uid).gid(uid).output().unwrap();
        String::from_utf8(read.stdout).unwrap()
    };
    assert_eq!(read_as(shop.account.uid), SECRET);
    assert_eq!(read_as(shop.account.uid + 1), "", "nobody else reads it");

    fs::write(shop.config_files[0].as_path(), "password=other").unwrap();
    let second = shop.take(&shop.folder("1.0")).unwrap();
    assert_ne!(first.revision, second.revision);
    assert_eq!(read_as(shop.account.uid), SECRET, "the old release keeps its own, for a way back");

    let shown = format!("{first:?} {}", fs::read_to_string(shop.site.release_json(first.revision)).unwrap());
    assert!(!shown.contains("hunter2"));
    let config = Config::read(&shop.config_files, &shop.account).unwrap();
    assert!(!format!("{config:?}").contains("other"), "{config:?}");
}

#[test]
fn a_release_that_was_taken_stays_taken_when_what_it_was_taken_from_is_gone() {
    let shop = shop_with(|path| write(path, SECRET, 0o600));
    let source = shop.folder("1.0");
    let identity = shop.identify(&source).unwrap();
    let taken = shop.take_as(&source, &identity, &|_| {}).unwrap();
    let config = fs::read(shop.config_files[0].as_path()).unwrap();
    fs::remove_file(shop.config_files[0].as_path()).unwrap();
    fs::remove_dir_all(shop.upload("1.0")).unwrap();
    assert_eq!(shop.take_as(&source, &identity, &|_| {}).unwrap(), taken);

    // Its configuration is lost: only the same one can be put back.
    fs::remove_dir_all(config_dir(&shop.site, taken.revision)).unwrap();
    let error = shop.take_as(&source, &identity, &|_| {}).unwrap_err();
    assert_eq!(error.reason(), "ConfigurationMissing");
    write(shop.config_files[0].as_path(), config, 0o600);
    shop.take_as(&source, &identity, &|_| {}).unwrap();
    assert!(config_dir(&shop.site, taken.revision).join("app.conf").exists());
}

#[test]
fn configuration_that_changes_before_it_is_taken_is_another_revision() {
    let shop = shop_with(|path| write(path, SECRET, 0o600));
    let identity = shop.identify(&shop.folder("1.0")).unwrap();
    fs::write(shop.config_files[0].as_path(), "password=other").unwrap();
    let error = shop.take_as(&shop.folder("1.0"), &identity, &|_| {}).unwrap_err();
    assert_eq!((error.reason(), error.class()), ("ReleaseChanged", Class::Conflict));
    assert!(error.to_string().contains("app.conf"), "{error}");
    assert!(shop.shelf().is_empty());
}

#[test]
fn a_file_of_somebody_elses_is_refused_as_configuration_with_the_command_that_mends_it() {
    type Place = fn(&Path);
    let cases: [(&str, Place); 5] = [
        ("change", |path| {
            write(path, SECRET, 0o600);
            chown(path, Some(42_777), Some(42_777)).unwrap();
        }),
        ("read", |path| write(path, SECRET, 0o644)),
        ("change", |path| write(path, SECRET, 0o620)),
        ("change", |path| write(path, SECRET, 0o602)),
        ("read", |path| {
            write(path, SECRET, 0o640);
            chown(path, Some(0), Some(42_777)).unwrap();
        }),
    ];
    for (may, place) in cases {
        let shop = shop_with(place);
        let path = shop.config_files[0].as_path();
        let error = shop.take(&shop.folder("1.0")).unwrap_err();
        assert_eq!((error.reason(), error.class()), ("ConfigurationRefused", Class::User), "{error}");
        let message = error.to_string();
        let meta = fs::metadata(path).unwrap();
        assert!(message.contains(&format!("belongs to user {}", meta.uid())), "{message}");
        assert!(message.contains(&format!("mode {:04o}", meta.mode() & 0o7777)), "{message}");
        assert!(message.contains(&format!("may {may} it")), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
        assert!(shop.shelf().is_empty());

        let mend = message.split('`').nth(1).unwrap();
        assert!(Command::new("sh").args(["-c", mend]).status().unwrap().success(), "{mend}");
        shop.take(&shop.folder("1.0")).unwrap();
    }
}

#[test]
fn configuration_of_the_users_own_or_shared_with_its_group_is_fine() {
    for (uid, gid, mode) in [(42_001, 42_001, 0o400), (0, 42_001, 0o640), (42_001, 42_777, 0o600)] {
        let shop = shop_with(|path| {
            write(path, SECRET, mode);
            chown(path, Some(uid), Some(gid)).unwrap();
        });
        shop.take(&shop.folder("1.0")).unwrap();
    }
}

#[test]
fn configuration_behind_a_link_or_that_is_no_plain_file_is_refused() {
    let secret = |path: &Path| {
        let secret = path.with_file_name("shadow");
        write(&secret, SECRET, 0o600);
        secret
    };
    type Place<'a> = &'a dyn Fn(&Path);
    let cases: [(&str, Place<'_>); 4] = [
        ("through the link", &|path| symlink(secret(path), path).unwrap()),
        ("through the link", &|path| {
            let folder = path.parent().unwrap();
            fs::rename(folder, folder.with_file_name("real")).unwrap();
            write(&folder.with_file_name("real").join("app.conf"), SECRET, 0o600);
            symlink("real", folder).unwrap();
        }),
        ("a hard link", &|path| fs::hard_link(secret(path), path).unwrap()),
        ("not a regular file", &|path| {
            assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        }),
    ];
    for (words, place) in cases {
        let shop = shop_with(place);
        let error = shop.take(&shop.folder("1.0")).unwrap_err();
        assert_eq!(error.reason(), "ConfigurationRefused", "{error}");
        assert!(error.to_string().contains(words) && error.to_string().contains("app.conf"), "{error}");
        assert!(shop.shelf().is_empty());
    }
    let shop = shop_with(|_| {});
    assert_eq!(shop.take(&shop.folder("1.0")).unwrap_err().reason(), "ConfigurationMissing");
}

fn share(shop: &mut Shop, path: &str) -> std::path::PathBuf {
    let source = shop.dir.path().join("shared").join(path.replace('/', "-"));
    fs::create_dir_all(&source).unwrap();
    chown(&source, Some(shop.account.uid), Some(shop.account.gid)).unwrap();
    shop.shared_dirs.push(SharedDir { path: path.parse().unwrap(), source: abs(&source) });
    source
}

#[test]
fn shared_folders_appear_in_the_release_and_replace_nothing_but_an_empty_folder() {
    let mut shop = Shop::new();
    lay(&shop.upload("1.0"), "one");
    let uploads = share(&mut shop, "empty");
    let deep = share(&mut shop, "var/data/db");
    let taken = shop.take(&shop.folder("1.0")).unwrap();
    let release = shop.release(taken.revision);
    assert_eq!(fs::read_link(release.join("empty")).unwrap(), uploads);
    assert_eq!(fs::read_link(release.join("var/data/db")).unwrap(), deep);
    assert_eq!(fs::metadata(release.join("var")).unwrap().mode() & 0o7777, 0o550);
    let wrote =
        Command::new("touch").arg(release.join("empty/file")).uid(shop.account.uid).gid(shop.account.gid).status();
    assert!(wrote.unwrap().success());
    assert!(uploads.join("file").exists());
    // Taken again, and pruned away, the folder is where it was.
    shop.take(&shop.folder("1.0")).unwrap();
    bluegreen::platform::host::release::prune(&shop.site, &[], 0).unwrap();
    assert!(uploads.join("file").exists());
}

#[test]
fn a_shared_folder_where_the_artifact_has_something_is_a_conflict() {
    for (path, words) in [
        ("bin", "a folder that isn't empty"),
        ("index.html", "a file"),
        ("public/home", "a link"),
        ("public/home/x", "on the way"),
        ("index.html/x", "on the way"),
    ] {
        let mut shop = Shop::new();
        lay(&shop.upload("1.0"), "one");
        share(&mut shop, path);
        let error = shop.take(&shop.folder("1.0")).unwrap_err();
        assert_eq!(error.reason(), "SharedFolderConflict", "{error}");
        assert!(error.to_string().contains(words) && error.to_string().contains(path), "{error}");
        assert!(shop.shelf().is_empty());
    }
}

#[test]
fn a_shared_folder_that_is_not_the_users_is_refused_with_the_way_on() {
    type Spoil = fn(&Path);
    let cases: [(&str, &str, Spoil); 4] = [
        ("SharedFolderMissing", "install -d", |at| fs::remove_dir(at).unwrap()),
        ("SharedFolderRefused", "chown shop", |at| chown(at, Some(0), Some(0)).unwrap()),
        ("SharedFolderRefused", "through the link", |at| {
            fs::rename(at, at.with_file_name("real")).unwrap();
            symlink("real", at).unwrap();
        }),
        ("SharedFolderRefused", "not a folder", |at| {
            fs::remove_dir(at).unwrap();
            write(at, "", 0o666);
        }),
    ];
    for (reason, words, spoil) in cases {
        let mut shop = Shop::new();
        lay(&shop.upload("1.0"), "one");
        spoil(&share(&mut shop, "empty"));
        let error = shop.take(&shop.folder("1.0")).unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let mut shop = Shop::new();
    lay(&shop.upload("1.0"), "one");
    let source = share(&mut shop, "empty");
    chown(&source, Some(0), Some(42_100)).unwrap();
    fs::set_permissions(&source, fs::Permissions::from_mode(0o770)).unwrap();
    shop.take(&shop.folder("1.0")).unwrap();
}

#[test]
fn a_folder_of_configuration_is_taken_whole_or_not_at_all() {
    let shop = shop_with(|path| {
        write(path, SECRET, 0o600);
        write(&path.with_file_name("b.conf"), "b", 0o600);
    });
    let folder = shop.config_files[0].as_path().parent().unwrap().to_owned();
    let shop = Shop { config_files: vec![abs(&folder)], ..shop };
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let taken = shop.take(&shop.folder("1.0")).unwrap();
    let copies = config_dir(&shop.site, taken.revision);
    assert_eq!(fs::read_to_string(copies.join("app.conf")).unwrap(), SECRET);
    assert_eq!(fs::read_to_string(copies.join("b.conf")).unwrap(), "b");

    let refused = |what: &str| {
        let error = shop.take(&shop.folder("1.0")).unwrap_err();
        assert_eq!((error.reason(), error.class()), ("ConfigurationRefused", Class::User), "{what}: {error}");
        error.to_string()
    };
    write(&folder.join("open.conf"), "x", 0o644);
    assert!(refused("one that others may read").contains("open.conf"));
    fs::remove_file(folder.join("open.conf")).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", folder.join("link.conf")).unwrap();
    assert!(refused("a link").contains("link.conf"));
    fs::remove_file(folder.join("link.conf")).unwrap();
    fs::create_dir(folder.join("inner")).unwrap();
    assert!(refused("a folder inside").contains("inner"));
    fs::remove_dir(folder.join("inner")).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(refused("a folder for all to write in").contains("chmod 0750"));
}

#[test]
fn a_file_of_variables_is_kept_with_the_release_for_root_alone() {
    let mut shop = Shop::new();
    lay(&shop.upload("1.0"), "one");
    let file = shop.dir.path().join("etc/shop.env");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    write(&file, "KEY=hunter2\n", 0o600);
    let without = shop.take(&shop.folder("1.0")).unwrap();
    shop.env_file = Some(abs(&file));
    let first = shop.take(&shop.folder("1.0")).unwrap();
    assert_ne!(first.revision, without.revision);
    let copy = shop.site.releases().join(format!("{}.env", first.revision));
    let meta = fs::metadata(&copy).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o600, 0));
    let key = || {
        let all = bluegreen::platform::host::release::env(&shop.site, first.revision, &shop.run()).unwrap();
        all.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    assert_eq!(key(), ["KEY=hunter2"]);
    write(&file, "KEY=other\n", 0o600);
    assert_ne!(shop.take(&shop.folder("1.0")).unwrap().revision, first.revision);
    assert_eq!(key(), ["KEY=hunter2"], "the old release keeps its own");
    let shown = format!("{first:?} {}", fs::read_to_string(shop.site.release_json(first.revision)).unwrap());
    assert!(!shown.contains("hunter2"));
    // Lost, it is put back; and a release that goes takes it along.
    write(&file, "KEY=hunter2\n", 0o600);
    fs::remove_file(&copy).unwrap();
    shop.take(&shop.folder("1.0")).unwrap();
    assert_eq!(key(), ["KEY=hunter2"]);
    bluegreen::platform::host::release::prune(&shop.site, &[], 0).unwrap();
    assert_eq!(shop.shelf(), Vec::<String>::new());
}
