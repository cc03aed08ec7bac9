//! Users that may run no site.

use serde_json::json;

use crate::kit::{Served, refusal};

#[test]
fn root_system_users_and_unknown_users_run_no_site() {
    let served = Served::start();
    let agent = served.agent();
    let v2 = served.machine.release("v2");
    let as_user = |user: &str| served.site.clone().release(&v2).set("/spec/target/host/user", json!(user));
    for user in ["root", "nobody"] {
        let words = format!("a site never runs as {user}");
        let file = agent.folder().join("shop.yaml");
        as_user(user).write(&file).unwrap();
        let refusal = refusal(agent, &file);
        assert!(refusal.contains("spec.target.host.user") && refusal.contains(&words), "{refusal}");
        as_user(user).write(&agent.sites_dir().join("shop.yaml")).unwrap();
        served.says("InvalidSpec", &["spec.target.host.user", &words]);
    }
    for (user, words) in [
        ("daemon", "daemon is a system user"),
        ("nobody-of-this-name", "there is no user nobody-of-this-name on this machine; make one: `adduser"),
    ] {
        agent.apply(&as_user(user)).unwrap();
        served.says("UserRefused", &[words, "adduser --disabled-password"]);
        served.is_untouched();
    }
    served.goes_on_with("v3");
    served.ends_with_versions(&["v1", "v3"]);
}
