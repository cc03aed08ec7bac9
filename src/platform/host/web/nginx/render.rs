//! From a shape to the text of configuration files: pure, from typed values only. Called by the kind in `mod`; the golden files of the tests show the result.
//!
//! The rules behind the templates are the design's: one stat decides and everything in a request uses what it said; a request that was sent is
//! never repeated; a static path answers nothing that lies outside the release.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior, Value, context};
use serde::Serialize;

use super::knows::Knows;
use super::limits::Limits;
use crate::api::types::{Hostname, SiteName};
use crate::platform::host::tick::LINKS;
use crate::platform::host::web::fastcgi::{self, FastCgi};
use crate::platform::host::web::kind::{RenderError, Rendered};
use crate::platform::host::web::{Mode, Shape, Side, StaticPath, door};
use crate::rollout::Colour;

/// How long nginx keeps an idle connection to an instance. It must stay below the app's own time-out, or requests meet connections that the app
/// has just closed.
pub const POOL_SECONDS: u64 = 2;

/// Renders the files of one site.
///
/// # Errors
/// When a value holds what could be read as syntax: only the path of the state folder can, all else was parsed.
pub fn site(shape: &Shape, door: SocketAddr, knows: Knows) -> Result<Rendered, RenderError> {
    let context = |preview| Value::from(Serde(site_context(shape, door, knows, preview)));
    let mut site = render("site.conf", context(false))?;
    let snippet = match &shape.mode {
        Mode::Own { previews, .. } => {
            if !previews.is_empty() {
                site.push_str(&render("preview.conf", context(true))?);
            }
            None
        }
        Mode::Include => Some(render("snippet.conf", context(false))?),
    };
    Ok(Rendered { site, snippet })
}

/// What takes a snippet's place when its site is gone and a server block still includes it: without it nginx would refuse everything.
///
/// # Errors
/// Never with a site's name, which was parsed.
pub fn stub(site: &SiteName) -> Result<String, RenderError> {
    render("stub.conf", context! { site => site.as_str() })
}

/// What the file that is common to all sites depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Common {
    /// Addresses on which only our sites listen: a host name that is none of theirs is answered 404 there.
    pub catch: BTreeSet<SocketAddr>,
    /// The same, where HTTPS is spoken: there nobody is shown the certificate of another.
    pub catch_tls: BTreeSet<SocketAddr>,
    /// Set when a host name needs more than what is in force.
    pub hash_bucket: Option<usize>,
}

/// Renders the common file. `generation` is what the door says while this configuration is in force.
///
/// # Errors
/// Never with a generation of plain letters and digits.
pub fn common(common: &Common, door: SocketAddr, generation: &str) -> Result<String, RenderError> {
    let words = |addresses: &BTreeSet<SocketAddr>| addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (catch, catch_tls) = (words(&common.catch), words(&common.catch_tls));
    let names: Vec<String> = (0..LINKS).map(|tick| format!("{tick:03}")).collect();
    let ticks: Vec<Vec<String>> = names.chunks(10).map(<[String]>::to_vec).collect();
    render(
        "common.conf",
        context! { generation, door => door.to_string(), hash_bucket => common.hash_bucket, catch, catch_tls, ticks },
    )
}

/// What nginx's `server_names_hash_bucket_size` must at least be for these names.
#[must_use]
pub fn hash_bucket<'a>(names: impl IntoIterator<Item = &'a str>) -> usize {
    // ngx_hash.c: a pointer, then the length in two bytes and the name, aligned; one pointer ends the bucket; whole cache lines.
    names
        .into_iter()
        .map(|name| 8 + (name.len() + 2).next_multiple_of(8) + 8)
        .max()
        .unwrap_or(0)
        .next_multiple_of(64)
        .max(64)
}

