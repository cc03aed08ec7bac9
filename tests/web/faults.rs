//! A web server that can't take what it is given, for reasons that lie in it or in somebody else's files: said, and what runs goes on.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use bluegreen::platform::Class;
use bluegreen::platform::host::web::apache::ApacheSettings;
use bluegreen::platform::host::web::nginx::NginxSettings;
use bluegreen::platform::host::web::queue::Front;
use bluegreen::platform::host::web::{Mode, WebServer, reason};
use bluegreen::rollout::Colour;
use bluegreen_rig::certificate::SELF_SIGNED;
use http_body_util::Full;
use hyper::Request;

use crate::changing::{live, refused};
use crate::fixture::{Client, Instance, Rig, point, release, statics, until};
use crate::stands::Stands;

on_every_server! {
    a_web_server_that_is_too_old_is_said_with_what_is_needed,
    a_broken_certificate_of_somebody_else_s_is_told_and_ours_go_on,
}

/// The real program, which says something else of itself when it is asked with this flag: no such one can be had here.
fn posing(rig: &Rig<impl Stands>, real: &Path, flag: &str, says: &str) -> std::path::PathBuf {
    let path = rig.path("posing");
    let real = real.display();
    std::fs::write(
        &path,
        format!(
            "#!/bin/sh\nfor last; do :; done\n[ \"$last\" = {flag} ] && {{ echo '{says}'; exit; }}\nexec {real} \"$@\"\n"
        ),
    )
    .unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

async fn a_web_server_that_is_too_old_is_said_with_what_is_needed<K: Stands>() {
    let mut rig = Rig::<K>::start().await;
    let blue = Instance::start("blue").await;
    let shop = live(&rig, "shop", &blue);
    rig.web.ensure(shop.clone()).await.unwrap();
    let before = rig.ours();
    let real = rig.settings.knobs().0.clone();
    let (says, found, needed) = K::AN_OLD_ONE;
    *rig.settings.knobs().0 = posing(&rig, &real, "-v", says);
    rig.forget();
    let blog = live(&rig, "blog", &blue);
    refused(
        rig.web.ensure(blog.clone()).await,
        Class::User,
        reason::TOO_OLD,
        &[found, "is too old", needed, "install"],
    );
    assert_eq!(rig.ours(), before);
    assert_eq!(rig.get("shop.test", "/").await.body, "blue");
    *rig.settings.knobs().0 = real;
    rig.forget();
    rig.web.ensure(blog).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_nginx_without_gzip_static_answers_files_as_they_are_and_that_is_said() {
    let mut rig = Rig::<NginxSettings>::start().await;
    let real = rig.settings.program.clone();
    rig.settings.program = posing(&rig, &real, "-V", "nginx version: nginx/1.22.1\nconfigure arguments: --with-debug");
    rig.forget();
    let mut shop = rig.site("shop", &[], &[]);
    statics(&mut shop, "/", "dist", false);
    for side in [&mut shop.blue, &mut shop.green] {
        side.statics[0].precompressed = true;
    }
    release(&shop, Colour::Blue, 1, &[("dist/a.css", "css"), ("dist/a.css.gz", "packed")]);
    point(&shop.dir, Colour::Blue);
    let css = async || {
        let asked = Request::builder().uri("/a.css").header("host", "shop.test").header("accept-encoding", "gzip");
        let mut client = Client::connect(rig.http).await.unwrap();
        client.request(asked.body(Full::default()).unwrap()).await.unwrap().body
    };
    let lacks = rig.web.lacks(&shop).await.unwrap();
    assert_eq!(lacks.reason, reason::MODULE_MISSING);
    assert!(lacks.message.contains("below / are not answered precompressed") && lacks.message.contains("gzip_static"));
    rig.web.ensure(shop.clone()).await.unwrap();
    assert_eq!(css().await, "css");
    // Another one is installed, and the agent started again.
    let web = Front::new(NginxSettings { program: real, ..rig.settings.clone() });
    assert!(web.lacks(&shop).await.is_none());
    web.ensure(shop).await.unwrap();
    assert_eq!(css().await, "packed");
}

pub fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn a_broken_certificate_of_somebody_else_s_is_told_and_ours_go_on<K: Stands>() {
    let mut rig = Rig::<K>::laid_out();
    rig.write_main(K::LOADS_TLS);
    let (certificate, key) = (rig.path("theirs.pem"), rig.path("theirs.key"));
    let make = |key: &Path, certificate: &Path| {
        let (key, certificate) = (key.display().to_string(), certificate.display().to_string());
        let rest = ["-days", "2", "-subj", "/CN=theirs.test", "-keyout", &key, "-out", &certificate];
        openssl(&[SELF_SIGNED.as_slice(), &rest].concat());
    };
    make(&key, &certificate);
    rig.theirs("tls", &K::tls_block(rig.free(), "theirs.test", &certificate, &key));
    rig.run().await;
    let blue = Instance::start("blue").await;
    let shop = live(&rig, "shop", &blue);
    rig.web.ensure(shop.clone()).await.unwrap();
    let (before, reloads) = (rig.ours(), rig.web.reloads());
    let (good, good_key) = (std::fs::read(&certificate).unwrap(), std::fs::read(&key).unwrap());
    let blog = live(&rig, "blog", &blue);

    let half = &good[..good.len() / 2];
    let other_key = rig.path("other.key");
    make(&other_key, &rig.path("other.pem"));
    let others = std::fs::read(&other_key).unwrap();
    for (file, bytes) in
        [(&certificate, b"no certificate\n".as_slice()), (&certificate, half), (&key, &others), (&key, b"no key\n")]
    {
        std::fs::write(file, bytes).unwrap();
        let names = file.display().to_string();
        refused(
            rig.web.ensure(blog.clone()).await,
            Class::User,
            reason::CONFIGURATION_BROKEN,
            &[&names, "bluegreen has no part in it", "nothing was changed"],
        );
        assert_eq!(rig.ours(), before);
        assert_eq!(rig.get("shop.test", "/").await.body, "blue");
        rig.web.ensure(shop.clone()).await.unwrap();
        std::fs::write(&certificate, &good).unwrap();
        std::fs::write(&key, &good_key).unwrap();
    }
    assert_eq!(rig.web.reloads(), reloads);
    rig.web.ensure(blog).await.unwrap();
    assert_eq!(rig.get("blog.test", "/").await.body, "blue");
}

/// What a site of the one gets that wants a port which the other one has.
async fn the_other_has_it<K: Stands, O: Stands>(program: &str) {
    let (rig, other) = (Rig::<K>::start().await, Rig::<O>::start().await);
    let blue = Instance::start("blue").await;
    let theirs = live(&other, "theirs", &blue);
    other.web.ensure(theirs).await.unwrap();
    let shop = live(&rig, "shop", &blue);
    rig.web.ensure(shop).await.unwrap();
    let before = rig.ours();
    let mut blog = live(&rig, "blog", &blue);
    let Mode::Own { listen, .. } = &mut blog.mode else { panic!() };
    *listen = vec![other.http];
    refused(
        rig.web.ensure(blog.clone()).await,
        Class::User,
        reason::RELOAD_FAILED,
        &[&other.http.to_string(), "in use", &format!(" by {program} (")],
    );
    assert_eq!(rig.ours(), before);
    assert_eq!(rig.get("shop.test", "/").await.body, "blue");
    assert_eq!(other.get("theirs.test", "/").await.body, "blue");
    drop(other);
    until("the port is free", async || rig.web.ensure(blog.clone()).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_nginx_has_is_not_taken_from_it_by_apache() {
    the_other_has_it::<ApacheSettings, NginxSettings>("nginx").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_apache_has_is_not_taken_from_it_by_nginx() {
    the_other_has_it::<NginxSettings, ApacheSettings>("apache2").await;
}
