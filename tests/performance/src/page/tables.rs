use std::fmt::Write as _;

use crate::chart::short;
use crate::peers::Peer;
use crate::results::{Figure, Results};
use crate::suite::Case;

/// One figure of many cases: cases down, servers across.
pub(crate) fn of(cases: &[&Case], peers: &[&Peer], results: &Results, figure: Figure) -> String {
    let mut table = heading(peers.iter().copied());
    for case in cases {
        let _ = write!(table, "| {} |", case.title);
        peers.iter().for_each(|peer| cell(&mut table, case, peer, results, figure));
        table.push('\n');
    }
    table
}

/// Many figures of one case: figures down, servers across.
pub(crate) fn figures(case: &Case, rows: &[(&str, Figure)], peers: &[Peer], results: &Results) -> String {
    let mut table = heading(peers.iter());
    for (name, figure) in rows {
        let _ = write!(table, "| {name} |");
        peers.iter().for_each(|peer| cell(&mut table, case, peer, results, *figure));
        table.push('\n');
    }
    table
}

fn heading<'a>(peers: impl Iterator<Item = &'a Peer>) -> String {
    let (mut names, mut line) = (String::from("| |"), String::from("|---|"));
    for peer in peers {
        let _ = write!(names, " {} |", peer.name);
        line.push_str("--:|");
    }
    format!("{names}\n{line}\n")
}

fn cell(table: &mut String, case: &Case, peer: &Peer, results: &Results, figure: Figure) {
    let mark = if results.is_right(case, &peer.name) { "" } else { " †" };
    let _ = match results.get(case, &peer.name, figure) {
        Some(value) => write!(table, " {}{mark} |", short(value)),
        None => write!(table, " – |"),
    };
}
