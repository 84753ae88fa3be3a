//! Reads what is needed of X.509's binary form (RFC 5280, 4.1), and nothing else: whether to trust a certificate is not decided here.

use std::net::IpAddr;

use k8s_openapi::jiff::Timestamp;
use yasna::models::ObjectIdentifier;
use yasna::{ASN1Error, ASN1ErrorKind, ASN1Result, BERReader, Tag, TagClass, tags};

use super::{Certificate, Error};

/// Object identifier of the extension with names beside the subject.
const ALTERNATIVE_NAMES: &[u64] = &[2, 5, 29, 17];
/// Attributes of names that have a short form, by their object identifiers.
const ATTRIBUTES: [(&[u64], &str); 6] = [
    (&[2, 5, 4, 3], "CN"),
    (&[2, 5, 4, 6], "C"),
    (&[2, 5, 4, 7], "L"),
    (&[2, 5, 4, 8], "ST"),
    (&[2, 5, 4, 10], "O"),
    (&[2, 5, 4, 11], "OU"),
];
/// Tags of a host name and of an address among the names of [`ALTERNATIVE_NAMES`].
const HOST: u64 = 2;
const ADDRESS: u64 = 7;

impl Certificate {
    /// Reads the binary form.
    ///
    /// # Errors
    /// [`Error::Certificate`].
    pub fn of_der(der: &[u8]) -> Result<Self, Error> {
        let read = yasna::parse_der(der, |reader| {
            reader.read_sequence(|reader| {
                let certificate = reader.next().read_sequence(|reader| {
                    // Version and serial number say nothing here, nor does the algorithm of the signature.
                    reader.read_optional(|reader| {
                        reader.read_tagged(Tag::context(0), |reader| reader.read_der())
                    })?;
                    reader.next().read_der()?;
                    reader.next().read_der()?;
                    let issuer = distinguished(reader.next())?;
                    let (from, until) = reader
                        .next()
                        .read_sequence(|reader| Ok((time(reader.next())?, time(reader.next())?)))?;
                    let subject = distinguished(reader.next())?;
                    reader.next().read_der()?;
                    for unique_id in [1, 2] {
                        let tag = Tag::context(unique_id);
                        reader.read_optional(|reader| {
                            reader.read_tagged_implicit(tag, |reader| reader.read_bitvec_bytes())
                        })?;
                    }
                    let names =
                        reader.read_optional(|reader| reader.read_tagged(Tag::context(3), extensions))?;
                    let mut names = names.unwrap_or_default();
                    names.sort();
                    Ok(Self { subject, issuer, from, until, names })
                })?;
                reader.next().read_der()?;
                reader.next().read_der()?;
                Ok(certificate)
            })
        });
        read.map_err(|error| Error::Certificate { text: error.to_string() })
    }
}

fn invalid() -> ASN1Error {
    ASN1Error::new(ASN1ErrorKind::Invalid)
}

/// A name as `CN=…, O=…`.
fn distinguished(reader: BERReader<'_, '_>) -> ASN1Result<String> {
    let mut parts = Vec::new();
    reader.read_sequence_of(|reader| {
        reader.read_set_of(|reader| {
            parts.push(reader.read_sequence(|reader| {
                let attribute = reader.next().read_oid()?;
                let value = reader.next().read_tagged_der()?;
                Ok(format!("{}={}", short(&attribute), String::from_utf8_lossy(value.value())))
            })?);
            Ok(())
        })
    })?;
    Ok(parts.join(", "))
}

fn short(attribute: &ObjectIdentifier) -> String {
    let known = ATTRIBUTES.iter().find(|(id, _)| *id == attribute.components().as_slice());
    known.map_or_else(|| attribute.to_string(), |(_, short)| (*short).to_owned())
}

fn time(reader: BERReader<'_, '_>) -> ASN1Result<Timestamp> {
    let seconds = match reader.lookahead_tag()? {
        tags::TAG_UTCTIME => reader.read_utctime()?.datetime().unix_timestamp(),
        _ => reader.read_generalized_time()?.datetime().unix_timestamp(),
    };
    Timestamp::from_second(seconds).map_err(|_| invalid())
}

/// The names that the extensions say.
fn extensions(reader: BERReader<'_, '_>) -> ASN1Result<Vec<String>> {
    let mut names = Vec::new();
    reader.read_sequence_of(|reader| {
        reader.read_sequence(|reader| {
            let kind = reader.next().read_oid()?;
            reader.read_optional(|reader| reader.read_bool())?;
            let value = reader.next().read_bytes()?;
            if kind.components().as_slice() == ALTERNATIVE_NAMES {
                names.extend(yasna::parse_der(&value, alternatives)?);
            }
            Ok(())
        })
    })?;
    Ok(names)
}

/// Host names and addresses; other kinds of names are nobody's that is called.
fn alternatives(reader: BERReader<'_, '_>) -> ASN1Result<Vec<String>> {
    let listed = reader.collect_sequence_of(|reader| reader.read_tagged_der())?;
    let mut names = Vec::new();
    for name in listed.iter().filter(|name| name.tag().tag_class == TagClass::ContextSpecific) {
        match name.tag().tag_number {
            HOST => names.push(String::from_utf8(name.value().to_vec()).map_err(|_| invalid())?),
            ADDRESS => names.push(address(name.value()).ok_or_else(invalid)?.to_string()),
            _ => {}
        }
    }
    Ok(names)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}
