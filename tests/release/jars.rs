//! What is in a jar is told by a process that may do nothing else, and that no jar makes larger than it may be.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use bluegreen::platform::Class;
use bluegreen::platform::host::release::{Jar, JarError};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::jail::{Shut, status, waits};
use super::kit::{Shop, UNPACKER, until};

fn packed(at: &Path, files: &[(&str, &str)]) {
    let mut zip = ZipWriter::new(File::create(at).unwrap());
    for (name, content) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
}

fn opened(path: &Path) -> Result<Jar, JarError> {
    Jar::open(Path::new(UNPACKER), File::open(path).unwrap())
}

/// A file of this size of which half claims to be the list of what is in it. It takes no room on the disk.
fn all_directory(at: &Path, size: u64) {
    let mut file = File::create(at).unwrap();
    file.set_len(size).unwrap();
    let (count, start) = (size / 2 / 47, size / 2);
    let number = |n: u64| n.to_le_bytes();
    let mut end = b"PK\x06\x06".to_vec();
    end.extend(number(44));
    end.extend([45, 0, 45, 0]);
    end.extend([0; 8]);
    end.extend([number(count), number(count), number(size - start), number(start)].concat());
    end.extend(b"PK\x06\x07");
    end.extend([0; 4]);
    end.extend(number(size));
    end.extend(1_u32.to_le_bytes());
    end.extend(b"PK\x05\x06");
    end.extend([0; 4]);
    end.extend([0xff; 12]);
    end.extend([0; 2]);
    std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).unwrap();
    file.write_all(&end).unwrap();
}

#[test]
fn what_is_in_a_jar_is_told_and_what_is_none_is_said_to_be_none() {
    let shop = Shop::new();
    let jar = shop.upload("shop.jar");
    let long = "x".repeat(3 << 20);
    packed(&jar, &[("META-INF/MANIFEST.MF", "Main-Class: a\n"), ("odd\n\"name", "1"), ("long", &long), ("empty", "")]);
    let read = opened(&jar).unwrap();
    assert_eq!(read.names(), ["META-INF/MANIFEST.MF", "odd\n\"name", "long", "empty"]);
    assert_eq!(read.read("META-INF/MANIFEST.MF").unwrap().unwrap(), "Main-Class: a\n");
    assert_eq!(read.read("odd\n\"name").unwrap().unwrap(), "1");
    assert_eq!(read.read("long").unwrap().unwrap().len(), 1 << 20, "what is beyond that is left out");
    assert_eq!(read.read("empty").unwrap().unwrap(), "");
    assert_eq!(read.read("none").unwrap(), None);

    let half = shop.upload("half.jar");
    let bytes = fs::read(&jar).unwrap();
    fs::write(&half, &bytes[..bytes.len() / 2]).unwrap();
    fs::write(shop.upload("text.jar"), "no archive").unwrap();
    for name in ["half.jar", "text.jar"] {
        assert!(matches!(opened(&shop.upload(name)), Err(JarError::Damaged(_))), "{name}");
    }
    assert!(matches!(opened(&shop.upload("")), Err(JarError::Damaged(_))), "a folder");
}

#[test]
fn a_jar_with_an_endless_list_is_refused_and_its_reader_alone_pays_for_it() {
    let shop = Shop::new();
    all_directory(&shop.upload("huge.jar"), 4 << 30);
    let names: Vec<String> = (0..400).map(|n| format!("{n:060000}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    packed(&shop.upload("names.jar"), &files);
    for name in ["huge.jar", "names.jar"] {
        let error = opened(&shop.upload(name)).err();
        assert_eq!(error, Some(JarError::Stopped), "{name}");
    }

    // Whoever runs a jar by a command of their own is told as well, and it is theirs.
    let mut shop = shop;
    shop.argv = ["java", "-jar", "names.jar"].map(str::to_owned).to_vec();
    let error = shop.take(&shop.archive("names.jar")).unwrap_err();
    assert_eq!((error.reason(), error.class()), ("ReleaseNotRead", Class::User), "{error}");
    assert!(error.to_string().contains("names.jar") && error.to_string().len() < 300, "{error}");
}

#[test]
fn its_reader_is_nobody_in_an_empty_world() {
    let shop = Shop::new();
    let jar = shop.upload("shop.jar");
    packed(&jar, &[("a", "1")]);
    let inside = shop.upload("inside");
    fs::create_dir(&inside).unwrap();
    let mut command = Command::new(UNPACKER);
    command.args(["read-jar", &std::process::id().to_string()]).current_dir(&inside);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::open(&jar).unwrap());
    let mut reader = Shut(command.spawn().unwrap());
    let pid = reader.0.id();
    until("it gave up its rights and waits", || waits(pid));
    let status = status(pid);
    let own = 2_000_000_000 + pid;
    assert_eq!(status["Uid"], format!("{own} {own} {own} {own}"));
    assert_eq!((status["Groups"].as_str(), status["CapEff"].as_str()), ("", "0000000000000000"));
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    assert_eq!(mounts.lines().count(), 1, "it sees more than its own folder:\n{mounts}");
    drop(reader.0.stdin.take());
    let mut told = String::new();
    reader.0.stdout.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!(told, "{\"Names\":[\"a\"]}\n");
    assert!(reader.0.wait().unwrap().success());
}

#[test]
fn whoever_is_not_root_reads_within_the_same_bounds() {
    let shop = Shop::new();
    packed(&shop.upload("shop.jar"), &[("a", "1")]);
    all_directory(&shop.upload("huge.jar"), 4 << 30);
    for (name, told) in [("shop.jar", "{\"Names\":[\"a\"]}\n"), ("huge.jar", "")] {
        let mut command = Command::new(UNPACKER);
        command.args(["read-jar", &std::process::id().to_string()]).current_dir("/").uid(42_001).gid(42_001);
        command.stdin(Stdio::null()).stderr(File::open(shop.upload(name)).unwrap());
        let output = command.stdout(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), told, "{name}: {}", output.status);
    }
}
