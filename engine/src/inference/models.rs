//! Asks models: whom, in which pieces, how often, and for how long.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;
use reqwest::Url;
use serde_json::Value as Json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::cut;
use super::guard::is_forbidden;
use super::params::{Params, Truncation};
use super::post::NEVER;
use super::provider::{self, Embedder, Login, MAX_TEXTS, Place, Purpose, Ranker, Wish, in_order};
use super::{Answer, Error, Failure, ModelSettings, Post, ProviderSettings, Request, bare};
use crate::base::{Clock, Secret, heavy};

/// Requests under way at once in this process.
const REQUESTS: usize = 64;
/// Requests under way at once to one host, so that one that does not answer holds up nobody but those who ask it.
const REQUESTS_OF_HOST: usize = 16;
/// Requests under way at once for the texts of one field or one question.
const AT_ONCE: usize = 4;
/// How long one request may take.
const ATTEMPT: Duration = Duration::from_secs(30);
/// How long all requests of one call of a client may take.
const WHOLE: Duration = Duration::from_secs(120);
/// Attempts of a request that may succeed when it is made again.
const ATTEMPTS: u32 = 3;
/// The pause before the second attempt; it doubles with each one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The same where a service says that it is asked too much, and not for how long.
const FIRST_PAUSE_OF_MANY: Duration = Duration::from_secs(1);
/// The longest pause that a service may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// Most numbers of one answer, so that no service can fill our memory.
const MAX_NUMBERS: usize = 1 << 18;
/// Most bytes of the texts of one request and their question, unless it has one text only. TEI takes 2 MB of JSON.
const MAX_BYTES: usize = 1 << 20;
/// Most bytes of the vectors that models make for one write, and of one function's texts and vectors together: as many as a client
/// could send.
pub const MAX_WRITE_BYTES: usize = 64 << 20;
/// What a number may take in an answer. Unit: bytes.
const NUMBER_BYTES: usize = 32;
/// What an answer may have besides its numbers, and for one vector of more numbers than we asked for. Unit: bytes.
const SLACK_BYTES: usize = 2 << 20;
/// The longest answer that is read, whatever was asked. Unit: bytes.
const MAX_ANSWER_BYTES: usize = SLACK_BYTES + MAX_NUMBERS * NUMBER_BYTES;
/// Longer bodies are written and read where a thread may be busy. Unit: bytes.
const LONG_BYTES: usize = 64 << 10;
/// What models are asked when a collection is made.
const PROBE: &str = "check";

/// Services that compute with models. Cheap to share.
pub struct Models {
    post: Arc<dyn Post>,
    settings: ModelSettings,
    clock: Arc<dyn Clock>,
    requests: Arc<Semaphore>,
    /// Of the hosts that are being asked, each one's share of the requests.
    hosts: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// When a call of a client has no more time for models. One call has one, however many models it asks.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Duration);

/// Whom to ask.
#[derive(Clone, Debug)]
struct Service {
    url: Url,
    /// The endpoint, as errors show it.
    shown: String,
    login: Option<(&'static str, Secret)>,
}

/// What a function asks for.
struct Embedding {
    row: &'static Embedder,
    service: Service,
    wish: Wish,
    most: usize,
    dim: usize,
}

/// What a ranker asks for, checked.
pub struct Ranking {
    row: &'static Ranker,
    service: Service,
    wish: Wish,
    most: usize,
}

impl std::fmt::Debug for Ranking {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Ranking").field("by", &self.row.name).finish_non_exhaustive()
    }
}

/// What a row of either table says of a service.
#[derive(Clone, Copy)]
struct Row<'a> {
    name: &'static str,
    place: Place,
    login: Login,
    own: &'a ProviderSettings,
}

impl Models {
    /// Asks over `post`, as the operator allows.
    #[must_use]
    pub fn new(post: Arc<dyn Post>, settings: ModelSettings, clock: Arc<dyn Clock>) -> Arc<Self> {
        let requests = Arc::new(Semaphore::new(REQUESTS));
        Arc::new(Self { post, settings, clock, requests, hosts: Mutex::default() })
    }

