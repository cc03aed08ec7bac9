//! How a shape comes into force, and what happens when it can't.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bluegreen::platform::host::web::nginx::NginxSettings;
use bluegreen::platform::host::web::queue::Front;
use bluegreen::platform::host::web::{Mode, Shape, WebServer, reason};
use bluegreen::platform::{Class, Fault};
use bluegreen::rollout::Colour;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::Signal;

use crate::fixture::{Instance, Rig, point, unroute, until};
use crate::stands::Stands;

on_every_server! {
    only_a_changed_shape_costs_a_reload_also_after_the_agent_was_restarted,
    many_sites_at_once_share_their_reloads,
    a_removed_site_is_served_no_more_and_the_others_are,
    what_somebody_else_broke_is_told_with_its_line_and_our_change_waits,
    a_host_name_that_a_hand_written_block_has_is_refused_and_the_rest_of_the_batch_is_not,
    two_sites_with_one_host_name_the_first_keeps_it,
    a_port_that_something_else_holds_is_refused_and_what_was_in_force_stays,
    a_reload_that_comes_to_nothing_is_taken_back,
    a_stopped_web_server_is_said_and_comes_up_with_the_site,
    an_agent_killed_between_the_files_and_the_reload_reloads_when_it_is_back,
    files_that_somebody_changed_or_removed_are_put_back,
    a_file_of_somebody_else_s_with_our_name_is_left_alone,
    a_server_block_of_the_user_s_includes_the_site,
    a_snippet_that_does_not_fit_its_server_block_is_told_with_its_place_until_it_is_mended_and_cutovers_go_on,
    a_folder_that_is_not_read_is_said,
    a_web_server_that_is_not_installed_is_said,
    a_caller_that_goes_away_leaves_nothing_half_done,
}

/// A site that is live on blue.
pub fn live(rig: &Rig<impl Stands>, name: &str, blue: &Instance) -> Shape {
    let shape = rig.site(name, &[blue.address], &[]);
    point(&shape.dir, Colour::Blue);
    shape
}

fn hostnames(shape: &mut Shape, names: &[&str]) {
    let Mode::Own { hostnames, .. } = &mut shape.mode else { panic!() };
    *hostnames = names.iter().map(|name| name.parse().unwrap()).collect();
}

fn listen(shape: &mut Shape, addresses: &[SocketAddr]) {
    let Mode::Own { listen, .. } = &mut shape.mode else { panic!() };
    *listen = addresses.to_vec();
}

#[track_caller]
pub fn refused(result: Result<(), Fault>, class: Class, reason: &str, says: &[&str]) {
    let fault = result.expect_err("it should have been refused");
    assert_eq!((fault.class, fault.reason), (class, reason), "{fault}");
    for part in says {
        assert!(fault.message.contains(part), "{part:?} is not in {:?}", fault.message);
    }
}

async fn only_a_changed_shape_costs_a_reload_also_after_the_agent_was_restarted<K: Stands>() {
    let mut rig = Rig::<K>::start().await;
    let (blue, two) = (Instance::start("blue").await, Instance::start("two").await);
    let mut shape = live(&rig, "shop", &blue);
    for _ in 0..3 {
        rig.web.ensure(shape.clone()).await.unwrap();
    }
    assert_eq!(rig.web.reloads(), 1);
    shape.blue.instances.push(two.address);
    rig.web.ensure(shape.clone()).await.unwrap();
    assert_eq!(rig.web.reloads(), 2);

    rig.forget();
    let workers = rig.workers();
    rig.web.ensure(shape.clone()).await.unwrap();
    assert_eq!(rig.web.reloads(), 0);
    assert_eq!(rig.workers(), workers);
    assert_eq!(rig.web.sites().await.unwrap(), [shape.site.clone()]);
}

