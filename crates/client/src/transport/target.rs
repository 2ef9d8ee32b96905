use http::Uri;

use crate::BuildError;

/// Where to connect, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) scheme: Scheme,
    /// A name or an address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What the request asks for, with the query.
    pub(crate) path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Ws,
    Wss,
    Quic,
}

impl Target {
    /// # Errors
    /// [`BuildError::Url`]
    pub(crate) fn parse(url: &str) -> Result<Self, BuildError> {
        let wrong = |expected| BuildError::Url { url: url.to_owned(), expected };
        let uri: Uri = url.parse().map_err(|_| wrong(FORM))?;
        let scheme = match uri.scheme_str() {
            Some("ws") => Scheme::Ws,
            Some("wss") => Scheme::Wss,
            Some("quic") => Scheme::Quic,
            Some("http") => return Err(wrong("expected ws:// in place of http://")),
            Some("https") => return Err(wrong("expected wss:// in place of https://")),
            _ => return Err(wrong(FORM)),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(wrong(FORM))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = match (uri.port_u16(), scheme) {
            (Some(port), _) => port,
            (None, Scheme::Ws) => 80,
            (None, Scheme::Wss | Scheme::Quic) => 443,
        };
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("expected no user name or password in it: a token says who the client is"));
        }
        if scheme == Scheme::Quic && uri.path_and_query().is_some_and(|path| path.as_str() != "/") {
            return Err(wrong("expected quic://HOST:PORT without a path or query: QUIC has none"));
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { scheme, host, port, path })
    }

    /// Adds a parameter to the query, unless it has one of that name.
    pub(crate) fn add_query(&mut self, name: &str, value: &str) {
        let (_, query) = self.path.split_once('?').unwrap_or_default();
        if query.split('&').any(|pair| pair.split('=').next() == Some(name)) {
            return;
        }
        let separator = match self.path.split_once('?') {
            None => "?",
            Some((_, "")) => "",
            Some(_) => "&",
        };
        self.path = format!("{}{separator}{name}={value}", self.path);
    }

    /// The host and port, as in a URL.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

const FORM: &str = "expected ws://HOST:PORT/PATH, wss://HOST:PORT/PATH or quic://HOST:PORT";

#[cfg(test)]
mod tests {
    use super::*;

    /// A URL names this authority and path, or what is expected instead.
    #[track_caller]
    fn check(url: &str, expected: &str) {
        let found = match Target::parse(url) {
            Ok(target) => format!("{:?} {} {}", target.scheme, target.authority(), target.path),
            Err(BuildError::Url { expected, .. }) => expected.to_owned(),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn urls_name_servers() {
        check("ws://localhost:8000/connection/websocket", "Ws localhost:8000 /connection/websocket");
        check("wss://example.com", "Wss example.com:443 /");
        check("ws://[::1]:8000/a?b=c", "Ws [::1]:8000 /a?b=c");
        check("quic://[::1]:4433", "Quic [::1]:4433 /");
        check("quic://h:1/a", "expected quic://HOST:PORT without a path or query: QUIC has none");
        check("http://localhost:8000", "expected ws:// in place of http://");
        check("localhost:8000", FORM);
        check("tcp://localhost:8000", FORM);
        check("", FORM);
    }

    #[test]
    fn a_parameter_is_added_once() {
        let check = |path: &str, expected: &str| {
            let mut target = Target::parse(&format!("ws://h{path}")).unwrap();
            target.add_query("n", "true");
            assert_eq!(target.path, expected);
        };
        check("/a", "/a?n=true");
        check("/a?", "/a?n=true");
        check("/a?b=1", "/a?b=1&n=true");
        check("/a?n=false", "/a?n=false");
    }
}
