//! Why a model was not asked, or what it said instead of an answer.

use crate::base::{Kind, Kinded};

/// What of a value an error may repeat. Unit: bytes.
const SHOWN: usize = 256;

/// The beginning of a text.
pub(super) fn cut(text: &str) -> String {
    if text.len() <= SHOWN {
        return text.to_owned();
    }
    let end = (0..=SHOWN).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &text[..end])
}

/// Why there is no answer of a model. `Display` is the text on the wire, in Milvus's words where it has some, [`Error::code`] the
/// number.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each variant is; the fields are what they name")]
pub enum Error {
    #[error(
        "text embedding function: param provider is missing, one of {known} is needed: invalid parameter"
    )]
    NoProvider { known: String },
    #[error("unsupported text embedding service provider: {name}, only {known} are: invalid parameter")]
    Provider { name: String, known: String },
    #[error("unknown rerank model provider: {name}, only {known} are: invalid parameter")]
    RankProvider { name: String, known: String },
    #[error("text embedding model provider {name} is disabled: invalid parameter")]
    Disabled { name: &'static str },
    #[error("rerank model provider {name} is disabled: invalid parameter")]
    RankDisabled { name: &'static str },
    #[error("endpoint {endpoint} is not a valid http/https link: invalid parameter")]
    Endpoint { endpoint: String },
    #[error("endpoint {endpoint} is not allowed: {why}: invalid parameter")]
    Forbidden { endpoint: String, why: &'static str },
    #[error("{name} needs param model_name: invalid parameter")]
    NoModel { name: &'static str },
    #[error(
        "{name} needs a credential: name one of the settings credential.<name>.apikey by param credential: invalid parameter"
    )]
    NoCredential { name: &'static str },
    #[error("credential {name} is not among the settings credential.<name>.apikey: invalid parameter")]
    Credential { name: String },
    #[error(
        "credential {credential} is not for {name}: its setting credential lists those that are: invalid parameter"
    )]
    CredentialOf { credential: String, name: &'static str },
    #[error(
        "a credential of the server is not sent to an endpoint that a user names: set the url of {name} in the settings, or the endpoint's host:port in redkite.functionHosts, which then hears it over https: invalid parameter"
    )]
    CredentialElsewhere { name: &'static str },
    #[error(
        "param {key} is not taken, secrets are in the settings credential.<name>.apikey and named by param credential: invalid parameter"
    )]
    Secret { key: String },
    #[error("param {key} is not supported by {name}: invalid parameter")]
    Unsupported { key: String, name: &'static str },
    #[error("param {key} must be {wanted}, got {value}: invalid parameter")]
    Param { key: &'static str, wanted: &'static str, value: String },
    #[error("the dim of the output field is [{field}], but param dim is [{param}]: invalid parameter")]
    ParamDim { field: usize, param: usize },
    #[error(
        "the required embedding dim is [{required}], but the embedding obtained from the model is [{obtained}]"
    )]
    Dim { required: usize, obtained: usize },
    #[error(
        "text of row {row} cannot be empty: TextEmbedding function does not support empty text: invalid parameter"
    )]
    EmptyText { row: usize },
    #[error("call service failed: {endpoint} cannot be asked: {reason}")]
    Unreachable { endpoint: String, reason: String },
    #[error("call service failed: {endpoint} did not answer within {after_s} s")]
    TooSlow { endpoint: String, after_s: u64 },
    #[error(
        "call service failed: the {after_s} s of one call for models are over, the last one asked was {endpoint}"
    )]
    Late { endpoint: String, after_s: u64 },
    #[error(
        "call service failed: {endpoint} was not asked, since requests of others went before for {after_s} s"
    )]
    Busy { endpoint: String, after_s: u64 },
    #[error("call service failed: {endpoint} is not trusted: {reason}")]
    Untrusted { endpoint: String, reason: String },
    #[error("{rows} texts and the vectors of them take more than {limit} bytes: invalid parameter")]
    TooMuch { rows: usize, limit: usize },
    #[error("call service failed: {endpoint} answered {status}{text}")]
    Refused { endpoint: String, status: String, text: String },
    #[error("call service failed: {endpoint} gave no answer of its kind: {reason}")]
    Answer { endpoint: String, reason: String },
    #[error("{reason}")]
    Defect { reason: String },
}

impl Error {
    /// Milvus's code: 2 for a service that may be there again soon, 2400 for one that does not do it.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::Unreachable { .. } | Self::TooSlow { .. } | Self::Late { .. } | Self::Busy { .. } => 2,
            Self::Untrusted { .. } | Self::Refused { .. } | Self::Answer { .. } | Self::Dim { .. } => 2400,
            Self::Defect { .. } => 5,
            _ => 1100,
        }
    }
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Unreachable { .. } | Self::TooSlow { .. } | Self::Late { .. } | Self::Busy { .. } => {
                Kind::Unavailable
            }
            Self::Defect { .. } => Kind::Internal,
            _ => Kind::Invalid,
        }
    }
}
