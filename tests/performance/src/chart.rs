//! Charts as SVG: text and a few shapes, with colours that go with light and dark pages.

use std::fmt::Write as _;

/// Values by name, as horizontal bars.
#[derive(Debug)]
pub(crate) struct Bars<'a> {
    pub(crate) title: &'a str,
    /// Groups of bars: name, and a value for each series that has one.
    pub(crate) groups: Vec<(String, Vec<Option<f64>>)>,
    pub(crate) series: Vec<String>,
}

/// Values over a number that grows by factors, as lines. Both axes are logarithmic.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    pub(crate) title: &'a str,
    pub(crate) across: &'a str,
    /// Where on the axis the points stand.
    pub(crate) at: Vec<f64>,
    /// Name, and a value for each point that has one.
    pub(crate) series: Vec<(String, Vec<Option<f64>>)>,
}

impl Bars<'_> {
    pub(crate) fn svg(&self) -> String {
        let mut body = String::new();
        let (left, right) = (30.0, WIDTH - 90.0);
        let mut y = HEAD;
        for (name, values) in &self.groups {
            text(&mut body, left, y + 14.0, "", name);
            y += 22.0;
            // Each group has a scale of its own: what is compared stands next to each other.
            let most = values.iter().flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
            for (series, value) in values.iter().enumerate() {
                let Some(value) = *value else { continue };
                let width = ((right - left) * value.max(0.0) / most).max(1.0);
                let _ = writeln!(
                    body,
                    r#"<rect class="s{}" x="{left}" y="{y}" width="{width:.1}" height="14" rx="2"/>"#,
                    series % COLOURS.len()
                );
                text(&mut body, left + width + 6.0, y + 11.5, "small", &short(value));
                y += 18.0;
            }
            y += 10.0;
        }
        y += legend(&mut body, self.series.iter(), y);
        page(self.title, y, &body)
    }
}

impl Lines<'_> {
    pub(crate) fn svg(&self) -> String {
        let mut body = String::new();
        let (left, right, top, bottom) = (60.0, WIDTH - 30.0, HEAD + 10.0, HEAD + 310.0);
        let values = || self.series.iter().flat_map(|(_, values)| values.iter().flatten().copied());
        // From one power of ten to another.
        let low = values().reduce(f64::min).unwrap_or(1.0).max(1e-3).log10().floor();
        let high = values().reduce(f64::max).unwrap_or(1.0).max(1e-3).log10().ceil().max(low + 1.0);
        let y_of = |value: f64| bottom - (value.max(1e-3).log10() - low) / (high - low) * (bottom - top);
        let (first, last) =
            (self.at.first().copied().unwrap_or(1.0), self.at.last().copied().unwrap_or(10.0));
        let span = (last / first).ln().max(f64::MIN_POSITIVE);
        let x_of = |at: f64| left + 20.0 + (at / first).ln() / span * (right - left - 40.0);
        for power in low as i32..=high as i32 {
            for step in if power < high as i32 { &[1.0, 2.0, 5.0][..] } else { &[1.0] } {
                let value = step * 10f64.powi(power);
                let y = y_of(value);
                let _ = writeln!(
                    body,
                    r#"<line class="grid" x1="{left}" x2="{right}" y1="{y:.1}" y2="{y:.1}"/>"#
                );
                text(&mut body, left - 8.0, y + 4.0, "small end", &short(value));
            }
        }
        for &at in &self.at {
            text(&mut body, x_of(at), bottom + 20.0, "small middle", &short(at));
        }
        text(&mut body, (left + right) / 2.0, bottom + 42.0, "middle", self.across);
        for (series, (_, values)) in self.series.iter().enumerate() {
            let colour = series % COLOURS.len();
            let points: Vec<(f64, f64)> = self
                .at
                .iter()
                .zip(values)
                .filter_map(|(&at, value)| value.map(|value| (x_of(at), y_of(value))))
                .collect();
            let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let _ = writeln!(body, r#"<polyline class="l{colour}" points="{}"/>"#, path.join(" "));
            for (x, y) in points {
                let _ = writeln!(body, r#"<circle class="s{colour}" cx="{x:.1}" cy="{y:.1}" r="3.5"/>"#);
            }
        }
        let end = bottom + 56.0;
        let end = end + legend(&mut body, self.series.iter().map(|(name, _)| name), end);
        page(self.title, end, &body)
    }
}

/// Names beside their colours; returns its height.
fn legend<'a>(body: &mut String, names: impl Iterator<Item = &'a String>, y: f64) -> f64 {
    let mut rows = 0.0;
    for (n, name) in names.enumerate() {
        let (x, y) = (30.0 + 230.0 * (n % 3) as f64, y + 20.0 * (n / 3) as f64);
        let _ = writeln!(
            body,
            r#"<rect class="s{}" x="{x}" y="{y:.1}" width="12" height="12" rx="2"/>"#,
            n % COLOURS.len()
        );
        text(body, x + 18.0, y + 10.5, "small", name);
        rows = (n / 3 + 1) as f64;
    }
    20.0 * rows + 10.0
}

