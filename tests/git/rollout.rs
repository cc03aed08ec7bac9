//! A commit becomes what serves.

use bluegreen_rig::wait;

use crate::kit::{Followed, follow, live_by, printed};
use crate::machine::{Machine, nothing_lost};
use crate::server::{Repository, Sshd};

#[test]
fn a_commit_goes_live_under_load_with_nothing_lost_and_everybody_is_told_which_it_was() {
    let followed = Followed::start();
    let shop = followed.shop();
    let first = followed.push(&shop, "v1");
    followed.live_by("shop", &first);
    let load = followed.machine.load(&shop);
    load.wait_for_version("v1").unwrap();
    let second = followed.push(&shop, "v2");
    load.wait_for_version("v2").unwrap();
    followed.live_by("shop", &second);
    followed.applied(&second);
    let described = printed(&followed.machine, &["describe", "shop"]);
    assert!(described.contains(&format!("the Git repository (commit {})", &second[..12])), "{described}");
    let history = printed(&followed.machine, &["history", "shop"]);
    for commit in [&first, &second] {
        assert!(history.contains(commit) && history.contains("CommitTaken"), "{history}");
    }
    // A site that is new beside it, and one that is taken away.
    let third = followed.push(&followed.blog(), "v3");
    followed.live_by("blog", &third);
    nothing_lost(&load.stop());
    followed.repository.remove("sites/shop.yaml");
    let fourth = followed.repository.push("no shop");
    followed.applied(&fourth);
    let agent = &followed.machine.agent;
    wait::until("the site was gone", wait::PATIENCE, || agent.site("shop").is_err().then_some(())).unwrap();
    assert!(!agent.site_dir("shop").exists());
    assert_eq!(agent.apps().len(), 2, "the other one runs on");
}

#[test]
fn over_ssh_with_a_key_and_known_hosts_it_is_the_same_and_an_unknown_server_is_not_believed() {
    let repository = Repository::new();
    let sshd = Sshd::start(&repository);
    let mut machine = Machine::start();
    let shop = machine.site("shop", 0);
    let push = |machine: &Machine, version: &str| {
        let text = shop.clone().release(&machine.release(version)).yaml().unwrap();
        repository.write("sites/shop.yaml", &text);
        repository.push(version)
    };
    let first = push(&machine, "v1");
    // A server of another key.
    let other = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
    follow(&mut machine, &sshd.knowing(&format!("somewhere-else {other}")), "");
    wait::until("it was not believed", wait::PATIENCE, || {
        machine.agent.log().contains("Host key verification failed").then_some(())
    })
    .unwrap();
    assert!(machine.agent.site("shop").is_err());
    follow(&mut machine, &sshd.configuration(), "");
    live_by(&machine, "shop", &first);
    let load = machine.load(&shop);
    let second = push(&machine, "v2");
    load.wait_for_version("v2").unwrap();
    live_by(&machine, "shop", &second);
    nothing_lost(&load.stop());
    // Keys are there only as long as a call lasts.
    wait::until("the key was taken away", wait::PATIENCE, || {
        (!machine.agent.state_dir().join("git/private").exists()).then_some(())
    })
    .unwrap();
}

#[test]
fn a_repository_that_is_named_on_the_command_line_is_followed() {
    let mut followed = Followed::prepared();
    let shop = followed.shop();
    let commit = followed.push(&shop, "v1");
    // The configuration has what is secret, and another address.
    let (right, elsewhere) = (followed.https.url(), "https://127.0.0.1:1/elsewhere.git");
    let server = followed.https.configuration().replace(&right, elsewhere);
    follow(&mut followed.machine, &server, "");
    wait::until("it was not reached", wait::PATIENCE, || {
        followed.machine.agent.log().contains("asking the repository failed").then_some(())
    })
    .unwrap();
    followed.machine.agent.stop();
    let program = followed.machine.agent.folder().join("following");
    let text = format!(
        "#!/bin/sh\ncase \"$1 $2\" in 'host run') exec '{0}' \"$@\" --git '{right}' --ref main --path sites/;; *) exec '{0}' \"$@\";; esac\n",
        bluegreen_rig::binaries::bluegreen().unwrap().display()
    );
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    followed.machine.agent.run_as(&program).unwrap();
    followed.live_by("shop", &commit);
    let load = followed.machine.load(&shop);
    let next = followed.push(&shop, "v2");
    load.wait_for_version("v2").unwrap();
    followed.live_by("shop", &next);
    nothing_lost(&load.stop());
}

#[test]
fn the_local_folder_and_the_repository_never_have_the_same_site() {
    let mut followed = Followed::prepared();
    let shop = followed.shop();
    followed.machine.agent.apply_and_wait(&shop.clone().release(&followed.machine.release("v1"))).unwrap();
    followed.follow("");
    let refused = followed.push(&shop, "v2");
    let metrics = || crate::machine::metrics(&followed.machine.agent, "/metrics");
    let line = format!("bluegreen_git_commit{{commit=\"{refused}\",applied=\"false\"}} 1");
    wait::until("the commit was refused", wait::PATIENCE, || metrics().contains(&line).then_some(())).unwrap();
    assert_eq!(followed.machine.agent.live_colour("shop").as_deref(), Some("blue"));
    followed.repository.remove("sites/shop.yaml");
    let blog = followed.push(&followed.blog(), "v3");
    followed.live_by("blog", &blog);
    // What comes from there is not changed here.
    let refusal = followed.machine.agent.apply(&followed.blog().release(&followed.machine.release("v4"))).unwrap_err();
    assert!(format!("{refusal:#}").contains("commit and push"), "{refusal:#}");
    let refusal = followed.machine.agent.bluegreen(&["delete", "blog"]).unwrap_err();
    assert!(format!("{refusal:#}").contains("commit and push"), "{refusal:#}");
}
