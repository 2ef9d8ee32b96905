mod condition;
mod decimal;
#[cfg(all(test, not(loom)))]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use condition::{Condition, Order, Test};
pub use decimal::Decimal;

/// What a subscriber wants of a channel: a condition on the tags of publications, in canonical form.
///
/// Filters that say the same in another order, or with needless nodes, are equal, so that their subscribers
/// share a log. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Filter(Arc<Condition>);

/// The bounds of a filter. Judging it takes time at each publication, and it is kept for each subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Nodes above one another. 10: more than people write.
    pub depth: usize,
    /// Nodes in all. 64: each is judged for each publication.
    pub nodes: usize,
    /// Bytes of keys and values. 4 KiB: they are kept for each subscription.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 10, nodes: 64, bytes: 4096 }
    }
}

/// Why there is no such filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// Too many nodes stand above one another.
    #[error("a filter deeper than {0} nodes")]
    TooDeep(usize),
    /// There are too many nodes.
    #[error("a filter of more than {0} nodes")]
    TooManyNodes(usize),
    /// Keys and values are too long.
    #[error("a filter whose keys and values have more than {0} bytes")]
    TooLong(usize),
    /// A node that joins others has none, or a comparison has nothing to compare with.
    #[error("a filter's node without anything to judge by")]
    Empty,
    /// A comparison looks at no tag.
    #[error("a filter's comparison without a key")]
    NoKey,
}

impl Filter {
    /// The filter that lets through what meets `condition`.
    ///
    /// # Errors
    /// [`FilterError`] if it is over the limits, or makes no sense.
    pub fn new(condition: Condition, limits: &Limits) -> Result<Self, FilterError> {
        let mut left = Left { nodes: limits.nodes, bytes: limits.bytes };
        check(&condition, limits.depth, &mut left, limits)?;
        Ok(Self(Arc::new(condition.canonical())))
    }

    /// Whether a publication with these tags is wanted.
    pub fn matches(&self, tags: Option<&BTreeMap<String, String>>) -> bool {
        self.0.holds(tags)
    }
}

/// What the rest of a filter may have.
struct Left {
    nodes: usize,
    bytes: usize,
}

fn check(condition: &Condition, depth: usize, left: &mut Left, limits: &Limits) -> Result<(), FilterError> {
    let mut inside = |conditions: &[Condition]| {
        if conditions.is_empty() {
            return Err(FilterError::Empty);
        }
        let depth = depth.checked_sub(1).filter(|depth| *depth > 0);
        let depth = depth.ok_or(FilterError::TooDeep(limits.depth))?;
        left.nodes = left.nodes.checked_sub(1).ok_or(FilterError::TooManyNodes(limits.nodes))?;
        conditions.iter().try_for_each(|condition| check(condition, depth, left, limits))
    };
    match condition {
        Condition::All(conditions) | Condition::Any(conditions) => inside(conditions),
        // "Not equal" is one comparison, though two nodes here.
        Condition::Not(condition) if matches!(**condition, Condition::Tag { .. }) => {
            check(condition, depth, left, limits)
        }
        Condition::Not(condition) => inside(std::slice::from_ref(condition)),
        Condition::Tag { key, test } => {
            if depth == 0 {
                return Err(FilterError::TooDeep(limits.depth));
            }
            left.nodes = left.nodes.checked_sub(1).ok_or(FilterError::TooManyNodes(limits.nodes))?;
            let bytes = key.len() + test.bytes();
            left.bytes = left.bytes.checked_sub(bytes).ok_or(FilterError::TooLong(limits.bytes))?;
            if key.is_empty() && *test != Test::Exists {
                return Err(FilterError::NoKey);
            }
            if test.is_empty() { Err(FilterError::Empty) } else { Ok(()) }
        }
    }
}
