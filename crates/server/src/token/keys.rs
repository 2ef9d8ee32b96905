//! The keys that tokens are signed with.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::TokenError;
use super::algorithm::{Algorithm, ES256, ES384, ES512, HMAC, Material, RSA};
use super::jwks::Jwks;
use super::sets::{self, Groups, Sets};
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
    /// Keys of the set that the token's issuer or audience names.
    Chosen(Sets),
}

/// A key, and what it may be used for.
pub(super) struct Key {
    /// The key of the configuration that it comes from, without the section.
    pub(super) name: &'static str,
    pub(super) algorithms: &'static [Algorithm],
    pub(super) key: Material,
    /// The last second that it is accepted at; `None` has no end.
    pub(super) until: Option<i64>,
}

impl Keys {
    pub(super) fn new(section: &str, token: &config::Token) -> Result<Self, RulesError> {
        if !token.jwks_public_endpoint.is_empty() {
            let key = format!("{section}.jwks_public_endpoint");
            if sets::has_placeholders(&token.jwks_public_endpoint) {
                let expressions = [&*token.issuer_regex, &*token.audience_regex];
                let any = token.insecure_skip_jwks_endpoint_safety_check;
                return Ok(Self::Chosen(Sets::new(&key, &token.jwks_public_endpoint, &expressions, any)?));
            }
            return Ok(Self::Fetched(Jwks::new(&key, &token.jwks_public_endpoint)?));
        }
        let mut keys = Vec::new();
        let secrets = [
            ("hmac_secret_key", &token.hmac_secret_key, None),
            (
                "hmac_previous_secret_key",
                &token.hmac_previous_secret_key,
                token.hmac_previous_secret_key_valid_until,
            ),
        ];
        for (name, secret, until) in secrets {
            if !secret.is_empty() {
                let key = Material::Common(DecodingKey::from_secret(secret.expose().as_bytes()));
                keys.push(Key { name, algorithms: HMAC, key, until });
            }
        }
        if !token.rsa_public_key.is_empty() {
            let key = DecodingKey::from_rsa_pem(token.rsa_public_key.as_bytes());
            let name = "rsa_public_key";
            let key = key.map_err(|_| not_pem(section, name, "an RSA public key as PEM"))?;
            keys.push(Key { name, algorithms: RSA, key: Material::Common(key), until: None });
        }
        if !token.ecdsa_public_key.is_empty() {
            let name = "ecdsa_public_key";
            let wrong = || not_pem(section, name, "a P-256, P-384 or P-521 public key as PEM");
            let key = DecodingKey::from_ec_pem(token.ecdsa_public_key.as_bytes()).map_err(|_| wrong())?;
            let (algorithms, key) = match key.as_bytes().len() {
                P256_POINT => (ES256, Material::Common(key)),
                P384_POINT => (ES384, Material::Common(key)),
                P521_POINT => (ES512, Material::p521(key.as_bytes()).ok_or_else(wrong)?),
                _ => return Err(wrong()),
            };
            keys.push(Key { name, algorithms, key, until: None });
        }
        Ok(Self::Static(keys))
    }

    /// Checks the signature of a token by the key that its header asks for, if there is one for it; which that was,
    /// as the configuration names it.
    pub(super) async fn check(
        &self,
        header: &Header,
        message: &[u8],
        signature: &str,
        groups: &Groups,
        now: i64,
    ) -> Result<&'static str, TokenError> {
        let algorithm = Algorithm::named(&header.alg).ok_or(TokenError::Invalid("an unknown algorithm"))?;
        let signed = match self {
            Self::Static(keys) => keys
                .iter()
                .filter(|key| key.algorithms.contains(&algorithm))
                .filter(|key| key.until.is_none_or(|until| now <= until))
                .find(|key| key.key.signed(algorithm, message, signature))
                .map(|key| key.name),
            Self::Fetched(set) => set.signed(header, algorithm, message, signature).await?,
            Self::Chosen(sets) => sets.of(groups)?.signed(header, algorithm, message, signature).await?,
        };
        signed.ok_or(TokenError::Invalid("another signature"))
    }
}

fn not_pem(section: &str, key: &str, expected: &str) -> RulesError {
    RulesError::BadValue {
        key: format!("{section}.{key}"),
        found: "something else".to_owned(),
        expected: expected.to_owned(),
    }
}

impl Jwks {
    /// The name of the key that a signature is of; `None` if it is of another.
    async fn signed(
        &self,
        header: &Header,
        algorithm: Algorithm,
        message: &[u8],
        signature: &str,
    ) -> Result<Option<&'static str>, TokenError> {
        let id = header.kid.as_deref().ok_or(TokenError::Invalid("no key id"))?;
        let key = self.find(id, algorithm).await?;
        Ok(key.key.signed(algorithm, message, signature).then_some(key.name))
    }
}

/// Bytes of an uncompressed point on the curve.
const P256_POINT: usize = 65;
const P384_POINT: usize = 97;
const P521_POINT: usize = 133;

const NOT_A_HEADER: TokenError = TokenError::Invalid("expected a header as a JSON object");
