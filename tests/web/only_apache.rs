//! What only Apache does: it lacks modules, says `Listen` once, and ends at what a test of the configuration does not see.

use std::net::TcpListener;

use bluegreen::platform::Class;
use bluegreen::platform::host::web::apache::ApacheSettings;
use bluegreen::platform::host::web::{Mode, Tls, WebServer, reason};
use bluegreen::rollout::Colour;
use bluegreen_rig::certificate::Certificate;

use crate::changing::{live, refused};
use crate::fixture::{Client, Instance, Rig};
use crate::stands::Stands;

#[tokio::test(flavor = "multi_thread")]
async fn modules_that_are_missing_are_said_all_at_once() {
    let rig = Rig::<ApacheSettings>::start().await;
    let blue = Instance::start("blue").await;
    let main = rig.path(ApacheSettings::main_file());
    let text = std::fs::read_to_string(&main).unwrap();
    let without = |line: &&str| !line.contains("LoadModule headers_") && !line.contains("LoadModule status_");
    std::fs::write(&main, text.lines().filter(without).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let shop = live(&rig, "shop", &blue);
    refused(rig.web.ensure(shop.clone()).await, Class::User, reason::MODULE_MISSING, &["a2enmod headers status"]);
    std::fs::write(&main, text).unwrap();
    rig.web.ensure(shop).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_with_tls_waits_for_mod_ssl_and_the_rest_of_its_batch_does_not() {
    let mut rig = Rig::<ApacheSettings>::laid_out();
    rig.run().await;
    let blue = Instance::start("blue").await;
    let shows = Certificate::make(&rig.path("certificate"), &["shop.test"]).unwrap();
    let mut shop = live(&rig, "shop", &blue);
    let Mode::Own { tls, .. } = &mut shop.mode else { panic!() };
    *tls = Some(Tls { certificate: shows.certificate, key: shows.key, listen: vec![rig.free()] });
    let blog = live(&rig, "blog", &blue);
    let (one, other) = (rig.web.clone(), rig.web.clone());
    let (refusal, taken) = tokio::join!(one.ensure(shop.clone()), other.ensure(blog.clone()));
    taken.unwrap();
    refused(refusal, Class::User, reason::MODULE_MISSING, &["Apache lacks", "ssl", "a2enmod ssl", "restart it"]);
    assert_eq!(rig.get("blog.test", "/").await.body, "blue");
    // What the one lacks is nothing to the other, later too.
    refused(rig.web.ensure(shop.clone()).await, Class::User, reason::MODULE_MISSING, &["a2enmod ssl"]);
    let mut changed = blog;
    changed.requests.max_body = 1 << 20;
    rig.web.ensure(changed).await.unwrap();

    rig.write_main(ApacheSettings::LOADS_TLS);
    rig.web.ensure(shop).await.unwrap();
    assert_eq!(rig.get("shop.test", "/").await.status, 308);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_of_somebody_else_s_is_used_and_not_said_twice() {
    let rig = Rig::<ApacheSettings>::start().await;
    let blue = Instance::start("blue").await;
    let port = rig.free().port();
    rig.theirs("ports", &format!("<IfModule mod_rewrite.c>\nListen {port}\n</IfModule>\nListen {}\n", rig.http));
    let mut shop = live(&rig, "shop", &blue);
    let Mode::Own { listen, .. } = &mut shop.mode else { panic!() };
    for any in ["0.0.0.0", "[::]"] {
        listen.push(format!("{any}:{port}").parse().unwrap());
    }
    rig.web.ensure(shop).await.unwrap();
    assert_eq!(rig.get("shop.test", "/").await.body, "blue");
    for address in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        let mut client = Client::connect(address.parse().unwrap()).await.unwrap();
        assert_eq!(client.get("shop.test", "/").await.unwrap().body, "blue", "{address}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_somebody_else_can_t_have_is_said_before_apache_would_end_at_it() {
    let rig = Rig::<ApacheSettings>::start().await;
    let blue = Instance::start("blue").await;
    let shop = live(&rig, "shop", &blue);
    rig.web.ensure(shop).await.unwrap();
    let before = rig.ours();
    let holder = TcpListener::bind((rig.http.ip(), 0)).unwrap();
    let held = holder.local_addr().unwrap();
    rig.theirs("ports", &format!("Listen {held}\n"));
    let blog = live(&rig, "blog", &blue);
    refused(
        rig.web.ensure(blog.clone()).await,
        Class::User,
        reason::RELOAD_FAILED,
        &[&held.to_string(), "in use by", "nothing was changed"],
    );
    assert_eq!(rig.ours(), before);
    assert_eq!(rig.get("shop.test", "/").await.body, "blue");
    drop(holder);
    rig.web.ensure(blog).await.unwrap();
    assert_eq!(rig.get("blog.test", "/").await.body, "blue");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apache_that_ends_at_a_restart_comes_up_with_what_was_in_force_before() {
    let mut rig = Rig::<ApacheSettings>::start().await;
    let blue = Instance::start("blue").await;
    let shop = live(&rig, "shop", &blue);
    rig.web.ensure(shop.clone()).await.unwrap();
    let before = rig.ours();
    // That a log can't be opened is found only by who opens it: a test of the configuration looks at its folder alone.
    let log = rig.path("theirs");
    let theirs = ApacheSettings::block(rig.free(), "theirs.test", true, &[&format!("ErrorLog {}", log.display())]);
    rig.theirs("log", &theirs);
    assert!(rig.test());
    let blog = live(&rig, "blog", &blue);
    refused(rig.web.ensure(blog.clone()).await, Class::User, reason::RELOAD_FAILED, &["in place again"]);
    assert_eq!(rig.ours(), before);
    assert_eq!(rig.web.seen(&shop.site).await.unwrap_err().reason, reason::DOWN);
    std::fs::remove_file(rig.path("theirs/log")).unwrap();
    rig.kill();
    rig.run().await;
    assert_eq!(rig.web.seen(&shop.site).await.unwrap(), Some(Colour::Blue));
    rig.web.ensure(blog).await.unwrap();
    assert_eq!(rig.get("blog.test", "/").await.body, "blue");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_host_that_comes_first_and_takes_every_name_is_in_the_way() {
    let rig = Rig::<ApacheSettings>::start().await;
    let blue = Instance::start("blue").await;
    let shop = live(&rig, "shop", &blue);
    let greedy = ApacheSettings::block(rig.http, "all.test", true, &["ServerAlias *", &ApacheSettings::gone("/")]);
    let first = rig.path("conf.d/000-default.conf");
    std::fs::write(&first, &greedy).unwrap();
    let place = format!("{}:1", first.display());
    refused(rig.web.ensure(shop.clone()).await, Class::User, reason::HOSTNAME_TAKEN, &[&place, "shop.test"]);
    std::fs::remove_file(&first).unwrap();
    rig.theirs("last", &greedy);
    rig.web.ensure(shop).await.unwrap();
    assert_eq!(rig.get("shop.test", "/").await.body, "blue");
    assert_eq!(rig.get("other.test", "/").await.status, 410);
}
