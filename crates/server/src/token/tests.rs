mod jwks;
mod made;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

use super::*;
use crate::config::Config;

/// Seconds since 1970 at which all tests take place.
const NOW: i64 = 1_800_000_000;
const SECRET: &str = "a secret that nobody guesses";

/// A private key, and its public key as PEM.
struct Pair {
    private: EncodingKey,
    public: String,
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

fn rsa() -> Pair {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
    let private = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).expect("DER");
    let public = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key()).expect("DER");
    Pair {
        private: EncodingKey::from_rsa_pem(pem("PRIVATE KEY", private.as_ref()).as_bytes()).expect("PEM"),
        public: pem("PUBLIC KEY", public.as_ref()),
    }
}

fn ecdsa() -> Pair {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let private = pair.to_pkcs8v1().expect("DER");
    let public = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key()).expect("DER");
    Pair { private: EncodingKey::from_ec_der(private.as_ref()), public: pem("PUBLIC KEY", public.as_ref()) }
}

/// A token with this header and these claims, signed if there is a key.
fn token(header: &Value, claims: &Value, key: Option<(Algorithm, &EncodingKey)>) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature =
        key.map(|(algorithm, key)| crypto::sign(message.as_bytes(), key, algorithm).expect("signed"));
    format!("{message}.{}", signature.unwrap_or_default())
}

pub(crate) fn signed(secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    token(&json!({"alg": "HS256", "typ": "JWT"}), claims, Some((Algorithm::HS256, &key)))
}

fn config(set: impl FnOnce(&mut config::Token)) -> config::Token {
    let mut token = Config::default().client.token;
    token.hmac_secret_key = SECRET.into();
    set(&mut token);
    token
}

fn verifier(set: impl FnOnce(&mut config::Token)) -> Verifier {
    Verifier::new("client.token", &config(set), false).expect("a sound configuration")
}

fn said<T>(outcome: Result<T, TokenError>, show: impl FnOnce(T) -> String) -> String {
    match outcome {
        Ok(token) => show(token),
        Err(TokenError::Invalid(_)) => "invalid".to_owned(),
        Err(TokenError::Expired) => "expired".to_owned(),
        Err(TokenError::Unavailable) => "unavailable".to_owned(),
    }
}

/// Verifies `token` as a connection's, and compares `user expire_at` or the error.
#[track_caller]
fn check(verifier: &Verifier, token: &str, expected: &str) {
    let outcome = tokio_test(verifier.connect(token, NOW));
    assert_eq!(said(outcome, |token| format!("{} {}", token.user, token.expire_at)), expected);
}

/// Verifies a token with these claims as a connection's.
#[track_caller]
fn check_claims(claims: Value, expected: &str) {
    check(&verifier(|_| {}), &signed(SECRET, &claims), expected);
}

/// Verifies a token with these claims as a subscription's.
#[track_caller]
fn check_subscription(claims: Value, expected: &str) {
    let outcome = tokio_test(verifier(|_| {}).subscribe(&signed(SECRET, &claims), NOW));
    let show = |token: SubscribeToken| format!("{} {} {}", token.user, token.channel, token.expire_at);
    assert_eq!(said(outcome, show), expected, "{claims}");
}

fn tokio_test<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

#[test]
fn times() {
    check_claims(json!({"sub": "ann"}), "ann 0");
    check_claims(json!({}), " 0");
    check_claims(json!({"sub": "ann", "exp": NOW + 1}), &format!("ann {}", NOW + 1));
    check_claims(json!({"sub": "ann", "exp": NOW as f64 + 1.5}), &format!("ann {}", NOW + 1));
    check_claims(json!({"sub": "ann", "exp": NOW}), "expired");
    check_claims(json!({"sub": "ann", "exp": 0}), "expired");
    check_claims(json!({"sub": "ann", "exp": -1}), "expired");
    check_claims(json!({"sub": "ann", "exp": (NOW + 1).to_string()}), "invalid");
    check_claims(json!({"sub": "ann", "exp": null}), "ann 0");
    check_claims(json!({"sub": "ann", "nbf": NOW}), "ann 0");
    check_claims(json!({"sub": "ann", "nbf": NOW + 1}), "expired");
    check_claims(json!({"sub": "ann", "iat": "yesterday"}), "invalid");
    check_claims(json!({"sub": "ann", "exp": NOW + 1, "expire_at": 0}), "ann 0");
    check_claims(json!({"sub": "ann", "exp": NOW + 1, "expire_at": NOW + 9}), &format!("ann {}", NOW + 9));
    check_claims(json!({"sub": "ann", "exp": NOW, "expire_at": NOW + 9}), "expired");
    // No moment is so late that a timer overflows.
    check_claims(json!({"sub": "ann", "exp": i64::MAX}), "ann 5000000000");
    check_claims(json!({"sub": "ann", "exp": u64::MAX}), "ann 5000000000");
    check_claims(json!({"sub": "ann", "exp": 1e300}), "ann 5000000000");
    check_claims(json!({"sub": "ann", "expire_at": i64::MIN}), "ann 0");
}

