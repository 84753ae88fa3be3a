//! Claims about asking models, over a fake of the network and over a real server on this machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use axum::routing::post;
use bytes::Bytes;
use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::fake::{FakeModel, score};
use super::*;
use crate::base::{RealClock, Secret, TaskSet, TestClock};

type Pairs = Vec<(String, String)>;

fn pairs(given: &[(&str, &str)]) -> Pairs {
    given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn tei(more: &[(&str, &str)]) -> Pairs {
    pairs(&[&[("provider", "TEI"), ("endpoint", "http://models:8080/")][..], more].concat())
}

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|text| (*text).to_owned()).collect()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// One request as it goes out: address, the header that says who asks, body.
type Sent = (String, Option<(&'static str, String)>, Json);

/// Answers all requests alike, and keeps them.
struct Fixed {
    sent: Mutex<Vec<Sent>>,
    answers: Mutex<Vec<Result<Answer, Failure>>>,
}

impl Fixed {
    /// The answers in order; the last one is given again and again.
    fn new(answers: Vec<Result<Answer, Failure>>) -> Arc<Self> {
        Arc::new(Self { sent: Mutex::default(), answers: Mutex::new(answers) })
    }

    fn good(body: &Json) -> Arc<Self> {
        Self::new(vec![Ok(Answer { status: 200, body: body.to_string().into(), again: None })])
    }
}

#[async_trait]
impl Post for Fixed {
    async fn post(&self, request: Request) -> Result<Answer, Failure> {
        let login = request.login.map(|(name, secret)| (name, secret.reveal().to_owned()));
        let body = serde_json::from_slice(&request.body).unwrap();
        self.sent.lock().push((request.url.to_string(), login, body));
        let mut answers = self.answers.lock();
        if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() }
    }
}

fn status(status: u16, body: &'static str) -> Result<Answer, Failure> {
    Ok(Answer { status, body: Bytes::from_static(body.as_bytes()), again: None })
}

/// Settings with one secret, `mykey`, which is for all services.
fn with_secret() -> ModelSettings {
    let own = ProviderSettings { credential: "My_Key, other".to_owned(), ..ProviderSettings::default() };
    let named = |name: &str| (name.to_owned(), own.clone());
    ModelSettings {
        embedding: provider::EMBEDDERS.iter().map(|one| named(one.name)).collect(),
        rerank: provider::RANKERS.iter().map(|one| named(one.name)).collect(),
        credentials: [("mykey".to_owned(), Secret::new("s3cret"))].into(),
        ..ModelSettings::default()
    }
}

async fn check(models: &Models, params: &Pairs) -> Result<(), Error> {
    models.check(params, 2, models.deadline()).await
}

async fn rank(models: &Models, params: &Pairs, query: &str, all: Vec<String>) -> Result<Vec<f32>, Error> {
    models.rank(&models.ranking(params)?, query, all, models.deadline()).await
}

fn models(post: &Arc<Fixed>, settings: ModelSettings) -> Arc<Models> {
    Models::new(post.clone(), settings, RealClock::new())
}

#[tokio::test]
async fn each_service_is_asked_in_its_own_words_and_understood() {
    let listed =
        json!({"data": [{"index": 1, "embedding": [3.0, 4.0]}, {"index": 0, "embedding": [1.0, 2.0]}]});
    let bearer = Some(("authorization", "Bearer s3cret".to_owned()));
    let key = ("credential", "my_key");
    let model = ("model_name", "m");
    let cases: [(Pairs, Json, Sent); 7] = [
        (
            tei(&[("truncate", "True"), ("truncation_direction", "Left")]),
            json!([[1.0, 2.0], [3.0, 4.0]]),
            (
                "http://models:8080/embed".to_owned(),
                None,
                json!({"inputs": ["a", "b"], "truncate": true, "truncation_direction": "Left"}),
            ),
        ),
        (
            pairs(&[("provider", "openai"), model, key, ("dim", "2")]),
            listed.clone(),
            (
                "https://api.openai.com/v1/embeddings".to_owned(),
                bearer.clone(),
                json!({"model": "m", "input": ["a", "b"], "encoding_format": "float", "dimensions": 2}),
            ),
        ),
        (
            pairs(&[("provider", "azure_openai"), model, key]),
            listed.clone(),
            (
                "https://r.openai.azure.com/openai/deployments/m/embeddings?api-version=2024-06-01"
                    .to_owned(),
                Some(("api-key", "s3cret".to_owned())),
                json!({"model": "m", "input": ["a", "b"], "encoding_format": "float"}),
            ),
        ),
        (
            pairs(&[("provider", "siliconflow"), model, key]),
            listed.clone(),
            (
                "https://api.siliconflow.cn/v1/embeddings".to_owned(),
                bearer.clone(),
                json!({"model": "m", "input": ["a", "b"], "encoding_format": "float"}),
            ),
        ),
        (
            pairs(&[("provider", "voyageai"), model, key]),
            listed,
            (
                "https://api.voyageai.com/v1/embeddings".to_owned(),
                bearer.clone(),
                json!({"model": "m", "input": ["a", "b"], "input_type": "query", "truncation": false}),
            ),
        ),
        (
            pairs(&[("provider", "cohere"), model, key, ("truncate", "START")]),
            json!({"embeddings": {"float": [[1.0, 2.0], [3.0, 4.0]]}}),
            (
                "https://api.cohere.com/v2/embed".to_owned(),
                bearer.clone(),
                json!({
                    "model": "m", "texts": ["a", "b"], "input_type": "search_query",
                    "embedding_types": ["float"], "truncate": "START"
                }),
            ),
        ),
        (
            pairs(&[("provider", "dashscope"), model, key]),
            json!({"output": {"embeddings": [
                {"text_index": 0, "embedding": [1.0, 2.0]}, {"text_index": 1, "embedding": [3.0, 4.0]}
            ]}}),
            (
                "https://dashscope.aliyuncs.com/api/v1/services/embeddings/text-embedding/text-embedding"
                    .to_owned(),
                bearer,
                json!({
                    "model": "m", "input": {"texts": ["a", "b"]},
                    "parameters": {"text_type": "query", "output_type": "dense"}
                }),
            ),
        ),
    ];
    let mut settings = with_secret();
    settings.embedding.get_mut("azureopenai").unwrap().resource = "r".to_owned();
    for (params, answer, expected) in cases {
        let post = Fixed::good(&answer);
        let models = models(&post, settings.clone());
        let purpose = (Purpose::Search, models.deadline());
        let found = models.embed(&params, 2, texts(&["a", "b"]), purpose).await;

        assert_eq!(found, Ok(vec![1.0, 2.0, 3.0, 4.0]), "{params:?}");
        assert_eq!(*post.sent.lock(), [expected]);
    }
}

#[tokio::test]
async fn each_ranker_is_asked_in_its_own_words_and_understood() {
    let results = |list: &str| json!({ list: [{"index": 1, "relevance_score": 0.5}, {"index": 0, "relevance_score": 0.25}] });
    let bearer = Some(("authorization", "Bearer s3cret".to_owned()));
    let hosted = [("model_name", "m"), ("credential", "MyKey")];
    let of = |name: &'static str, more: &[(&str, &str)]| {
        pairs(&[&[("provider", name)][..], &hosted, more].concat())
    };
    let local = |name: &'static str| {
        pairs(&[("provider", name), ("endpoint", "http://models"), ("truncate_prompt_tokens", "9")])
    };
    let cases: [(Pairs, Json, Sent); 6] = [
        (
            local("tei"),
            json!([{"index": 1, "score": 0.5}, {"index": 0, "score": 0.25}]),
            ("http://models/rerank".to_owned(), None, json!({"query": "q", "texts": ["a", "b"]})),
        ),
        (
            local("vllm"),
            results("results"),
            (
                "http://models/v2/rerank".to_owned(),
                None,
                json!({"query": "q", "documents": ["a", "b"], "truncate_prompt_tokens": 9}),
            ),
        ),
        (
            of("cohere", &[("max_tokens_per_doc", "7")]),
            results("results"),
            (
                "https://api.cohere.com/v2/rerank".to_owned(),
                bearer.clone(),
                json!({"query": "q", "documents": ["a", "b"], "model": "m", "max_tokens_per_doc": 7, "top_n": 2}),
            ),
        ),
        (
            of("voyageai", &[("truncation", "true")]),
            results("data"),
            (
                "https://api.voyageai.com/v1/rerank".to_owned(),
                bearer.clone(),
                json!({"query": "q", "documents": ["a", "b"], "model": "m", "truncation": true}),
            ),
        ),
        (
            of("siliconflow", &[("overlap_tokens", "3")]),
            results("results"),
            (
                "https://api.siliconflow.cn/v1/rerank".to_owned(),
                bearer.clone(),
                json!({"query": "q", "documents": ["a", "b"], "model": "m", "overlap_tokens": 3}),
            ),
        ),
        (
            of("dashscope", &[]),
            json!({"output": results("results")}),
            (
                "https://dashscope.aliyuncs.com/api/v1/services/rerank/text-rerank/text-rerank".to_owned(),
                bearer,
                json!({
                    "model": "m", "input": {"query": "q", "documents": ["a", "b"]},
                    "parameters": {"top_n": 2, "return_documents": false}
                }),
            ),
        ),
    ];
    for (params, answer, expected) in cases {
        let post = Fixed::good(&answer);
        let models = models(&post, with_secret());
        let found = rank(&models, &params, "q", texts(&["a", "b"])).await;

        assert_eq!(found, Ok(vec![0.25, 0.5]), "{params:?}");
        assert_eq!(*post.sent.lock(), [expected]);
    }
}