    /// The deadline of a call that begins now.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        Deadline(self.clock.monotonic() + WHOLE)
    }

    /// Checks the parameters of a function whose output field has `dim` numbers, and that its model answers with as many.
    ///
    /// # Errors
    /// What is wrong with a parameter, why nobody answers, or [`Error::Dim`].
    pub async fn check(
        &self,
        params: &[(String, String)],
        dim: usize,
        deadline: Deadline,
    ) -> Result<(), Error> {
        self.embed(params, dim, vec![PROBE.to_owned()], (Purpose::Store, deadline)).await.map(|_| ())
    }

    /// The vectors of some texts, one after the other: all of them, or an error.
    ///
    /// # Errors
    /// [`Error::EmptyText`] for a text that is empty, [`Error::TooMuch`] for more than a write may carry, and as [`Self::check`].
    pub async fn embed(
        &self,
        params: &[(String, String)],
        dim: usize,
        texts: Vec<String>,
        (purpose, deadline): (Purpose, Deadline),
    ) -> Result<Vec<f32>, Error> {
        let asked = self.embedding(params, dim)?;
        if let Some(row) = texts.iter().position(String::is_empty) {
            return Err(Error::EmptyText { row });
        }
        let rows = texts.len();
        if texts.iter().map(|text| text.len() + dim * size_of::<f32>()).sum::<usize>() > MAX_WRITE_BYTES {
            return Err(Error::TooMuch { rows, limit: MAX_WRITE_BYTES });
        }
        let most = asked.most.min((MAX_NUMBERS / dim.max(1)).max(1));
        let asked = &asked;
        let asks: Vec<_> = pieces(texts, most, MAX_BYTES)
            .into_iter()
            .map(|texts| self.vectors(asked, texts, (purpose, deadline)))
            .collect();
        let all: Vec<Vec<f32>> = futures::stream::iter(asks).buffered(AT_ONCE).try_collect().await?;
        apart(rows * dim * size_of::<f32>(), move || all.concat()).await
    }

    /// What a ranker asks for, by its parameters.
    ///
    /// # Errors
    /// What is wrong with a parameter.
    pub fn ranking(&self, params: &[(String, String)]) -> Result<Ranking, Error> {
        let params = Params(params);
        refuse_secrets(params)?;
        let row = provider::ranker(params.text("provider").unwrap_or_default())?;
        let default = ProviderSettings::default();
        let own = self.settings.rerank.get(row.name).unwrap_or(&default);
        if !own.enabled {
            return Err(Error::RankDisabled { name: row.name });
        }
        let wish = Wish {
            model: model(params, row.name, row.names_model)?,
            truncation: Truncation::of(params)?,
            numbers: row
                .numbers
                .iter()
                .filter_map(|key| Some(params.count(key).transpose()?.map(|number| (*key, number))))
                .collect::<Result<_, _>>()?,
            dim: None,
        };
        let service =
            self.service(params, Row { name: row.name, place: row.place, login: row.login, own })?;
        let most = params.count("max_client_batch_size")?.unwrap_or(row.most).min(MAX_TEXTS);
        Ok(Ranking { row, service, wish, most })
    }

    /// How well each text answers `query`, in their order.
    ///
    /// # Errors
    /// Why nobody answers, or what is wrong with an answer.
    pub async fn rank(
        &self,
        ranking: &Ranking,
        query: &str,
        texts: Vec<String>,
        deadline: Deadline,
    ) -> Result<Vec<f32>, Error> {
        let query: Arc<str> = query.into();
        let asks: Vec<_> = pieces(texts, ranking.most, MAX_BYTES.saturating_sub(query.len()))
            .into_iter()
            .map(|texts| self.scores(ranking, Arc::clone(&query), texts, deadline))
            .collect();
        let all: Vec<Vec<f32>> = futures::stream::iter(asks).buffered(AT_ONCE).try_collect().await?;
        Ok(all.concat())
    }

    fn embedding(&self, params: &[(String, String)], dim: usize) -> Result<Embedding, Error> {
        let params = Params(params);
        refuse_secrets(params)?;
        let row = provider::embedder(params.text("provider"))?;
        let default = ProviderSettings::default();
        let own = self.settings.embedding.get(row.name).unwrap_or(&default);
        if !own.enabled {
            return Err(Error::Disabled { name: row.name });
        }
        if let Some(key) = row.refused.iter().find(|key| params.text(key).is_some()) {
            return Err(Error::Unsupported { key: (*key).to_owned(), name: row.name });
        }
        let wish = Wish {
            model: model(params, row.name, row.names_model)?,
            dim: params.count("dim")?,
            truncation: Truncation::of(params)?,
            numbers: Vec::new(),
        };
        if let Some(param) = wish.dim.filter(|param| *param != dim) {
            return Err(Error::ParamDim { field: dim, param });
        }
        let mut service =
            self.service(params, Row { name: row.name, place: row.place, login: row.login, own })?;
        if row.login == Login::ApiKey {
            deploy(&mut service.url, &wish.model);
        }
        let most = params.count("max_client_batch_size")?.unwrap_or(row.most).min(MAX_TEXTS);
        Ok(Embedding { row, service, wish, most, dim })
    }

    /// Where a service is, and by which secret it is asked.
    fn service(&self, params: Params<'_>, row: Row<'_>) -> Result<Service, Error> {
        let of_account = format!("https://{}.openai.azure.com", row.own.resource);
        let its_own = match row.own.url.trim() {
            "" if row.login == Login::ApiKey && !row.own.resource.is_empty() => of_account.as_str(),
            "" => row.place.url,
            url => url,
        };
        let own_is_set = !row.own.url.trim().is_empty() || !row.own.resource.is_empty();
        let given = params.text("endpoint");
        // What the operator has set is not shown to users.
        let shown =
            given.map_or_else(|| if own_is_set { row.name.to_owned() } else { its_own.to_owned() }, cut);
        let url = with_path(parsed(given.unwrap_or(its_own), &shown)?, row.place);
        let is_known = match given {
            None => true,
            // That a user names it does not make it another one; another path of it may be somebody else's.
            Some(_) => Url::parse(its_own).is_ok_and(|own| with_path(own, row.place) == url),
        };
        let is_listed = || self.settings.hosts.iter().any(|listed| Listed(listed).names(&url));
        if !is_known && !self.settings.hosts.is_empty() && !is_listed() {
            let why = "its host is not among redkite.functionHosts";
            return Err(Error::Forbidden { endpoint: shown, why });
        }
        let may_hear =
            is_known || self.settings.hosts.iter().any(|listed| Listed(listed).may_hear_secrets(&url));
        let login = self.login(params, row, may_hear)?;
        Ok(Service { url, shown, login })
    }

    /// The secret that a service is asked with. Users name it, but do not choose who hears it: neither the place, nor the service.
    fn login(
        &self,
        params: Params<'_>,
        row: Row<'_>,
        may_hear: bool,
    ) -> Result<Option<(&'static str, Secret)>, Error> {
        let mut its_own = row.own.credential.split(',').map(str::trim).filter(|name| !name.is_empty());
        let named = params.text("credential");
        let is_needed = row.login != Login::Optional;
        let Some(name) = named.or(its_own.clone().next()) else {
            return if is_needed { Err(Error::NoCredential { name: row.name }) } else { Ok(None) };
        };
        let secret = self.settings.credentials.get(&bare(name));
        let secret = secret.ok_or_else(|| Error::Credential { name: cut(name) })?;
        if !its_own.any(|own| bare(own) == bare(name)) {
            return Err(Error::CredentialOf { credential: cut(name), name: row.name });
        }
        if !may_hear {
            return if named.is_some() || is_needed {
                Err(Error::CredentialElsewhere { name: row.name })
            } else {
                Ok(None)
            };
        }
        Ok(Some(match row.login {
            Login::ApiKey => ("api-key", secret.clone()),
            Login::Bearer | Login::Optional => {
                ("authorization", Secret::new(format!("Bearer {}", secret.reveal())))
            }
        }))
    }

    async fn vectors(
        &self,
        asked: &Embedding,
        texts: Vec<String>,
        (purpose, deadline): (Purpose, Deadline),
    ) -> Result<Vec<f32>, Error> {
        let (count, dim, wish) = (texts.len(), asked.dim, asked.wish.clone());
        let (write, read) = (asked.row.body, asked.row.vectors);
        let bytes = bytes_of(&texts);
        let body = (bytes, move || written(&write(&wish, &texts, purpose)));
        let most = SLACK_BYTES + count * dim * NUMBER_BYTES;
        let read = move |answer: &Bytes| {
            let vectors = read(answer, count).map_err(Wrong::Form)?;
            if let Some(other) = vectors.iter().find(|vector| vector.len() != dim) {
                return Err(Wrong::Dim(other.len()));
            }
            if vectors.len() != count {
                return Err(Wrong::Form(format!("{} vectors for {count} texts", vectors.len())));
            }
            let vectors = vectors.concat();
            if vectors.iter().all(|number| number.is_finite()) {
                Ok(vectors)
            } else {
                Err(Wrong::Form("a vector has a number that is none".to_owned()))
            }
        };
        let wrong = |wrong| match wrong {
            Wrong::Form(reason) => Error::Answer { endpoint: asked.service.shown.clone(), reason },
            Wrong::Dim(obtained) => Error::Dim { required: dim, obtained },
        };
        self.ask(&asked.service, body, (most, read), deadline).await?.map_err(wrong)
    }

    async fn scores(
        &self,
        ranking: &Ranking,
        query: Arc<str>,
        texts: Vec<String>,
        deadline: Deadline,
    ) -> Result<Vec<f32>, Error> {
        let (count, wish) = (texts.len(), ranking.wish.clone());
        let (write, read) = (ranking.row.body, ranking.row.scores);
        let bytes = query.len() + bytes_of(&texts);
        let body = (bytes, move || written(&write(&wish, &query, &texts)));
        // Some send the texts back.
        let most = SLACK_BYTES + 6 * bytes;
        let read = move |answer: &Bytes| {
            let scores = in_order(read(answer)?.into_iter(), count)?;
            if scores.iter().all(|score| score.is_finite()) {
                Ok(scores)
            } else {
                Err("a score is no number".to_owned())
            }
        };
        let wrong = |reason| Error::Answer { endpoint: ranking.service.shown.clone(), reason };
        self.ask(&ranking.service, body, (most, read), deadline).await?.map_err(wrong)
    }

    /// What `read` makes of one answer with a good status. What may pass is asked again.
    ///
    /// A request is written and its answer read while it holds its permit: so permits bound the memory that all of them take.
    async fn ask<T: Send + 'static>(
        &self,
        service: &Service,
        (bytes, write): (usize, impl FnOnce() -> Result<Bytes, Error> + Send + 'static),
        (most, read): (usize, impl FnOnce(&Bytes) -> T + Send + 'static),
        deadline: Deadline,
    ) -> Result<T, Error> {
        let endpoint = || service.shown.clone();
        let most = most.min(MAX_ANSWER_BYTES);
        let mut permit = self.permit(service, deadline).await?;
        let body = apart(bytes, write).await??;
        let mut attempt = 1;
        loop {
            let request =
                Request { url: service.url.clone(), login: service.login.clone(), body: body.clone(), most };
            let answered = self.attempt(service, request, deadline).await?;
            let (error, pause) = match answered {
                Ok(answer) if (200..300).contains(&answer.status) => {
                    let body = answer.body.clone();
                    let read = move || {
                        // Held until then even if nobody waits for it any more.
                        let _permit = permit;
                        read(&body)
                    };
                    return apart(answer.body.len(), read).await;
                }
                Ok(answer) => {
                    let error = refused(service, &answer);
                    let pause = match (answer.status, answer.again) {
                        (408 | 429 | 500 | 502..=504, Some(again)) => again,
                        (429, None) => FIRST_PAUSE_OF_MANY * (1 << (attempt - 1)),
                        (408 | 500 | 502..=504, None) => FIRST_PAUSE * (1 << (attempt - 1)),
                        _ => return Err(error),
                    };
                    (error, pause)
                }
                Err(Failure::Unreachable(reason)) => {
                    (Error::Unreachable { endpoint: endpoint(), reason }, FIRST_PAUSE * (1 << (attempt - 1)))
                }
                Err(Failure::Forbidden) => {
                    return Err(Error::Forbidden { endpoint: endpoint(), why: NEVER });
                }
                Err(Failure::Untrusted(reason)) => {
                    return Err(Error::Untrusted { endpoint: endpoint(), reason });
                }
                Err(long @ Failure::TooLong { .. }) => {
                    return Err(Error::Answer { endpoint: endpoint(), reason: long.to_string() });
                }
            };
            if attempt == ATTEMPTS || pause > self.left(deadline).min(LONGEST_PAUSE) {
                return Err(error);
            }
            // Others may ask meanwhile.
            drop(permit);
            self.clock.sleep(pause).await;
            permit = self.permit(service, deadline).await?;
            attempt += 1;
        }
    }

    /// Lets one request through, once there are not too many of its host, nor of all.
    async fn permit(
        &self,
        service: &Service,
        deadline: Deadline,
    ) -> Result<[OwnedSemaphorePermit; 2], Error> {
        let host = self.share(service.url.host_str().unwrap_or_default());
        let both = async {
            let of_host = host.acquire_owned().await?;
            Ok([of_host, Arc::clone(&self.requests).acquire_owned().await?])
        };
        let left = self.left(deadline);
        tokio::select! {
            biased;
            both = both => both.map_err(|_: tokio::sync::AcquireError| Error::Defect {
                reason: "no requests are let through".to_owned(),
            }),
            () = self.clock.sleep(left) => {
                Err(Error::Busy { endpoint: service.shown.clone(), after_s: left.as_secs() })
            }
        }
    }

    /// The share of a host. It is forgotten once nobody asks it.
    fn share(&self, host: &str) -> Arc<Semaphore> {
        let mut hosts = self.hosts.lock();
        if let Some(share) = hosts.get(host).and_then(Weak::upgrade) {
            return share;
        }
        hosts.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(REQUESTS_OF_HOST));
        hosts.insert(host.to_owned(), Arc::downgrade(&share));
        share
    }

    /// What comes of one request, within its time and what is left of the call's.
    async fn attempt(
        &self,
        service: &Service,
        request: Request,
        deadline: Deadline,
    ) -> Result<Result<Answer, Failure>, Error> {
        let left = self.left(deadline);
        let endpoint = || service.shown.clone();
        tokio::select! {
            answered = self.post.post(request) => Ok(answered),
            () = self.clock.sleep(ATTEMPT.min(left)) => Err(if left < ATTEMPT {
                Error::Late { endpoint: endpoint(), after_s: WHOLE.as_secs() }
            } else {
                Error::TooSlow { endpoint: endpoint(), after_s: ATTEMPT.as_secs() }
            }),
        }
    }

    fn left(&self, deadline: Deadline) -> Duration {
        deadline.0.saturating_sub(self.clock.monotonic())
    }
}