async fn many_sites_at_once_share_their_reloads<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let blue = Instance::start("blue").await;
    let shapes: Vec<Shape> = (0..30).map(|n| live(&rig, &format!("site-{n}"), &blue)).collect();
    let tasks: Vec<_> = shapes
        .iter()
        .cloned()
        .map(|shape| {
            let web = rig.web.clone();
            tokio::spawn(async move { web.ensure(shape).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert!(rig.web.reloads() <= 3, "{}", rig.web.reloads());
    for shape in &shapes {
        assert_eq!(rig.web.seen(&shape.site).await.unwrap(), Some(Colour::Blue));
        assert_eq!(rig.get(&format!("{}.test", shape.site), "/").await.body, "blue");
    }
}

async fn a_removed_site_is_served_no_more_and_the_others_are<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let blue = Instance::start("blue").await;
    let (shop, blog) = (live(&rig, "shop", &blue), live(&rig, "blog", &blue));
    rig.web.ensure(shop.clone()).await.unwrap();
    rig.web.ensure(blog.clone()).await.unwrap();
    rig.web.remove(&shop.site).await.unwrap();
    assert_eq!(rig.get("shop.test", "/").await.status, 404);
    assert_eq!(rig.get("blog.test", "/").await.body, "blue");
    let fault = rig.web.seen(&shop.site).await.unwrap_err();
    assert_eq!(fault.reason, reason::NOT_IN_FORCE);
    let reloads = rig.web.reloads();
    rig.web.remove(&shop.site).await.unwrap();
    assert_eq!(rig.web.reloads(), reloads);
}

async fn what_somebody_else_broke_is_told_with_its_line_and_our_change_waits<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let blue = Instance::start("blue").await;
    let shop = live(&rig, "shop", &blue);
    rig.web.ensure(shop.clone()).await.unwrap();
    let before = rig.ours();
    rig.theirs("broken", K::broken());
    let blog = live(&rig, "blog", &blue);
    let place = format!("{}:3", rig.path("theirs/broken").display());
    refused(
        rig.web.ensure(blog.clone()).await,
        Class::User,
        reason::CONFIGURATION_BROKEN,
        &[&place, "nonsense", "bluegreen has no part in it"],
    );
    assert_eq!(rig.ours(), before);
    assert_eq!(rig.get("shop.test", "/").await.body, "blue");
    assert_eq!(rig.web.reloads(), 1);
    rig.web.ensure(shop).await.unwrap();

    std::fs::remove_file(rig.path("theirs/broken")).unwrap();
    rig.web.ensure(blog).await.unwrap();
    assert_eq!(rig.get("blog.test", "/").await.body, "blue");
}

async fn a_host_name_that_a_hand_written_block_has_is_refused_and_the_rest_of_the_batch_is_not<K: Stands>() {
    let rig = Rig::<K>::start().await;
    rig.theirs("a", &format!("\n{}", K::block(rig.http, "Taken.test", true, &[&K::gone("/")])));
    rig.reload();
    until("their block serves", async || rig.try_get("taken.test").await == Some(410)).await;
    let blue = Instance::start("blue").await;
    let mut bad = live(&rig, "shop", &blue);
    hostnames(&mut bad, &["fine.test", "taken.test"]);
    let good = live(&rig, "blog", &blue);
    let (one, other) = (rig.web.clone(), rig.web.clone());
    let (refusal, taken) = tokio::join!(one.ensure(bad.clone()), other.ensure(good));
    taken.unwrap();
    let place = format!("{}:2", rig.path("theirs/a").display());
    refused(refusal, Class::User, reason::HOSTNAME_TAKEN, &[&place, "taken.test", "front: Include"]);
    assert_eq!(rig.get("blog.test", "/").await.body, "blue");
    assert_eq!(rig.get("taken.test", "/").await.status, 410);

    hostnames(&mut bad, &["fine.test"]);
    rig.web.ensure(bad).await.unwrap();
    assert_eq!(rig.get("fine.test", "/").await.body, "blue");
    // Theirs was the default before, without saying so; only their own addresses are left alone, so theirs still is.
    assert_eq!(rig.get("taken.test", "/").await.status, 410);
}

async fn two_sites_with_one_host_name_the_first_keeps_it<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let (blue, two) = (Instance::start("blue").await, Instance::start("two").await);
    let first = live(&rig, "shop", &blue);
    rig.web.ensure(first).await.unwrap();
    let mut second = live(&rig, "blog", &two);
    hostnames(&mut second, &["blog.test", "shop.test"]);
    refused(rig.web.ensure(second).await, Class::User, reason::HOSTNAME_TAKEN, &["the site shop", "shop.test"]);
    assert_eq!(rig.get("shop.test", "/").await.body, "blue");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrower_listener_of_somebody_else_s_is_in_the_way() {
    let rig = Rig::<NginxSettings>::start().await;
    let blue = Instance::start("blue").await;
    let narrow = rig.free();
    rig.theirs("a", &format!("server {{ listen {narrow}; return 410; }}\n"));
    let mut shape = live(&rig, "shop", &blue);
    let wide = SocketAddr::from(([0, 0, 0, 0], narrow.port()));
    listen(&mut shape, &[wide]);
    refused(
        rig.web.ensure(shape.clone()).await,
        Class::User,
        reason::HOSTNAME_TAKEN,
        &[&narrow.to_string(), "`listen`"],
    );
    listen(&mut shape, &[wide, narrow]);
    rig.web.ensure(shape).await.unwrap();
    let mut client = crate::fixture::Client::connect(narrow).await.unwrap();
    assert_eq!(client.get("shop.test", "/").await.unwrap().body, "blue");
}

async fn a_port_that_something_else_holds_is_refused_and_what_was_in_force_stays<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let blue = Instance::start("blue").await;
    let shop = live(&rig, "shop", &blue);
    rig.web.ensure(shop.clone()).await.unwrap();
    let before = rig.ours();
    let holder = std::net::TcpListener::bind((rig.http.ip(), 0)).unwrap();
    let held = holder.local_addr().unwrap();
    let (mut bad, good) = (live(&rig, "bad", &blue), live(&rig, "good", &blue));
    listen(&mut bad, &[held]);
    refused(rig.web.ensure(bad.clone()).await, Class::User, reason::RELOAD_FAILED, &[&held.to_string(), "in use"]);
    assert_eq!(rig.ours(), before);
    assert_eq!(rig.get("shop.test", "/").await.body, "blue");

    let (first, second) = (rig.web.clone(), rig.web.clone());
    let (refusal, taken) = tokio::join!(first.ensure(bad.clone()), second.ensure(good));
    taken.unwrap();
    refused(refusal, Class::User, reason::RELOAD_FAILED, &[&held.to_string()]);
    assert_eq!(rig.get("good.test", "/").await.body, "blue");

    drop(holder);
    rig.web.ensure(bad).await.unwrap();
}

