//! One client: a connection, one request after the other, nothing repeated.

use std::sync::Arc;
use std::time::Instant;

use super::totals::Sample;
use super::two::Two;
use super::wire::{Answer, Idle, Loss, Wire};
use super::{Ask, Load, Shared};

/// Runs a client until the load is over.
pub async fn run(shared: Arc<Shared>, number: usize) {
    let mut connection: Option<Connection> = None;
    // Clients start at different asks, so that at any moment every kind is on its way.
    let mut turn = number;
    let mut sequence = 0u64;
    while shared.next() {
        let ask = &shared.load.asks[turn % shared.load.asks.len()];
        turn += 1;
        sequence += 1;
        let id = format!("{number}-{sequence}");
        let begun = Instant::now();
        let result = request(&shared, &mut connection, ask, &id).await;
        match &result {
            Ok(answer) if answer.keep_alive && !shared.load.fresh => {}
            Ok(_) if shared.load.fresh => connection.take().map_or((), Connection::reset),
            _ => connection = None,
        }
        record(&shared, ask, id, begun, &result);
        tokio::time::sleep(shared.load.think).await;
    }
}

/// A connection, in either version of HTTP.
enum Connection {
    One(Wire),
    Two(Two),
}

impl Connection {
    async fn open(load: &Load) -> Result<Connection, Loss> {
        match &load.trust {
            Some(trust) if load.http2 => {
                Two::connect(load.address, &load.host, trust, load.timeout).await.map(Connection::Two)
            }
            trust => Wire::connect(load.address, &load.host, trust.as_ref(), load.timeout).await.map(Connection::One),
        }
    }

    async fn idle(&mut self) -> Idle {
        match self {
            Connection::One(wire) => wire.idle(),
            Connection::Two(two) => two.idle().await,
        }
    }

    async fn exchange(&mut self, ask: &Ask, host: &str, id: &str) -> Result<Answer, Loss> {
        match self {
            Connection::One(wire) => {
                wire.send(&bytes_of(ask, host, id)).await?;
                wire.receive(ask.method).await
            }
            Connection::Two(two) => two.exchange(ask, host, id).await,
        }
    }

    fn reset(self) {
        if let Connection::One(wire) = self {
            wire.reset();
        }
    }
}

async fn request(shared: &Shared, connection: &mut Option<Connection>, ask: &Ask, id: &str) -> Result<Answer, Loss> {
    let load = &shared.load;
    if let Some(open) = connection {
        match open.idle().await {
            Idle::Open => {}
            Idle::Speaks => return Err(Loss::WrongAnswer),
            Idle::Closed => {
                shared.state().totals.idle_closed += 1;
                *connection = None;
            }
        }
    }
    let connection = match connection {
        Some(connection) => connection,
        None => {
            shared.state().totals.connections += 1;
            connection.insert(Connection::open(load).await?)
        }
    };
    let exchange = connection.exchange(ask, &load.host, id);
    let answer = tokio::time::timeout(load.timeout, exchange).await.map_err(|_| Loss::Timeout)??;
    match answer.status {
        200 if load.strict && ask.from_app && !is_right(&answer, ask, id) => Err(Loss::WrongAnswer),
        200 => Ok(answer),
        500.. => Err(Loss::ServerError),
        _ => Err(Loss::OtherStatus),
    }
}

/// The request as it goes over the wire.
fn bytes_of(ask: &Ask, host: &str, id: &str) -> Vec<u8> {
    let mut text = format!("{} {} HTTP/1.1\r\nHost: {host}\r\nX-Request-Id: {id}\r\n", ask.method, ask.path);
    if ask.method != "GET" {
        text.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", ask.body.len()));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(&ask.body);
    bytes
}

/// Whether this answers this request: `rig-app` repeats the request's number, and says how much it read of an order.
fn is_right(answer: &Answer, ask: &Ask, id: &str) -> bool {
    let read = format!("\"bytes\":{}", ask.body.len());
    answer.header("x-request-id") == Some(id)
        && answer.version().is_some()
        && (ask.method != "POST" || answer.text().contains(&read))
}

fn record(shared: &Shared, ask: &Ask, id: String, begun: Instant, result: &Result<Answer, Loss>) {
    let ended = Instant::now();
    let answer = result.as_ref().ok();
    let sample = Sample {
        id,
        start_ns: shared.clock.at(begun),
        end_ns: shared.clock.at(ended),
        arrived_ns: answer.and_then(|answer| answer.header("x-arrived-ns")?.parse().ok()),
        version: answer.and_then(Answer::version).map(str::to_owned),
        colour: answer.and_then(|answer| answer.header("x-colour")).map(str::to_owned),
        post: ask.method == "POST",
        loss: result.as_ref().err().copied(),
    };
    let mut state = shared.state();
    state.totals.count(&sample, shared.clock.wall_ns);
    if shared.load.keep_samples {
        state.samples.push(sample);
    }
}