/// What is wrong with vectors.
enum Wrong {
    /// They are not what was asked for.
    Form(String),
    /// One has so many numbers.
    Dim(usize),
}

/// A host that users may name: `host`, `host:port`, or either with a scheme.
#[derive(Clone, Copy)]
struct Listed<'a>(&'a str);

impl Listed<'_> {
    /// Scheme, if there is one, and what is behind it.
    fn parts(self) -> (Option<String>, String) {
        let listed = self.0.to_ascii_lowercase();
        match listed.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_owned()), rest.trim_end_matches('/').to_owned()),
            None => (None, listed),
        }
    }

    fn names(self, url: &Url) -> bool {
        let (scheme, listed) = self.parts();
        scheme.is_none_or(|scheme| scheme == url.scheme())
            && (url.host_str() == Some(&listed) || Self::with_port(url) == listed)
    }

    /// A whole host may have other listeners, and who listens in between hears what is not encrypted: a secret needs a port and,
    /// unless the operator says otherwise, HTTPS.
    fn may_hear_secrets(self, url: &Url) -> bool {
        let (scheme, listed) = self.parts();
        url.scheme() == scheme.as_deref().unwrap_or("https") && Self::with_port(url) == listed
    }

    fn with_port(url: &Url) -> String {
        let port = url.port_or_known_default().unwrap_or_default();
        format!("{}:{port}", url.host_str().unwrap_or_default())
    }
}