#[test]
fn types() {
    check_claims(json!({"sub": 42}), "invalid");
    check_claims(json!([]), "invalid");
    check_claims(json!({"sub": "ann", "info": {"a": 1}, "meta": [1], "unknown": 1}), "ann 0");
    check_claims(json!({"sub": "ann", "b64info": "?"}), "invalid");
    check_claims(json!({"sub": "ann", "channels": "news"}), "invalid");
    check_claims(json!({"sub": "ann", "channel": ""}), "ann 0");
    check_claims(json!({"sub": "ann", "channel": "news"}), "invalid");
    check_claims(json!({"sub": "ann", "exp": NOW, "channel": "news"}), "invalid");
    check_subscription(json!({"sub": "ann", "channel": "news", "expire_at": 7}), "ann news 7");
    check_subscription(json!({"sub": "ann"}), "invalid");
    check_subscription(json!({"sub": "ann", "exp": NOW}), "expired");
    check_subscription(json!({"sub": "ann", "channel": "news", "nbf": NOW + 1}), "expired");
}

#[test]
fn payloads() {
    let claims = json!({"sub": "ann", "b64info": "AAE=", "info": {}, "meta": {"a": 1}, "channels": ["x"],
        "subs": {"news": {"info": [1], "b64data": "AAE=", "override": {"presence": {"value": true}, "join_leave": {}}}}});
    let token =
        tokio_test(verifier(|_| {}).connect(&signed(SECRET, &claims), NOW)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(token.info.as_deref(), Some(&[0, 1][..]));
    assert_eq!(token.meta, "{\"a\":1}");
    let [sub] = &token.channels[..] else { panic!("subs come before channels") };
    assert_eq!((&*sub.channel, &sub.info[..], &sub.data[..]), ("news", &b"[1]"[..], &[0, 1][..]));
    let overrides = Overrides { presence: Some(true), join_leave: Some(false), ..Overrides::default() };
    assert_eq!(sub.overrides, overrides);
    // A channel of which the token says nothing.
    let claims = json!({"sub": "ann", "subs": {"news": null}});
    let token = tokio_test(verifier(|_| {}).connect(&signed(SECRET, &claims), NOW)).expect("a good token");
    assert_eq!((&*token.channels[0].channel, token.channels[0].info.is_empty()), ("news", true));
}

#[test]
fn forms() {
    let good = signed(SECRET, &json!({"sub": "ann"}));
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let verifier = verifier(|_| {});
    check(&verifier, &good, "ann 0");
    for bad in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        message,
        &format!("{message}."),
        &format!("{good}."),
        &format!("{good}.x"),
        &format!("{message}.{signature}="),
        &format!(" {good}"),
        &format!("{message}.AAAA"),
    ] {
        check(&verifier, bad, "invalid");
    }
}