async fn a_reload_that_comes_to_nothing_is_taken_back<K: Stands>() {
    let mut rig = Rig::<K>::laid_out();
    *rig.settings.knobs().2 = std::time::Duration::from_millis(500);
    rig.forget();
    rig.run().await;
    let blue = Instance::start("blue").await;
    let shop = live(&rig, "shop", &blue);
    rig.web.ensure(shop.clone()).await.unwrap();
    let before = rig.ours();
    let blog = live(&rig, "blog", &blue);
    rig.signal(Signal::STOP);
    refused(
        rig.web.ensure(blog.clone()).await,
        Class::Transient,
        reason::RELOAD_FAILED,
        &["not every worker had it", "in place again"],
    );
    assert_eq!(rig.ours(), before);
    assert_eq!(rig.get("shop.test", "/").await.body, "blue");
    let workers = rig.workers();
    rig.signal(Signal::CONT);
    // The reload that was asked for comes now, with the old files.
    until("the master reloads", async || {
        let now = rig.workers();
        !now.is_empty() && !now.iter().any(|worker| workers.contains(worker))
    })
    .await;
    assert_eq!(rig.get("shop.test", "/").await.body, "blue");
    assert_eq!(rig.web.seen(&blog.site).await.unwrap_err().reason, reason::NOT_IN_FORCE);
    until("the change gets in", async || rig.web.ensure(blog.clone()).await.is_ok()).await;
    assert_eq!(rig.get("blog.test", "/").await.body, "blue");
}

