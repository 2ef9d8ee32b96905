//! Certificates for development: short-lived, so that browsers take them by their hash.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use tidegate_server::config::Tls;
use time::{Duration, OffsetDateTime};

use crate::cli::Cert;
use crate::node::Failure;

/// A certificate that signs itself, and its key.
pub(crate) struct Made {
    pub(crate) certificate: String,
    pub(crate) key: String,
    hash: Vec<u8>,
}

/// Browsers take a certificate by its hash only if it is valid for at most 14 days.
const VALID: Duration = Duration::days(13);
/// Clocks differ.
const EARLIER: Duration = Duration::hours(1);

/// Names that every such certificate has.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Makes one for these names and addresses, too.
pub(crate) fn make(names: &[String]) -> Result<Made, Failure> {
    let all = NAMES.iter().map(|name| (*name).to_owned()).chain(names.iter().cloned());
    let mut params = CertificateParams::new(all.collect::<Vec<_>>())
        .map_err(|error| format!("expected names of hosts and addresses, got {names:?}: {error}"))?;
    params.distinguished_name.push(DnType::CommonName, "Tidegate for development");
    params.not_before = OffsetDateTime::now_utc() - EARLIER;
    params.not_after = OffsetDateTime::now_utc() + VALID;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.self_signed(&key)?;
    let hash = digest(&SHA256, certificate.der()).as_ref().to_vec();
    Ok(Made { certificate: certificate.pem(), key: key.serialize_pem(), hash })
}

impl Made {
    /// The certificate's SHA-256 hash.
    pub(crate) fn hash_base64(&self) -> String {
        BASE64_STANDARD.encode(&self.hash)
    }

    fn hash_hex(&self) -> String {
        self.hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The same as configuration has it.
    pub(crate) fn tls(&self) -> Tls {
        Tls {
            enabled: true,
            cert_pem: self.certificate.clone(),
            key_pem: self.key.clone().into(),
            client_ca_pem: String::new(),
        }
    }
}

/// The command: writes the files, and says how browsers are told to take it.
pub(crate) fn run(cert: &Cert) -> ExitCode {
    match write(cert) {
        Ok(made) => {
            let (certificate, key) = (cert.cert.display(), cert.key.display());
            crate::say(format_args!(
                "certificate  {certificate} (ECDSA P-256, valid for 13 days)\n\
                 key          {key}\n\
                 SHA-256      {base64}\n             {hex}\n\n\
                 Server:\n  \
                 tidegate --quic.enabled true --webtransport.enabled true --quic.tls.enabled true \\\n    \
                 --quic.tls.cert_pem {certificate} --quic.tls.key_pem {key}\n\n\
                 Page:\n  \
                 new WebTransport(url, {{ serverCertificateHashes: [{{\n    \
                 algorithm: 'sha-256',\n    \
                 value: Uint8Array.from(atob('{base64}'), c => c.charCodeAt(0)),\n  }}] }})",
                base64 = made.hash_base64(),
                hex = made.hash_hex(),
            ));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("tidegate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(cert: &Cert) -> Result<Made, Failure> {
    let made = make(&cert.names)?;
    let (certificate, key) = (&cert.cert, &cert.key);
    if let Some(there) = [certificate, key].into_iter().find(|path| path.exists() && !cert.force) {
        return Err(format!("{} exists; --force replaces it", there.display()).into());
    }
    // Both or none: a key beside another's certificate is of no use.
    let certificate = file(certificate, &made.certificate, 0o644)?;
    let key = file(key, &made.key, 0o600)?;
    certificate.put()?;
    key.put()?;
    Ok(made)
}

/// A file that was written beside where it is to be.
struct Written<'p> {
    beside: PathBuf,
    path: &'p Path,
}

impl Written<'_> {
    /// Puts it where it is to be, in place of what stands there.
    fn put(self) -> Result<(), Failure> {
        Ok(fs::rename(&self.beside, self.path).map_err(|error| unwritten(self.path, &error))?)
    }
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        // It is not there any more, where all went well.
        let _ = fs::remove_file(&self.beside);
    }
}

fn unwritten(path: &Path, error: &std::io::Error) -> String {
    format!("{} cannot be written: {error}", path.display())
}

/// Writes a file that others may read as `mode` says, to be put in its place.
fn file<'p>(path: &'p Path, text: &str, mode: u32) -> Result<Written<'p>, Failure> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let written = Written { beside: beside.into(), path };
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&written.beside);
    let done = file.and_then(|mut file| file.write_all(text.as_bytes()));
    done.map_err(|error| unwritten(path, &error))?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_taken_by_tls_and_valid_for_less_than_14_days() {
        let made = make(&["example.org".to_owned()]).unwrap();
        assert_eq!(made.hash_hex().len(), 64);
        assert!(VALID + EARLIER < Duration::days(14));
        tidegate_server::http::Certificate::read("test", &made.tls()).unwrap();
        assert!(make(&["not a name\u{7f}\u{e9}".to_owned()]).is_err());
    }
}
