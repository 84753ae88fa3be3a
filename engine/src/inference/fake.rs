//! A model in memory, for tests: vectors and scores that follow from the texts.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value as Json, json};

use super::{Answer, Failure, ModelSettings, Models, Post, Request};
use crate::base::RealClock;

/// Answers as TEI does, and keeps what it was asked.
#[derive(Default)]
pub struct FakeModel {
    /// Numbers of each vector.
    pub dim: usize,
    /// What was asked: path, and body.
    pub asked: Mutex<Vec<(String, Json)>>,
    /// A text with this in it is not taken.
    pub refuses: Mutex<Option<String>>,
}

impl FakeModel {
    /// A model of so many numbers.
    pub fn new(dim: usize) -> Arc<Self> {
        Arc::new(Self { dim, ..Self::default() })
    }

    /// What asks it.
    pub fn models(self: &Arc<Self>) -> Arc<Models> {
        Models::new(self.clone(), ModelSettings::default(), RealClock::new())
    }

    /// The vector of a text: its length, and how often it has each of the first letters.
    pub fn vector(&self, text: &str) -> Vec<f32> {
        let count = |at: usize| {
            let letter = char::from(b'a' + u8::try_from(at % 26).unwrap());
            text.chars().filter(|one| *one == letter).count() as f32
        };
        (0..self.dim).map(|at| if at == 0 { text.len() as f32 } else { count(at - 1) }).collect()
    }

    /// How many requests there were.
    pub fn requests(&self) -> usize {
        self.asked.lock().len()
    }
}

/// The score of a text: how many words of the question it has.
pub fn score(query: &str, text: &str) -> f32 {
    query.split(' ').filter(|word| text.split(' ').any(|other| other == *word)).count() as f32
}

#[async_trait]
impl Post for FakeModel {
    async fn post(&self, request: Request) -> Result<Answer, Failure> {
        let body: Json = serde_json::from_slice(&request.body).unwrap();
        let path = request.url.path().to_owned();
        self.asked.lock().push((path.clone(), body.clone()));
        let texts = |key: &str| -> Vec<String> { serde_json::from_value(body[key].clone()).unwrap() };
        let refuses = self.refuses.lock().clone();
        let answer = if path.ends_with("/rerank") {
            let query = body["query"].as_str().unwrap();
            let all = texts("texts").into_iter().enumerate();
            // Best first, as services answer.
            let mut all: Vec<_> = all.map(|(index, text)| (index, score(query, &text))).collect();
            all.sort_by(|left, right| right.1.total_cmp(&left.1));
            json!(
                all.iter().map(|(index, score)| json!({"index": index, "score": score})).collect::<Vec<_>>()
            )
        } else {
            let texts = texts("inputs");
            if refuses.is_some_and(|part| texts.iter().any(|text| text.contains(&part))) {
                let body = Bytes::from_static(br#"{"error": "not this text", "error_type": "Validation"}"#);
                return Ok(Answer { status: 413, body, again: None });
            }
            json!(texts.iter().map(|text| self.vector(text)).collect::<Vec<_>>())
        };
        Ok(Answer { status: 200, body: answer.to_string().into(), again: None })
    }
}