#[test]
fn attacks() {
    let (rsa, other, ec) = (rsa(), self::rsa(), ecdsa());
    let claims = json!({"sub": "ann"});
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    let both = verifier(|config| {
        config.rsa_public_key = rsa.public.clone();
        config.ecdsa_public_key = ec.public.clone();
    });
    let only_rsa = verifier(|config| {
        config.hmac_secret_key = "".into();
        config.rsa_public_key = rsa.public.clone();
    });
    let head = |name: &str| json!({ "alg": name });
    let signed = |name: &str, algorithm: Algorithm, key: &EncodingKey| {
        token(&head(name), &claims, Some((algorithm, key)))
    };

    check(&both, &signed("RS256", Algorithm::RS256, &rsa.private), "ann 0");
    check(&both, &signed("RS512", Algorithm::RS512, &rsa.private), "ann 0");
    check(&both, &signed("ES256", Algorithm::ES256, &ec.private), "ann 0");
    check(&both, &signed("HS384", Algorithm::HS384, &secret), "ann 0");
    check(&both, &signed("HS512", Algorithm::HS512, &secret), "ann 0");
    // Keys of others, and keys that are not for this.
    check(&both, &signed("RS256", Algorithm::RS256, &other.private), "invalid");
    check(&both, &signed("ES256", Algorithm::ES256, &ecdsa().private), "invalid");
    check(&both, &signed("PS256", Algorithm::PS256, &rsa.private), "invalid");
    check(&only_rsa, &signed("HS256", Algorithm::HS256, &secret), "invalid");
    check(&only_rsa, &signed("HS256", Algorithm::HS256, &EncodingKey::from_secret(b"")), "invalid");
    // The public key, which everyone may know, as the secret.
    let public = EncodingKey::from_secret(rsa.public.as_bytes());
    check(&only_rsa, &signed("HS256", Algorithm::HS256, &public), "invalid");
    check(&both, &signed("HS256", Algorithm::HS256, &public), "invalid");
    // One algorithm named, another used.
    check(&both, &signed("RS256", Algorithm::HS256, &public), "invalid");
    check(&both, &signed("ES256", Algorithm::RS256, &rsa.private), "invalid");
    check(&both, &signed("HS256", Algorithm::HS512, &secret), "invalid");
    for none in ["none", "None", "NONE", "nOnE", "", "hs256", "ES512"] {
        check(&both, &token(&head(none), &claims, None), "invalid");
        check(&both, &signed(none, Algorithm::HS256, &secret), "invalid");
    }
    check(&both, &token(&json!({}), &claims, Some((Algorithm::HS256, &secret))), "invalid");
    // Keys and places that a token brings along do not count; nor is a key id ever a path.
    for header in [
        json!({"alg": "HS256", "kid": "../../../../dev/null"}),
        json!({"alg": "HS256", "jku": "http://127.0.0.1:1/", "x5u": "file:///etc/passwd", "jwk": {"kty": "oct", "k": ""}}),
    ] {
        let empty = EncodingKey::from_secret(b"");
        check(&both, &token(&header, &claims, Some((Algorithm::HS256, &empty))), "invalid");
        check(&both, &token(&header, &claims, Some((Algorithm::HS256, &secret))), "ann 0");
    }
    let critical = json!({"alg": "HS256", "crit": ["b64"], "b64": false});
    check(&both, &token(&critical, &claims, Some((Algorithm::HS256, &secret))), "invalid");
}

#[test]
fn secrets_change() {
    let claims = json!({"sub": "ann"});
    let until = |until| {
        verifier(|config| {
            config.hmac_previous_secret_key = "old".into();
            config.hmac_previous_secret_key_valid_until = until;
        })
    };
    for (valid_until, expected) in
        [(None, "ann 0"), (Some(NOW + 1), "ann 0"), (Some(NOW), "ann 0"), (Some(NOW - 1), "invalid")]
    {
        check(&until(valid_until), &signed("old", &claims), expected);
        check(&until(valid_until), &signed(SECRET, &claims), "ann 0");
    }
    check(&until(None), &signed("older", &claims), "invalid");
    let none = verifier(|config| config.hmac_secret_key = "".into());
    check(&none, &signed("", &claims), "invalid");
    check(&none, &signed(SECRET, &claims), "invalid");
}

