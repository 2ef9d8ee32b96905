use super::*;

fn check(patterns: &str, allowed: &[&str], refused: &[&str]) {
    let patterns: Vec<String> = patterns.split_whitespace().map(str::to_owned).collect();
    let origins = Origins::parse(&patterns).expect("the patterns are good");
    assert!(origins.allow(None), "no origin, {patterns:?}");
    for origin in allowed {
        assert!(origins.allow(Some(origin)), "{origin:?} must pass {patterns:?}");
    }
    for origin in refused {
        assert!(!origins.allow(Some(origin)), "{origin:?} must not pass {patterns:?}");
    }
}

#[test]
fn origins_are_matched_whole() {
    check("", &[], &["https://example.com", "null", "", "*"]);
    check("*", &["https://example.com", "null", "", "anything at all"], &[]);
    check(
        "https://example.com",
        &["https://example.com", "HTTPS://Example.COM"],
        &[
            "http://example.com",
            "https://example.com.evil.com",
            "https://example.com:8443",
            "https://evil-example.com",
            "https://example.com/",
            "https://a.example.com",
            "null",
            "",
        ],
    );
    check(
        "https://*.Example.com",
        &["https://a.example.com", "https://a.b.example.com", "https://A.EXAMPLE.COM"],
        &[
            "https://example.com",
            "https://evilexample.com",
            "https://a.example.com.evil.com",
            "https://evil.com/.example.com",
            "https://evil.com?x.example.com",
            "https://evil.com#.example.com",
            "https://evil.com\\.example.com",
            "https://user@.example.com",
            "https://evil.com,https://a.example.com",
            "http://a.example.com",
        ],
    );
    check(
        "http://localhost:* http://[::1]:* *://*.test",
        &["http://localhost:3000", "http://[::1]:80", "https://a.test", "ws+x://b.test"],
        &["http://localhost", "http://localhost.evil.com", "a.test"],
    );
    check("null https://a", &["null", "NULL", "https://a"], &["https://null", "http://a"]);
    check("n*l", &[], &["null"]);
}

#[test]
fn a_star_backtracks_without_end() {
    let pattern = format!("https://{}b", "*a".repeat(50));
    check(&pattern, &[], &[&format!("https://{}", "a".repeat(4000))]);
}

#[test]
fn bad_patterns_are_named() {
    for pattern in ["", "https://{a,b}.example.com", "https://a b", "https://?.example.com", "a\\b"] {
        let error = Origins::parse(&["*".to_owned(), pattern.to_owned()]).expect_err(pattern);
        assert!(error.to_string().contains(&format!("{pattern:?}")), "{error}");
    }
}
