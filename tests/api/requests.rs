//! The preview's names and how requests are passed on, as they are judged.

use std::time::Duration;

use bluegreen::api::conflicts::conflicts;
use bluegreen::api::site::{Front, Requests};

use super::{SHOP, on_host, said, shop};

const NAMES: &str = "hostnames: [shop.example.com]";

fn with(requests: &str) -> String {
    SHOP.replace(NAMES, &format!("{NAMES}\n      requests: {requests}"))
}

#[test]
fn what_is_written_out_and_usual_is_what_is_left_out() {
    let written = "{maxBodySize: 1Gi, timeout: 1h, streamTimeout: 60m, connectTimeout: 5s}";
    for usual in ["{}", written] {
        assert_eq!(on_host(&with(usual)), shop(), "{usual}");
    }
}

#[test]
fn how_requests_are_passed_on_is_read_and_is_no_part_of_the_release() {
    let site = on_host(&with("{maxBodySize: 20Mi, timeout: 1m30s, streamTimeout: 2h, connectTimeout: 2s}"));
    let wanted = Requests {
        max_body: 20 << 20,
        timeout: Duration::from_secs(90),
        stream_timeout: Duration::from_secs(7200),
        connect_timeout: Duration::from_secs(2),
    };
    assert_eq!(site.target.requests, wanted);
    assert_eq!(site.target.run, shop().target.run);
}

#[test]
fn what_no_web_server_could_do_is_refused_in_words() {
    for (requests, words) in [
        ("{maxBodySize: 20MB}", "requests.maxBodySize: \"20MB\" is not a size: a number with the unit Ki, Mi or Gi"),
        ("{maxBodySize: 1025Gi}", "requests.maxBodySize: 1025Gi is out of range: from 1Ki to 1024Gi"),
        ("{timeout: 0s}", "requests.timeout: 0s is out of range: whole seconds, from 1s to 24h"),
        ("{timeout: 1500ms}", "requests.timeout: 1500ms is out of range: whole seconds"),
        ("{streamTimeout: 25h}", "requests.streamTimeout: 25h is out of range: whole seconds, from 1s to 24h"),
        ("{connectTimeout: 2m}", "requests.connectTimeout: 2m is out of range: whole seconds, from 1s to 1m"),
        ("{timeout: soon}", "requests.timeout: \"soon\" is not a span of time"),
    ] {
        let problems = said(NAMES, &format!("{NAMES}\n      requests: {requests}"));
        assert!(problems.iter().any(|problem| problem.contains(words)), "{requests}: {problems:?}");
    }
    let problems = said(NAMES, "front: Include\n      requests: {maxBodySize: 1Mi}");
    assert!(problems.iter().any(|p| p.contains("your own server block says how large a body may be")), "{problems:?}");
}

#[test]
fn a_preview_has_a_name_of_its_own() {
    let site = on_host(&SHOP.replace(NAMES, &format!("{NAMES}\n      previewHostnames: [next.example.com]")));
    let Front::Own { previews, .. } = &site.target.front else { panic!() };
    assert_eq!(previews.iter().map(ToString::to_string).collect::<Vec<_>>(), ["next.example.com"]);
    for (names, words) in [
        ("[shop.example.com]", "previewHostnames[0]: shop.example.com is in hostnames too"),
        ("['*.example.com']", "previewHostnames[0]: *.example.com is a wildcard"),
        ("[a.example, a.example]", "previewHostnames[1]: a.example is named twice"),
        ("['a b']", "previewHostnames[0]: \"a b\" is not a host name"),
    ] {
        let problems = said(NAMES, &format!("{NAMES}\n      previewHostnames: {names}"));
        assert!(problems.iter().any(|problem| problem.contains(words)), "{names}: {problems:?}");
    }
    let problems = said(NAMES, "front: Include\n      previewHostnames: [next.example.com]");
    assert!(problems.iter().any(|p| p.contains("shows the live colour alone")), "{problems:?}");
}

#[test]
fn a_preview_s_name_that_another_site_has_is_told_like_a_host_name() {
    let other = SHOP.replace("name: shop", "name: other").replace("8081", "9081").replace("8082", "9082");
    let other =
        on_host(&other.replace(NAMES, "hostnames: [other.example.com]\n      previewHostnames: [shop.example.com]"));
    let found: Vec<String> =
        conflicts(&[shop(), other]).iter().map(|(name, problem)| format!("{name}: {problem}")).collect();
    assert_eq!(
        found,
        [
            "other: spec.target.host.previewHostnames[0]: the site shop answers to shop.example.com already: take it out of one of the two"
        ]
    );
}
