//! Makes keys and certificates.

use k8s_openapi::jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SerialNumber,
};
use time::OffsetDateTime;

use super::{Certificate, Credentials, Error, Key};

/// How far a certificate reaches into the past, for machines whose clocks are behind. Unit: seconds.
const BACK_SECONDS: i64 = 300;
/// Unit: seconds.
const DAY_SECONDS: i64 = 86_400;

/// What an authority's key may do.
const AUTHORITY_USAGES: [KeyUsagePurpose; 2] = [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];

/// A certificate to be made.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// Whose: the name of the database.
    pub owner: &'a str,
    /// A text that nobody can guess and that never comes again.
    pub serial: String,
    /// Its key.
    pub key: Key,
    /// When it is made.
    pub now: Timestamp,
    /// How long it holds. Unit: days.
    pub days: i64,
}

/// A private key of the machine's randomness, for signatures on curve P-256.
///
/// # Errors
/// [`Error::Key`].
pub fn new_key() -> Result<Key, Error> {
    let made = KeyPair::generate().map_err(|source| Error::Key { source })?;
    Ok(Key::new(made.serialize_pem()))
}

/// An authority that signs itself.
///
/// # Errors
/// [`Error`].
pub fn authority(order: Order<'_>) -> Result<Credentials, Error> {
    let key = KeyPair::from_pem(order.key.pem()).map_err(|source| Error::Key { source })?;
    let mut params = params(&order, i64::MAX)?;
    // Key and time make the name unlike that of every authority before: certificates say by it who issued them.
    let print: String =
        params.key_identifier(&key).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    // A common name has at most 64 characters.
    let owner: String = order.owner.chars().take(24).collect();
    let subject = format!("{owner} authority {print} {}", order.now.strftime("%Y%m%dT%H%M%SZ"));
    params.distinguished_name.push(DnType::CommonName, subject.clone());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = AUTHORITY_USAGES.to_vec();
    let made = params.self_signed(&key).map_err(|source| Error::Issue { subject, source })?;
    credentials(&made, order.key)
}

/// A certificate for `names`, for servers and for those who call them. It never outlives its authority.
///
/// # Errors
/// [`Error`].
pub fn certificate(by: &Credentials, names: &[String], order: Order<'_>) -> Result<Credentials, Error> {
    let subject = names.first().cloned().unwrap_or_default();
    let failed = |source| Error::Issue { subject: subject.clone(), source };
    let key = KeyPair::from_pem(order.key.pem()).map_err(|source| Error::Key { source })?;
    let signing = KeyPair::from_pem(by.key.pem()).map_err(|source| Error::Key { source })?;
    let issuer = Issuer::new(named_authority(&by.certificate.subject)?, signing);
    let listed = CertificateParams::new(names.to_vec()).map_err(failed)?;
    let mut params = params(&order, by.certificate.until.as_second())?;
    params.subject_alt_names = listed.subject_alt_names;
    params.distinguished_name.push(DnType::CommonName, order.owner);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let made = params.signed_by(&key, &issuer).map_err(failed)?;
    credentials(&made, order.key)
}

/// What an [`authority`] says of itself in what it issues: its name, and the print of its key.
fn named_authority(subject: &str) -> Result<CertificateParams, Error> {
    let name = subject.strip_prefix("CN=").ok_or_else(|| Error::Authority { subject: subject.to_owned() })?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = AUTHORITY_USAGES.to_vec();
    Ok(params)
}

fn params(order: &Order<'_>, at_most: i64) -> Result<CertificateParams, Error> {
    let time =
        |seconds: i64| OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| Error::Time { seconds });
    let now = order.now.as_second();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = time(now - BACK_SECONDS)?;
    params.not_after = time((now + order.days * DAY_SECONDS).min(at_most))?;
    let serial: Vec<u8> = order.serial.bytes().take(20).collect();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn credentials(made: &rcgen::Certificate, key: Key) -> Result<Credentials, Error> {
    Ok(Credentials { certificate: Certificate::of_der(made.der())?, pem: made.pem(), key })
}
