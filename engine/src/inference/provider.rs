//! The services: where each is, what a request looks like, who asks, and what an answer looks like. One row a service.
//!
//! Source: the services' public descriptions of their APIs.

use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::{Value as Json, json};

use super::params::Truncation;
use super::{Error, bare};

/// What texts are made vectors for: some models tell the two apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be found.
    Store,
    /// To find.
    Search,
}

/// Most texts of one request, whatever a function says.
pub(super) const MAX_TEXTS: usize = 4096;

/// How a service is told who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// `Authorization: Bearer`, which it may do without.
    Optional,
    /// `Authorization: Bearer`.
    Bearer,
    /// `api-key`.
    ApiKey,
}

/// Where a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its own address; empty for one that has none.
    pub url: &'static str,
    /// What is asked there.
    pub path: &'static str,
    /// Whether endpoints never name the path.
    pub is_base: bool,
}

const fn base(path: &'static str) -> Place {
    Place { url: "", path, is_base: true }
}

const fn at(url: &'static str, path: &'static str) -> Place {
    Place { url, path, is_base: false }
}

/// What a service is asked for besides texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wish {
    /// The model; empty where the service has one only.
    pub model: String,
    /// Numbers of a vector, where the function says how many.
    pub dim: Option<usize>,
    /// What happens to long texts.
    pub truncation: Truncation,
    /// Numbers that go to the service under their own names.
    pub numbers: Vec<(&'static str, usize)>,
}

/// A service that makes vectors of texts.
pub(super) struct Embedder {
    /// Its name, [`bare`].
    pub name: &'static str,
    pub place: Place,
    pub login: Login,
    /// Whether a model has to be named.
    pub names_model: bool,
    /// Most texts of a request.
    pub most: usize,
    /// Parameters that change what texts stand for, and that it does not take.
    pub refused: &'static [&'static str],
    pub body: fn(&Wish, &[String], Purpose) -> Json,
    pub vectors: fn(&[u8], usize) -> Result<Vec<Vec<f32>>, String>,
}

/// The services that make vectors of texts.
pub(super) static EMBEDDERS: [Embedder; 7] = [
    Embedder {
        name: "tei",
        place: base("/embed"),
        login: Login::Optional,
        names_model: false,
        most: 32,
        refused: &["ingestion_prompt", "search_prompt"],
        body: |wish, texts, _| truncating(json!({ "inputs": texts }), wish),
        vectors: |body, _| Ok(vectors(read(body)?)),
    },
    Embedder {
        name: "openai",
        place: at("https://api.openai.com/v1/embeddings", "/v1/embeddings"),
        login: Login::Bearer,
        names_model: true,
        most: 128,
        refused: &[],
        body: like_openai,
        vectors: listed,
    },
    Embedder {
        name: "azureopenai",
        place: at("", ""),
        login: Login::ApiKey,
        names_model: true,
        most: 128,
        refused: &[],
        body: like_openai,
        vectors: listed,
    },
    Embedder {
        name: "siliconflow",
        place: at("https://api.siliconflow.cn/v1/embeddings", "/v1/embeddings"),
        login: Login::Bearer,
        names_model: true,
        most: 32,
        refused: &[],
        body: like_openai,
        vectors: listed,
    },
    Embedder {
        name: "voyageai",
        place: at("https://api.voyageai.com/v1/embeddings", "/v1/embeddings"),
        login: Login::Bearer,
        names_model: true,
        most: 128,
        refused: &[],
        body: |wish, texts, purpose| {
            let input_type = if purpose == Purpose::Store { "document" } else { "query" };
            let mut body = json!({ "model": wish.model, "input": texts, "input_type": input_type });
            body["truncation"] = wish.truncation.may.unwrap_or(false).into();
            insert_some(&mut body, "output_dimension", wish.dim);
            body
        },
        vectors: listed,
    },
    Embedder {
        name: "cohere",
        place: at("https://api.cohere.com/v2/embed", "/v2/embed"),
        login: Login::Bearer,
        names_model: true,
        most: 96,
        refused: &[],
        body: |wish, texts, purpose| {
            let input_type = if purpose == Purpose::Store { "search_document" } else { "search_query" };
            let truncate = match wish.truncation {
                Truncation { may: Some(true), left: true } => "START",
                Truncation { may: Some(true), left: false } => "END",
                Truncation { .. } => "NONE",
            };
            let mut body = json!({ "model": wish.model, "texts": texts, "input_type": input_type });
            body["embedding_types"] = json!(["float"]);
            body["truncate"] = truncate.into();
            insert_some(&mut body, "output_dimension", wish.dim);
            body
        },
        vectors: |body, _| {
            #[derive(Deserialize)]
            struct Whole {
                embeddings: Kinds,
            }
            #[derive(Deserialize)]
            struct Kinds {
                float: List<Numbers>,
            }
            let whole: Whole = read(body)?;
            Ok(vectors(whole.embeddings.float))
        },
    },
    Embedder {
        name: "dashscope",
        place: at(
            "https://dashscope.aliyuncs.com/api/v1/services/embeddings/text-embedding/text-embedding",
            "/api/v1/services/embeddings/text-embedding/text-embedding",
        ),
        login: Login::Bearer,
        names_model: true,
        // What its newest models take; the older ones take 25.
        most: 10,
        refused: &[],
        body: |wish, texts, purpose| {
            let text_type = if purpose == Purpose::Store { "document" } else { "query" };
            let mut parameters = json!({ "text_type": text_type, "output_type": "dense" });
            insert_some(&mut parameters, "dimension", wish.dim);
            json!({ "model": wish.model, "input": { "texts": texts }, "parameters": parameters })
        },
        vectors: |body, count| {
            #[derive(Deserialize)]
            struct Whole {
                output: Output,
            }
            #[derive(Deserialize)]
            struct Output {
                embeddings: List<One>,
            }
            #[derive(Deserialize)]
            struct One {
                text_index: usize,
                embedding: Numbers,
            }
            let whole: Whole = read(body)?;
            let all = whole.output.embeddings.0.into_iter();
            in_order(all.map(|one| (one.text_index, one.embedding.0)), count)
        },
    },
];