async fn a_stopped_web_server_is_said_and_comes_up_with_the_site<K: Stands>() {
    let mut rig = Rig::<K>::laid_out();
    let blue = Instance::start("blue").await;
    let shop = live(&rig, "shop", &blue);
    refused(rig.web.ensure(shop.clone()).await, Class::Transient, reason::DOWN, &["start it"]);
    let fault = rig.web.seen(&shop.site).await.unwrap_err();
    assert_eq!((fault.class, fault.reason), (Class::Transient, reason::DOWN));
    rig.run().await;
    rig.web.ensure(shop.clone()).await.unwrap();
    assert_eq!(rig.get("shop.test", "/").await.body, "blue");
    assert_eq!(rig.web.reloads(), 0, "it came up with it");

    // Killed with all of its processes, it comes up again with nobody's help.
    rig.kill();
    assert_eq!(rig.web.seen(&shop.site).await.unwrap_err().reason, reason::DOWN);
    rig.run().await;
    assert_eq!(rig.web.seen(&shop.site).await.unwrap(), Some(Colour::Blue));
    assert_eq!(rig.get("shop.test", "/").await.body, "blue");
}

async fn an_agent_killed_between_the_files_and_the_reload_reloads_when_it_is_back<K: Stands>() {
    let mut rig = Rig::<K>::start().await;
    let (blue, two) = (Instance::start("blue").await, Instance::start("two").await);
    let mut shape = live(&rig, "shop", &blue);
    rig.web.ensure(shape.clone()).await.unwrap();
    shape.blue.instances = vec![two.address];
    // One that never finds the master puts the files in place, and gets no further.
    let mut blind = rig.settings.clone();
    *blind.knobs().1 = rig.path("no.pid");
    let killed = Front::new(blind);
    refused(killed.ensure(shape.clone()).await, Class::Transient, reason::DOWN, &[]);
    assert_eq!(rig.get("shop.test", "/").await.body, "blue");
    rig.forget();
    rig.web.ensure(shape.clone()).await.unwrap();
    assert_eq!(rig.web.reloads(), 1);
    assert_eq!(rig.get("shop.test", "/").await.body, "two");
}

async fn files_that_somebody_changed_or_removed_are_put_back<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let blue = Instance::start("blue").await;
    let shop = live(&rig, "shop", &blue);
    rig.web.ensure(shop.clone()).await.unwrap();
    let before = rig.ours();
    for path in before.keys() {
        std::fs::remove_file(path).unwrap();
        rig.web.ensure(shop.clone()).await.unwrap();
        assert_eq!(rig.ours(), before, "{}", path.display());
    }
    let site = before.keys().find(|path| path.ends_with("bluegreen-shop.conf")).unwrap();
    let mut text = before[site].clone();
    text.extend(b"nonsense");
    std::fs::write(site, text).unwrap();
    rig.web.ensure(shop.clone()).await.unwrap();
    assert_eq!(rig.ours(), before);
    assert_eq!(rig.get("shop.test", "/").await.body, "blue");
}

