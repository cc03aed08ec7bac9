//! From a shape to the text of configuration files: pure, from typed values only. The golden files of the tests show the result.
//!
//! The rules behind the templates are the design's: one look decides and everything in a request uses what it said; a request that was sent is
//! never repeated; the app sees the path as the client wrote it; a static path answers nothing that lies outside the release.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior, Value, context};
use serde::Serialize;

use crate::api::requests::Requests;
use crate::api::site::Protocol;
use crate::api::types::{Hostname, SiteName};
use crate::platform::host::web::fastcgi::{self, FastCgi};
use crate::platform::host::web::kind::{RenderError, Rendered};
use crate::platform::host::web::{Mode, Shape, Side, StaticPath, door};
use crate::rollout::Colour;

/// After how long an idle connection to an instance is used no more. It must stay below the app's own time-out, or requests meet connections that
/// the app has just closed.
pub const POOL_SECONDS: u64 = 2;

/// What the VirtualHost of a preview is called after its site's name: its requests are none of those that a drain waits for.
pub const PREVIEW: &str = "-p";

/// Renders the files of one site.
///
/// # Errors
/// When a value holds what could be read as syntax: only the path of the state folder can, all else was parsed.
pub fn site(shape: &Shape, door: SocketAddr) -> Result<Rendered, RenderError> {
    let context = |preview| Value::from(Serde(site_context(shape, door, preview)));
    let mut site = render("site.conf", context(false))?;
    let snippet = match &shape.mode {
        Mode::Own { previews, .. } => {
            if !previews.is_empty() {
                site.push_str(&render("preview.conf", context(true))?);
            }
            site.push_str(&render("live.conf", context(false))?);
            None
        }
        Mode::Include => Some(render("snippet.conf", context(false))?),
    };
    Ok(Rendered { site, snippet })
}

/// What takes a snippet's place when its site is gone and a VirtualHost still includes it: without it Apache would refuse everything.
///
/// # Errors
/// Never with a site's name, which was parsed.
pub fn stub(site: &SiteName) -> Result<String, RenderError> {
    render("stub.conf", context! { site => site.as_str() })
}

/// What the file that is common to all sites depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Common {
    /// What `Listen` is to be said for: nobody else does.
    pub listen: Vec<String>,
    /// Addresses of VirtualHosts that only our sites have: a host name that is none of theirs is answered 404 there.
    pub catch: BTreeSet<String>,
    /// The same, where HTTPS is spoken, each with a certificate and its key: Apache has to show one.
    pub catch_tls: BTreeMap<String, (String, String)>,
}

/// Renders the common file. `generation` is what the door says while this configuration is in force.
///
/// # Errors
/// Never with a generation of plain letters and digits.
pub fn common(common: &Common, door: SocketAddr, generation: &str) -> Result<String, RenderError> {
    render(
        "common.conf",
        context! { generation, door => door.to_string(), listen => &common.listen, catch => &common.catch, catch_tls => &common.catch_tls },
    )
}

/// An address as a VirtualHost names it. Apache knows one wildcard for all families.
#[must_use]
pub fn block(address: &SocketAddr) -> String {
    match address.ip().is_unspecified() {
        true => format!("*:{}", address.port()),
        false => address.to_string(),
    }
}

#[derive(Serialize)]
struct SiteContext {
    site: String,
    id: String,
    live: String,
    preview: bool,
    preview_link: String,
    requests: Limits,
    root: String,
    door: String,
    pool_seconds: u64,
    own: Option<Own>,
    port: Option<u16>,
    app: bool,
    appless: Vec<&'static str>,
    sides: Vec<Instances>,
    statics: Vec<Static>,
    fastcgi: Vec<FastCgi>,
    falls_back: bool,
    precompressed: bool,
}

/// How requests are passed on, in Apache's words: bytes and seconds.
#[derive(Serialize)]
struct Limits {
    max_body: u64,
    timeout: u64,
    stream_timeout: u64,
    connect_timeout: u64,
    /// Whether a websocket or an event stream may be silent for another time than an answer: then it has a balancer of its own.
    apart: bool,
}

