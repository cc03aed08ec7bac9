//! `wsgi` and `asgi`: gunicorn and uvicorn, out of the environment that was installed beside the release.
//!
//! Both listen on the loopback address and on the port that we say, whatever a configuration file of the release says: an argument wins. Both
//! keep an idle connection far longer than the web server does ([`KEEP_ALIVE`]): a request on a connection that the app has just
//! closed would be lost.

use std::time::Duration;

use super::{Instance, Program, wrong};
use crate::api::site::{Asgi, Wsgi};
use crate::platform::Fault;

/// For how many seconds an app keeps an idle connection. The web servers use one for 2 s.
const KEEP_ALIVE: u64 = 75;

/// gunicorn's default worker, `sync`, closes the connection after each answer, and answers one client at a time, slow ones too. `gthread` keeps them, and
/// waits for all idle ones in one thread, so that one thread for requests is enough.
pub(super) fn wsgi(wsgi: &Wsgi, instance: &Instance<'_>) -> Result<Program, Fault> {
    let bind = format!("127.0.0.1:{}", instance.port);
    let (workers, threads) = (wsgi.workers.to_string(), wsgi.threads.to_string());
    let (keep, grace) = (KEEP_ALIVE.to_string(), grace(instance.stop_within).to_string());
    let arguments = [
        ["--bind", &bind],
        ["--worker-class", "gthread"],
        ["--workers", &workers],
        ["--threads", &threads],
        ["--keep-alive", &keep],
        ["--graceful-timeout", &grace],
        ["--forwarded-allow-ips", "127.0.0.1"],
        ["--error-logfile", "-"],
    ];
    server("gunicorn", arguments.as_flattened(), wsgi.app.as_str(), instance)
}

pub(super) fn asgi(asgi: &Asgi, instance: &Instance<'_>) -> Result<Program, Fault> {
    let (port, workers) = (instance.port.to_string(), asgi.workers.to_string());
    let (keep, grace) = (KEEP_ALIVE.to_string(), grace(instance.stop_within).to_string());
    let arguments = [
        "--host",
        "127.0.0.1",
        "--port",
        &port,
        "--workers",
        &workers,
        "--timeout-keep-alive",
        &keep,
        "--timeout-graceful-shutdown",
        &grace,
        "--proxy-headers",
        "--forwarded-allow-ips",
        "127.0.0.1",
        "--no-use-colors",
    ];
    server("uvicorn", &arguments, asgi.app.as_str(), instance)
}

/// A server ends by itself a moment before it would be killed.
fn grace(stop_within: Duration) -> u64 {
    stop_within.as_secs().saturating_sub(1).max(1)
}

/// As a module of the environment's Python: the scripts in its `bin` would do as well, were there no limit to the length of their first line.
fn server(module: &str, arguments: &[&str], app: &str, instance: &Instance<'_>) -> Result<Program, Fault> {
    let text = |path: std::path::PathBuf| {
        path.into_os_string().into_string().map_err(|_| wrong("the state folder's path is not text"))
    };
    let bin = text(instance.environment.join("bin"))?;
    let mut argv = vec![format!("{bin}/python"), "-m".to_owned(), module.to_owned()];
    argv.extend(arguments.iter().map(|&word| word.to_owned()));
    argv.push(app.to_owned());
    let env = vec![
        ("PATH", format!("{bin}:{}", super::PATH)),
        ("VIRTUAL_ENV", text(instance.environment.to_owned())?),
        // The release is read-only, and what an app prints is to be read at once.
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ("PYTHONUNBUFFERED", "1".to_owned()),
    ];
    Ok(Program { argv, env, ..Program::default() })
}

#[cfg(test)]
mod tests {
    use super::super::tests::instance;
    use super::*;
    use crate::api::site::Installed;

    fn installed() -> Installed {
        Installed {
            requirements: "requirements.txt".parse().expect("a path"),
            python: "/usr/bin/python3".parse().expect("a path"),
        }
    }

    #[test]
    fn gunicorn_listens_on_loopback_keeps_connections_and_ends_before_it_is_killed() {
        let app = "shop.wsgi:application".parse().expect("an app");
        let wsgi = super::wsgi(&Wsgi { app, workers: 2, threads: 4, installed: installed() }, &instance(8081));
        assert_eq!(
            wsgi.expect("valid").argv.join(" "),
            "/r.venv/bin/python -m gunicorn --bind 127.0.0.1:8081 --worker-class gthread --workers 2 --threads 4 --keep-alive 75 \
             --graceful-timeout 29 --forwarded-allow-ips 127.0.0.1 --error-logfile - shop.wsgi:application"
        );
    }

    #[test]
    fn uvicorn_listens_on_loopback_and_trusts_the_web_server_alone() {
        let asgi = super::asgi(
            &Asgi { app: "main:app".parse().expect("an app"), workers: 1, installed: installed() },
            &instance(8081),
        );
        let program = asgi.expect("valid");
        assert_eq!(
            program.argv.join(" "),
            "/r.venv/bin/python -m uvicorn --host 127.0.0.1 --port 8081 --workers 1 --timeout-keep-alive 75 \
             --timeout-graceful-shutdown 29 --proxy-headers --forwarded-allow-ips 127.0.0.1 --no-use-colors main:app"
        );
        assert!(program.env.contains(&("PATH", "/r.venv/bin:/usr/local/bin:/usr/bin:/bin".to_owned())));
    }
}