async fn a_file_of_somebody_else_s_with_our_name_is_left_alone<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let blue = Instance::start("blue").await;
    let theirs = rig.path("conf.d/bluegreen-shop.conf");
    std::fs::write(&theirs, "# mine\n").unwrap();
    let shop = live(&rig, "shop", &blue);
    refused(
        rig.web.ensure(shop.clone()).await,
        Class::User,
        reason::FILES,
        &[theirs.to_str().unwrap(), "move it away"],
    );
    assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "# mine\n");
    std::fs::remove_file(&theirs).unwrap();
    let target = rig.path("elsewhere");
    std::fs::write(&target, "# Rendered by bluegreen for a trap\n").unwrap();
    std::os::unix::fs::symlink(&target, &theirs).unwrap();
    assert_eq!(rig.web.ensure(shop.clone()).await.unwrap_err().reason, reason::FILES);
    std::fs::remove_file(&theirs).unwrap();
    rig.web.ensure(shop).await.unwrap();
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "# Rendered by bluegreen for a trap\n");
}

async fn a_server_block_of_the_user_s_includes_the_site<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let (blue, green) = (Instance::start("blue").await, Instance::start("green").await);
    let mut shop = rig.site("shop", &[blue.address], &[green.address]);
    shop.mode = Mode::Include;
    point(&shop.dir, Colour::Blue);
    let snippet = rig.web.snippet(&shop.site);
    refused(
        rig.web.ensure(shop.clone()).await,
        Class::User,
        reason::SNIPPET_NOT_INCLUDED,
        &[&format!("{}{}{}", K::INCLUDE, snippet.display(), K::END)],
    );
    assert_eq!(rig.web.ensure(shop.clone()).await.unwrap_err().reason, reason::SNIPPET_NOT_INCLUDED);
    let mine = K::gone("/mine");
    let block = |include: &str| K::block(rig.http, "shop.test", true, &[&mine, include]);
    let include = format!("{}{}{}", K::INCLUDE, snippet.display(), K::END);
    rig.theirs("shop", &block(&include));
    // Without a reload of the user's own: it is done for them.
    rig.web.ensure(shop.clone()).await.unwrap();
    let reloads = rig.web.reloads();
    rig.web.ensure(shop.clone()).await.unwrap();
    for colour in [Colour::Green, Colour::Blue] {
        point(&shop.dir, colour);
        assert_eq!(rig.get("shop.test", "/").await.body, colour.name());
        assert_eq!(rig.web.seen(&shop.site).await.unwrap(), Some(colour));
    }
    assert_eq!(rig.get("shop.test", "/mine").await.status, 410);
    unroute(&shop.dir);
    until("it is served no more", async || rig.get("shop.test", "/").await.status == 503).await;
    assert_eq!(rig.get("shop.test", "/mine").await.status, 410, "the user's own location is none of ours");
    assert_eq!(rig.web.reloads(), reloads);

    // It goes while it is still included: nothing must break for that.
    rig.web.remove(&shop.site).await.unwrap();
    assert!(rig.test());
    assert_eq!(rig.get("shop.test", "/mine").await.status, 410);
    rig.theirs("shop", &block(""));
    let blog = live(&rig, "blog", &blue);
    rig.web.ensure(blog).await.unwrap();
    assert!(!snippet.exists(), "nobody includes it any more");
    assert!(rig.test());
}

/// The web server would not come up with what its administrator wrote: no shape can change before that is mended, and everything else goes on.
async fn a_snippet_that_does_not_fit_its_server_block_is_told_with_its_place_until_it_is_mended_and_cutovers_go_on<
    K: Stands,
