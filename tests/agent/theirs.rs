//! A machine on which a block that certbot or a panel wrote serves the hostname already: ours never takes it away, and is taken in by it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use bluegreen_rig::certificate::Certificate;
use bluegreen_rig::load::{Fetch, Load, fetch, get};
use bluegreen_rig::manifest::Manifest;
use serde_json::{Value, json};

use crate::fronts::{Front, Shop};
use crate::kit::{says, why};

behind_either! {
    a_pair_of_blocks_as_certbot_makes_them_is_refused_and_takes_the_site_in_by_an_include,
    a_panel_s_block_for_https_alone_keeps_its_name_from_a_site_with_tls,
}

/// A folder that everybody may read, with a page that says this.
fn pages(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.path().join("index.html"), text).unwrap();
    folder
}

fn over_https<W: Front>(shop: &Shop<W>, shows: &Certificate, path: &str) -> (u16, String) {
    let ask = Fetch { trust: Some(shows.trust().unwrap()), ..Fetch::get(shop.secure(), "shop.test", path) };
    let answer = fetch(&ask).unwrap();
    (answer.status, answer.text())
}

/// What is said of a site that is refused because somebody else has its name.
fn refused<W: Front>(shop: &Shop<W>, site: &Manifest) -> String {
    shop.agent.apply(site).unwrap();
    let taken = |site: &Value| format!("{site}").contains("HostnameTaken");
    let refused = shop.agent.wait_for("shop", "is refused", taken).unwrap();
    format!("{} {}", says(&refused, "Ready"), says(&refused, "Stalled"))
}

fn a_pair_of_blocks_as_certbot_makes_them_is_refused_and_takes_the_site_in_by_an_include<W: Front>() {
    let mut shop = Shop::<W>::start();
    let (old, shows) = (pages("the old site"), shop.certificate("live"));
    let root = shop.web.root(&old.path().display().to_string());
    let certbot = shop.web.pair_of_certbot_s(shop.secure(), "shop.test", &root, &shows);
    shop.web.put("shop.test.conf", &certbot);
    shop.web.read_again();
    let first = shop.release("v0");
    for site in [shop.site(), shop.with(&shows)] {
        let told = refused(&shop, &site.release(&first));
        for part in ["shop.test.conf:", "shop.test", "`front: Include`"] {
            assert!(told.contains(part), "{part} is not in {told}");
        }
        assert_eq!(over_https(&shop, &shows, "/index.html"), (200, "the old site".to_owned()));
    }

    // The way out that was named.
    let site = shop.site().unset("/spec/target/host/hostnames").unset("/spec/target/host/listen");
    let site = site.set("/spec/target/host/front", json!("Include"));
    shop.agent.apply(&site.clone().release(&first)).unwrap();
    let waits = shop.agent.wait_for("shop", "waits", |site| format!("{site}").contains("SnippetNotIncluded")).unwrap();
    let snippet = shop.web.folder().join("snippets/shop.conf").display().to_string();
    let include = shop.web.include(&snippet);
    assert!(format!("{waits}").contains(include.trim()), "{waits:#}");
    assert_eq!(over_https(&shop, &shows, "/index.html"), (200, "the old site".to_owned()));
    shop.web.put("shop.test.conf", &shop.web.pair_of_certbot_s(shop.secure(), "shop.test", &include, &shows));
    shop.agent.wait_for("shop", "is live", |site| why(site, "Ready") == "Live").unwrap();

    let (status, told) = over_https(&shop, &shows, "/headers");
    assert!(status == 200 && told.contains(r#"["x-forwarded-proto","https"]"#), "{told}");
    let sent_on = get(shop.web.address(), "shop.test", "/order?a=1").unwrap();
    let target = format!("https://shop.test:{}/order?a=1", shop.secure().port());
    assert_eq!((sent_on.status, sent_on.header("location")), (301, Some(target.as_str())));
    let load = Load::to(shop.secure(), "shop.test").over_tls(&shows.trust().unwrap()).clients(8);
    shop.twenty_cutovers(&site, vec![load.start().unwrap()]);
}

fn a_panel_s_block_for_https_alone_keeps_its_name_from_a_site_with_tls<W: Front>() {
    let mut shop = Shop::<W>::start();
    let (old, shows) = (pages("the panel's"), shop.certificate("panel"));
    let root = shop.web.root(&old.path().display().to_string());
    shop.web.put("panel.conf", &shop.web.secure_block(shop.secure(), "shop.test", &root, &shows));
    shop.web.read_again();
    let site = shop.with(&shop.certificate("ours")).release(&shop.release("v1"));
    let told = refused(&shop, &site);
    let (place, address) = (format!("{}/conf.d/panel.conf:", shop.web.folder().display()), shop.secure().to_string());
    for part in [place.as_str(), "shop.test", &address, "`front: Include`"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    assert_eq!(over_https(&shop, &shows, "/index.html"), (200, "the panel's".to_owned()));
    assert!(get(shop.web.address(), "shop.test", "/").is_err(), "nothing of ours is in place");
}