#[tokio::test]
async fn what_must_not_be_asked_is_refused_before_anything_is_sent() {
    let post = Fixed::good(&json!([]));
    let off = ProviderSettings { enabled: false, ..ProviderSettings::default() };
    let mut settings = with_secret();
    settings.embedding.insert("voyageai".to_owned(), off);
    settings.embedding.remove("siliconflow");
    let models = models(&post, settings);
    let flow = |more: &[(&str, &str)]| {
        pairs(&[&[("provider", "siliconflow"), ("model_name", "m")][..], more].concat())
    };
    let at = |endpoint| pairs(&[("provider", "tei"), ("endpoint", endpoint)]);
    let openai =
        |more: &[(&str, &str)]| pairs(&[&[("provider", "openai"), ("model_name", "m")][..], more].concat());
    let cases = [
        (
            pairs(&[]),
            "text embedding function: param provider is missing, one of tei, openai, azure_openai, ",
        ),
        (
            pairs(&[("provider", "Best")]),
            "unsupported text embedding service provider: best, only tei, openai, azure_openai, siliconflow, voyageai, cohere, dashscope (bedrock,",
        ),
        (pairs(&[("provider", "VoyageAI")]), "text embedding model provider voyageai is disabled"),
        (pairs(&[("provider", "tei")]), "endpoint  is not a valid http/https link"),
        (at("ftp://x"), "endpoint ftp://x is not a valid http/https link"),
        (at("http://"), "endpoint http:// is not a valid http/https link"),
        (
            at("http://192.168.999.999:8080"),
            "call service failed: http://192.168.999.999:8080 cannot be asked",
        ),
        (at("http://localhost:99999"), "call service failed: http://localhost:99999 cannot be asked"),
        (at("http://169.254.169.254/latest"), "its address is never asked"),
        (at("http://[::ffff:169.254.169.254]"), "its address is never asked"),
        // The same address in another form.
        (at("http://2852039166/"), "its address is never asked"),
        (at("http://root:x@models"), "it has a user or a password"),
        (at("http://models/?a=b#"), "it has a query or a fragment"),
        (flow(&[]), "siliconflow needs a credential"),
        // A secret of one service is not for another one.
        (flow(&[("credential", "mykey")]), "credential mykey is not for siliconflow"),
        // Another path of the same place may be somebody else's.
        (
            openai(&[("endpoint", "https://api.openai.com/other")]),
            "is not sent to an endpoint that a user names",
        ),
        (pairs(&[("provider", "openai")]), "openai needs param model_name"),
        (openai(&[("credential", "other")]), "credential other is not among the settings"),
        (openai(&[("api_key", "x")]), "param api_key is not taken, secrets are in the settings"),
        (
            openai(&[("credential", "mykey"), ("endpoint", "http://evil")]),
            "is not sent to an endpoint that a user names",
        ),
        (tei(&[("credential", "mykey")]), "is not sent to an endpoint that a user names"),
        (tei(&[("truncate", "perhaps")]), "param truncate must be true or false, got perhaps"),
        (tei(&[("truncation_direction", "up")]), "param truncation_direction must be Left or Right, got up"),
        (
            tei(&[("max_client_batch_size", "0")]),
            "param max_client_batch_size must be a whole number above 0, got 0",
        ),
        (tei(&[("dim", "3")]), "the dim of the output field is [2], but param dim is [3]"),
        (tei(&[("search_prompt", "query: ")]), "param search_prompt is not supported by tei"),
    ];
    for (params, wanted) in cases {
        let text = check(&models, &params).await.unwrap_err().to_string();
        assert!(text.contains(wanted), "{text:?} lacks {wanted:?}");
        assert!(!text.contains("s3cret"));
    }
    assert_eq!(*post.sent.lock(), []);
}

