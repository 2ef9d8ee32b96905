//! The keys that tokens are signed with.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::TokenError;
use super::jwks::Jwks;
use crate::config;
use crate::rules::RulesError;

/// The first part of a token. Keys that it brings along (`jwk`, `jku`, `x5u`, `x5c`) do not matter.
#[derive(Deserialize)]
pub(super) struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

impl Header {
    pub(super) fn parse(text: &str) -> Result<Self, TokenError> {
        let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| NOT_A_HEADER)?;
        let header: Self = serde_json::from_slice(&json).map_err(|_| NOT_A_HEADER)?;
        // Extensions that must be understood (RFC 7515 §4.1.11), and none is.
        if header.crit.is_some() { Err(TokenError::Invalid("critical extensions")) } else { Ok(header) }
    }
}

/// The keys of one section. Each is bound to the algorithms of its family, whatever a token says.
pub(super) enum Keys {
    /// Keys of the configuration.
    Static(Vec<Key>),
    /// Keys of a set that is fetched. The others do not count then, as in v6.
    Fetched(Jwks),
}

/// A key, and what it may be used for.
pub(super) struct Key {
    pub(super) algorithms: &'static [Algorithm],
    pub(super) key: DecodingKey,
    /// The last second that it is accepted at; `None` has no end.
    pub(super) until: Option<i64>,
}

impl Keys {
    pub(super) fn new(section: &str, token: &config::Token) -> Result<Self, RulesError> {
        if !token.jwks_public_endpoint.is_empty() {
            let key = format!("{section}.jwks_public_endpoint");
            return Ok(Self::Fetched(Jwks::new(&key, &token.jwks_public_endpoint)?));
        }
        let mut keys = Vec::new();
        let secrets = [
            (&token.hmac_secret_key, None),
            (&token.hmac_previous_secret_key, token.hmac_previous_secret_key_valid_until),
        ];
        for (secret, until) in secrets {
            if !secret.is_empty() {
                let key = DecodingKey::from_secret(secret.expose().as_bytes());
                keys.push(Key { algorithms: HMAC, key, until });
            }
        }
        if !token.rsa_public_key.is_empty() {
            let key = DecodingKey::from_rsa_pem(token.rsa_public_key.as_bytes());
            let key = key.map_err(|_| not_pem(section, "rsa_public_key", "an RSA public key as PEM"))?;
            keys.push(Key { algorithms: RSA, key, until: None });
        }
        if !token.ecdsa_public_key.is_empty() {
            let expected = "a P-256 or P-384 public key as PEM (P-521 and ES512 are not implemented)";
            let wrong = || not_pem(section, "ecdsa_public_key", expected);
            let key = DecodingKey::from_ec_pem(token.ecdsa_public_key.as_bytes()).map_err(|_| wrong())?;
            let algorithms = match key.as_bytes().len() {
                P256_POINT => ES256,
                P384_POINT => ES384,
                _ => return Err(wrong()),
            };
            keys.push(Key { algorithms, key, until: None });
        }
        Ok(Self::Static(keys))
    }

    /// Checks the signature of a token by the key that its header asks for, if there is one for it.
    pub(super) async fn check(
        &self,
        header: &Header,
        message: &[u8],
        signature: &str,
        now: i64,
    ) -> Result<(), TokenError> {
        let algorithm = algorithm(&header.alg).ok_or(TokenError::Invalid("an unknown algorithm"))?;
        let signed = match self {
            Self::Static(keys) => keys
                .iter()
                .filter(|key| key.algorithms.contains(&algorithm))
                .filter(|key| key.until.is_none_or(|until| now <= until))
                .any(|key| key.signed(algorithm, message, signature)),
            Self::Fetched(set) => {
                let id = header.kid.as_deref().ok_or(TokenError::Invalid("no key id"))?;
                set.find(id, algorithm).await?.signed(algorithm, message, signature)
            }
        };
        if signed { Ok(()) } else { Err(TokenError::Invalid("another signature")) }
    }
}

impl Key {
    fn signed(&self, algorithm: Algorithm, message: &[u8], signature: &str) -> bool {
        crypto::verify(signature, message, &self.key, algorithm).unwrap_or(false)
    }
}

/// The algorithm of this name. `none` is no algorithm, and RSA-PSS is not used by anyone's tokens.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "HS256" => Algorithm::HS256,
        "HS384" => Algorithm::HS384,
        "HS512" => Algorithm::HS512,
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" => Algorithm::EdDSA,
        _ => return None,
    })
}

fn not_pem(section: &str, key: &str, expected: &str) -> RulesError {
    RulesError::BadValue {
        key: format!("{section}.{key}"),
        found: "something else".to_owned(),
        expected: expected.to_owned(),
    }
}

const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
pub(super) const RSA: &[Algorithm] = &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512];
pub(super) const ES256: &[Algorithm] = &[Algorithm::ES256];
pub(super) const ES384: &[Algorithm] = &[Algorithm::ES384];
pub(super) const ED: &[Algorithm] = &[Algorithm::EdDSA];

/// Bytes of an uncompressed point on the curve.
const P256_POINT: usize = 65;
const P384_POINT: usize = 97;

const NOT_A_HEADER: TokenError = TokenError::Invalid("expected a header as a JSON object");
