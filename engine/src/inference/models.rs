//! Asks models: whom, in which pieces, how often, and for how long.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use reqwest::Url;
use serde_json::Value as Json;
use tokio::sync::Semaphore;

use super::error::cut;
use super::guard::is_forbidden;
use super::params::{Params, Truncation};
use super::provider::{self, Embedder, Login, Place, Purpose, Ranker, Wish, in_order};
use super::{Answer, Error, Failure, ModelSettings, Post, ProviderSettings, Request};
use crate::base::{Clock, Secret, heavy};

/// Requests under way at once in this process.
const REQUESTS: usize = 64;
/// Requests under way at once for one write or search.
const AT_ONCE: usize = 4;
/// How long one request may take.
const ATTEMPT: Duration = Duration::from_secs(30);
/// How long all requests of one write or search may take.
const WHOLE: Duration = Duration::from_secs(120);
/// Attempts of a request that may succeed when it is made again.
const ATTEMPTS: u32 = 3;
/// The pause before the second attempt; it doubles with each one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Most texts of one request, whatever a function says.
const MAX_TEXTS: usize = 4096;
/// Most numbers of one answer, so that no service can fill our memory.
const MAX_NUMBERS: usize = 1 << 20;
/// Most bytes of the texts of one request, unless it has one only.
const MAX_BYTES: usize = 4 << 20;
/// What a number may take in an answer. Unit: bytes.
const NUMBER_BYTES: usize = 32;
/// What an answer may have besides its numbers, and for one vector of more numbers than we asked for. Unit: bytes.
const SLACK_BYTES: usize = 2 << 20;
/// Longer bodies are written and read where a thread may be busy. Unit: bytes.
const LONG_BYTES: usize = 64 << 10;
/// What models are asked when a collection is made.
const PROBE: &str = "check";

