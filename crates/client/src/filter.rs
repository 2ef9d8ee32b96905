use std::ops::Not;

use tidegate_protocol::message::FilterNode;

/// Which publications of a channel are wanted, by their tags. The server judges; the channel's namespace must
/// have `allow_tags_filter`.
///
/// ```
/// use tidegate_client::Filter;
///
/// // Trades of two symbols, of at least 1000.
/// let filter = Filter::any_of("symbol", ["ACME", "INIT"]).and(Filter::at_least("volume", "1000"));
/// # let _ = filter;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(FilterNode);

impl Filter {
    /// The tag has this value.
    pub fn equals(tag: impl Into<String>, value: impl Into<String>) -> Self {
        Self::compare("eq", tag, value)
    }

    /// The tag has one of these values.
    pub fn any_of<V: Into<String>>(tag: impl Into<String>, values: impl IntoIterator<Item = V>) -> Self {
        let vals = values.into_iter().map(V::into).collect();
        Self(FilterNode { key: tag.into(), cmp: "in".to_owned(), vals, ..Default::default() })
    }

    /// There is such a tag.
    pub fn exists(tag: impl Into<String>) -> Self {
        Self(FilterNode { key: tag.into(), cmp: "ex".to_owned(), ..Default::default() })
    }

    /// The tag's value begins with this.
    pub fn starts_with(tag: impl Into<String>, value: impl Into<String>) -> Self {
        Self::compare("sw", tag, value)
    }

    /// The tag's value ends with this.
    pub fn ends_with(tag: impl Into<String>, value: impl Into<String>) -> Self {
        Self::compare("ew", tag, value)
    }

    /// The tag's value has this in it.
    pub fn contains(tag: impl Into<String>, value: impl Into<String>) -> Self {
        Self::compare("ct", tag, value)
    }

    /// The tag is a number above this decimal one.
    pub fn above(tag: impl Into<String>, value: impl Into<String>) -> Self {
        Self::compare("gt", tag, value)
    }

    /// The tag is a number of at least this decimal one.
    pub fn at_least(tag: impl Into<String>, value: impl Into<String>) -> Self {
        Self::compare("gte", tag, value)
    }

    /// The tag is a number below this decimal one.
    pub fn below(tag: impl Into<String>, value: impl Into<String>) -> Self {
        Self::compare("lt", tag, value)
    }

    /// The tag is a number of at most this decimal one.
    pub fn at_most(tag: impl Into<String>, value: impl Into<String>) -> Self {
        Self::compare("lte", tag, value)
    }

    /// Both.
    pub fn and(self, other: Self) -> Self {
        self.join("and", other)
    }

    /// One of the two, or both.
    pub fn or(self, other: Self) -> Self {
        self.join("or", other)
    }

    pub(crate) fn into_node(self) -> FilterNode {
        self.0
    }

    fn compare(cmp: &str, tag: impl Into<String>, value: impl Into<String>) -> Self {
        Self(FilterNode { key: tag.into(), cmp: cmp.to_owned(), val: value.into(), ..Default::default() })
    }

    fn join(self, op: &str, other: Self) -> Self {
        if self.0.op == op {
            let mut joined = self.0;
            joined.nodes.push(other.0);
            return Self(joined);
        }
        Self(FilterNode { op: op.to_owned(), nodes: vec![self.0, other.0], ..Default::default() })
    }
}

impl Not for Filter {
    type Output = Self;

    /// What the filter does not match.
    fn not(self) -> Self {
        Self(FilterNode { op: "not".to_owned(), nodes: vec![self.0], ..Default::default() })
    }
}
