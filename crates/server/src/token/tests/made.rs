use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaSigningAlgorithm, Ed25519KeyPair,
};

use super::*;

/// A private key on a curve in two forms of PEM, and its public key.
fn on_curve(curve: &'static EcdsaSigningAlgorithm) -> ([String; 2], String) {
    let pair = EcdsaKeyPair::generate(curve).expect("a key");
    let pkcs8 = pair.to_pkcs8v1().expect("DER");
    let private = pair.private_key();
    let sec1 = AsDer::<EcPrivateKeyRfc5915Der<'_>>::as_der(&private).expect("DER");
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).expect("DER");
    (
        [pem("PRIVATE KEY", pkcs8.as_ref()), pem("EC PRIVATE KEY", sec1.as_ref())],
        pem("PUBLIC KEY", public.as_ref()),
    )
}

fn made(signer: &Signer) -> String {
    let new = NewToken { user: "ann".to_owned(), expires: Some(NOW + 60), ..NewToken::default() };
    let claims = new.claims(&Config::default().client.token, NOW);
    signer.sign(&claims, Some("k1")).expect("signed")
}

/// The key that a token made by `signer` is signed with, to a server with this configuration.
#[track_caller]
fn check_made(signer: &Signer, algorithm: &str, set: impl FnOnce(&mut config::Token), expected: &str) {
    assert_eq!(signer.algorithm(), algorithm);
    let (token, verifier) = (made(signer), verifier(set));
    let key = tokio_test(verifier.key_of(&token, NOW)).unwrap_or_else(|error| error.to_string());
    assert_eq!(key, expected);
    if key.starts_with("client.token.") {
        check(&verifier, &token, &format!("ann {}", NOW + 60));
    }
}

#[test]
fn what_is_made_is_accepted() {
    for algorithm in ["HS256", "HS384", "HS512"] {
        let signer = Signer::secret(SECRET.as_bytes(), Some(algorithm)).expect("a signer");
        check_made(&signer, algorithm, |_| {}, "client.token.hmac_secret_key");
        let previous = |config: &mut config::Token| {
            config.hmac_secret_key = "another".into();
            config.hmac_previous_secret_key = SECRET.into();
        };
        check_made(&signer, algorithm, previous, "client.token.hmac_previous_secret_key");
        check_made(
            &signer,
            algorithm,
            |config| config.hmac_secret_key = "x".into(),
            "invalid token: another signature",
        );
    }
    for (algorithm, curve) in [
        ("ES256", &ECDSA_P256_SHA256_FIXED_SIGNING),
        ("ES384", &ECDSA_P384_SHA384_FIXED_SIGNING),
        ("ES512", &ECDSA_P521_SHA512_FIXED_SIGNING),
    ] {
        let (private, public) = on_curve(curve);
        for private in private {
            let signer = Signer::private_key(private.as_bytes(), None).expect("a signer");
            let set = |config: &mut config::Token| config.ecdsa_public_key = public.clone();
            check_made(&signer, algorithm, set, "client.token.ecdsa_public_key");
            let (_, other) = on_curve(curve);
            let set = |config: &mut config::Token| config.ecdsa_public_key = other;
            check_made(&signer, algorithm, set, "invalid token: another signature");
        }
    }
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
    let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).expect("DER");
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).expect("DER");
    for algorithm in ["RS256", "RS384", "RS512"] {
        let private = pem("PRIVATE KEY", private.as_ref());
        let signer = Signer::private_key(private.as_bytes(), Some(algorithm)).expect("a signer");
        let set = |config: &mut config::Token| config.rsa_public_key = pem("PUBLIC KEY", public.as_ref());
        check_made(&signer, algorithm, set, "client.token.rsa_public_key");
    }
}