/// The address of a service, with the path that is asked there where the endpoint leaves it out.
fn with_path(mut url: Url, place: Place) -> Url {
    let path = url.path().trim_end_matches('/').to_owned();
    if !place.path.is_empty() && !path.ends_with(place.path) && (place.is_base || path.is_empty()) {
        url.set_path(&format!("{path}{}", place.path));
    }
    url
}

/// Secrets in a schema would be shown to everybody who may describe it.
fn refuse_secrets(params: Params<'_>) -> Result<(), Error> {
    let secrets = ["api_key", "apikey", "access_key_id", "secret_access_key", "credential_json"];
    let key = secrets.iter().find(|key| params.text(key).is_some());
    key.map_or(Ok(()), |key| Err(Error::Secret { key: (*key).to_owned() }))
}

fn model(params: Params<'_>, name: &'static str, is_needed: bool) -> Result<String, Error> {
    match params.text("model_name").or_else(|| params.text("model")) {
        Some(model) => Ok(model.to_owned()),
        None if is_needed => Err(Error::NoModel { name }),
        None => Ok(String::new()),
    }
}

/// An endpoint that may be asked at all.
fn parsed(endpoint: &str, shown: &str) -> Result<Url, Error> {
    let has_host = ["http://", "https://"].iter().any(|scheme| {
        let rest = endpoint.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme));
        rest.is_some() && endpoint.len() > scheme.len()
    });
    if !has_host {
        return Err(Error::Endpoint { endpoint: shown.to_owned() });
    }
    let url = Url::parse(endpoint)
        .map_err(|reason| Error::Unreachable { endpoint: shown.to_owned(), reason: reason.to_string() })?;
    let forbidden = |why| Err(Error::Forbidden { endpoint: shown.to_owned(), why });
    if !url.username().is_empty() || url.password().is_some() {
        return forbidden("it has a user or a password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return forbidden("it has a query or a fragment");
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    if host.parse::<IpAddr>().is_ok_and(is_forbidden) {
        return forbidden(NEVER);
    }
    Ok(url)
}

/// Azure has a path for each model.
fn deploy(url: &mut Url, model: &str) {
    url.set_query(Some("api-version=2024-06-01"));
    if url.path().contains("/deployments/") {
        return;
    }
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["openai", "deployments", model, "embeddings"]);
    }
}