#[tokio::test]
async fn hosts_that_are_listed_are_the_only_ones_and_may_hear_secrets() {
    let post = Fixed::good(&json!([[1.0, 2.0]]));
    let hosts = ["Models:8080", "http://inside:80", "whole", "https://Other"].map(str::to_owned).to_vec();
    let models = models(&post, ModelSettings { hosts, ..with_secret() });
    let at = |endpoint: &str| pairs(&[("provider", "tei"), ("endpoint", endpoint)]);
    // With a port, and encrypted unless the list says otherwise, it may be told.
    let cases = [
        ("https://models:8080", true),
        ("http://models:8080", false),
        ("http://inside", true),
        ("http://whole:7", false),
        ("https://whole", false),
        ("https://other", false),
    ];

    for (endpoint, hears) in cases {
        post.sent.lock().clear();
        assert_eq!(check(&models, &at(endpoint)).await, Ok(()), "{endpoint}");
        assert_eq!(post.sent.lock()[0].1.is_some(), hears, "{endpoint}");
        let named = check(&models, &[at(endpoint), pairs(&[("credential", "mykey")])].concat()).await;
        assert_eq!(named.is_ok(), hears, "{endpoint}");
    }
    for other in ["http://models:8081", "https://inside:80", "http://other", "http://wholes"] {
        let text = check(&models, &at(other)).await.unwrap_err().to_string();
        assert!(text.contains("its host is not among redkite.functionHosts"), "{text}");
    }
}