#[derive(Serialize)]
struct SiteContext {
    site: String,
    live: String,
    preview: bool,
    preview_link: String,
    requests: Limits,
    ticks: String,
    id: String,
    doors: Vec<(String, String)>,
    root: String,
    door: String,
    door_name: String,
    pool_seconds: u64,
    own: Option<Own>,
    sides: Vec<Upstream>,
    fastcgi: Vec<FastCgi>,
    http: bool,
    app: bool,
    appless: Vec<&'static str>,
    statics: Vec<Static>,
    switches: Vec<Switch>,
    headers: Vec<Header>,
    whole: bool,
    miss: &'static str,
}

#[derive(Serialize)]
struct Own {
    hostnames: Vec<String>,
    previews: Vec<String>,
    listen: Vec<String>,
    tls: Option<Tls>,
}

#[derive(Serialize)]
struct Tls {
    certificate: String,
    key: String,
    listen: Vec<String>,
    /// Whether HTTP/2 is a directive of its own.
    http2_on: bool,
    /// What a client has to name besides the host; nothing where it is HTTPS's own.
    port: String,
}

#[derive(Serialize)]
struct Upstream {
    colour: &'static str,
    instances: Vec<String>,
}

#[derive(Serialize)]
struct Static {
    path: String,
    place: String,
    other: String,
    kept: String,
    keep: bool,
    fallback: Option<String>,
    cache: Vec<String>,
    precompressed: bool,
    miss: String,
}

/// A value that depends on the colour.
#[derive(Serialize)]
struct Switch {
    variable: String,
    blue: String,
    green: String,
}

/// A header whose value depends on the colour: words that are joined by commas.
#[derive(Serialize)]
struct Header {
    variable: String,
    blue: Vec<String>,
    green: Vec<String>,
}

/// A folder that no slot has.
const NOWHERE: &str = "release/.bluegreen-none";

fn site_context(shape: &Shape, door: SocketAddr, knows: Knows, preview: bool) -> SiteContext {
    let app = Colour::BOTH.iter().any(|c| !shape.side(*c).instances.is_empty());
    let mut paths: Vec<&str> = Vec::new();
    for colour in Colour::BOTH {
        for entry in &shape.side(colour).statics {
            if !paths.contains(&entry.path.as_str()) {
                paths.push(entry.path.as_str());
            }
        }
    }
    let id = door::name(&shape.site);
    let (fastcgi, http) = fastcgi::sides(shape);
    let (mut switches, mut headers) = (Vec::new(), Vec::new());
    if !fastcgi.is_empty() {
        script(&id, &fastcgi, shape, &mut switches);
    }
    let miss = if app { "@bluegreen_app" } else { "=404" };
    let statics: Vec<Static> = (0..)
        .zip(&paths)
        .map(|(number, path): (usize, _)| {
            let mut entry = static_context(&format!("{number}_{id}"), path, shape, &mut switches);
            entry.precompressed &= knows.gzip_static;
            entry.cache = cache(&format!("{number}_{id}"), path, shape, &mut headers);
            entry.miss = match entry.fallback {
                Some(_) => format!("@bluegreen_fallback_{number}"),
                None => miss.to_owned(),
            };
            entry
        })
        .collect();
    if statics.iter().any(|s| s.keep) {
        let other = |colour: Colour| colour.other().name().to_owned();
        let variable = format!("$bluegreen_other_{id}");
        switches.push(Switch { variable, blue: other(Colour::Blue), green: other(Colour::Green) });
    }
    SiteContext {
        site: shape.site.to_string(),
        live: shape.dir.live().display().to_string(),
        preview,
        preview_link: shape.dir.preview().display().to_string(),
        requests: Limits::of(&shape.requests),
        ticks: shape.dir.ticks().display().to_string(),
        root: shape.dir.root().display().to_string(),
        door: door.to_string(),
        door_name: id.clone(),
        doors: doors(&shape.mode),
        id,
        pool_seconds: POOL_SECONDS,
        own: match &shape.mode {
            Mode::Own { hostnames, previews, listen, tls } => Some(Own {
                previews: previews.iter().map(Hostname::to_string).collect(),
                tls: tls.as_ref().map(|tls| Tls {
                    certificate: tls.certificate.display().to_string(),
                    key: tls.key.display().to_string(),
                    listen: tls.listen.iter().map(SocketAddr::to_string).collect(),
                    http2_on: knows.http2_on,
                    port: tls.port(),
                }),
                hostnames: hostnames.iter().map(Hostname::to_string).collect(),
                listen: listen.iter().map(SocketAddr::to_string).collect(),
            }),
            Mode::Include => None,
        },
        sides: Colour::BOTH
            .into_iter()
            .map(|colour| Upstream {
                colour: colour.name(),
                instances: shape.side(colour).instances.iter().map(ToString::to_string).collect(),
            })
            .collect(),
        fastcgi,
        http,
        app,
        appless: Colour::BOTH.into_iter().filter(|c| shape.side(*c).instances.is_empty()).map(Colour::name).collect(),
        whole: paths.contains(&"/"),
        miss,
        statics,
        switches,
        headers,
    }
}

