//! Makes load and counts what is lost. Never repeats a request. Ends with exit code 1 if anything was lost.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use bluegreen_rig::load::{Ask, Load};
use clap::Parser;

/// Makes load and counts what is lost; never repeats a request.
#[derive(Debug, Parser)]
#[command(name = "rig-load")]
struct Options {
    /// Where to.
    address: SocketAddr,
    /// What the Host header says.
    #[arg(long, default_value = "localhost")]
    host: String,
    /// A new connection for each request.
    #[arg(long)]
    fresh: bool,
    /// Until the standard input ends.
    #[arg(long, conflicts_with_all = ["seconds", "count"])]
    until_eof: bool,
    /// So many clients, with a keep-alive connection each.
    #[arg(long, short, default_value_t = 32)]
    clients: usize,
    /// Milliseconds from an answer to the next request.
    #[arg(long, default_value_t = 5)]
    think_ms: u64,
    /// Seconds, at most.
    #[arg(long, short)]
    seconds: Option<f64>,
    /// Requests, at most.
    #[arg(long, short = 'n')]
    count: Option<u64>,
    /// GET this; may be given several times.
    #[arg(long)]
    get: Vec<String>,
    /// POST to this; may be given several times. Without --get and --post: GET / and POST /order in turn.
    #[arg(long)]
    post: Vec<String>,
    /// The app isn't rig-app: accept any whole answer with status 200.
    #[arg(long)]
    any_app: bool,
    /// Print what was counted as JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let mut load = Load::to(options.address, &options.host);
    load = load.clients(options.clients).think(Duration::from_millis(options.think_ms));
    let gets = options.get.iter().map(|path| Ask::get(path));
    let asks: Vec<Ask> = gets.chain(options.post.iter().map(|path| Ask::post(path, "{\"item\":1}"))).collect();
    if !asks.is_empty() {
        load = load.asks(asks);
    }
    if options.any_app {
        load = load.of_any_app();
    }
    if let Some(count) = options.count {
        load = load.count(count);
    }
    if options.fresh {
        load = load.fresh();
    }
    if options.seconds.is_some() || (options.count.is_none() && !options.until_eof) {
        load = load.lasting(Duration::from_secs_f64(options.seconds.unwrap_or(10.0)));
    }
    let running = load.start()?;
    let totals = if options.until_eof {
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
        running.stop()
    } else {
        running.finish()
    };
    if options.json {
        println!("{}", serde_json::to_string_pretty(&totals)?);
    } else {
        println!("{totals}");
    }
    Ok(if totals.complaint().is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
