use super::*;

/// A request with these headers, at a server that allows these origins: the headers that its response has
/// besides, or the status that refuses it.
#[track_caller]
fn check(origins: &[&str], request: &[(&'static str, &'static str)], expected: &str) {
    let origins: Vec<String> = origins.iter().map(|origin| (*origin).to_owned()).collect();
    let origins = Origins::parse(&origins).expect("patterns");
    let mut headers = HeaderMap::new();
    for (name, value) in request {
        headers.append(*name, HeaderValue::from_static(value));
    }
    let found = match judge(&origins, &headers) {
        Ok(allowed) => {
            let mut response = StatusCode::OK.into_response();
            allowed.mark(&mut response);
            show(&response)
        }
        Err(refused) => refused.into_response().status().as_u16().to_string(),
    };
    assert_eq!(found, expected, "{request:?}");
}

fn show(response: &Response) -> String {
    let names = response.headers().iter().map(|(name, value)| {
        let name = name.as_str().trim_start_matches("access-control-");
        format!("{name}: {}", value.to_str().expect("text"))
    });
    let mut names: Vec<_> = names.filter(|line| !line.starts_with("content-")).collect();
    names.sort();
    names.join(", ")
}

const A: (&str, &str) = ("origin", "https://a.example");
const FOREIGN: (&str, &str) = ("origin", "https://b.example");

#[test]
fn pages_of_the_list_may_read() {
    let one = ["https://a.example"];
    check(&one, &[], "vary: origin");
    check(&one, &[A], "allow-credentials: true, allow-origin: https://a.example, vary: origin");
    for foreign in ["https://b.example", "https://a.example.b.example", "null", "https://a.example/"] {
        check(&one, &[("origin", foreign)], "403");
    }
    check(&one, &[A, FOREIGN], "403");
    check(&[], &[A], "403");
    check(&[], &[], "vary: origin");
}

#[test]
fn where_every_page_may_none_has_what_is_kept_for_its_user() {
    check(&["*"], &[FOREIGN], "allow-origin: *, vary: origin");
    check(&["*", "https://a.example"], &[A], "allow-origin: *, vary: origin");
}

#[test]
fn a_browser_that_asks_first_is_told_what_it_may_send() {
    let origins = Origins::parse(&["https://a.example".to_owned()]).expect("a pattern");
    let preflight = |request: &[(&'static str, &'static str)]| {
        let headers = request.iter().map(|(name, value)| {
            (name.parse::<header::HeaderName>().expect("a name"), HeaderValue::from_static(value))
        });
        let headers = headers.collect::<HeaderMap>();
        let response = judge(&origins, &headers).expect("allowed").preflight("POST, OPTIONS", &headers);
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        show(&response)
    };
    let asked =
        [A, ("access-control-request-method", "POST"), ("access-control-request-headers", "content-type")];
    assert_eq!(
        preflight(&asked),
        "allow-credentials: true, allow-headers: content-type, allow-methods: POST, OPTIONS, \
         allow-origin: https://a.example, allow: POST, OPTIONS, max-age: 600, vary: origin"
    );
    assert_eq!(preflight(&[]), "allow: POST, OPTIONS, vary: origin");
}
