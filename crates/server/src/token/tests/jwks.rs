use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::signature::Ed25519KeyPair;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A server of one answer, and how often it was asked.
pub(super) async fn serve(answer: String) -> (String, Arc<AtomicUsize>) {
    serve_what_changes(Arc::new(Mutex::new(answer))).await
}

/// A server of the answer of the moment, and how often it was asked.
async fn serve_what_changes(answer: Arc<Mutex<String>>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let mut request = [0; 1024];
            let length = socket.read(&mut request).await.unwrap_or_default();
            let path = b"GET /keys";
            assert!(request[..length].starts_with(path), "a key id is no path");
            let answer = answer.lock().expect("no panic while locked").clone();
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    (url, asked)
}

pub(super) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn pair() -> (EncodingKey, String) {
    let pair = Ed25519KeyPair::generate().expect("a key");
    let private = EncodingKey::from_ed_der(pair.to_pkcs8v1().expect("DER").as_ref());
    (private, URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()))
}

async fn outcome(verifier: &Verifier, header: Value, key: (Algorithm, &EncodingKey)) -> String {
    let token = token(&header, &json!({"sub": "ann"}), Some(key));
    said(verifier.connect(&token, NOW).await, |token| token.user)
}

#[tokio::test]
async fn keys_are_fetched_once_and_chosen_by_id() {
    let ((private, public), (other, _)) = (pair(), pair());
    let set = json!({"keys": [
        {"kty": "unknown"},
        {"kty": "oct", "kid": "shared", "k": URL_SAFE_NO_PAD.encode("everyone knows")},
        {"kty": "OKP", "kid": "a", "crv": "Ed25519", "x": public, "use": "sig", "alg": "EdDSA"},
        {"kty": "OKP", "kid": "b", "crv": "Ed25519", "x": public, "use": "enc"},
        {"kty": "OKP", "kid": "c", "crv": "Ed25519", "x": public, "alg": "RS256"},
    ]});
    let (url, asked) = serve(ok(&set.to_string())).await;
    let verifier = verifier(|config| config.jwks_public_endpoint = url);
    let (ed, secret) = (Algorithm::EdDSA, EncodingKey::from_secret(b"everyone knows"));
    let head = |id: &str| json!({"alg": "EdDSA", "kid": id});
    for (header, key, expected) in [
        (head("a"), (ed, &private), "ann"),
        (head("a"), (ed, &other), "invalid"),
        (head("b"), (ed, &private), "invalid"),
        (head("c"), (ed, &private), "invalid"),
        (head("../a"), (ed, &private), "invalid"),
        (head(""), (ed, &private), "invalid"),
        (json!({"alg": "EdDSA"}), (ed, &private), "invalid"),
        (json!({"alg": "HS256", "kid": "a"}), (Algorithm::HS256, &secret), "invalid"),
        (json!({"alg": "HS256", "kid": "shared"}), (Algorithm::HS256, &secret), "invalid"),
        (head("a"), (ed, &private), "ann"),
    ] {
        assert_eq!(outcome(&verifier, header.clone(), key).await, expected, "{header}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1, "made-up ids do not make us ask again");
    // Keys of the configuration do not count beside a set.
    let configured = EncodingKey::from_secret(SECRET.as_bytes());
    let header = json!({"alg": "HS256", "kid": "a"});
    assert_eq!(outcome(&verifier, header, (Algorithm::HS256, &configured)).await, "invalid");
}

#[tokio::test]
async fn a_set_that_cannot_be_fetched_condemns_nobody() {
    let redirect =
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_owned();
    for answer in [
        String::new(),
        "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
        redirect,
        ok("no set"),
        ok(&" ".repeat(300 << 10)),
    ] {
        let (url, asked) = serve(answer).await;
        let verifier = verifier(|config| config.jwks_public_endpoint = url);
        let (private, _) = pair();
        for _ in 0..3 {
            let header = json!({"alg": "EdDSA", "kid": "a"});
            assert_eq!(outcome(&verifier, header, (Algorithm::EdDSA, &private)).await, "unavailable");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1, "failures are remembered");
    }
}

fn set(id: &str, public: &str) -> String {
    ok(&json!({"keys": [{"kty": "OKP", "kid": id, "crv": "Ed25519", "x": public}]}).to_string())
}

/// Lets so much time pass for those who look at the clock; sockets go on in real time.
async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn keys_rotate_and_outlive_their_issuer() {
    let ((old, old_public), (new, new_public)) = (pair(), pair());
    let answer = Arc::new(Mutex::new(set("old", &old_public)));
    let (url, asked) = serve_what_changes(answer.clone()).await;
    let verifier = verifier(|config| config.jwks_public_endpoint = url);
    let signed = async |id: &str, key: &EncodingKey| {
        outcome(&verifier, json!({"alg": "EdDSA", "kid": id}), (Algorithm::EdDSA, key)).await
    };
    assert_eq!(signed("old", &old).await, "ann");
    *answer.lock().unwrap() = set("new", &new_public);
    // Asked for again at once, but not more often than every five seconds, whatever ids come.
    assert_eq!(signed("new", &new).await, "invalid");
    pass(5).await;
    assert_eq!(signed("new", &new).await, "ann");
    assert_eq!(signed("old", &old).await, "invalid", "it has been withdrawn");
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    *answer.lock().unwrap() = String::new();
    pass(3601).await;
    assert_eq!(signed("new", &new).await, "ann", "the issuer is out, its keys are not");
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    pass(24 * 3600).await;
    assert_eq!(signed("new", &new).await, "unavailable");
}

#[tokio::test]
async fn a_token_names_its_issuer_out_of_a_list() {
    let ((key, public), (other, other_public)) = (pair(), pair());
    let (url, asked) = serve(set("k", &public)).await;
    let (_, other_asked) = serve(set("k", &other_public)).await;
    let verifier = verifier(|config| {
        config.jwks_public_endpoint = format!("{url}/{{{{ who }}}}");
        config.issuer_regex = "^https://(?P<who>acme|globex)\\.example$".to_owned();
    });
    for (issuer, key, expected) in [
        ("https://acme.example", &key, "ann"),
        ("https://globex.example", &key, "ann"),
        ("https://acme.example", &other, "invalid"),
        ("https://initech.example", &key, "invalid"),
        ("https://acme.example/..", &key, "invalid"),
        ("", &key, "invalid"),
    ] {
        let header = json!({"alg": "EdDSA", "kid": "k"});
        let token = token(&header, &json!({"sub": "ann", "iss": issuer}), Some((Algorithm::EdDSA, key)));
        assert_eq!(said(verifier.connect(&token, NOW).await, |token| token.user), expected, "{issuer}");
    }
    assert_eq!((asked.load(Ordering::Relaxed), other_asked.load(Ordering::Relaxed)), (2, 0), "once each");
}

#[tokio::test]
async fn a_token_that_names_its_issuer_freely_stays_within_its_place() {
    let (key, public) = pair();
    let (url, asked) = serve(set("k", &public)).await;
    let verifier = verifier(|config| {
        config.jwks_public_endpoint = format!("{url}/{{{{who}}}}");
        config.issuer_regex = "^(?P<who>.*)$".to_owned();
        config.insecure_skip_jwks_endpoint_safety_check = true;
    });
    for (issuer, expected) in [
        ("anybody", "ann"),
        ("..", "invalid"),
        ("a/b", "invalid"),
        ("a?b", "invalid"),
        ("a%2fb", "invalid"),
        ("@b", "invalid"),
    ] {
        let header = json!({"alg": "EdDSA", "kid": "k"});
        let token = token(&header, &json!({"sub": "ann", "iss": issuer}), Some((Algorithm::EdDSA, &key)));
        assert_eq!(said(verifier.connect(&token, NOW).await, |token| token.user), expected, "{issuer}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}
