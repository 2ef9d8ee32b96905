use axum::body::Body;
use axum::http::{Request, StatusCode};
use tower::ServiceExt;

use super::*;

#[tokio::test]
async fn every_file_of_the_page_tells_browsers_what_to_refuse() {
    for path in paths("/demo") {
        let request = Request::get(&path).body(Body::empty()).expect("a request");
        let response = routes("/demo").oneshot(request).await.expect("a response");
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let header = |name: &str| {
            let values: Vec<_> = response.headers().get_all(name).iter().collect();
            assert_eq!(values.len(), 1, "{path}: {name}");
            values[0].to_str().expect("text").to_owned()
        };
        let policy = header("content-security-policy");
        for directive in
            ["default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", "base-uri 'none'"]
        {
            assert!(policy.contains(directive), "{path}: {directive} in {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("cross-origin-opener-policy"), "same-origin");
        assert_eq!(header("cross-origin-resource-policy"), "same-origin");
        assert_eq!(header("cache-control"), "no-cache");
        assert!(header("permissions-policy").contains("camera=()"));
    }
}
