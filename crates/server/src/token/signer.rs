//! Signing tokens, as an application does: for people who try something, and for tests.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding,
    RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm as Common;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Map, Value, json};

use super::algorithm::{Algorithm, ED, ES256, ES384, ES512, HMAC, RSA};

/// A key that tokens are signed with, and how. `Debug` shows no key.
pub struct Signer {
    algorithm: Algorithm,
    key: Key,
}

enum Key {
    Secret(Vec<u8>),
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// Why nothing can be signed with a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignerError {
    /// It is no private key that we know.
    #[error("expected a private key in PEM that is not encrypted: RSA, P-256, P-384, P-521 or Ed25519")]
    NotAKey,
    /// The key is not of this algorithm.
    #[error("the key is not for the algorithm {named}; expected {expected}")]
    Algorithm {
        /// What was asked for.
        named: String,
        /// What the key is for.
        expected: String,
    },
    /// The library refused to sign.
    #[error("the key cannot sign: {0}")]
    Refused(&'static str),
}

impl Signer {
    /// Signs with a secret; by HS256, unless `algorithm` names another of its family.
    ///
    /// # Errors
    /// The algorithm is of another family.
    pub fn secret(secret: &[u8], algorithm: Option<&str>) -> Result<Self, SignerError> {
        Ok(Self { algorithm: choose(HMAC, algorithm)?, key: Key::Secret(secret.to_vec()) })
    }

    /// Signs with a private key in PEM (PKCS#8, PKCS#1 or SEC1); by the algorithm of its kind, the one with SHA-256 for
    /// RSA, unless `algorithm` names another.
    ///
    /// # Errors
    /// It is no such key, or of another algorithm.
    pub fn private_key(pem: &[u8], algorithm: Option<&str>) -> Result<Self, SignerError> {
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| SignerError::NotAKey)?;
        let (family, key) = pair(&der).ok_or(SignerError::NotAKey)?;
        Ok(Self { algorithm: choose(family, algorithm)?, key })
    }

    /// The name of the algorithm, as a token's header has it.
    pub fn algorithm(&self) -> &'static str {
        self.algorithm.name()
    }

    /// A token with these claims, and `key_id` in its header if there is one.
    ///
    /// # Errors
    /// [`SignerError::Refused`], for a key that its algorithm cannot use, such as a short one.
    pub fn sign(&self, claims: &Map<String, Value>, key_id: Option<&str>) -> Result<String, SignerError> {
        let mut header = json!({"alg": self.algorithm(), "typ": "JWT"});
        if let Some(id) = key_id {
            header["kid"] = id.into();
        }
        let claims = Value::from(claims.clone());
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let message = format!("{}.{}", part(&header), part(&claims));
        let signature = self.signature(message.as_bytes())?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SignerError> {
        let random = SystemRandom::new();
        Ok(match &self.key {
            Key::Secret(secret) => {
                let digest = match self.algorithm {
                    Algorithm::Common(Common::HS384) => hmac::HMAC_SHA384,
                    Algorithm::Common(Common::HS512) => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                hmac::sign(&hmac::Key::new(digest, secret), message).as_ref().to_vec()
            }
            Key::Rsa(pair) => {
                let encoding: &'static dyn RsaEncoding = match self.algorithm {
                    Algorithm::Common(Common::RS384) => &RSA_PKCS1_SHA384,
                    Algorithm::Common(Common::RS512) => &RSA_PKCS1_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign(encoding, &random, message, &mut signature);
                signed.map_err(|_| SignerError::Refused("RSA"))?;
                signature
            }
            Key::Ecdsa(pair) => {
                let signature = pair.sign(&random, message).map_err(|_| SignerError::Refused("ECDSA"))?;
                signature.as_ref().to_vec()
            }
            Key::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        })
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

fn choose(family: &'static [Algorithm], named: Option<&str>) -> Result<Algorithm, SignerError> {
    let Some(named) = named else { return Ok(family[0]) };
    family.iter().copied().find(|known| known.name() == named).ok_or_else(|| SignerError::Algorithm {
        named: named.to_owned(),
        expected: family.iter().map(|known| known.name()).collect::<Vec<_>>().join(", "),
    })
}

/// The key pair in `der`, and what it is for.
fn pair(der: &PrivateKeyDer<'_>) -> Option<(&'static [Algorithm], Key)> {
    let curves = [
        (ES256, &ECDSA_P256_SHA256_FIXED_SIGNING),
        (ES384, &ECDSA_P384_SHA384_FIXED_SIGNING),
        (ES512, &ECDSA_P521_SHA512_FIXED_SIGNING),
    ];
    let bytes = der.secret_der();
    match der {
        PrivateKeyDer::Pkcs1(_) => RsaKeyPair::from_der(bytes).ok().map(|pair| (RSA, Key::Rsa(pair))),
        PrivateKeyDer::Sec1(_) => curves.into_iter().find_map(|(family, curve)| {
            let pair = EcdsaKeyPair::from_private_key_der(curve, bytes).ok()?;
            Some((family, Key::Ecdsa(pair)))
        }),
        PrivateKeyDer::Pkcs8(_) => {
            let rsa = || Some((RSA, Key::Rsa(RsaKeyPair::from_pkcs8(bytes).ok()?)));
            let ed = || Some((ED, Key::Ed25519(Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes).ok()?)));
            let ecdsa = || {
                curves.into_iter().find_map(|(family, curve)| {
                    Some((family, Key::Ecdsa(EcdsaKeyPair::from_pkcs8(curve, bytes).ok()?)))
                })
            };
            ecdsa().or_else(ed).or_else(rsa)
        }
        _ => None,
    }
}