#[test]
fn keys_are_for_their_own_algorithms() {
    #[track_caller]
    fn check_refused(signer: Result<Signer, SignerError>, expected: &str) {
        assert_eq!(signer.map(|_| ()).expect_err(expected).to_string(), expected);
    }
    let ([private, _], _) = on_curve(&ECDSA_P521_SHA512_FIXED_SIGNING);
    check_refused(
        Signer::private_key(private.as_bytes(), Some("ES256")),
        "the key is not for the algorithm ES256; expected ES512",
    );
    check_refused(
        Signer::secret(b"x", Some("none")),
        "the key is not for the algorithm none; expected HS256, HS384, HS512",
    );
    let not_a_key =
        "expected a private key in PEM that is not encrypted: RSA, P-256, P-384, P-521 or Ed25519";
    check_refused(Signer::private_key(b"x", None), not_a_key);
    check_refused(Signer::private_key(pem("PRIVATE KEY", b"x").as_bytes(), None), not_a_key);
    let signer = Signer::private_key(private.as_bytes(), None).expect("a signer");
    assert_eq!(format!("{signer:?}"), "Signer { algorithm: \"ES512\", .. }");
}

#[tokio::test]
async fn a_set_has_keys_of_every_kind() {
    let ed = Ed25519KeyPair::generate().expect("a key");
    let ec = EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).expect("a key");
    let point = ec.public_key().as_ref();
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let set = json!({"keys": [
        {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": part(ed.public_key().as_ref())},
        {"kty": "EC", "kid": "ec", "crv": "P-521", "x": part(&point[1..67]), "y": part(&point[67..])},
        {"kty": "EC", "kid": "broken", "crv": "P-521", "x": part(&point[1..66]), "y": part(&point[67..])},
    ]});
    let (url, _) = jwks::serve(jwks::ok(&set.to_string())).await;
    let verifier = verifier(|config| config.jwks_public_endpoint = url);
    let private =
        [ed.to_pkcs8v1().expect("DER").as_ref().to_vec(), ec.to_pkcs8v1().expect("DER").as_ref().to_vec()];
    let [ed, ec] =
        private.map(|der| Signer::private_key(pem("PRIVATE KEY", &der).as_bytes(), None).expect("a signer"));
    assert_eq!((ed.algorithm(), ec.algorithm()), ("EdDSA", "ES512"));
    let claims = NewToken { user: "ann".to_owned(), ..NewToken::default() };
    let claims = claims.claims(&Config::default().client.token, NOW);
    for (signer, id, expected) in [
        (&ed, "ed", "ann"),
        (&ec, "ec", "ann"),
        (&ec, "ed", "invalid"),
        (&ed, "ec", "invalid"),
        (&ec, "broken", "invalid"),
    ] {
        let token = signer.sign(&claims, Some(id)).expect("signed");
        assert_eq!(said(verifier.connect(&token, NOW).await, |token| token.user), expected, "{id}");
    }
}

#[test]
fn a_new_token_says_what_the_configuration_asks_for() {
    let config = config(|config| {
        config.issuer = "me".to_owned();
        config.audience = "us".to_owned();
        config.user_id_claim = Some("id".to_owned());
    });
    let claims = json!({"info": {"a": 1}, "iss": "you"});
    let new = NewToken {
        user: "ann".to_owned(),
        channel: Some("news".to_owned()),
        claims: claims.as_object().expect("an object").clone(),
        ..NewToken::default()
    };
    let expected =
        json!({"aud": "us", "channel": "news", "iat": NOW, "id": "ann", "info": {"a": 1}, "iss": "you"});
    assert_eq!(Value::from(new.claims(&config, NOW)), expected);
}

#[test]
fn moments_are_told_in_words() {
    for (seconds, expected) in [
        (0, "2027-01-15T08:00:00Z, now"),
        (1, "2027-01-15T08:00:01Z, in 1 second"),
        (-60, "2027-01-15T07:59:00Z, 1 minute ago"),
        (3600 + 60, "2027-01-15T09:01:00Z, in 1 hour 1 minute"),
        (86_400 * 3 + 59, "2027-01-18T08:00:59Z, in 3 days"),
        (i64::MAX - NOW, "9223372036854775807 seconds after 1970, in 106751991146467 days 7 hours"),
    ] {
        assert_eq!(report_moment(NOW + seconds, NOW), expected);
    }
}