/// The program that FastCGI is to run, its own path, and what of the path is left to it.
fn script(id: &str, fastcgi: &[FastCgi], shape: &Shape, switches: &mut Vec<Switch>) {
    let of = |colour: Colour| fastcgi.iter().find(|side| side.colour == colour.name());
    let mut switch = |name: &str, one: &dyn Fn(Colour, &str) -> String, folder: &str| {
        let value = |colour: Colour| match of(colour).map(|side| &side.script) {
            Some(Some(script)) => one(colour, script),
            Some(None) => folder.to_owned(),
            None => "\"\"".to_owned(),
        };
        let (blue, green) = (value(Colour::Blue), value(Colour::Green));
        switches.push(Switch { variable: format!("$bluegreen_{name}_{id}"), blue, green });
    };
    let file = |colour: Colour, script: &str| format!("{}/{script}", shape.dir.slot_release(colour).display());
    switch("script", &file, "\"\"");
    switch("script_name", &|_, _| "\"\"".to_owned(), "$document_uri");
    switch("path_info", &|_, _| "$document_uri".to_owned(), "\"\"");
}

fn static_context(id: &str, path: &str, shape: &Shape, switches: &mut Vec<Switch>) -> Static {
    let entry = |colour: Colour| entry(shape.side(colour), path);
    let place = |colour: Colour| match entry(colour) {
        Some((_, found)) => format!("release/{}", found.root),
        None => NOWHERE.to_owned(),
    };
    let keeps = |colour: Colour| entry(colour).is_some_and(|(_, found)| found.keep);
    // A colour that keeps nothing looks nowhere else.
    let other = |colour: Colour| match keeps(colour) {
        true => place(colour.other()),
        false => NOWHERE.to_owned(),
    };
    let kept = |colour: Colour| match entry(colour) {
        Some((index, found)) if found.keep => index.to_string(),
        _ => "none".to_owned(),
    };
    let mut either = |name: &str, value: &dyn Fn(Colour) -> String| {
        let (blue, green) = (value(Colour::Blue), value(Colour::Green));
        if blue == green {
            return blue;
        }
        let variable = format!("$bluegreen_{name}_{id}");
        switches.push(Switch { variable: variable.clone(), blue, green });
        variable
    };
    let keep = Colour::BOTH.into_iter().any(keeps);
    let fallback = |colour: Colour| match entry(colour) {
        Some((_, StaticPath { root, fallback: Some(file), .. })) => format!("release/{root}/{file}"),
        _ => NOWHERE.to_owned(),
    };
    let falls_back = Colour::BOTH.into_iter().any(|colour| fallback(colour) != NOWHERE);
    // nginx can't tell the colours apart in this, so both have to want it.
    let precompressed = Colour::BOTH.into_iter().filter_map(entry).all(|(_, found)| found.precompressed);
    Static {
        path: path.to_owned(),
        place: either("place", &place),
        other: if keep { either("other", &other) } else { String::new() },
        kept: if keep { either("kept", &kept) } else { String::new() },
        keep,
        fallback: falls_back.then(|| either("fallback", &fallback)),
        cache: Vec::new(),
        precompressed,
        miss: String::new(),
    }
}

