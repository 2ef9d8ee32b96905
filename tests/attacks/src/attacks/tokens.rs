//! Forged tokens, and tokens that must not be seen again.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::Failure;
use crate::attack::{Attack, Field};
use crate::http::{API_KEY, Http};
use crate::server::Launch;
use crate::socket::{End, Frame, Socket};

/// What a client is answered to this connect token.
async fn answer(field: &Field, token: &str) -> Result<String, Failure> {
    let mut socket = Socket::open(field.address).await?;
    let connect = json!({ "id": 1, "connect": { "token": token } });
    socket.text(&connect.to_string()).await?;
    Ok(match socket.next().await {
        Ok(Frame::Text(reply)) => {
            let reply: Value = serde_json::from_slice(&reply)?;
            match reply.pointer("/error/code") {
                Some(code) => format!("error {code}"),
                None => "let in".to_owned(),
            }
        }
        Ok(Frame::Close(code, _)) => format!("close {code}"),
        other => format!("{other:?}"),
    })
}

async fn check(field: &Field, what: &str, token: &str, expected: &str) -> Result<(), Failure> {
    let seen = answer(field, token).await?;
    field.same(what, expected, seen.as_str());
    Ok(())
}

fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

/// A token that is signed with HMAC-SHA-256, whatever its header says.
fn signed(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn hs256() -> Value {
    json!({ "alg": "HS256", "typ": "JWT" })
}

/// Seconds since 1970.
fn now() -> Result<u64, Failure> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs())
}

/// A public RSA key as PEM: everybody may have it.
fn public_key() -> Result<String, Failure> {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048)?;
    let der: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
    let lines = STANDARD.encode(der.as_ref());
    Ok(format!("-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n"))
}

/// Tokens that were not signed by who may.
pub(crate) struct Forged;

