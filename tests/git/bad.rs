//! A bad commit changes nothing, and says where it is bad.

use std::os::unix::fs::symlink;

use serde_json::json;

use crate::kit::Followed;
use crate::machine::{nothing_lost, why};

#[test]
fn one_bad_manifest_keeps_all_of_its_commit_out_and_the_commit_file_and_line_are_named() {
    let followed = Followed::start();
    let (shop, blog) = (followed.shop(), followed.blog());
    followed.put(&shop.clone().release(&followed.machine.release("v1")));
    let good = followed.push(&blog, "v1b");
    followed.live_by("shop", &good);
    followed.live_by("blog", &good);
    let load = followed.machine.load(&shop);
    load.wait_for_version("v1").unwrap();
    let next = shop.clone().release(&followed.machine.release("v2"));
    let whole = blog.clone().release(&followed.machine.release("v2b"));
    let clash = whole.clone().set("/spec/target/host/hostnames", json!(["shop.test"]));
    let foreign = whole.clone().set("/spec/target/host/user", json!("daemon"));
    let outside = whole.clone().set("/spec/target/host/release", json!({ "path": "/usr/share" }));
    let broken = whole.yaml().unwrap().replace("spec:", "spec: [");
    let wrong = whole.yaml().unwrap().replace("hostnames:", "hostname:");
    for (text, reason, words) in [
        (broken, "InvalidSpec", &["sites/blog.yaml: line"][..]),
        (wrong, "InvalidSpec", &["sites/blog.yaml: line", "hostname"]),
        (
            clash.yaml().unwrap(),
            "ConflictsWithSite",
            &["sites/blog.yaml: line", "spec.target.host.hostnames[0]", "shop.test"],
        ),
        (foreign.yaml().unwrap(), "NotAllowed", &["sites/blog.yaml: line", "allow.users"]),
        (outside.yaml().unwrap(), "NotAllowed", &["sites/blog.yaml: line", "allow.releases"]),
        (
            whole.yaml().unwrap().replace("name: blog", "name: shop"),
            "InvalidSpec",
            &["sites/blog.yaml: ", "metadata.name"],
        ),
    ] {
        followed.put(&next);
        followed.repository.write("sites/blog.yaml", &text);
        let bad = followed.repository.push("bad");
        let all = [words, &[&bad[..12], &good[..12]]].concat();
        let site = followed.says("blog", "Stalled", reason, &all);
        assert_eq!(why(&site, "Available"), "AllInstancesReady", "{site:#}");
        // The good half of it is told why it is not taken either.
        followed.says("shop", "Stalled", "CommitRefused", &all);
        followed.says("shop", "Warning", "CommitRefused", &[&bad[..12]]);
    }
    load.wait_for_more(50).unwrap();
    let totals = load.stop();
    nothing_lost(&totals);
    assert_eq!(totals.versions.keys().collect::<Vec<_>>(), ["v1"]);
    // Mended, all of it is taken.
    followed.put(&whole);
    let mended = followed.repository.push("mended");
    followed.live_by("shop", &mended);
    let site = followed.live_by("blog", &mended);
    assert_eq!(why(&site, "Warning"), "", "{site:#}");
}

#[test]
fn a_commit_whose_folder_is_gone_or_empty_takes_no_site_away_unless_that_is_allowed() {
    let mut followed = Followed::start();
    let shop = followed.shop();
    let first = followed.push(&shop, "v1");
    followed.live_by("shop", &first);
    followed.repository.remove("sites/shop.yaml");
    let gone = followed.repository.push("no folder");
    followed.says("shop", "Warning", "CommitRefused", &[&gone[..12], "no folder sites"]);
    followed.repository.write("sites.txt", "");
    std::fs::create_dir_all(followed.repository.clone().join("sites")).unwrap();
    followed.repository.write("sites/README.md", "nothing here\n");
    let empty = followed.repository.push("an empty folder");
    followed.says("shop", "Warning", "CommitRefused", &[&empty[..12], "holds no manifest", "allowEmpty"]);
    assert_eq!(why(&followed.machine.agent.site("shop").unwrap(), "Ready"), "Live");
    followed.follow("  allowEmpty: true\n");
    followed.applied(&empty);
    let agent = &followed.machine.agent;
    let patience = bluegreen_rig::wait::PATIENCE;
    bluegreen_rig::wait::until("the site was gone", patience, || agent.site("shop").is_err().then_some(())).unwrap();
}