impl Limits {
    fn of(requests: &Requests) -> Limits {
        Limits {
            max_body: requests.max_body,
            timeout: requests.timeout.as_secs(),
            stream_timeout: requests.stream_timeout.as_secs(),
            connect_timeout: requests.connect_timeout.as_secs(),
            apart: requests.timeout != requests.stream_timeout,
        }
    }
}

#[derive(Serialize)]
struct Own {
    hostnames: Vec<String>,
    previews: Vec<String>,
    doors: Vec<String>,
    blocks: BTreeSet<String>,
    tls: Option<Tls>,
}

#[derive(Serialize)]
struct Tls {
    certificate: String,
    key: String,
    listen: Vec<String>,
    blocks: BTreeSet<String>,
    /// What a client has to name besides the host; nothing where it is HTTPS's own.
    port: String,
}

#[derive(Serialize)]
struct Instances {
    colour: &'static str,
    scheme: &'static str,
    instances: Vec<String>,
}

#[derive(Serialize)]
struct Static {
    path: String,
    number: usize,
    precompressed: bool,
    sides: Vec<Places>,
}

/// Where a colour looks for the files of a static path: in its own release, then elsewhere.
#[derive(Serialize)]
struct Places {
    colour: &'static str,
    place: String,
    others: Vec<String>,
    fallback: Option<String>,
    cache: Vec<String>,
    precompressed: bool,
}

fn site_context(shape: &Shape, door: SocketAddr, preview: bool) -> SiteContext {
    let own = match &shape.mode {
        Mode::Own { hostnames, previews, listen, tls } => Some(Own {
            previews: previews.iter().map(Hostname::to_string).collect(),
            tls: tls.as_ref().map(|tls| Tls {
                certificate: tls.certificate.display().to_string(),
                key: tls.key.display().to_string(),
                listen: tls.listen.iter().map(SocketAddr::to_string).collect(),
                blocks: tls.listen.iter().map(block).collect(),
                port: tls.port(),
            }),
            hostnames: hostnames.iter().map(Hostname::to_string).collect(),
            doors: shape.mode.doors().iter().map(SocketAddr::to_string).collect(),
            blocks: listen.iter().map(block).collect(),
        }),
        Mode::Include => None,
    };
    let statics = statics(shape);
    SiteContext {
        site: shape.site.to_string(),
        id: if preview { format!("{}{PREVIEW}", door::name(&shape.site)) } else { door::name(&shape.site) },
        live: shape.dir.live().display().to_string(),
        preview,
        preview_link: shape.dir.preview().display().to_string(),
        requests: Limits::of(&shape.requests),
        root: shape.dir.root().display().to_string(),
        door: door.to_string(),
        pool_seconds: POOL_SECONDS,
        own,
        port: only_port(&shape.mode),
        app: Colour::BOTH.iter().any(|c| !shape.side(*c).instances.is_empty()),
        appless: Colour::BOTH.into_iter().filter(|c| shape.side(*c).instances.is_empty()).map(Colour::name).collect(),
        sides: Colour::BOTH
            .into_iter()
            .map(|colour| Instances {
                colour: colour.name(),
                scheme: if shape.side(colour).protocol == Protocol::Http { "http" } else { "fcgi" },
                instances: shape.side(colour).instances.iter().map(ToString::to_string).collect(),
            })
            .collect(),
        fastcgi: fastcgi::sides(shape).0,
        falls_back: statics.iter().any(|entry| entry.sides.iter().any(|side| side.fallback.is_some())),
        precompressed: statics.iter().any(|entry| entry.precompressed),
        statics,
    }
}

/// Apache itself tells the port that the client has in `Host`, so ours is said where it can be known.
fn only_port(mode: &Mode) -> Option<u16> {
    let Mode::Own { listen, tls, .. } = mode else {
        return None;
    };
    let listen = tls.as_ref().map_or(listen, |tls| &tls.listen);
    let first = listen.first()?.port();
    listen.iter().all(|address| address.port() == first).then_some(first)
}

