//! Certificates and keys as the configuration gives them.

use std::fs;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;

/// The PEM that `text`, the value of `key`, is, or is the base64 of, or names a file of. `shown`: messages
/// may repeat the text.
pub(crate) fn load(key: &str, text: &str, shown: bool) -> Result<Vec<u8>, TlsError> {
    if is_pem(text.as_bytes()) {
        return Ok(text.as_bytes().to_vec());
    }
    let digits: String = text.split_whitespace().collect();
    if let Ok(decoded) = STANDARD.decode(digits)
        && is_pem(&decoded)
    {
        return Ok(decoded);
    }
    // Only what is a file: reading a pipe would wait for its other end.
    let read = fs::metadata(text).and_then(|found| match found.is_file() {
        true => fs::read(text),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file")),
    });
    read.map_err(|source| TlsError::Unreadable {
        key: key.to_owned(),
        found: if shown && text.len() <= LONGEST_NAME { format!("{text:?}") } else { "not shown".to_owned() },
        source,
    })
}

pub(super) fn certificates(key: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let missing = || TlsError::Content { key: key.to_owned(), expected: "certificate in PEM" };
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| missing())?;
    if found.is_empty() { Err(missing()) } else { Ok(found) }
}

pub(super) fn private_key(key: &str, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    let expected = "private key in PEM that is not encrypted (PKCS#8, PKCS#1 or SEC1)";
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| TlsError::Content { key: key.to_owned(), expected })
}

fn is_pem(text: &[u8]) -> bool {
    text.windows(BEGIN.len()).any(|part| part == BEGIN)
}

const BEGIN: &[u8] = b"-----BEGIN ";
/// Longer texts are no file's name, but PEM gone wrong.
const LONGEST_NAME: usize = 255;
