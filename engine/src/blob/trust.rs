//! Whom our own HTTPS clients trust: the system's certificates and one more authority, on the one TLS library.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::Error;

/// Where systems keep the certificates they trust, in one file. The first one that is there counts.
const SYSTEM_FILES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A client that trusts the system's certificates and those of `ca_pem`. Reads a file of the system.
///
/// # Errors
/// [`Error::BadSetting`] for PEM text without a usable certificate.
pub fn client_config(ca_pem: Option<&str>) -> Result<ClientConfig, Error> {
    let refused = |why: String| Error::BadSetting { setting: "ca_pem", why };
    let mut roots = RootCertStore::empty();
    if let Some(bundle) = SYSTEM_FILES.iter().find_map(|file| std::fs::read(file).ok()) {
        // An image may have no certificates, or odd ones; then the connection that needs them is refused by name.
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bundle).flatten());
    }
    if let Some(pem) = ca_pem {
        let mut found = 0;
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| refused(error.to_string()))?;
            roots.add(certificate).map_err(|error| refused(error.to_string()))?;
            found += 1;
        }
        if found == 0 {
            return Err(refused("it has no certificate".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|error| refused(error.to_string()))?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_without_a_certificate_is_refused_and_a_real_one_taken() {
        let made = rcgen::generate_simple_self_signed(vec!["store".to_owned()]).unwrap();

        client_config(None).unwrap();
        client_config(Some(&made.cert.pem())).unwrap();

        for pem in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let error = client_config(Some(pem)).unwrap_err();
            assert!(matches!(error, Error::BadSetting { setting: "ca_pem", .. }), "{error:?}");
        }
    }
}
