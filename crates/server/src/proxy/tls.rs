//! TLS towards the backend.

use reqwest::{Certificate, ClientBuilder, Identity};

use crate::config::ProxyTls;
use crate::http::load_pem;
use crate::rules::RulesError;

/// Has `builder` do TLS as `tls`, the section `key`, says.
///
/// # Errors
/// What is no certificate, no key, and no file that has one. Keys are not repeated.
pub(super) fn configure(
    key: &str,
    tls: &ProxyTls,
    mut builder: ClientBuilder,
) -> Result<ClientBuilder, RulesError> {
    if !tls.enabled {
        return Ok(builder);
    }
    if !tls.server_ca_pem.is_empty() {
        let key = format!("{key}.server_ca_pem");
        let pem = load_pem(&key, &tls.server_ca_pem, true)?;
        let authorities = Certificate::from_pem_bundle(&pem).ok().filter(|found| !found.is_empty());
        builder = builder.tls_certs_only(authorities.ok_or_else(|| wrong(&key, "certificates as PEM"))?);
    }
    let (certificate, secret) = (&tls.cert_pem, &tls.key_pem);
    if certificate.is_empty() != secret.is_empty() {
        let missing = if certificate.is_empty() { "cert_pem" } else { "key_pem" };
        return Err(RulesError::BadValue {
            key: format!("{key}.{missing}"),
            found: "not set".to_owned(),
            expected: "both cert_pem and key_pem, or none".to_owned(),
        });
    }
    if !certificate.is_empty() {
        let mut pem = load_pem(&format!("{key}.cert_pem"), certificate, true)?;
        pem.push(b'\n');
        pem.extend(load_pem(&format!("{key}.key_pem"), secret.expose(), false)?);
        let identity = Identity::from_pem(&pem);
        let expected = "a certificate and its private key, as PEM";
        builder = builder.identity(identity.map_err(|_| wrong(&format!("{key}.cert_pem"), expected))?);
    }
    if tls.insecure_skip_verify {
        tracing::warn!("{key}.insecure_skip_verify is on: anybody may answer for the backend");
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    Ok(builder)
}

fn wrong(key: &str, expected: &str) -> RulesError {
    RulesError::BadValue {
        key: key.to_owned(),
        found: "something else".to_owned(),
        expected: expected.to_owned(),
    }
}