#[test]
fn another_repository_that_has_none_of_the_sites_takes_none_away() {
    let mut followed = Followed::start();
    let shop = followed.shop();
    let first = followed.push(&shop, "v1");
    followed.live_by("shop", &first);
    // Another branch, with another site.
    followed.repository.remove("sites/shop.yaml");
    followed.put(&followed.blog().release(&followed.machine.release("v1b")));
    let clone = followed.repository.clone();
    crate::server::git(&clone, &["checkout", "--quiet", "-b", "other"]);
    crate::server::git(&clone, &["add", "--all"]);
    crate::server::git(&clone, &["commit", "--quiet", "-m", "other"]);
    crate::server::git(&clone, &["push", "--quiet", "origin", "other"]);
    followed.follow("  ref: other\n");
    followed.says("shop", "Warning", "CommitRefused", &["another repository, branch or folder"]);
    assert_eq!(followed.machine.agent.live_colour("shop").as_deref(), Some("blue"));
    assert!(followed.machine.agent.live_colour("blog").is_none());
}

#[test]
fn what_is_no_file_is_not_followed_and_not_left_out() {
    let followed = Followed::start();
    let shop = followed.shop();
    let first = followed.push(&shop, "v1");
    followed.live_by("shop", &first);
    let folder = followed.repository.clone().join("sites");
    followed.repository.remove("sites/shop.yaml");
    symlink("/etc/passwd", folder.join("shop.yaml")).unwrap();
    let link = followed.repository.push("a link");
    followed.says("shop", "Warning", "CommitRefused", &[&link[..12], "sites/shop.yaml: it is a symbolic link"]);
    std::fs::remove_file(folder.join("shop.yaml")).unwrap();
    std::fs::write(folder.join("shop.yaml"), vec![b'#'; 300 << 10]).unwrap();
    let large = followed.repository.push("large");
    followed.says("shop", "Warning", "CommitRefused", &[&large[..12], "307200 bytes"]);
    assert_eq!(why(&followed.machine.agent.site("shop").unwrap(), "Ready"), "Live");
    // Links and folders that are nobody's site are left out.
    symlink("/etc/passwd", folder.join("passwd")).unwrap();
    std::fs::create_dir(folder.join("base")).unwrap();
    std::fs::write(folder.join("base/x.yaml"), "{").unwrap();
    std::fs::write(folder.join("kustomization.yaml"), "resources: [shop.yaml]\n").unwrap();
    followed.live_by("shop", &followed.push(&shop, "v2"));
}

#[test]
fn addresses_branches_and_folders_that_could_be_something_else_are_refused_before_anything_runs() {
    let followed = Followed::prepared();
    let config = followed.machine.agent.config_file().display().to_string();
    let pwned = followed.machine.agent.folder().join("pwned");
    let touch = format!("touch {}", pwned.display());
    for words in [
        ["--git", &format!("ext::sh -c {}", touch.replace(' ', "% "))],
        ["--git", &format!("--upload-pack={touch}")],
        ["--git", "file:///etc"],
        ["--git", "/etc"],
        ["--git", "ssh://-oProxyCommand=x/y"],
        ["--git", "https://user:secret@127.0.0.1/x"],
        ["--ref", &format!("--upload-pack={touch}")],
        ["--ref", "../../x"],
        ["--path", "../sites"],
        ["--path", "/etc"],
    ] {
        let [option, value] = words;
        let joined = format!("{option}={value}");
        let output = followed.machine.agent.cli(&["host", "run", "--config", &config, &joined]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && !said.contains("already running"), "{joined}: {said}");
        assert!(!pwned.exists());
    }
}
