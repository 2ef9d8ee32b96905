//! Filters that make sense.

use tidegate_core::request::Filter;

/// Whether a filter means something, and can be judged for every publication at little cost.
pub(super) fn is_valid(filter: &Filter) -> bool {
    let mut left = Left { nodes: MAX_NODES, bytes: MAX_BYTES };
    valid(filter, MAX_DEPTH, &mut left)
}

/// What the rest of a filter may have.
struct Left {
    nodes: usize,
    bytes: usize,
}

fn valid(filter: &Filter, depth: usize, left: &mut Left) -> bool {
    let bytes =
        filter.key.len() + filter.val.len() + filter.vals.iter().map(|val| val.len() + 1).sum::<usize>();
    let (Some(nodes), Some(bytes)) = (left.nodes.checked_sub(1), left.bytes.checked_sub(bytes)) else {
        return false;
    };
    *left = Left { nodes, bytes };
    match &*filter.op {
        "" => filter.nodes.is_empty() && is_leaf(filter),
        "and" | "or" | "not" if depth == 1 => false,
        "not" if filter.nodes.len() != 1 => false,
        "and" | "or" | "not" => {
            !filter.nodes.is_empty() && filter.nodes.iter().all(|node| valid(node, depth - 1, left))
        }
        _ => false,
    }
}

fn is_leaf(filter: &Filter) -> bool {
    let fits = match &*filter.cmp {
        "eq" | "neq" | "ex" | "nex" | "sw" | "ew" | "ct" => true,
        "in" | "nin" => !filter.vals.is_empty(),
        "gt" | "gte" | "lt" | "lte" => is_decimal(&filter.val),
        _ => false,
    };
    fits && !filter.key.is_empty()
}

/// Digits, perhaps with a sign and a point.
fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    all_digits(whole) && all_digits(fraction) && !(whole.is_empty() && fraction.is_empty())
}

/// Nodes above one another. 10: more than people write.
const MAX_DEPTH: usize = 10;
/// Nodes of a filter. 64: each is judged for each publication.
const MAX_NODES: usize = 64;
/// Bytes of keys and values. 4 KiB: they are kept for each subscription.
const MAX_BYTES: usize = 4096;
