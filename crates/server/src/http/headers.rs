use axum::http::{HeaderName, header};

/// What every page and script says to browsers: everything comes from this server, nobody shows it in a
/// frame, opens it and keeps hold of it, or learns where its reader came from, and it needs no device.
/// No script stands in a page's text, so none is allowed there.
pub const PAGE: [(HeaderName, &str); 8] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    // Asked for anew each time: another version may be served tomorrow under the same name.
    (header::CACHE_CONTROL, "no-cache"),
];
