//! What `/metrics` says.

use std::collections::BTreeMap;

/// The value of each series: its name with its labels.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    pub(crate) fn parse(text: &str) -> Self {
        let series = text.lines().filter(|line| !line.starts_with('#'));
        Self(
            series
                .filter_map(|line| {
                    let (name, value) = line.rsplit_once(' ')?;
                    Some((name.to_owned(), value.parse().ok()?))
                })
                .collect(),
        )
    }

    /// The value of `series`, such as `tidegate_closes_total{code="3008"}`; 0 where there is none.
    pub(crate) fn get(&self, series: &str) -> u64 {
        self.0.get(series).map_or(0, |value| *value as u64)
    }

    /// Connections that were closed with `code`.
    pub(crate) fn closes(&self, code: u16) -> u64 {
        self.get(&format!("tidegate_closes_total{{code=\"{code}\"}}"))
    }

    /// The sum over all labels.
    pub(crate) fn sum(&self, name: &str) -> u64 {
        let ours = |series: &str| series.split('{').next() == Some(name);
        self.0.iter().filter(|(series, _)| ours(series)).map(|(_, value)| *value as u64).sum()
    }

    /// How many series there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The gauges that must come back to what they were.
    pub(crate) fn gauges(&self) -> BTreeMap<&'static str, u64> {
        GAUGES.into_iter().map(|name| (name, self.sum(name))).collect()
    }
}

/// Those that healthy clients hold still.
const GAUGES: [&str; 4] =
    ["tidegate_connections", "tidegate_subscriptions", "tidegate_channels", "tidegate_users"];