/// Milvus's services that are not here.
const OTHERS: &str = "bedrock, vertexai, gemini, zilliz and yc are not built";

/// A request to tei, with what it is to do with long texts, if anything is said.
fn truncating(mut body: Json, wish: &Wish) -> Json {
    if let Some(may) = wish.truncation.may {
        body["truncate"] = may.into();
        body["truncation_direction"] = if wish.truncation.left { "Left" } else { "Right" }.into();
    }
    body
}

fn like_openai(wish: &Wish, texts: &[String], _: Purpose) -> Json {
    let mut body = json!({ "model": wish.model, "input": texts, "encoding_format": "float" });
    insert_some(&mut body, "dimensions", wish.dim);
    body
}

/// Vectors in a list `data`, each with its place.
fn listed(body: &[u8], count: usize) -> Result<Vec<Vec<f32>>, String> {
    #[derive(Deserialize)]
    struct Whole {
        data: List<One>,
    }
    #[derive(Deserialize)]
    struct One {
        index: usize,
        embedding: Numbers,
    }
    let whole: Whole = read(body)?;
    in_order(whole.data.0.into_iter().map(|one| (one.index, one.embedding.0)), count)
}

/// A service that says how well texts answer a question.
pub(super) struct Ranker {
    /// Its name, [`bare`].
    pub name: &'static str,
    pub place: Place,
    pub login: Login,
    /// Whether a model has to be named.
    pub names_model: bool,
    /// Most texts of a request.
    pub most: usize,
    /// Parameters that are numbers, and go to the service under their names.
    pub numbers: &'static [&'static str],
    pub body: fn(&Wish, &str, &[String]) -> Json,
    pub scores: fn(&[u8]) -> Result<Vec<(usize, f32)>, String>,
}

/// The services that rank.
pub(super) static RANKERS: [Ranker; 6] = [
    Ranker {
        name: "tei",
        place: base("/rerank"),
        login: Login::Optional,
        names_model: false,
        most: 32,
        numbers: &[],
        body: |wish, query, texts| truncating(json!({ "query": query, "texts": texts }), wish),
        scores: |body| {
            #[derive(Deserialize)]
            struct One {
                index: usize,
                score: f32,
            }
            let all: List<One> = read(body)?;
            Ok(all.0.into_iter().map(|one| (one.index, one.score)).collect())
        },
    },
    Ranker {
        name: "vllm",
        place: base("/v2/rerank"),
        login: Login::Optional,
        names_model: false,
        most: 32,
        numbers: &["truncate_prompt_tokens"],
        body: documents,
        scores: |body| read(body).map(relevance),
    },
    Ranker {
        name: "cohere",
        place: at("https://api.cohere.com/v2/rerank", "/v2/rerank"),
        login: Login::Bearer,
        names_model: true,
        most: 96,
        numbers: &["max_tokens_per_doc"],
        body: |wish, query, texts| {
            let mut body = documents(wish, query, texts);
            body["top_n"] = texts.len().into();
            body
        },
        scores: |body| read(body).map(relevance),
    },
    Ranker {
        name: "voyageai",
        place: at("https://api.voyageai.com/v1/rerank", "/v1/rerank"),
        login: Login::Bearer,
        names_model: true,
        most: 128,
        numbers: &[],
        body: |wish, query, texts| {
            let mut body = documents(wish, query, texts);
            if let Some(may) = wish.truncation.may {
                body["truncation"] = may.into();
            }
            body
        },
        scores: |body| read(body).map(relevance),
    },
    Ranker {
        name: "siliconflow",
        place: at("https://api.siliconflow.cn/v1/rerank", "/v1/rerank"),
        login: Login::Bearer,
        names_model: true,
        most: 128,
        numbers: &["max_chunks_per_doc", "overlap_tokens"],
        body: documents,
        scores: |body| read(body).map(relevance),
    },
    Ranker {
        name: "dashscope",
        place: at(
            "https://dashscope.aliyuncs.com/api/v1/services/rerank/text-rerank/text-rerank",
            "/api/v1/services/rerank/text-rerank/text-rerank",
        ),
        login: Login::Bearer,
        names_model: true,
        most: 128,
        numbers: &[],
        body: |wish, query, texts| {
            let parameters = json!({ "top_n": texts.len(), "return_documents": false });
            json!({ "model": wish.model, "input": { "query": query, "documents": texts }, "parameters": parameters })
        },
        scores: |body| {
            #[derive(Deserialize)]
            struct Whole {
                output: Relevances,
            }
            let whole: Whole = read(body)?;
            Ok(relevance(whole.output))
        },
    },
];