/// Texts by request: so many of no more bytes, but one of any length.
fn pieces(texts: Vec<String>, most: usize, most_bytes: usize) -> Vec<Vec<String>> {
    let mut pieces: Vec<Vec<String>> = Vec::new();
    let mut bytes = 0;
    for text in texts {
        bytes += text.len();
        match pieces.last_mut() {
            Some(piece) if piece.len() < most && bytes <= most_bytes => piece.push(text),
            _ => {
                bytes = text.len();
                pieces.push(vec![text]);
            }
        }
    }
    pieces
}

fn bytes_of(texts: &[String]) -> usize {
    texts.iter().map(String::len).sum()
}

fn written(body: &Json) -> Result<Bytes, Error> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|reason| Error::Defect { reason: reason.to_string() })
}

/// Does work on so many bytes: at once, or where a thread may be busy.
async fn apart<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    if bytes < LONG_BYTES {
        return Ok(work());
    }
    heavy("speak with a model", work).await.map_err(|error| Error::Defect { reason: error.to_string() })
}

/// A status that is not good. Of the body only what a service says in words is shown: the endpoint may be none.
fn refused(service: &Service, answer: &Answer) -> Error {
    let reason = http::StatusCode::from_u16(answer.status).ok().and_then(|status| status.canonical_reason());
    let status = format!("{} {}", answer.status, reason.unwrap_or_default()).trim_end().to_owned();
    // Words are short.
    let body = Some(&answer.body).filter(|body| body.len() <= LONG_BYTES);
    let said = body.and_then(|body| serde_json::from_slice::<Json>(body).ok()).and_then(|body| {
        let error = body.get("error").map(|error| error.get("message").unwrap_or(error));
        let said = [error, body.get("message"), body.get("detail")];
        said.into_iter().flatten().find_map(|said| said.as_str().map(|said| cut(&hidden(said, service))))
    });
    let text = said.map(|said| format!(": {said}")).unwrap_or_default();
    Error::Refused { endpoint: service.shown.clone(), status, text }
}

/// What a service says, without the secret that it was told.
fn hidden(said: &str, service: &Service) -> String {
    let secret = service.login.as_ref().map(|(_, secret)| secret.reveal().trim_start_matches("Bearer "));
    match secret.filter(|secret| !secret.is_empty()) {
        Some(secret) => said.replace(secret, "…"),
        None => said.to_owned(),
    }
}