>() {
    let rig = Rig::<K>::start().await;
    let (blue, green) = (Instance::start("blue").await, Instance::start("green").await);
    let blog = rig.site("blog", &[blue.address], &[green.address]);
    point(&blog.dir, Colour::Blue);
    rig.web.ensure(blog.clone()).await.unwrap();
    let mut shop = live(&rig, "shop", &blue);
    shop.mode = Mode::Include;
    let snippet = rig.web.snippet(&shop.site);
    assert_eq!(rig.web.ensure(shop.clone()).await.unwrap_err().reason, reason::SNIPPET_NOT_INCLUDED);
    let include = format!("{}{}{}", K::INCLUDE, snippet.display(), K::END);
    let (before, after, said) = K::does_not_fit();
    let (other, others) = (rig.free(), K::gone("/"));
    rig.theirs("shop", &K::block(other, "shop.test", true, &[before, &include, after]));
    let place = format!("{}:", snippet.display());
    let says = ["the configuration of shop", &place, said];
    refused(rig.web.ensure(shop.clone()).await, Class::User, reason::CONFIGURATION_REFUSED, &says);
    // Whoever else asks is told the same, alone and in one batch with it.
    let news = live(&rig, "news", &blue);
    refused(rig.web.ensure(news.clone()).await, Class::User, reason::CONFIGURATION_REFUSED, &says);
    let (first, second) = tokio::join!(rig.web.ensure(shop.clone()), rig.web.ensure(news.clone()));
    refused(first, Class::User, reason::CONFIGURATION_REFUSED, &says);
    refused(second, Class::User, reason::CONFIGURATION_REFUSED, &says);
    // What is in force needs nobody: the same shape again, and a cutover.
    for colour in [Colour::Green, Colour::Blue] {
        point(&blog.dir, colour);
        rig.web.ensure(blog.clone()).await.unwrap();
        assert_eq!(rig.get("blog.test", "/").await.body, colour.name());
        assert_eq!(rig.web.seen(&blog.site).await.unwrap(), Some(colour));
    }
    // Without the include the others come into force, and with one that fits so does it.
    rig.theirs("shop", &K::block(other, "shop.test", true, &[&others]));
    rig.web.ensure(news).await.unwrap();
    assert_eq!(rig.get("news.test", "/").await.body, "blue");
    rig.theirs("shop", &K::block(other, "shop.test", true, &[&include]));
    rig.web.ensure(shop.clone()).await.unwrap();
    assert_eq!(rig.web.seen(&shop.site).await.unwrap(), Some(Colour::Blue));
}

#[tokio::test(flavor = "multi_thread")]
async fn long_host_names_get_the_room_that_they_need() {
    let rig = Rig::<NginxSettings>::start().await;
    let blue = Instance::start("blue").await;
    let mut shop = live(&rig, "shop", &blue);
    let long = format!("{}.{}.test", "a".repeat(60), "b".repeat(60));
    hostnames(&mut shop, &[&long]);
    rig.web.ensure(shop.clone()).await.unwrap();
    assert_eq!(rig.get(&long, "/").await.body, "blue");

    // The user has set it, enough: ours is not said twice.
    rig.write_main("server_names_hash_bucket_size 512;");
    let mut blog = live(&rig, "blog", &blue);
    rig.web.ensure(blog.clone()).await.unwrap();
    assert_eq!(rig.get(&long, "/").await.body, "blue");

    // And too little.
    rig.web.remove(&shop.site).await.unwrap();
    rig.write_main("\nserver_names_hash_bucket_size 64;");
    hostnames(&mut blog, &[&long]);
    refused(
        rig.web.ensure(blog).await,
        Class::User,
        reason::CONFIGURATION_REFUSED,
        &["server_names_hash_bucket_size 192", "nginx.conf:"],
    );
}

async fn a_folder_that_is_not_read_is_said<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let blue = Instance::start("blue").await;
    let main = rig.path(K::main_file());
    let text = std::fs::read_to_string(&main).unwrap().replace("/conf.d/*.conf", "/theirs/*.conf");
    std::fs::write(&main, text).unwrap();
    refused(
        rig.web.ensure(live(&rig, "shop", &blue)).await,
        Class::User,
        reason::FOLDER_NOT_INCLUDED,
        &["add `", "/*.conf"],
    );
}