/// The words of `Cache-Control` for a static path, or the variable that holds them.
fn cache(id: &str, path: &str, shape: &Shape, headers: &mut Vec<Header>) -> Vec<String> {
    let words = |colour: Colour| -> Vec<String> {
        let found = entry(shape.side(colour), path).and_then(|(_, found)| found.cache.as_ref());
        found.map(|cache| cache.directives().map(str::to_owned).collect()).unwrap_or_default()
    };
    let (blue, green) = (words(Colour::Blue), words(Colour::Green));
    if blue == green {
        return blue;
    }
    let variable = format!("$bluegreen_cache_{id}");
    headers.push(Header { variable: variable.clone(), blue, green });
    vec![variable]
}

fn entry<'a>(side: &'a Side, path: &str) -> Option<(usize, &'a StaticPath)> {
    side.statics.iter().enumerate().find(|(_, s)| s.path.as_str() == path)
}

/// What clients name in `Host`, and the port in it, of names that fit into a bucket of nginx's maps as it is by default; the others are judged by
/// an expression.
fn doors(mode: &Mode) -> Vec<(String, String)> {
    const FITS: usize = 40;
    let Mode::Own { hostnames, .. } = mode else {
        return Vec::new();
    };
    // The ports that a client leaves out, and those that it names.
    let mut ports = vec![String::new()];
    ports.extend(mode.doors().iter().map(|address| format!(":{}", address.port())));
    ports.dedup();
    let names = hostnames.iter().map(Hostname::to_string).filter(|name| !name.starts_with('*'));
    let doors = names
        .flat_map(|name| ports.iter().map(move |port| (format!("{name}{port}"), port.clone())).collect::<Vec<_>>());
    doors.filter(|(door, _)| door.len() <= FITS).collect::<BTreeSet<_>>().into_iter().collect()
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
        ("snippet.conf", include_str!("templates/snippet.conf.j2")),
        ("stub.conf", include_str!("templates/stub.conf.j2")),
        ("common.conf", include_str!("templates/common.conf.j2")),
        ("preview.conf", include_str!("templates/preview.conf.j2")),
        ("previewed", include_str!("templates/previewed.j2")),
        ("listen", include_str!("templates/listen.j2")),
        ("colour", include_str!("templates/colour.j2")),
        ("body", include_str!("templates/body.j2")),
        ("static", include_str!("templates/static.j2")),
        ("file", include_str!("templates/file.j2")),
        ("gzip", include_str!("templates/gzip.j2")),
        ("words", include_str!("templates/words.j2")),
        ("stream", include_str!("templates/stream.j2")),
        ("forward", include_str!("templates/forward.j2")),
        ("proxy", include_str!("templates/proxy.j2")),
        ("http", include_str!("templates/http.j2")),
        ("fastcgi", include_str!("templates/fastcgi.j2")),
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

/// The last guard: whatever a template writes is a word that nginx can't read as syntax. The types see to it already; the path of the state
/// folder is the one value that has no such type.
fn write_plain(out: &mut minijinja::Output<'_>, _state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let text = value.to_string();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.~+@,=:[]*".contains(&b);
    // What is written here, and never a user's.
    if matches!(text.as_str(), "\"\"" | "$document_uri") {
        return out.write_str(&text).map_err(Error::from);
    }
    let word = text.strip_prefix("$bluegreen_").unwrap_or(&text);
    if let Some(bad) = word.bytes().find(|b| !plain(*b)) {
        return Err(Error::new(
            ErrorKind::BadEscape,
            format!("{text:?} can't stand in nginx's configuration because of {:?}", bad as char),
        ));
    }
    out.write_str(&text).map_err(Error::from)
}

/// A URL path as a regular expression that matches only itself.
fn in_regex(path: &str) -> String {
    path.replace('.', "[.]").replace('+', "[+]")
}
