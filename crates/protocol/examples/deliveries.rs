//! Deliveries and nothing else, always the same, for `cargo xtask instructions`, which counts what each takes.
//!
//! `deliveries list` names the cases; `deliveries CASE ROUNDS` does one, and prints how many deliveries a round has.

#[path = "../tests/it/fan.rs"]
mod fan;

use fan::{Fan, PROTOCOLS};
use tidegate_core::request::Subscribed;

/// Publications to subscribers of a protocol, so many in a row.
struct Case {
    name: &'static str,
    protocol: &'static str,
    subscribers: usize,
    in_a_row: usize,
    size: usize,
}

const CASES: [Case; 6] = [
    case("json-in-a-row", PROTOCOLS[0], 32, 128),
    case("json-alone", PROTOCOLS[0], 1, 128),
    case("json-large", PROTOCOLS[0], 4, 16 * 1024),
    case("protobuf-in-a-row", PROTOCOLS[1], 32, 128),
    case("protobuf-alone", PROTOCOLS[1], 1, 128),
    // What publishing takes, nearly: there is one to deliver it to.
    Case { subscribers: 1, ..case("json-publish", PROTOCOLS[0], 32, 128) },
];

const fn case(name: &'static str, protocol: &'static str, in_a_row: usize, size: usize) -> Case {
    Case { name, protocol, subscribers: 100, in_a_row, size }
}

fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (case, rounds) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["list"] => {
            CASES.iter().for_each(|case| println!("{}", case.name));
            return Ok(());
        }
        [case, rounds] => (case, rounds),
        _ => return Err("expected `list`, or a case and how many rounds".into()),
    };
    let rounds: usize = rounds.parse().map_err(|_| format!("{rounds}: expected a number of rounds"))?;
    let case = CASES.iter().find(|known| known.name == case).ok_or(format!("{case}: no such case"))?;
    let Case { protocol, subscribers, in_a_row, size, .. } = *case;
    let mut fan = Fan::new(protocol, subscribers, &Subscribed::default(), fan::publication(size));
    let mut written = 0;
    for _ in 0..rounds {
        fan.publish(in_a_row);
        written += fan.drain(0);
    }
    assert!(written >= rounds * subscribers * in_a_row * size, "everything was delivered");
    println!("{}", subscribers * in_a_row);
    Ok(())
}
