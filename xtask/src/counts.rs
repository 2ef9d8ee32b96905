//! How many tests passed and failed, read from what the runners print.

use std::ops::AddAssign;

/// The totals of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
}

impl Counts {
    /// Node's `spec` reporter: `ℹ pass 12`, `ℹ fail 0`, `ℹ cancelled 0`.
    pub(crate) fn of_node(output: &str) -> Self {
        let mut counts = Self::default();
        for line in output.lines() {
            match line.strip_prefix("ℹ ").and_then(|line| line.split_once(' ')) {
                Some(("pass", n)) => counts.passed += number(n),
                Some(("fail" | "cancelled", n)) => counts.failed += number(n),
                _ => {}
            }
        }
        counts
    }

    /// Pytest's last line: `1 failed, 12 passed, 1 error in 3.04s`, framed by `=` or not.
    pub(crate) fn of_pytest(output: &str) -> Self {
        let mut counts = Self::default();
        // Warnings may follow, so the last line that tells a duration.
        let duration = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        let last =
            output.lines().rev().find(|line| line.rsplit_once(" in ").is_some_and(|(_, end)| duration(end)));
        let words: Vec<&str> = last.unwrap_or_default().split([' ', ',']).filter(|w| !w.is_empty()).collect();
        for pair in words.windows(2) {
            match pair[1] {
                "passed" => counts.passed += number(pair[0]),
                "failed" | "error" | "errors" => counts.failed += number(pair[0]),
                _ => {}
            }
        }
        counts
    }

    /// Cargo's lines, one for each test binary: `test result: ok. 3 passed; 0 failed; …`.
    pub(crate) fn of_cargo(output: &str) -> Self {
        let mut counts = Self::default();
        for line in output.lines().filter(|line| line.starts_with("test result: ")) {
            for part in line.split(['.', ';']) {
                match part.trim().split_once(' ') {
                    Some((n, "passed")) => counts.passed += number(n),
                    Some((n, "failed")) => counts.failed += number(n),
                    _ => {}
                }
            }
        }
        counts
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

fn number(text: &str) -> u32 {
    text.trim().parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[track_caller]
    fn check(count: fn(&str) -> Counts, output: &str, passed: u32, failed: u32) {
        assert_eq!(count(output), Counts { passed, failed }, "{output}");
    }

    #[test]
    fn node() {
        check(
            Counts::of_node,
            "✔ a (1ms)\nℹ tests 4\nℹ pass 2\nℹ fail 1\nℹ cancelled 1\nℹ skipped 0\n",
            2,
            2,
        );
        check(Counts::of_node, "SyntaxError", 0, 0);
    }

    #[test]
    fn pytest() {
        check(Counts::of_pytest, "..F\n=== 1 failed, 12 passed, 2 errors in 3.04s ===\n", 12, 3);
        check(Counts::of_pytest, "5 passed, 1 skipped in 0.10s\n", 5, 0);
        check(Counts::of_pytest, "no tests ran in 0.01s\n", 0, 0);
        check(Counts::of_pytest, "1 error in 0.01s\n", 0, 1);
    }

    #[test]
    fn cargo() {
        let two = "test result: ok. 3 passed; 0 failed; 0 ignored; finished in 0.1s\n\
                   test result: FAILED. 1 passed; 2 failed; 0 ignored; finished in 0.1s\n";
        check(Counts::of_cargo, two, 4, 2);
    }
}
