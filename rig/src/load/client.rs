//! One client: a connection, one request after the other, nothing repeated.

use std::sync::Arc;
use std::time::Instant;

use super::totals::Sample;
use super::wire::{Answer, Idle, Loss, Wire};
use super::{Ask, Shared};

/// Runs a client until the load is over.
pub async fn run(shared: Arc<Shared>, number: usize) {
    let mut wire: Option<Wire> = None;
    // Clients start at different asks, so that at any moment every kind is on its way.
    let mut turn = number;
    let mut sequence = 0u64;
    while shared.next() {
        let ask = &shared.load.asks[turn % shared.load.asks.len()];
        turn += 1;
        sequence += 1;
        let id = format!("{number}-{sequence}");
        let begun = Instant::now();
        let result = request(&shared, &mut wire, ask, &id).await;
        match &result {
            Ok(answer) if answer.keep_alive && !shared.load.fresh => {}
            Ok(_) if shared.load.fresh => wire.take().map_or((), Wire::reset),
            _ => wire = None,
        }
        record(&shared, ask, id, begun, &result);
        tokio::time::sleep(shared.load.think).await;
    }
}

async fn request(shared: &Shared, wire: &mut Option<Wire>, ask: &Ask, id: &str) -> Result<Answer, Loss> {
    let load = &shared.load;
    match wire.as_ref().map(Wire::idle) {
        Some(Idle::Open) => {}
        Some(Idle::Speaks) => return Err(Loss::WrongAnswer),
        Some(Idle::Closed) => {
            shared.state().totals.idle_closed += 1;
            *wire = None;
        }
        None => {}
    }
    let wire = match wire {
        Some(wire) => wire,
        None => {
            shared.state().totals.connections += 1;
            wire.insert(Wire::connect(load.address, load.timeout).await?)
        }
    };
    let exchange = async {
        wire.send(&bytes_of(ask, &load.host, id)).await?;
        wire.receive(ask.method).await
    };
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
