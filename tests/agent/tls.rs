//! A site over HTTPS from its manifest to its clients, and a certificate that is renewed under its feet, as certbot does it: a link that leads
//! elsewhere.

use std::os::unix::fs::symlink;
use std::time::Duration;

use bluegreen_rig::certificate::Certificate;
use bluegreen_rig::load::{Fetch, Load, fetch, get};
use bluegreen_rig::wait;

use crate::fronts::{Front, Shop};

behind_either! {
    twenty_cutovers_over_https_lose_nothing_in_either_version_of_http_and_reload_nothing,
    a_renewed_certificate_is_taken_up_and_a_broken_one_is_said_while_the_old_one_serves_on,
}

fn twenty_cutovers_over_https_lose_nothing_in_either_version_of_http_and_reload_nothing<W: Front>() {
    let shop = Shop::<W>::start();
    let shows = shop.certificate("live");
    let site = shop.with(&shows);
    shop.agent.apply_and_wait(&site.clone().release(&shop.release("v0"))).unwrap();
    let sent_on = get(shop.web.address(), "shop.test", "/order?a=1").unwrap();
    let target = format!("https://shop.test:{}/order?a=1", shop.secure().port());
    assert_eq!((sent_on.status, sent_on.header("location")), (308, Some(target.as_str())));

    let trust = shows.trust().unwrap();
    let load = || Load::to(shop.secure(), "shop.test").clients(8);
    let loads = [load().over_tls(&trust), load().over_http2(&trust)];
    shop.twenty_cutovers(&site, loads.map(|load| load.start().unwrap()).into());
}

fn a_renewed_certificate_is_taken_up_and_a_broken_one_is_said_while_the_old_one_serves_on<W: Front>() {
    let shop = Shop::<W>::start();
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("live");
    let made = |name: &str| Certificate::make(&folder.path().join(name), &["shop.test"]).unwrap();
    let (first, second, broken) = (made("first"), made("second"), made("broken"));
    symlink("first", &live).unwrap();
    let point = |to: &str| {
        let next = folder.path().join("next");
        symlink(to, &next).unwrap();
        std::fs::rename(next, &live).unwrap();
    };
    let named = Certificate { certificate: live.join("fullchain.pem"), key: live.join("privkey.pem") };
    let site = shop.with(&named);
    shop.agent.apply_and_wait(&site.clone().release(&shop.release("v1"))).unwrap();

    let (first, second) = (first.trust().unwrap(), second.trust().unwrap());
    let shown = |trust| {
        let ask = Fetch { trust: Some(trust), ..Fetch::get(shop.secure(), "shop.test", "/health") };
        fetch(&ask).is_ok_and(|answer| answer.status == 200)
    };
    let (is_first, is_second) = (|| shown(first.clone()), || shown(second.clone()));
    let patience = Duration::from_secs(90);
    assert!(is_first() && !is_second());
    point("second");
    wait::until("the renewed certificate is shown", patience, || is_second().then_some(())).unwrap();
    // A worker of before may take one more connection until it is told.
    wait::until("the one before is shown no more", patience, || (!is_first()).then_some(())).unwrap();
    std::fs::write(broken.key, "half a k").unwrap();
    point("broken");
    let said = || {
        let output = shop.agent.bluegreen(&["describe", "shop"]).ok()?;
        let view = String::from_utf8_lossy(&output.stdout).into_owned();
        view.contains("CertificateUnusable").then_some(view)
    };
    let view = wait::until("what is wrong is said", patience, said).unwrap();
    assert!(view.contains("privkey.pem"), "{view}");
    assert!(is_second(), "what was in force serves on");
    // A rollout isn't held up by it.
    shop.agent.apply(&site.release(&shop.release("v2"))).unwrap();
    let moved = || (shop.agent.live_colour("shop").as_deref() == Some("green")).then_some(());
    wait::until("the next version is live", patience, moved).unwrap();
    point("first");
    wait::until("it is mended", patience, || is_first().then_some(())).unwrap();
}