#[async_trait]
impl Attack for Forged {
    fn name(&self) -> &'static str {
        "jwt-forged"
    }

    fn about(&self) -> &'static str {
        "`none`, HMAC with the public RSA key, `kid` with a path, keys brought along, odd times and shapes"
    }

    fn prepare(&self, launch: &mut Launch) {
        launch.set("client.token.hmac_secret_key", SECRET);
        if let Ok(key) = public_key() {
            launch.set("client.token.rsa_public_key", key);
        }
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let claims = json!({ "sub": "mallory" });
        let secret = SECRET.as_bytes();
        check(field, "a sound token", &signed(&hs256(), &claims, secret), "let in").await?;
        let refused = "close 3500";
        for none in ["none", "None", "NONE", "nOnE", ""] {
            let token = format!("{}.{}.", part(&json!({ "alg": none })), part(&claims));
            check(field, &format!("alg {none:?}"), &token, refused).await?;
            let signed = signed(&json!({ "alg": none }), &claims, secret);
            check(field, &format!("alg {none:?}, signed"), &signed, refused).await?;
        }
        // The file was read by the server: what it has is what everybody has.
        let config: Value = serde_json::from_slice(&std::fs::read(
            field.server.lock().await.folder().join("tidegate.json"),
        )?)?;
        let pem = config.pointer("/client/token/rsa_public_key").and_then(Value::as_str);
        let pem = pem.ok_or("no RSA key in the configuration")?;
        let der = STANDARD.decode(pem.lines().nth(1).unwrap_or_default())?;
        check(field, "HS256 with the RSA key's PEM", &signed(&hs256(), &claims, pem.as_bytes()), refused)
            .await?;
        let trimmed = signed(&hs256(), &claims, pem.trim().as_bytes());
        check(field, "HS256 with the trimmed PEM", &trimmed, refused).await?;
        check(field, "HS256 with the RSA key's DER", &signed(&hs256(), &claims, &der), refused).await?;
        check(field, "HS256 with no key", &signed(&hs256(), &claims, b""), refused).await?;
        check(
            field,
            "RS256, signed with HMAC",
            &signed(&json!({ "alg": "RS256" }), &claims, pem.as_bytes()),
            refused,
        )
        .await?;
        for kid in ["../../../../dev/null", "/dev/null", "' UNION SELECT 'x", "|id", "%2e%2e%2f"] {
            let token = signed(&json!({ "alg": "HS256", "kid": kid }), &claims, b"");
            check(field, &format!("kid {kid}"), &token, refused).await?;
        }
        let own =
            json!({ "alg": "HS256", "jwk": { "kty": "oct", "k": "" }, "jku": "http://127.0.0.1:1/keys" });
        check(field, "a key that the token brings", &signed(&own, &claims, b""), refused).await?;
        let critical = json!({ "alg": "HS256", "crit": ["exp"] });
        check(field, "critical extensions", &signed(&critical, &claims, secret), refused).await?;
        let later = (now()? + 3600).to_string();
        for (what, exp) in [
            ("exp as a string", json!(later)),
            ("exp that is null is none", Value::Null),
            ("exp as a list", json!([1])),
            ("exp as an object", json!({})),
            ("exp true", json!(true)),
        ] {
            let expected = if exp.is_null() { "let in" } else { refused };
            check(field, what, &signed(&hs256(), &json!({ "sub": "m", "exp": exp }), secret), expected)
                .await?;
        }
        let past = json!({ "sub": "m", "exp": 1 });
        check(field, "exp long ago", &signed(&hs256(), &past, secret), "error 109").await?;
        let negative = json!({ "sub": "m", "exp": -1 });
        check(field, "exp before 1970", &signed(&hs256(), &negative, secret), "error 109").await?;
        let future = json!({ "sub": "m", "nbf": now()? + 3600 });
        check(field, "not yet valid", &signed(&hs256(), &future, secret), "error 109").await?;
        let raw = |claims: &str| {
            let message = format!("{}.{}", part(&hs256()), URL_SAFE_NO_PAD.encode(claims));
            let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
            format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
        };
        check(field, "exp 1e999", &raw(r#"{"sub":"m","exp":1e999}"#), refused).await?;
        check(field, "two subs", &raw(r#"{"sub":"m","sub":"admin"}"#), refused).await?;
        check(field, "claims that are no object", &raw("[]"), refused).await?;
        check(field, "claims 10,000 deep", &raw(&"[".repeat(10_000)), refused).await?;
        let mut token = signed(&hs256(), &claims, secret);
        token.pop();
        check(field, "a signature cut short", &token, refused).await?;
        token.push_str("AA==");
        check(field, "a padded signature", &token, refused).await?;
        let sound = signed(&hs256(), &claims, secret);
        check(field, "a fourth part", &format!("{sound}.x"), refused).await?;
        check(field, "space around it", &format!(" {sound}"), refused).await?;
        check(field, "60 KB of dots", &".".repeat(60_000), refused).await?;
        let channel = json!({ "sub": "mallory", "channel": "news" });
        check(field, "a subscription's token", &signed(&hs256(), &channel, secret), refused).await
    }
}

/// A connection outlives its token.
pub(crate) struct Expiring;

#[async_trait]
impl Attack for Expiring {
    fn name(&self) -> &'static str {
        "jwt-expiring"
    }

    fn about(&self) -> &'static str {
        "tokens of 20 clients expire in mid-session; some refresh with a forged, a foreign or an expired one"
    }

    fn prepare(&self, launch: &mut Launch) {
        launch.set("client.token.hmac_secret_key", SECRET);
        launch.set("client.expired_close_delay", "1s");
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let expires = now()? + 2;
        let token = |user: &str, exp: u64, secret: &str| {
            signed(&hs256(), &json!({ "sub": user, "exp": exp }), secret.as_bytes())
        };
        let refreshes = [
            ("no refresh", None, 3005),
            ("a forged refresh", Some(token("ann", expires + 60, "guessed")), 3500),
            ("another user's refresh", Some(token("bob", expires + 60, SECRET)), 3500),
            ("an expired refresh", Some(token("ann", 1, SECRET)), 3005),
            ("an empty refresh", Some(String::new()), 3501),
            ("a sound refresh", Some(token("ann", expires + 60, SECRET)), 0),
        ];
        let mut clients = tokio::task::JoinSet::new();
        for (what, refresh, code) in refreshes {
            let mut socket = Socket::open(field.address).await?;
            let connect = json!({ "id": 1, "connect": { "token": token("ann", expires, SECRET) } });
            socket.text(&connect.to_string()).await?;
            socket.message().await?;
            clients.spawn(async move {
                tokio::time::sleep(Duration::from_millis(500)).await;
                if let Some(refresh) = refresh {
                    let refresh = json!({ "id": 2, "refresh": { "token": refresh } });
                    // It is looked at how it ends.
                    let _ = socket.text(&refresh.to_string()).await;
                }
                (what, code, socket.end(Duration::from_secs(5)).await)
            });
        }
        for (what, code, end) in clients.join_all().await {
            let expected = if code == 0 { "open".to_owned() } else { format!("a close with {code}") };
            let good = if code == 0 { end == End::Open } else { end.code() == code };
            field.check(what, expected, format!("{end:?}"), good);
        }
        Ok(())
    }
}

/// Looks for secrets where they must not be.
pub(crate) struct Sought;

#[async_trait]
impl Attack for Sought {
    fn name(&self) -> &'static str {
        "secrets-sought"
    }

    fn about(&self) -> &'static str {
        "tokens, keys and payloads are sent in every place, with the log at its most talkative, and sought in log and metrics"
    }

    fn prepare(&self, launch: &mut Launch) {
        launch.set("client.token.hmac_secret_key", SECRET);
        launch.set("log.level", "trace");
        launch.environment.push(("RUST_LOG", "trace".to_owned()));
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let claims = json!({ "sub": "ann", "meta": { "m": "sought-meta-3141" } });
        let sound = signed(&hs256(), &claims, SECRET.as_bytes());
        let forged = signed(&hs256(), &json!({ "sub": "eve" }), b"another secret");
        check(field, "a sound token", &sound, "let in").await?;
        check(field, "a forged token", &forged, "close 3500").await?;
        check(field, "no token at all", "sought-token-2718", "close 3500").await?;
        let mut socket = Socket::open(field.address).await?;
        socket.text(&json!({ "id": 1, "connect": { "token": sound } }).to_string()).await?;
        socket.message().await?;
        let payload = r#"{"id":2,"publish":{"channel":"x","data":"sought-payload-1618"}}"#;
        socket.text(payload).await?;
        socket.message().await?;
        let subscribe = json!({ "id": 3, "subscribe": { "channel": "$x", "token": forged } });
        socket.text(&subscribe.to_string()).await?;
        socket.message().await?;
        let malformed = format!(r#"{{"id":4,"rpc":{{"method":"{sound}","#);
        socket.text(&malformed).await?;
        socket.end(Duration::from_secs(5)).await;
        for header in [
            format!("X-API-Key: {API_KEY}"),
            "X-API-Key: sought-key-5772".to_owned(),
            "Authorization: apikey sought-key-5772".to_owned(),
            format!("Authorization: Bearer {sound}"),
            format!("Cookie: token={sound}"),
        ] {
            let mut http = Http::open(field.address).await?;
            let body = r#"{"channel":"x","data":"sought-payload-1618","tags":1}"#;
            let length = body.len();
            http.write(format!(
                "POST /api/publish?token=sought-query-8128 HTTP/1.1\r\nHost: t\r\n{header}\r\nContent-Length: {length}\r\n\r\n{body}"
            ))
            .await?;
            http.response().await?;
        }
        let server = field.server.lock().await;
        let metrics = server.metrics_text().await?;
        let log = server.log();
        field.check("the log has lines of trace", "many", log.lines().count(), log.contains("TRACE"));
        let signature = |token: &str| token.rsplit('.').next().unwrap_or_default().to_owned();
        for (what, secret) in [
            ("the token's signature", signature(&sound)),
            ("the forged token's signature", signature(&forged)),
            ("the token's claims", part(&claims)),
            ("what was no token", "sought-token-2718".to_owned()),
            ("meta", "sought-meta-3141".to_owned()),
            ("a payload", "sought-payload-1618".to_owned()),
            ("a token in a query", "sought-query-8128".to_owned()),
            ("a wrong API key", "sought-key-5772".to_owned()),
            ("the API key", API_KEY.to_owned()),
            ("the tokens' secret", SECRET.to_owned()),
        ] {
            let hit = log.lines().find(|line| line.contains(&secret));
            field.check(format!("{what} in the log"), "no hit", hit.unwrap_or("no hit"), hit.is_none());
            let hit = metrics.contains(&secret);
            field.check(
                format!("{what} in the metrics"),
                "no hit",
                if hit { "a hit" } else { "no hit" },
                !hit,
            );
        }
        Ok(())
    }
}

const SECRET: &str = "a-secret-that-nobody-guesses-1729";