fn documents(wish: &Wish, query: &str, texts: &[String]) -> Json {
    let mut body = json!({ "query": query, "documents": texts });
    if !wish.model.is_empty() {
        body["model"] = wish.model.as_str().into();
    }
    for (name, number) in &wish.numbers {
        insert_some(&mut body, name, Some(*number));
    }
    body
}

/// Scores, each with the place of its text.
#[derive(Deserialize)]
struct Relevances {
    #[serde(alias = "data")]
    results: List<Relevance>,
}

#[derive(Deserialize)]
struct Relevance {
    index: usize,
    relevance_score: f32,
}

fn relevance(all: Relevances) -> Vec<(usize, f32)> {
    all.results.0.into_iter().map(|one| (one.index, one.relevance_score)).collect()
}

/// A list of no more than `MOST` things: what an answer makes of our memory is bounded by its length only if its lists are, since an
/// empty vector takes many times what stands for it.
struct List<T, const MOST: usize = MAX_TEXTS>(Vec<T>);

/// The numbers of one vector; no field has more than half as many.
type Numbers = List<f32, { 1 << 16 }>;

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for List<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Items<T, const MOST: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Items<T, MOST> {
            type Value = Vec<T>;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(out, "a list of at most {MOST}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<T>, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = from.next_element()? {
                    if all.len() == MOST {
                        return Err(A::Error::invalid_length(MOST + 1, &self));
                    }
                    all.push(one);
                }
                Ok(all)
            }
        }

        from.deserialize_seq(Items::<T, MOST>(PhantomData)).map(Self)
    }
}

fn vectors(all: List<Numbers>) -> Vec<Vec<f32>> {
    all.0.into_iter().map(|numbers| numbers.0).collect()
}

/// An answer. Why it is none is said without what is in it: the endpoint may be a service that is not the user's to read.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|reason| {
        let what = match reason.classify() {
            Category::Data => "its JSON has another form",
            Category::Syntax | Category::Io => "it is no JSON",
            Category::Eof => "its JSON ends too early",
        };
        format!("{what} (line {}, column {})", reason.line(), reason.column())
    })
}

fn insert_some(object: &mut Json, key: &str, number: Option<usize>) {
    if let Some(number) = number {
        object[key] = number.into();
    }
}

/// What belongs to each of `count` texts, in their order.
pub(super) fn in_order<T>(all: impl Iterator<Item = (usize, T)>, count: usize) -> Result<Vec<T>, String> {
    let mut places: Vec<Option<T>> = (0..count).map(|_| None).collect();
    for (index, one) in all {
        let place = places.get_mut(index).ok_or_else(|| format!("it names text {index} of {count}"))?;
        if place.replace(one).is_some() {
            return Err(format!("it names text {index} twice"));
        }
    }
    let whole: Option<Vec<T>> = places.into_iter().collect();
    whole.ok_or_else(|| format!("it leaves out some of {count} texts"))
}

/// The service that makes vectors, by its name.
pub(super) fn embedder(name: Option<&str>) -> Result<&'static Embedder, Error> {
    let known = || {
        let names: Vec<_> = EMBEDDERS.iter().map(|one| shown(one.name)).collect();
        format!("{} ({OTHERS})", names.join(", "))
    };
    let Some(name) = name else { return Err(Error::NoProvider { known: known() }) };
    let found = EMBEDDERS.iter().find(|one| one.name == bare(name));
    found.ok_or_else(|| Error::Provider { name: super::error::cut(&name.to_lowercase()), known: known() })
}

/// The service that ranks, by its name.
pub(super) fn ranker(name: &str) -> Result<&'static Ranker, Error> {
    // Milvus's own name of it.
    let wanted = if bare(name) == "ali" { "dashscope".to_owned() } else { bare(name) };
    RANKERS.iter().find(|one| one.name == wanted).ok_or_else(|| {
        let names: Vec<_> = RANKERS.iter().map(|one| one.name).collect();
        Error::RankProvider { name: super::error::cut(name), known: names.join(", ") }
    })
}

/// Checks that a service ranks, by its name.
///
/// # Errors
/// [`Error::RankProvider`] if there is none of that name.
pub fn ranks(name: &str) -> Result<(), Error> {
    ranker(name).map(|_| ())
}

/// A name as users write it.
fn shown(name: &'static str) -> &'static str {
    if name == "azureopenai" { "azure_openai" } else { name }
}
