//! Claims about asking models, over a fake of the network and over a real server on this machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

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
use crate::base::{RealClock, Secret, TaskSet};

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
        Self::new(vec![Ok(Answer { status: 200, body: body.to_string().into() })])
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
    Ok(Answer { status, body: Bytes::from_static(body.as_bytes()) })
}

/// Settings with one secret, `mykey`.
fn with_secret() -> ModelSettings {
    let credentials = [("mykey".to_owned(), Secret::new("s3cret"))].into();
    ModelSettings { credentials, ..ModelSettings::default() }
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
    let azure = ProviderSettings { resource: "r".to_owned(), ..ProviderSettings::default() };
    for (params, answer, expected) in cases {
        let post = Fixed::good(&answer);
        let settings =
            ModelSettings { embedding: [("azureopenai".to_owned(), azure.clone())].into(), ..with_secret() };
        let found = models(&post, settings).embed(&params, 2, texts(&["a", "b"]), Purpose::Search).await;

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
        let ranking = models.ranking(&params).unwrap();
        let found = models.rank(&ranking, "q", texts(&["a", "b"])).await;

        assert_eq!(found, Ok(vec![0.25, 0.5]), "{params:?}");
        assert_eq!(*post.sent.lock(), [expected]);
    }
}

#[tokio::test]
async fn what_must_not_be_asked_is_refused_before_anything_is_sent() {
    let post = Fixed::good(&json!([]));
    let off = ProviderSettings { enabled: false, ..ProviderSettings::default() };
    let settings = ModelSettings { embedding: [("voyageai".to_owned(), off)].into(), ..with_secret() };
    let models = models(&post, settings);
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
        (openai(&[]), "openai needs a credential"),
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
        let text = models.check(&params, 2).await.unwrap_err().to_string();
        assert!(text.contains(wanted), "{text:?} lacks {wanted:?}");
        assert!(!text.contains("s3cret"));
    }
    assert_eq!(*post.sent.lock(), []);
}

#[tokio::test]
async fn hosts_that_are_listed_are_the_only_ones_and_may_hear_secrets() {
    let post = Fixed::good(&json!([[1.0, 2.0]]));
    let settings = ModelSettings { hosts: vec!["Models:8080".to_owned()], ..with_secret() };
    let models = models(&post, settings);
    let other = pairs(&[("provider", "tei"), ("endpoint", "http://models:8081")]);

    assert_eq!(models.check(&tei(&[("credential", "mykey")]), 2).await, Ok(()));
    let text = models.check(&other, 2).await.unwrap_err().to_string();

    assert!(text.contains("its host is not among redkite.functionHosts"), "{text}");
    let logins: Vec<_> = post.sent.lock().iter().map(|sent| sent.1.clone()).collect();
    assert_eq!(logins, [Some(("authorization", "Bearer s3cret".to_owned()))]);
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

    for params in [pairs(&[("provider", "tei")]), named("http://INSIDE:8080/"), named("http://inside:8081")] {
        assert_eq!(models.check(&params, 2).await, Ok(()));
    }

    let sent: Vec<_> = post.sent.lock().iter().map(|sent| (sent.0.clone(), sent.1.is_some())).collect();
    let at = |port: u16| format!("http://inside:{port}/embed");
    assert_eq!(sent, [(at(8080), true), (at(8080), true), (at(8081), false)]);
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
        let outcome = models(&post, ModelSettings::default()).check(&tei(&[]), 2).await;

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
        ("{}", "gave no answer of its kind: invalid type: map"),
        ("[[1, 1e300]]", "gave no answer of its kind"),
    ];
    for (body, wanted) in cases {
        let post = Fixed::new(vec![status(200, body)]);
        let error = models(&post, ModelSettings::default()).check(&tei(&[]), 2).await.unwrap_err();

        assert!(error.to_string().contains(wanted) && error.code() == 2400, "{error}");
    }
    let empty = models(&Fixed::good(&json!([])), ModelSettings::default());
    let outcome = empty.embed(&tei(&[]), 2, texts(&["a", ""]), Purpose::Store).await;
    assert_eq!(outcome, Err(Error::EmptyText { row: 1 }));
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

        let found = block_on(fake.models().embed(&params, 5, all.clone(), Purpose::Store));

        prop_assert_eq!(found, Ok(expected));
        prop_assert_eq!(fake.requests(), all.len().div_ceil(most));

        let fake = FakeModel::new(5);
        let models = fake.models();
        let ranking = models.ranking(&params).unwrap();
        let expected: Vec<f32> = all.iter().map(|text| score("a b", text)).collect();
        prop_assert_eq!(block_on(models.rank(&ranking, "a b", all)), Ok(expected));
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
    let models = over_http(ModelSettings { hosts: vec![host], ..with_secret() });
    let open = over_http(ModelSettings::default());
    let at = |path: &str| pairs(&[("provider", "tei"), ("endpoint", &format!("{address}{path}"))]);
    let with_key = |params: Pairs| [params, pairs(&[("credential", "mykey")])].concat();

    let good = models.embed(&with_key(at("")), 2, texts(&["a", "b"]), Purpose::Store).await;
    assert_eq!(good, Ok(vec![1.0, 2.0, 1.0, 2.0]));
    let said = |error: Error| (error.code(), error.to_string());
    let unknown = said(open.check(&at(""), 2).await.unwrap_err());
    assert_eq!(unknown, (2400, format!("call service failed: {address} answered 401 Unauthorized")));
    let away = said(open.check(&at("/away"), 2).await.unwrap_err());
    assert_eq!(away.0, 2400);
    assert!(away.1.contains("answered 307 Temporary Redirect"), "{away:?}");
    assert_eq!(followed.load(Ordering::Relaxed), 0);
    let long = said(open.check(&at("/long"), 2).await.unwrap_err());
    assert!(long.1.contains("gave no answer of its kind: it has more than"), "{long:?}");

    tasks.stop();
    tasks.join().await.unwrap();
    let gone = said(open.check(&at(""), 2).await.unwrap_err());
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
