//! Configuration of the web server, somebody else's: what passes requests to an app past us, what takes an app's port, and what hands out files that
//! nobody should get.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::listeners::Listener;
use super::sites::{Sites, within};
use super::{Notes, Places, Severity};
use crate::platform::host::web::files::Name;
use crate::platform::host::web::kind::Kind;
use crate::platform::host::web::nginx::Directive;

/// What the web servers say of themselves.
#[derive(Debug, Default)]
pub(super) struct Front {
    /// The ports at which they serve.
    pub(super) ports: BTreeSet<u16>,
    /// The private keys that they read.
    pub(super) keys: BTreeSet<PathBuf>,
}

/// A directive that counts, whichever server it is of.
struct Said {
    file: PathBuf,
    line: u32,
    kind: SaidKind,
    what: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SaidKind {
    /// Requests are passed on to this address.
    Passes,
    /// Files below this folder are handed out.
    Hands,
    /// It listens here.
    Listens,
    /// A private key.
    Key,
}

pub(super) fn look(places: &Places, sites: &Sites, listeners: &[Listener], notes: &mut Notes) -> Front {
    let runs = |programs: &[&str]| listeners.iter().any(|one| programs.contains(&one.program.as_str()));
    let mut front = Front::default();
    if runs(&["nginx"]) || places.nginx.runs() {
        match places.nginx.trial(&[]) {
            Ok(dump) => {
                front.ports.extend(places.nginx.serving(&dump).addresses(|_| true).iter().map(SocketAddr::port));
                let mut said = Vec::new();
                directives(&dump.directives(), &mut said);
                judge(&said, &places.nginx, sites, places, &mut front, notes);
            }
            Err(error) => notes.unseen(format!("the configuration of nginx: {error}")),
        }
    }
    if runs(&["apache2", "httpd"]) || places.apache.runs() {
        match places.apache.trial(&[]) {
            Ok(dump) => {
                front.ports.extend(places.apache.serving(&dump).addresses(|_| true).iter().map(SocketAddr::port));
                let said: Vec<Said> = dump.files.iter().flat_map(|file| lines(file)).collect();
                judge(&said, &places.apache, sites, places, &mut front, notes);
            }
            Err(error) => notes.unseen(format!("the configuration of Apache: {error}")),
        }
    }
    front
}

fn judge(said: &[Said], kind: &impl Kind, sites: &Sites, places: &Places, front: &mut Front, notes: &mut Notes) {
    let (ours, words) = (kind.places().folders, kind.words());
    for one in said {
        if one.kind == SaidKind::Key {
            front.keys.insert(PathBuf::from(&one.what));
        }
        if one.kind == SaidKind::Listens {
            front.ports.extend(one.what.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()));
        }
        if Name::of(&one.file, ours).is_some() {
            continue;
        }
        let place = format!("{}:{}", one.file.display(), one.line);
        match one.kind {
            SaidKind::Passes => {
                let Some(site) = app_port(&one.what).and_then(|port| sites.owner(port)) else { continue };
                let snippet = ours.snippets.join(format!("{}.conf", site.name));
                notes.find(
                    Severity::High,
                    "WebServerBypass",
                    format!(
                        "requests go to {} past bluegreen: that is one colour of site {}, and after the next cutover the wrong one",
                        one.what, site.name
                    ),
                    place,
                    format!(
                        "take the line out; with `front: Include` write `{} {}{}` instead",
                        words.include,
                        snippet.display(),
                        words.end
                    ),
                );
            }
            SaidKind::Listens => {
                let Some(site) = app_port(&one.what).and_then(|port| sites.owner(port)) else { continue };
                notes.find(
                    Severity::High,
                    "WebServerTakesPort",
                    format!("the web server listens on {}, a port of site {}'s app", one.what, site.name),
                    place,
                    "let it listen elsewhere, or give the site other ports (spec.target.host.ports)",
                );
            }
            SaidKind::Hands => {
                if let Some(what) = private_below(Path::new(&one.what), sites, places) {
                    notes.find(
                        Severity::High,
                        "WebServerHandsOutFiles",
                        format!("everybody can fetch files below {}, and {} lies there", one.what, what.display()),
                        place,
                        "name a folder of public files alone, such as /srv/shop/public, or leave it to `static` of the site",
                    );
                }
            }
            SaidKind::Key => {}
        }
    }
}

/// Something private that lies in a folder from which files are handed out.
fn private_below(folder: &Path, sites: &Sites, places: &Places) -> Option<PathBuf> {
    if !folder.is_absolute() {
        return None;
    }
    let all = [places.state.clone(), places.manifests.clone()].into_iter().chain(
        sites.all.iter().flat_map(|site| site.config_files.iter().chain(&site.source).cloned().collect::<Vec<_>>()),
    );
    all.into_iter().find(|private| within(private, folder))
}

/// The port of `http://127.0.0.1:8081/x`, `localhost:8081`, `8081`, if it is this machine's.
fn app_port(text: &str) -> Option<u16> {
    // `unix:/run/php.sock|fcgi://localhost:9000` goes to the socket.
    if text.starts_with("unix:") {
        return None;
    }
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '$', '?']).next()?;
    authority.rsplit(':').next()?.parse().ok()
}

/// What counts among nginx's directives, at any depth.
fn directives(all: &[Directive], said: &mut Vec<Said>) {
    for one in all {
        let kind = match one.name() {
            "proxy_pass" | "fastcgi_pass" | "uwsgi_pass" | "scgi_pass" | "grpc_pass" => Some(SaidKind::Passes),
            // In an upstream group; a block of that name has braces.
            "server" if one.block.is_none() => Some(SaidKind::Passes),
            "root" | "alias" => Some(SaidKind::Hands),
            "listen" => Some(SaidKind::Listens),
            "ssl_certificate_key" => Some(SaidKind::Key),
            _ => None,
        };
        if let (Some(kind), Some(what)) = (kind, one.args().first()) {
            said.push(Said { file: one.file.clone(), line: one.line, kind, what: what.clone() });
        }
        directives(one.block.as_deref().unwrap_or_default(), said);
    }
}

