//! What tokens are signed with.

use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm as Common, DecodingKey, crypto};

/// An algorithm. `none` is no algorithm, and RSA-PSS is not used by anyone's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// One that the library knows.
    Common(Common),
    /// ECDSA with P-521 and SHA-512.
    Es512,
}

impl Algorithm {
    /// The algorithm of this name, as a header has it.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [HMAC, RSA, ES256, ES384, ES512, ED].into_iter().flatten().copied().find(|known| known.name() == name)
    }

    /// The name that a header has.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Common(Common::HS256) => "HS256",
            Self::Common(Common::HS384) => "HS384",
            Self::Common(Common::HS512) => "HS512",
            Self::Common(Common::RS256) => "RS256",
            Self::Common(Common::RS384) => "RS384",
            Self::Common(Common::RS512) => "RS512",
            Self::Common(Common::ES256) => "ES256",
            Self::Common(Common::ES384) => "ES384",
            Self::Es512 => "ES512",
            Self::Common(Common::EdDSA) => "EdDSA",
            // Of no family below, and so never made.
            Self::Common(_) => "none",
        }
    }
}

/// A key that signatures are verified with.
pub(super) enum Material {
    Common(DecodingKey),
    P521(Box<ParsedPublicKey>),
}

impl Material {
    /// A key on P-521, from an uncompressed point.
    pub(super) fn p521(point: &[u8]) -> Option<Self> {
        ParsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, point).ok().map(|key| Self::P521(Box::new(key)))
    }

    /// Whether `signature`, as a token has it, is this key's. False for an algorithm that the key is not of.
    pub(super) fn signed(&self, algorithm: Algorithm, message: &[u8], signature: &str) -> bool {
        match (self, algorithm) {
            (Self::Common(key), Algorithm::Common(algorithm)) => {
                crypto::verify(signature, message, key, algorithm).unwrap_or(false)
            }
            (Self::P521(key), Algorithm::Es512) => {
                let signature = URL_SAFE_NO_PAD.decode(signature);
                signature.is_ok_and(|signature| key.verify_sig(message, &signature).is_ok())
            }
            _ => false,
        }
    }
}

pub(super) const HMAC: &[Algorithm] =
    &[Algorithm::Common(Common::HS256), Algorithm::Common(Common::HS384), Algorithm::Common(Common::HS512)];
pub(super) const RSA: &[Algorithm] =
    &[Algorithm::Common(Common::RS256), Algorithm::Common(Common::RS384), Algorithm::Common(Common::RS512)];
pub(super) const ES256: &[Algorithm] = &[Algorithm::Common(Common::ES256)];
pub(super) const ES384: &[Algorithm] = &[Algorithm::Common(Common::ES384)];
pub(super) const ES512: &[Algorithm] = &[Algorithm::Es512];
pub(super) const ED: &[Algorithm] = &[Algorithm::Common(Common::EdDSA)];