#[test]
fn issuers_and_audiences() {
    #[track_caller]
    fn check_named(set: fn(&mut config::Token), claims: Value, expected: &str) {
        check(&verifier(set), &signed(SECRET, &claims), expected);
    }
    let audience: fn(&mut config::Token) = |config| config.audience = "us".into();
    check_named(audience, json!({"aud": "us"}), " 0");
    check_named(audience, json!({"aud": ["them", "us"]}), " 0");
    check_named(audience, json!({"aud": ["them"]}), "invalid");
    check_named(audience, json!({"aud": 1}), "invalid");
    check_named(audience, json!({}), "invalid");
    let expression: fn(&mut config::Token) = |config| config.audience_regex = "^u[a-z]$".into();
    check_named(expression, json!({"aud": ["them", "us"]}), " 0");
    check_named(expression, json!({"aud": "use"}), "invalid");
    check_named(expression, json!({}), "invalid");
    let issuer: fn(&mut config::Token) = |config| config.issuer = "me".into();
    check_named(issuer, json!({"iss": "me"}), " 0");
    check_named(issuer, json!({"iss": "you"}), "invalid");
    check_named(|config| config.issuer_regex = "^m".into(), json!({"iss": "you"}), "invalid");
    check_named(|config| config.issuer_regex = "^m".into(), json!({"iss": "me"}), " 0");
}

#[test]
fn users_of_other_claims() {
    #[track_caller]
    fn check_user(path: &str, claims: Value, expected: &str) {
        let verifier = verifier(|config| config.user_id_claim = Some(path.to_owned()));
        check(&verifier, &signed(SECRET, &claims), expected);
    }
    check_user("id", json!({"sub": "ann", "id": "bob"}), "bob 0");
    check_user("id", json!({"sub": "ann", "id": 42}), "42 0");
    check_user("id", json!({"sub": "ann"}), " 0");
    check_user("id", json!({"id": {"a": 1}}), " 0");
    check_user("of.id", json!({"of": {"id": "bob"}}), "bob 0");
    check_user("of.id", json!({"of.id": "ann", "of": {"id": "bob"}}), "ann 0");
}

#[test]
fn signatures_can_be_skipped() {
    let skipping = Verifier::new("client.token", &config(|config| config.issuer = "me".into()), true);
    let skipping = skipping.expect("a sound configuration");
    check(&skipping, &token(&json!({"alg": "none"}), &json!({"sub": "ann", "iss": "me"}), None), "ann 0");
    check(&skipping, &token(&json!({"alg": "none"}), &json!({"sub": "ann"}), None), "invalid");
    check(&skipping, &token(&json!({"alg": "none"}), &json!({"iss": "me", "exp": NOW}), None), "expired");
}

#[test]
fn keys_that_make_no_sense_are_named() {
    #[track_caller]
    fn check_refused(set: impl FnOnce(&mut config::Token), expected: &str) {
        let error = Verifier::new("client.token", &config(set), false).map(|_| ()).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    }
    let rsa = rsa().public;
    check_refused(
        |config| config.rsa_public_key = "x".into(),
        "client.token.rsa_public_key is something else; expected an RSA public key as PEM",
    );
    check_refused(
        |config| config.ecdsa_public_key = rsa,
        "client.token.ecdsa_public_key is something else; expected a P-256, P-384 or P-521 public key as PEM",
    );
    check_refused(
        |config| config.issuer_regex = "(".into(),
        "client.token.issuer_regex is \"(\"; expected a regular expression, without look-around and back-references",
    );
    check_refused(
        |config| config.jwks_public_endpoint = "file:///etc/passwd".into(),
        "client.token.jwks_public_endpoint is \"file:///etc/passwd\"; expected a URL that starts with http:// or https://",
    );
    #[track_caller]
    fn check_template(url: &str, issuer: &str, expected: &str) {
        let set = |config: &mut config::Token| {
            (config.jwks_public_endpoint, config.issuer_regex) = (url.to_owned(), issuer.to_owned());
        };
        check_refused(set, &format!("client.token.jwks_public_endpoint is {url:?}; expected {expected}"));
    }
    let free = "a group \"who\" that matches one of a list of values, such as (?P<who>a|b): what comes from a token must not choose freely who is asked for keys";
    for issuer in ["^(?P<who>.*)$", "^(?P<who>[ab])$", "^(?P<who>a+)$", r"^(?P<who>\w)$", "^(?P<who>a|b?)$"] {
        check_template("https://{{who}}/keys", issuer, free);
    }
    let missing = "a group \"who\" in issuer_regex or audience_regex";
    check_template("https://{{who}}/keys", "^(?P<whom>a|b)$", missing);
    check_template("https://{{who}}/keys", "", missing);
    check_template("https://{{who/keys", "", "placeholders such as {{name}}");
    check_template("ftp://{{who}}/keys", "(?P<who>a|b)", "a URL that starts with http:// or https://");
}