/// What counts in a file of Apache's.
fn lines(file: &Path) -> Vec<Said> {
    // One that can't be read by now says nothing that counts.
    let text = String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned();
    let mut said = Vec::new();
    for (line, text) in whole(&text) {
        let words = words(&text);
        let Some((name, rest)) = words.split_first() else { continue };
        let found = match name.to_ascii_lowercase().as_str() {
            // Within a <Location> the path is left out, and within a <Proxy> the balancer.
            "proxypass" | "proxypassmatch" | "balancermember" => {
                rest.iter().find_map(|word| passed_on(word)).map(|what| (SaidKind::Passes, what))
            }
            "sethandler" => {
                let handler = rest.first().and_then(|what| what.strip_prefix("proxy:"));
                handler.and_then(passed_on).map(|what| (SaidKind::Passes, what))
            }
            "rewriterule" if rest.get(2).is_some_and(|flags| passes(flags)) => {
                rest.get(1).map(|what| (SaidKind::Passes, *what))
            }
            "documentroot" => rest.first().map(|what| (SaidKind::Hands, *what)),
            "alias" => rest.last().map(|what| (SaidKind::Hands, *what)),
            "listen" => rest.first().map(|what| (SaidKind::Listens, *what)),
            "sslcertificatekeyfile" => rest.first().map(|what| (SaidKind::Key, *what)),
            _ => None,
        };
        said.extend(found.map(|(kind, what)| Said { file: file.to_owned(), line, kind, what: what.to_owned() }));
    }
    said
}

/// Each directive with the number of its first line: a backslash at the end of one takes in the next.
fn whole(text: &str) -> Vec<(u32, String)> {
    let mut all: Vec<(u32, String)> = Vec::new();
    let mut goes_on = false;
    for (number, line) in (1u32..).zip(text.lines()) {
        let part = line.strip_suffix('\\');
        match all.last_mut() {
            Some((_, begun)) if goes_on => begun.push_str(part.unwrap_or(line)),
            _ => all.push((number, part.unwrap_or(line).to_owned())),
        }
        goes_on = part.is_some();
    }
    all
}

/// The words of a directive, in quotes or without.
fn words(directive: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = directive.trim();
    while !rest.is_empty() {
        let quoted = ['"', '\''].into_iter().find_map(|quote| Some((quote, rest.strip_prefix(quote)?)));
        let (word, after) = match quoted {
            Some((quote, inside)) => inside.split_once(quote).unwrap_or((inside, "")),
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word);
        rest = after.trim_start();
    }
    words
}

/// A word that names whom requests are passed on to; a balancer is its members.
fn passed_on(word: &str) -> Option<&str> {
    (word.contains("://") && !word.starts_with("balancer:")).then_some(word)
}

/// Whether these are the flags of a rule that passes requests on.
fn passes(flags: &str) -> bool {
    let mut flags = flags.trim_matches(['[', ']']).split(',').map(str::trim);
    flags.any(|flag| flag.eq_ignore_ascii_case("p") || flag.eq_ignore_ascii_case("proxy"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_that_requests_are_passed_to_is_read_in_every_form() {
        for (text, port) in [
            ("http://127.0.0.1:8081", Some(8081)),
            ("http://localhost:8081/x", Some(8081)),
            ("http://[::1]:8081$request_uri", Some(8081)),
            ("127.0.0.1:8081", Some(8081)),
            ("8081", Some(8081)),
            ("http://shop_pool", None),
            ("unix:/run/app.sock", None),
            ("unix:/run/app.sock|http://localhost:8081/", None),
        ] {
            assert_eq!(app_port(text), port, "{text}");
        }
    }

    #[test]
    fn what_apache_passes_on_is_read_off_its_files() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("a.conf");
        let text = concat!(
            "<VirtualHost *:80>\n  ProxyPass / http://localhost:3000/\n  # ProxyPass / http://localhost:1/\n",
            "  RewriteRule ^/(.*)$ http://127.0.0.1:3001/$1 [P,L]\n  DocumentRoot \"/var/my sites\"\n",
            "  ProxyPass /b \\\n    http://localhost:3002/\n  # a comment \\\n  ProxyPass / http://localhost:2/\n",
            "  <Location /c>\n    ProxyPass 'http://localhost:3003/' retry=0\n  </Location>\n",
            "  RewriteRule ^/d http://127.0.0.1:3/ [R=301]\n  RewriteRule ^/e http://127.0.0.1:4/ [PT]\n",
            "  ProxyPass /f balancer://f/\n  BalancerMember balancer://f http://localhost:3004\n",
            "  SetHandler \"proxy:fcgi://localhost:3005/\"\n</VirtualHost>\n"
        );
        fs::write(&file, text).expect("written");
        let read: Vec<(u32, String)> = lines(&file).into_iter().map(|said| (said.line, said.what)).collect();
        let wanted = [
            (2, "http://localhost:3000/"),
            (4, "http://127.0.0.1:3001/$1"),
            (5, "/var/my sites"),
            (6, "http://localhost:3002/"),
            (11, "http://localhost:3003/"),
            (16, "http://localhost:3004"),
            (17, "fcgi://localhost:3005/"),
        ];
        assert_eq!(read, wanted.map(|(line, what)| (line, what.to_owned())));
    }
}
