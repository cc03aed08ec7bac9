//! What `doctor` reads off Apache's files: every way to pass requests on past bluegreen, however it is written, and nothing that isn't one.

use bluegreen_rig::agent::Agent;
use bluegreen_rig::apache::Apache;
use bluegreen_rig::manifest::{Manifest, release};
use bluegreen_rig::network::Network;
use bluegreen_rig::ports::Port;
use bluegreen_rig::users::User;
use serde_json::Value;

use crate::doctor::{ask, findings};

#[test]
fn each_way_past_bluegreen_is_found_in_apache_s_files_with_its_line_and_nothing_else() {
    let _network = Network::enter().unwrap();
    let mut apache = Apache::start().unwrap();
    let agent = Agent::start(&apache).unwrap();
    let (ports, user) = (Port::take_many(3).unwrap(), User::ordinary().unwrap());
    let [blue, green, theirs] = [0, 1, 2].map(|at: usize| ports[at].number());
    let site = Manifest::app("shop", apache.address(), user.name(), &[blue], &[green]);
    agent.apply_and_wait(&site.release(&release(&agent.uploads(), "v1", "").unwrap())).unwrap();
    let uploads = agent.uploads();
    let lines = [
        format!("Listen 127.0.0.1:{theirs}"),
        format!("<VirtualHost 127.0.0.1:{theirs}>"),
        "  ServerName theirs.test".to_owned(),
        // 4: handed out.
        format!("  DocumentRoot \"{}\"", uploads.display()),
        "  <Location \"/a\">".to_owned(),
        // 6: within a section, without a path.
        format!("    ProxyPass \"http://127.0.0.1:{blue}/\""),
        "  </Location>".to_owned(),
        // 8: over two lines.
        "  ProxyPass /b \\".to_owned(),
        format!("    http://127.0.0.1:{green}/"),
        "  RewriteEngine On".to_owned(),
        // 11: by a rule.
        format!("  RewriteRule \"^/c(.*)$\" \"http://127.0.0.1:{blue}$1\" [NE,P]"),
        // Sends the client there, or says what it is called inside.
        format!("  RewriteRule ^/d$ http://127.0.0.1:{blue}/ [R=302]"),
        "  RewriteRule ^/e$ /f [PT]".to_owned(),
        "  <Proxy \"balancer://theirs\">".to_owned(),
        // 15: as a member.
        format!("    BalancerMember http://127.0.0.1:{green}"),
        "  </Proxy>".to_owned(),
        "  <Location /g>".to_owned(),
        // A socket: the port is a name.
        format!("    SetHandler \"proxy:unix:/run/theirs.sock|fcgi://localhost:{blue}\""),
        "  </Location>".to_owned(),
        format!("  # ProxyPass / http://127.0.0.1:{blue}/ \\"),
        format!("  ProxyPass / http://127.0.0.1:{blue}/"),
        // An app of theirs.
        "  ProxyPass /h http://127.0.0.1:9/".to_owned(),
        "</VirtualHost>".to_owned(),
    ];
    apache.write("theirs.conf", &(lines.join("\n") + "\n")).unwrap();
    apache.test().unwrap();
    apache.graceful();
    let (code, report) = ask(&agent, "", "-o json");
    let report: Value = serde_json::from_str(&report).unwrap();
    let theirs = apache.conf_d().join("theirs.conf").display().to_string();
    let found = findings(&report).into_iter().filter(|(reason, ..)| reason.starts_with("WebServer"));
    let mut found: Vec<(String, String)> = found.map(|(reason, place, _)| (reason, place)).collect();
    found.sort();
    let bypass = |line: u32| ("WebServerBypass".to_owned(), format!("{theirs}:{line}"));
    let mut planted: Vec<(String, String)> = [6, 8, 11, 15].map(bypass).into();
    planted.push(("WebServerHandsOutFiles".to_owned(), format!("{theirs}:4")));
    planted.sort();
    assert_eq!(found, planted, "{report:#}");
    assert_eq!(code, 1);
    let fixes = findings(&report).into_iter().filter(|(reason, ..)| reason == "WebServerBypass");
    for (.., fix) in fixes {
        assert!(fix.contains(&format!("`Include {}`", apache.folder().join("snippets/shop.conf").display())), "{fix}");
    }
}