async fn a_web_server_that_is_not_installed_is_said<K: Stands>() {
    let mut rig = Rig::<K>::laid_out();
    *rig.settings.knobs().0 = rig.path("no-server");
    rig.forget();
    let blue = Instance::start("blue").await;
    refused(rig.web.ensure(live(&rig, "shop", &blue)).await, Class::User, reason::MISSING, &["no-server", "install "]);
}

async fn a_caller_that_goes_away_leaves_nothing_half_done<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let blue = Instance::start("blue").await;
    let shop = live(&rig, "shop", &blue);
    let task = tokio::spawn({
        let (web, shop) = (rig.web.clone(), shop.clone());
        async move { web.ensure(shop).await }
    });
    until("the batch began", async || rig.path("work").exists()).await;
    task.abort();
    until("the site is served", async || rig.web.seen(&shop.site).await.is_ok()).await;
    rig.web.ensure(shop).await.unwrap();
    assert_eq!(rig.web.reloads(), 1);
}

/// Not a test of its own: run by the next one, in a process that may mount nothing.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the next test, without a capability"]
async fn without_mounts() {
    let rig = Rig::<NginxSettings>::start().await;
    let blue = Instance::start("blue").await;
    let shop = live(&rig, "shop", &blue);
    rig.web.ensure(shop.clone()).await.unwrap();
    assert_eq!(rig.get("shop.test", "/").await.body, "blue");
    let before = rig.ours();
    rig.theirs("broken", "nonsense on;\n");
    refused(rig.web.ensure(live(&rig, "blog", &blue)).await, Class::User, reason::CONFIGURATION_BROKEN, &["nonsense"]);
    assert_eq!(rig.ours(), before);
    let mine = std::fs::read_to_string("/proc/self/status").unwrap();
    let effective = mine.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
    let sys_admin = u64::from_str_radix(effective, 16).unwrap() >> 21 & 1;
    assert_eq!(sys_admin, 0, "it was to be without");
}

#[test]
fn where_nothing_may_be_mounted_a_configuration_is_tested_all_the_same() {
    run_under("setpriv", &["--bounding-set", "-sys_admin"], "changing::without_mounts");
}

/// Not a test of its own: run by the next one, where a disk can be mounted that goes away with the process.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the next test, in a mount namespace"]
async fn on_a_small_disk() {
    let mut rig = Rig::<NginxSettings>::laid_out();
    let disk = SmallDisk::over(&rig.path("conf.d"));
    rig.run().await;
    let blue = Instance::start("blue").await;
    rig.web.ensure(live(&rig, "shop", &blue)).await.unwrap();
    let before = rig.ours();
    let filler = disk.0.join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut file, &[0; 1024]).is_ok() {}
    let blog = live(&rig, "blog", &blue);
    refused(
        rig.web.ensure(blog.clone()).await,
        Class::Transient,
        reason::FILES,
        &["No space left", "conf.d/bluegreen-"],
    );
    drop(file);
    std::fs::remove_file(filler).unwrap();
    assert_eq!(rig.ours(), before, "nothing is left half written");
    assert_eq!(rig.get("shop.test", "/").await.body, "blue");
    rig.web.ensure(blog).await.unwrap();
    assert_eq!(rig.get("blog.test", "/").await.body, "blue");
}

struct SmallDisk(PathBuf);

impl SmallDisk {
    fn over(folder: &Path) -> SmallDisk {
        rustix::mount::mount("tmpfs", folder, "tmpfs", MountFlags::empty(), c"size=64k").unwrap();
        SmallDisk(folder.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Else the folder that it lies over can't be removed.
        let _ = rustix::mount::unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_leaves_what_was_in_force_as_it_was() {
    run_under("unshare", &["--mount", "--propagation", "private"], "changing::on_a_small_disk");
}

/// Runs one test of this program in a process that `program` makes.
fn run_under(program: &str, args: &[&str], test: &str) {
    let output = std::process::Command::new(program)
        .args(args)
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", test])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