fn text(body: &mut String, x: f64, y: f64, class: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(body, r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{text}</text>"#);
}

fn page(title: &str, height: f64, body: &str) -> String {
    let mut style = String::from(
        "text{font:14px system-ui,sans-serif;fill:#24292f}.title{font-size:16px;font-weight:600}\
         .small{font-size:12px}.end{text-anchor:end}.middle{text-anchor:middle}\
         .grid{stroke:#8c959f;stroke-opacity:.3}polyline{fill:none;stroke-width:2}",
    );
    for (n, colour) in COLOURS.iter().enumerate() {
        let _ = write!(style, ".s{n}{{fill:{colour}}}.l{n}{{stroke:{colour}}}");
    }
    style.push_str("@media(prefers-color-scheme:dark){text{fill:#e6edf3}}");
    let mut heading = String::new();
    text(&mut heading, 30.0, 28.0, "title", title);
    let (label, height) = (title.replace('"', "'"), height.ceil());
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-label=\"{label}\">\n<style>{style}</style>\n{heading}{body}</svg>\n"
    )
}

/// Three digits that count.
pub(crate) fn short(value: f64) -> String {
    let text = match value.abs() {
        1e3.. => return format!("{value:.0}"),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    };
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

const WIDTH: f64 = 760.0;
/// Room for the title.
const HEAD: f64 = 44.0;
/// Okabe and Ito's, which the colour-blind can tell apart, without black and yellow, which vanish on some pages.
const COLOURS: [&str; 6] = ["#0072b2", "#56b4e9", "#d55e00", "#009e73", "#cc79a7", "#e69f00"];

#[cfg(test)]
mod tests {
    use super::{Bars, Lines, short};

    /// Every element that is opened is closed, and no number is none.
    #[track_caller]
    fn check(svg: &str, contains: &[&str]) {
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        for part in contains {
            assert!(svg.contains(part), "{part} in {svg}");
        }
    }

    #[test]
    fn charts_are_drawn() {
        let bars = Bars {
            title: "CPU",
            groups: vec![("a & b".into(), vec![Some(2.0), None, Some(4.0)]), ("none".into(), vec![None; 3])],
            series: vec!["one".into(), "two".into(), "three".into()],
        };
        check(&bars.svg(), &["a &amp; b", r#"width="320.0""#, r#"width="640.0""#, ">4</text>"]);
        let lines = Lines {
            title: "CPU",
            across: "in flight",
            at: vec![1.0, 10.0, 100.0],
            series: vec![("one".into(), vec![Some(8.0), None, Some(0.5)]), ("two".into(), vec![None; 3])],
        };
        check(&lines.svg(), &["<polyline", "in flight", r#"class="l0""#]);
    }

    #[test]
    fn nothing_measured_is_an_empty_chart() {
        check(&Bars { title: "", groups: vec![], series: vec![] }.svg(), &[]);
        check(&Lines { title: "", across: "", at: vec![], series: vec![] }.svg(), &[]);
        check(
            &Lines { title: "", across: "", at: vec![1.0], series: vec![("a".into(), vec![Some(0.0)])] }
                .svg(),
            &[],
        );
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.3217, "0.322"),
            (0.5, "0.5"),
            (3.0, "3"),
            (12.34, "12.3"),
            (200.0, "200"),
            (1304.4, "1304"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
