use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::Decimal;

/// A condition on the tags of a publication.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// A tag passes a test.
    Tag {
        /// The tag's name.
        key: String,
        /// What its value must be like.
        test: Test,
    },
    /// All of these hold.
    All(Vec<Condition>),
    /// One of these holds, at least.
    Any(Vec<Condition>),
    /// This does not hold.
    Not(Box<Condition>),
}

/// What a tag's value must be like. But for [`Test::In`], a tag that is not there passes none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Test {
    /// One of these texts. A tag that is not there counts as an empty one.
    In(Vec<String>),
    /// Anything.
    Exists,
    /// It begins with this text.
    StartsWith(String),
    /// It ends with this text.
    EndsWith(String),
    /// It has this text in it.
    Contains(String),
    /// A number that compares so with this one. What is no number passes no such test.
    Compares(Order, Decimal),
}

/// How a number must compare with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Order {
    /// It is greater.
    Above,
    /// It is greater or equal.
    AtLeast,
    /// It is less.
    Below,
    /// It is less or equal.
    AtMost,
}

impl Condition {
    /// Whether it holds for these tags.
    pub(super) fn holds(&self, tags: Option<&BTreeMap<String, String>>) -> bool {
        match self {
            Self::Tag { key, test } => test.passes(tags.and_then(|tags| tags.get(key)).map(String::as_str)),
            Self::All(conditions) => conditions.iter().all(|condition| condition.holds(tags)),
            Self::Any(conditions) => conditions.iter().any(|condition| condition.holds(tags)),
            Self::Not(condition) => !condition.holds(tags),
        }
    }

    /// The same condition in the one form that is kept: texts and conditions in order and each once,
    /// nothing nested that need not be.
    pub(super) fn canonical(self) -> Self {
        match self {
            Self::Tag { key, test: Test::In(mut texts) } => {
                texts.sort_unstable();
                texts.dedup();
                Self::Tag { key, test: Test::In(texts) }
            }
            Self::Tag { .. } => self,
            Self::All(conditions) => join(conditions, Self::All, |condition| match condition {
                Self::All(inner) => Ok(inner),
                other => Err(other),
            }),
            Self::Any(conditions) => join(conditions, Self::Any, |condition| match condition {
                Self::Any(inner) => Ok(inner),
                other => Err(other),
            }),
            Self::Not(condition) => match condition.canonical() {
                Self::Not(inner) => *inner,
                other => Self::Not(Box::new(other)),
            },
        }
    }
}

/// Conditions that are joined by `joint`; those that `unfold` says are joined so themselves, one by one.
fn join(
    conditions: Vec<Condition>,
    joint: fn(Vec<Condition>) -> Condition,
    unfold: fn(Condition) -> Result<Vec<Condition>, Condition>,
) -> Condition {
    let mut flat = Vec::with_capacity(conditions.len());
    for condition in conditions {
        match unfold(condition.canonical()) {
            Ok(inner) => flat.extend(inner),
            Err(other) => flat.push(other),
        }
    }
    flat.sort_unstable();
    flat.dedup();
    if flat.len() == 1 { flat.swap_remove(0) } else { joint(flat) }
}

impl Test {
    /// Whether a tag of this value passes.
    fn passes(&self, value: Option<&str>) -> bool {
        match (self, value) {
            // In order, since it is canonical.
            (Self::In(texts), value) => {
                let value = value.unwrap_or_default();
                texts.binary_search_by(|text| text.as_str().cmp(value)).is_ok()
            }
            (_, None) => false,
            (Self::Exists, Some(_)) => true,
            (Self::StartsWith(text), Some(value)) => value.starts_with(text),
            (Self::EndsWith(text), Some(value)) => value.ends_with(text),
            (Self::Contains(text), Some(value)) => value.contains(text),
            (Self::Compares(order, with), Some(value)) => {
                with.compare(value).is_some_and(|ordering| order.allows(ordering.reverse()))
            }
        }
    }

    /// Whether there is nothing to compare with.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::In(texts) => texts.is_empty(),
            Self::Exists | Self::Compares(..) => false,
            Self::StartsWith(text) | Self::EndsWith(text) | Self::Contains(text) => text.is_empty(),
        }
    }

    /// Bytes of the values compared with; each of several counts for one more, as it takes place.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::In(texts) => texts.iter().map(|text| text.len() + 1).sum(),
            Self::Exists => 0,
            Self::StartsWith(text) | Self::EndsWith(text) | Self::Contains(text) => text.len(),
            Self::Compares(_, number) => number.as_str().len(),
        }
    }
}

impl Order {
    fn allows(self, ordering: Ordering) -> bool {
        match self {
            Self::Above => ordering.is_gt(),
            Self::AtLeast => ordering.is_ge(),
            Self::Below => ordering.is_lt(),
            Self::AtMost => ordering.is_le(),
        }
    }
}