#[tokio::test]
async fn the_secret_of_a_service_goes_to_the_place_that_the_operator_has_set_and_nowhere_else() {
    let own = ProviderSettings {
        url: "http://inside:8080".to_owned(),
        credential: "my_key".to_owned(),
        ..ProviderSettings::default()
    };
    let settings = ModelSettings { embedding: [("tei".to_owned(), own)].into(), ..with_secret() };
    let post = Fixed::good(&json!([[1.0, 2.0]]));
    let models = models(&post, settings);
    let named = |endpoint| pairs(&[("provider", "tei"), ("endpoint", endpoint)]);

    let own = pairs(&[("provider", "tei")]);
    let others = ["http://INSIDE:8080/", "http://inside:8081", "http://inside:8080/other"].map(named);
    for params in [own.clone()].iter().chain(&others) {
        assert_eq!(check(&models, params).await, Ok(()));
    }

    let sent: Vec<_> = post.sent.lock().iter().map(|sent| (sent.0.clone(), sent.1.is_some())).collect();
    let at = |place: &str| format!("http://inside:{place}/embed");
    assert_eq!(
        sent,
        [(at("8080"), true), (at("8080"), true), (at("8081"), false), (at("8080/other"), false)]
    );
    // Users are not told where it is.
    *post.answers.lock() = vec![status(401, r#"{"error": "no key s3cret"}"#)];
    let text = check(&models, &own).await.unwrap_err().to_string();
    assert_eq!(text, "call service failed: tei answered 401 Unauthorized: no key …");
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_asked_three_times_and_nothing_else_is() {
    let good = status(200, "[[1, 2]]");
    let gone = || Err(Failure::Unreachable("nobody is there".to_owned()));
    let busy = "call service failed: http://models:8080/ answered 503 Service Unavailable";
    let cases = [
        (vec![status(503, ""), gone(), good.clone()], Ok(()), 3),
        (vec![status(503, ""), status(503, ""), status(503, ""), good.clone()], Err((busy, 2400)), 3),
        (
            vec![gone()],
            Err(("call service failed: http://models:8080/ cannot be asked: nobody is there", 2)),
            3,
        ),
        (
            vec![status(413, r#"{"error": "too long"}"#), good.clone()],
            Err(("call service failed: http://models:8080/ answered 413 Payload Too Large: too long", 2400)),
            1,
        ),
        // What is no service of models does not tell users what it has.
        (
            vec![status(404, "<html>an inner page</html>"), good],
            Err(("call service failed: http://models:8080/ answered 404 Not Found", 2400)),
            1,
        ),
    ];
    for (answers, expected, requests) in cases {
        let post = Fixed::new(answers);
        let outcome = check(&models(&post, ModelSettings::default()), &tei(&[])).await;

        let outcome = outcome.map_err(|error| (error.to_string(), error.code()));
        assert_eq!(outcome, expected.map_err(|(text, code)| (text.to_owned(), code)));
        assert_eq!(post.sent.lock().len(), requests);
    }
}

#[tokio::test]
async fn answers_that_are_not_of_their_kind_are_refused() {
    let cases = [
        (
            "[[1, 2, 3]]",
            "the required embedding dim is [2], but the embedding obtained from the model is [3]",
        ),
        ("[[1, 2], [3, 4]]", "gave no answer of its kind: 2 vectors for 1 texts"),
        ("[]", "gave no answer of its kind: 0 vectors for 1 texts"),
        ("{}", "gave no answer of its kind: its JSON has another form (line 1, "),
        ("[[1, 1e300]]", "gave no answer of its kind"),
        // What is in it is not shown: the endpoint may be none, and its answer not the user's to read.
        ("\"AKIA\"", "gave no answer of its kind: its JSON has another form (line 1, "),
        ("AKIA", "gave no answer of its kind: it is no JSON (line 1, column 1)"),
    ];
    for (body, wanted) in cases {
        let post = Fixed::new(vec![status(200, body)]);
        let error = check(&models(&post, ModelSettings::default()), &tei(&[])).await.unwrap_err();

        assert!(error.to_string().contains(wanted) && error.code() == 2400, "{error}");
        assert!(!error.to_string().contains("AKIA"));
    }
    for body in [r#"{"results": "AKIA"}"#, r#"{"results": [{"index": "AKIA", "relevance_score": 1}]}"#] {
        let post = Fixed::new(vec![status(200, body)]);
        let vllm = pairs(&[("provider", "vllm"), ("endpoint", "http://models")]);
        let error =
            rank(&models(&post, ModelSettings::default()), &vllm, "q", texts(&["a"])).await.unwrap_err();

        assert!(error.to_string().contains("its JSON has another form"), "{error}");
        assert!(!error.to_string().contains("AKIA"));
    }
    let empty = models(&Fixed::good(&json!([])), ModelSettings::default());
    let purpose = (Purpose::Store, empty.deadline());
    let outcome = empty.embed(&tei(&[]), 2, texts(&["a", ""]), purpose).await;
    assert_eq!(outcome, Err(Error::EmptyText { row: 1 }));
}

#[tokio::test]
async fn an_answer_of_many_empty_lists_is_not_kept() {
    let body: &'static str = format!("[{}[]]", "[],".repeat(8000)).leak();
    let post = Fixed::new(vec![status(200, body)]);

    let error = check(&models(&post, ModelSettings::default()), &tei(&[])).await.unwrap_err();

    // It was read no further than most texts may be.
    let read = 1 + 3 * provider::MAX_TEXTS;
    assert!(
        error.to_string().contains(&format!("its JSON has another form (line 1, column {}", read / 100)),
        "{error}"
    );
}

#[tokio::test]
async fn a_question_counts_in_the_bytes_of_a_request() {
    let fake = FakeModel::new(2);
    let params = tei(&[("max_client_batch_size", "4096")]);
    let question = "q".repeat(60 << 10);
    let all: Vec<String> = (0..40).map(|at| format!("{at} {}", "t".repeat(60 << 10))).collect();

    assert_eq!(rank(&fake.models(), &params, &question, all).await, Ok(vec![0.0; 40]));

    let asked = fake.asked.lock();
    let longest = asked.iter().map(|(_, body)| body.to_string().len()).max().unwrap();
    assert!((900 << 10..1 << 20).contains(&longest), "{longest} bytes, {} requests", asked.len());
}

#[test]
fn an_endpoint_of_azure_that_names_a_deployment_is_asked_for_the_same_version() {
    let post = Fixed::good(&json!({"data": [{"index": 0, "embedding": [1.0, 2.0]}]}));
    let mut settings = with_secret();
    let url = "https://r.openai.azure.com/openai/deployments/d/embeddings";
    settings.embedding.get_mut("azureopenai").unwrap().url = url.to_owned();
    let params = pairs(&[("provider", "azure_openai"), ("model_name", "m")]);

    assert_eq!(block_on(check(&models(&post, settings), &params)), Ok(()));

    assert_eq!(post.sent.lock()[0].0, format!("{url}?api-version=2024-06-01"));
}

/// Answers as a model does, at once or after a while if its host is `slow`.
struct Slow {
    model: Arc<FakeModel>,
    span: Duration,
}

#[async_trait]
impl Post for Slow {
    async fn post(&self, request: Request) -> Result<Answer, Failure> {
        if request.url.host_str() == Some("slow") {
            tokio::time::sleep(self.span).await;
        }
        self.model.post(request).await
    }
}

/// Models of which some are slow, on a clock that goes as the test's does.
fn some_slow(span: Duration) -> Arc<Models> {
    let post = Arc::new(Slow { model: FakeModel::new(2), span });
    Models::new(post, ModelSettings::default(), TestClock::starting_at(0))
}

fn slow(most: &str) -> Pairs {
    pairs(&[("provider", "tei"), ("endpoint", "http://slow"), ("max_client_batch_size", most)])
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_answer_holds_up_only_those_who_ask_it() {
    let models = some_slow(Duration::from_secs(3600));
    let (params, quick) = (slow("1"), tei(&[]));
    let mut stuck = Box::pin(futures::future::join_all((0..200).map(|_| check(&models, &params))));
    let began = tokio::time::Instant::now();

    tokio::select! {
        biased;
        _ = &mut stuck => panic!("nobody answers"),
        other = check(&models, &quick) => assert_eq!(other, Ok(())),
    }
    assert_eq!(began.elapsed(), Duration::ZERO);

    // Who never came to ask is told so.
    let outcomes = stuck.await;
    assert!(began.elapsed() < Duration::from_secs(121), "{:?}", began.elapsed());
    let count = |is: fn(&Error) -> bool| outcomes.iter().filter(|one| one.as_ref().is_err_and(is)).count();
    let slow = count(|error| matches!(error, Error::TooSlow { after_s: 30, .. }));
    let late = count(|error| matches!(error, Error::Late { .. }));
    let busy = count(|error| matches!(error, Error::Busy { .. }));
    assert_eq!((slow, slow + late + busy), (48, 200));
    assert!(busy > 0);
    assert!(outcomes.iter().all(|one| one.as_ref().is_err_and(|error| error.code() == 2)));
}

#[tokio::test(start_paused = true)]
async fn one_call_has_two_minutes_however_much_it_asks() {
    let models = some_slow(Duration::from_secs(29));
    let began = tokio::time::Instant::now();
    let purpose = (Purpose::Store, models.deadline());
    let all: Vec<String> = (0..24).map(|at| format!("text {at}")).collect();

    let late = models.embed(&slow("1"), 2, all, purpose).await;
    assert!(matches!(late, Err(Error::Late { after_s: 120, .. })), "{late:?}");
    assert_eq!(began.elapsed().as_secs(), 120);
    // What the same call asks next has no time of its own.
    let late = models.embed(&slow("1"), 2, texts(&["a"]), purpose).await;
    assert!(late.is_err());
    assert_eq!(began.elapsed().as_secs(), 120);
    // At once four, in six goes.
    assert_eq!(
        models
            .embed(&slow("1"), 2, texts(&["a"; 4]), (Purpose::Store, models.deadline()))
            .await
            .map(|all| all.len()),
        Ok(8)
    );
    assert_eq!(began.elapsed().as_secs(), 149);
}

#[tokio::test(start_paused = true)]
async fn a_service_says_when_it_may_be_asked_again() {
    let busy =
        |again| Ok(Answer { status: 429, body: Bytes::new(), again: Some(Duration::from_secs(again)) });
    let began = tokio::time::Instant::now();

    let post = Fixed::new(vec![busy(5), status(200, "[[1, 2]]")]);
    assert_eq!(check(&models(&post, ModelSettings::default()), &tei(&[])).await, Ok(()));
    assert_eq!(began.elapsed().as_secs(), 5);
    // Nobody waits so long.
    let post = Fixed::new(vec![busy(60), status(200, "[[1, 2]]")]);
    assert!(check(&models(&post, ModelSettings::default()), &tei(&[])).await.is_err());
    assert_eq!((began.elapsed().as_secs(), post.sent.lock().len()), (5, 1));
}

/// Names that stand for what a test says.
struct Names;

impl reqwest::dns::Resolve for Names {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let address = if name.as_str() == "metadata.test" { [169, 254, 169, 254] } else { [127, 0, 0, 1] };
        let all: Vec<std::net::SocketAddr> = vec![(address, 0).into()];
        Box::pin(async move { Ok(Box::new(all.into_iter()) as reqwest::dns::Addrs) })
    }
}

#[tokio::test]
async fn a_name_that_stands_for_a_forbidden_address_is_refused_and_so_is_who_proves_nothing() {
    let asked = Arc::new(AtomicU32::new(0));
    let counted = asked.clone();
    let answer = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        async { "[[1, 2]]" }
    };
    let tasks = TaskSet::new();
    let address = served(Router::new().route("/embed", post(answer)), &tasks).await;
    let port = address.rsplit(':').next().unwrap();
    let http = HttpPost::by_names_of(crate::blob::client_config(None).unwrap(), Arc::new(Names)).unwrap();
    let models = Models::new(Arc::new(http), ModelSettings::default(), RealClock::new());
    let at = |endpoint: String| pairs(&[("provider", "tei"), ("endpoint", &endpoint)]);

    assert_eq!(check(&models, &at(format!("http://here.test:{port}"))).await, Ok(()));
    let never = check(&models, &at(format!("http://metadata.test:{port}"))).await.unwrap_err();
    assert!(matches!(never, Error::Forbidden { .. }) && never.code() == 1100, "{never:?}");
    let plain = check(&models, &at(format!("https://here.test:{port}"))).await.unwrap_err();
    assert!(matches!(plain, Error::Untrusted { .. }) && plain.code() == 2400, "{plain:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    tasks.stop();
    tasks.join().await.unwrap();
}

#[test]
fn proxies_of_the_environment_have_no_effect() {
    let own = std::env::current_exe().unwrap();
    let test = "inference::tests::a_server_is_asked_over_the_network_and_what_it_must_not_do_has_no_effect";
    let mut again = std::process::Command::new(own);
    again.args(["--exact", test]);
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        // Nobody listens there.
        again.env(name, "http://127.0.0.1:9");
    }
    again.env_remove("no_proxy").env_remove("NO_PROXY");

    let output = again.output().unwrap();

    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn the_places_of_an_answer_are_each_there_once() {
    let order = |places: &[usize]| provider::in_order(places.iter().map(|place| (*place, *place)), 2);

    assert_eq!(order(&[1, 0]), Ok(vec![0, 1]));
    assert_eq!(order(&[0, 0]), Err("it names text 0 twice".to_owned()));
    assert_eq!(order(&[0, 2]), Err("it names text 2 of 2".to_owned()));
    assert_eq!(order(&[1]), Err("it leaves out some of 2 texts".to_owned()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn texts_come_back_in_their_order_however_they_are_cut_into_requests(
        all in proptest::collection::vec("[a-d]{1,5}", 1..40),
        most in 1_usize..9,
    ) {
        let fake = FakeModel::new(5);
        let params = tei(&[("max_client_batch_size", &most.to_string())]);
        let expected: Vec<f32> = all.iter().flat_map(|text| fake.vector(text)).collect();

        let models = fake.models();
        let purpose = (Purpose::Store, models.deadline());
        let found = block_on(models.embed(&params, 5, all.clone(), purpose));

        prop_assert_eq!(found, Ok(expected));
        prop_assert_eq!(fake.requests(), all.len().div_ceil(most));

        let fake = FakeModel::new(5);
        let models = fake.models();
        let expected: Vec<f32> = all.iter().map(|text| score("a b", text)).collect();
        prop_assert_eq!(block_on(rank(&models, &params, "a b", all)), Ok(expected));
    }
}

/// A server on this machine, and its address.
async fn served(router: Router, tasks: &TaskSet) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tasks.start("serve a model", |stop| async move {
        let serve =
            axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await });
        Ok(serve.await?)
    });
    address
}

fn over_http(settings: ModelSettings) -> Arc<Models> {
    let post = HttpPost::new(crate::blob::client_config(None).unwrap()).unwrap();
    Models::new(Arc::new(post), settings, RealClock::new())
}

#[tokio::test]
async fn a_server_is_asked_over_the_network_and_what_it_must_not_do_has_no_effect() {
    let followed = Arc::new(AtomicU32::new(0));
    let counted = followed.clone();
    let embed = |headers: HeaderMap, body: Bytes| async move {
        let body: Json = serde_json::from_slice(&body).unwrap();
        let inputs = body["inputs"].as_array().unwrap().len();
        let known = headers.get("authorization").is_some_and(|login| login == "Bearer s3cret");
        if known { Ok(json!(vec![[1, 2]; inputs]).to_string()) } else { Err(StatusCode::UNAUTHORIZED) }
    };
    let elsewhere = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        async { "[[1, 2]]" }
    };
    let router = Router::new()
        .route("/embed", post(embed))
        .route("/away/embed", post(|| async { Redirect::temporary("/elsewhere") }))
        .route("/elsewhere", post(elsewhere))
        .route("/long/embed", post(|| async { "1".repeat(8 << 20) }));
    let tasks = TaskSet::new();
    let address = served(router, &tasks).await;
    let host = address.trim_start_matches("http://").to_owned();
    let models = over_http(ModelSettings { hosts: vec![format!("http://{host}")], ..with_secret() });
    let open = over_http(ModelSettings::default());
    let at = |path: &str| pairs(&[("provider", "tei"), ("endpoint", &format!("{address}{path}"))]);
    let with_key = |params: Pairs| [params, pairs(&[("credential", "mykey")])].concat();

    let purpose = (Purpose::Store, models.deadline());
    let good = models.embed(&with_key(at("")), 2, texts(&["a", "b"]), purpose).await;
    assert_eq!(good, Ok(vec![1.0, 2.0, 1.0, 2.0]));
    let said = |error: Error| (error.code(), error.to_string());
    let unknown = said(check(&open, &at("")).await.unwrap_err());
    assert_eq!(unknown, (2400, format!("call service failed: {address} answered 401 Unauthorized")));
    let away = said(check(&open, &at("/away")).await.unwrap_err());
    assert_eq!(away.0, 2400);
    assert!(away.1.contains("answered 307 Temporary Redirect"), "{away:?}");
    assert_eq!(followed.load(Ordering::Relaxed), 0);
    let long = said(check(&open, &at("/long")).await.unwrap_err());
    assert!(long.1.contains("gave no answer of its kind: it has more than"), "{long:?}");

    tasks.stop();
    tasks.join().await.unwrap();
    let gone = said(check(&open, &at("")).await.unwrap_err());
    assert_eq!(gone.0, 2);
    assert!(gone.1.contains("cannot be asked"), "{gone:?}");
}

#[test]
fn names_are_looked_up_without_case_and_lines() {
    assert_eq!([bare("Azure_OpenAI"), bare("tei")], ["azureopenai", "tei"]);
    let known: BTreeMap<String, bool> =
        provider::EMBEDDERS.iter().map(|one| (bare(one.name), true)).collect();
    assert_eq!(known.len(), provider::EMBEDDERS.len());
    assert!(provider::EMBEDDERS.iter().all(|one| bare(one.name) == one.name));
    assert!(provider::RANKERS.iter().all(|one| bare(one.name) == one.name));
}