/// Services that compute with models. Cheap to share.
pub struct Models {
    post: Arc<dyn Post>,
    settings: ModelSettings,
    clock: Arc<dyn Clock>,
    requests: Semaphore,
}

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
        Arc::new(Self { post, settings, clock, requests: Semaphore::new(REQUESTS) })
    }

    /// Checks the parameters of a function whose output field has `dim` numbers, and that its model answers with as many.
    ///
    /// # Errors
    /// What is wrong with a parameter, why nobody answers, or [`Error::Dim`].
    pub async fn check(&self, params: &[(String, String)], dim: usize) -> Result<(), Error> {
        self.embed(params, dim, vec![PROBE.to_owned()], Purpose::Store).await.map(|_| ())
    }

    /// The vectors of some texts, one after the other: all of them, or an error.
    ///
    /// # Errors
    /// [`Error::EmptyText`] for a text that is empty, and as [`Self::check`].
    pub async fn embed(
        &self,
        params: &[(String, String)],
        dim: usize,
        texts: Vec<String>,
        purpose: Purpose,
    ) -> Result<Vec<f32>, Error> {
        let asked = self.embedding(params, dim)?;
        if let Some(row) = texts.iter().position(String::is_empty) {
            return Err(Error::EmptyText { row });
        }
        let (most, shown) = (asked.most.min((MAX_NUMBERS / dim.max(1)).max(1)), asked.service.shown.clone());
        let asked = &asked;
        let asks: Vec<_> =
            pieces(texts, most).into_iter().map(|texts| self.vectors(asked, texts, purpose)).collect();
        let all = futures::stream::iter(asks).buffered(AT_ONCE).try_collect::<Vec<Vec<f32>>>();
        Ok(self.within(WHOLE, &shown, all).await?.concat())
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
    pub async fn rank(&self, ranking: &Ranking, query: &str, texts: Vec<String>) -> Result<Vec<f32>, Error> {
        let asks: Vec<_> = pieces(texts, ranking.most)
            .into_iter()
            .map(|texts| self.scores(ranking, query.to_owned(), texts))
            .collect();
        let all = futures::stream::iter(asks).buffered(AT_ONCE).try_collect::<Vec<Vec<f32>>>();
        Ok(self.within(WHOLE, &ranking.service.shown, all).await?.concat())
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
        let given = params.text("endpoint");
        let shown = cut(given.unwrap_or(its_own));
        let mut url = parsed(given.unwrap_or(its_own), &shown)?;
        let is_known = match given {
            None => true,
            // That a user names it does not make it another one.
            Some(_) => Url::parse(its_own).is_ok_and(|own| own.origin() == url.origin()),
        };
        let is_listed = is_known || self.lists(&url);
        if !is_listed && !self.settings.hosts.is_empty() {
            let why = "its host is not among redkite.functionHosts";
            return Err(Error::Forbidden { endpoint: shown, why });
        }
        let path = url.path().trim_end_matches('/').to_owned();
        if !row.place.path.is_empty()
            && !path.ends_with(row.place.path)
            && (row.place.is_base || path.is_empty())
        {
            url.set_path(&format!("{path}{}", row.place.path));
        }
        let login = self.login(params, row, is_listed)?;
        Ok(Service { url, shown, login })
    }

    /// Whether the operator lists the host of an endpoint.
    fn lists(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let with_port = format!("{host}:{}", url.port_or_known_default().unwrap_or_default());
        self.settings.hosts.iter().any(|listed| {
            let listed = listed.to_ascii_lowercase();
            listed == host || listed == with_port
        })
    }

    /// The secret that a service is asked with. Users name it, but do not choose who hears it.
    fn login(
        &self,
        params: Params<'_>,
        row: Row<'_>,
        may_hear: bool,
    ) -> Result<Option<(&'static str, Secret)>, Error> {
        let named = params.text("credential");
        let is_needed = row.login != Login::Optional;
        let Some(name) = named.or(Some(row.own.credential.as_str()).filter(|name| !name.is_empty())) else {
            return if is_needed { Err(Error::NoCredential { name: row.name }) } else { Ok(None) };
        };
        let secret = self.settings.credentials.get(&super::bare(name));
        let secret = secret.ok_or_else(|| Error::Credential { name: cut(name) })?;
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
        purpose: Purpose,
    ) -> Result<Vec<f32>, Error> {
        let (count, dim, wish) = (texts.len(), asked.dim, asked.wish.clone());
        let (write, read) = (asked.row.body, asked.row.vectors);
        let body = apart(bytes_of(&texts), move || written(&write(&wish, &texts, purpose))).await??;
        let most = SLACK_BYTES + count * dim * NUMBER_BYTES;
        let answer = self.ask(&asked.service, body, most).await?;
        let wrong = |reason| Error::Answer { endpoint: asked.service.shown.clone(), reason };
        let read = apart(answer.len(), move || read(&answer, count)).await?;
        let vectors = read.map_err(|reason| wrong(cut(&reason)))?;
        if let Some(other) = vectors.iter().find(|vector| vector.len() != dim) {
            return Err(Error::Dim { required: dim, obtained: other.len() });
        }
        if vectors.len() != count {
            return Err(wrong(format!("{} vectors for {count} texts", vectors.len())));
        }
        let vectors = vectors.concat();
        if vectors.iter().all(|number| number.is_finite()) {
            Ok(vectors)
        } else {
            Err(wrong("a vector has a number that is none".to_owned()))
        }
    }

    async fn scores(&self, ranking: &Ranking, query: String, texts: Vec<String>) -> Result<Vec<f32>, Error> {
        let (count, wish) = (texts.len(), ranking.wish.clone());
        let (write, read) = (ranking.row.body, ranking.row.scores);
        let body = apart(bytes_of(&texts), move || written(&write(&wish, &query, &texts))).await??;
        // Some send the texts back.
        let most = SLACK_BYTES + 8 * body.len();
        let answer = self.ask(&ranking.service, body, most).await?;
        let read =
            apart(answer.len(), move || read(&answer).and_then(|all| in_order(all.into_iter(), count)));
        let wrong = |reason| Error::Answer { endpoint: ranking.service.shown.clone(), reason };
        let scores = read.await?.map_err(|reason| wrong(cut(&reason)))?;
        if scores.iter().all(|score| score.is_finite()) {
            Ok(scores)
        } else {
            Err(wrong("a score is no number".to_owned()))
        }
    }

    /// One answer with a good status. What may pass is asked again.
    async fn ask(&self, service: &Service, body: Bytes, most: usize) -> Result<Bytes, Error> {
        let endpoint = || service.shown.clone();
        let mut attempt = 1;
        loop {
            let request =
                Request { url: service.url.clone(), login: service.login.clone(), body: body.clone(), most };
            let answered = {
                let closed = |_| Error::Defect { reason: "no requests are let through".to_owned() };
                let _permit = self.requests.acquire().await.map_err(closed)?;
                let answer = async { Ok(self.post.post(request).await) };
                self.within(ATTEMPT, &service.shown, answer).await?
            };
            let error = match answered {
                Ok(answer) if (200..300).contains(&answer.status) => return Ok(answer.body),
                Ok(answer) => {
                    let may_pass = matches!(answer.status, 408 | 429 | 500 | 502..=504);
                    let error = refused(endpoint(), &answer);
                    if !may_pass {
                        return Err(error);
                    }
                    error
                }
                Err(Failure::Unreachable(reason)) => Error::Unreachable { endpoint: endpoint(), reason },
                Err(long @ Failure::TooLong { .. }) => {
                    return Err(Error::Answer { endpoint: endpoint(), reason: long.to_string() });
                }
            };
            if attempt == ATTEMPTS {
                return Err(error);
            }
            self.clock.sleep(FIRST_PAUSE * (1 << (attempt - 1))).await;
            attempt += 1;
        }
    }

    /// What `work` comes to, if it does within `span`.
    async fn within<T>(
        &self,
        span: Duration,
        endpoint: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            done = work => done,
            () = self.clock.sleep(span) => {
                Err(Error::TooSlow { endpoint: endpoint.to_owned(), after_s: span.as_secs() })
            }
        }
    }
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
        return forbidden("its address is never asked");
    }
    Ok(url)
}

/// Azure has a path for each model.
fn deploy(url: &mut Url, model: &str) {
    if url.path().contains("/deployments/") {
        return;
    }
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["openai", "deployments", model, "embeddings"]);
    }
    url.set_query(Some("api-version=2024-06-01"));
}

/// Texts by request.
fn pieces(texts: Vec<String>, most: usize) -> Vec<Vec<String>> {
    let mut pieces: Vec<Vec<String>> = Vec::new();
    let mut bytes = 0;
    for text in texts {
        bytes += text.len();
        match pieces.last_mut() {
            Some(piece) if piece.len() < most && bytes <= MAX_BYTES => piece.push(text),
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
fn refused(endpoint: String, answer: &Answer) -> Error {
    let reason = http::StatusCode::from_u16(answer.status).ok().and_then(|status| status.canonical_reason());
    let status = format!("{} {}", answer.status, reason.unwrap_or_default()).trim_end().to_owned();
    let said = serde_json::from_slice::<Json>(&answer.body).ok().and_then(|body| {
        let error = body.get("error").map(|error| error.get("message").unwrap_or(error));
        let said = [error, body.get("message"), body.get("detail")];
        said.into_iter().flatten().find_map(|said| said.as_str().map(cut))
    });
    Error::Refused { endpoint, status, text: said.map(|said| format!(": {said}")).unwrap_or_default() }
}