/// The shorter paths first: of those that a request is below, the last one says where to look.
fn statics(shape: &Shape) -> Vec<Static> {
    let all = Colour::BOTH.into_iter().flat_map(|colour| &shape.side(colour).statics);
    let paths: BTreeSet<(usize, &str)> = all.map(|entry| (entry.path.as_str().len(), entry.path.as_str())).collect();
    let of = |number, path: &str| {
        let sides: Vec<Places> = Colour::BOTH.into_iter().filter_map(|colour| places(shape, colour, path)).collect();
        Static { path: path.to_owned(), number, precompressed: sides.iter().any(|side| side.precompressed), sides }
    };
    paths.into_iter().enumerate().map(|(number, (_, path))| of(number, path)).collect()
}

fn places(shape: &Shape, colour: Colour, path: &str) -> Option<Places> {
    let (index, entry) = found(shape.side(colour), path)?;
    let release =
        |colour: Colour, entry: &StaticPath| format!("{}/{}", shape.dir.slot_release(colour).display(), entry.root);
    let mut others = Vec::new();
    if entry.keep {
        let other = colour.other();
        others.extend(found(shape.side(other), path).map(|(_, entry)| release(other, entry)));
        others.push(format!("{}/{index}", shape.dir.kept().display()));
    }
    Some(Places {
        colour: colour.name(),
        place: release(colour, entry),
        others,
        fallback: entry.fallback.as_ref().map(ToString::to_string),
        cache: entry.cache.iter().flat_map(|cache| cache.directives().map(str::to_owned)).collect(),
        precompressed: entry.precompressed,
    })
}

fn found<'a>(side: &'a Side, path: &str) -> Option<(usize, &'a StaticPath)> {
    side.statics.iter().enumerate().find(|(_, entry)| entry.path.as_str() == path)
}

static TEMPLATES: LazyLock<Result<Environment<'static>, Error>> = LazyLock::new(|| {
    let mut env = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
    env.set_syntax(syntax.build()?);
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    env.set_formatter(write_plain);
    env.add_filter("in_regex", in_regex);
    for (name, text) in [
        ("site.conf", include_str!("templates/site.conf.j2")),
        ("live.conf", include_str!("templates/live.conf.j2")),
        ("preview.conf", include_str!("templates/preview.conf.j2")),
        ("host", include_str!("templates/host.j2")),
        ("balancer", include_str!("templates/balancer.j2")),
        ("snippet.conf", include_str!("templates/snippet.conf.j2")),
        ("stub.conf", include_str!("templates/stub.conf.j2")),
        ("common.conf", include_str!("templates/common.conf.j2")),
        ("body", include_str!("templates/body.j2")),
        ("file", include_str!("templates/file.j2")),
        ("name", include_str!("templates/name.j2")),
        ("pattern", include_str!("templates/pattern.j2")),
        ("flags", include_str!("templates/flags.j2")),
        ("page", include_str!("templates/page.j2")),
        ("types", include_str!("templates/types.j2")),
    ] {
        env.add_template(name, text)?;
    }
    Ok(env)
});

fn render(template: &str, context: Value) -> Result<String, RenderError> {
    let env = TEMPLATES.as_ref().map_err(RenderError::of)?;
    let template = env.get_template(template).map_err(|error| RenderError::of(&error))?;
    template.render(context).map_err(|error| RenderError::of(&error))
}

/// The last guard: whatever a template writes is a word that Apache can't read as syntax. The types see to it already; the path of the state
/// folder is the one value that has no such type.
fn write_plain(out: &mut minijinja::Output<'_>, _state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let text = value.to_string();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.~+@,=:[]*".contains(&b);
    if let Some(bad) = text.bytes().find(|b| !plain(*b)) {
        return Err(Error::new(
            ErrorKind::BadEscape,
            format!("{text:?} can't stand in Apache's configuration because of {:?}", bad as char),
        ));
    }
    out.write_str(&text).map_err(Error::from)
}

/// A URL path as a regular expression that matches only itself.
fn in_regex(path: &str) -> String {
    path.replace('.', "[.]").replace('+', "[+]")
}
