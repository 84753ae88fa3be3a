//! The parts of a text that show where the words of a query are in it.

use std::ops::Range;

use super::Token;

/// Where the words that `is_wanted` says yes to are in the text that was analysed, ascending. Words that overlap, as a long one
/// and those inside of it, are one; words that only touch are two. Unit: bytes.
#[must_use]
pub fn matches(tokens: &[Token], is_wanted: impl Fn(&str) -> bool) -> Vec<Range<usize>> {
    let wanted = tokens.iter().filter(|token| is_wanted(&token.text));
    let mut found: Vec<Range<usize>> = wanted.map(|token| token.start..token.end).collect();
    found.sort_unstable_by_key(|span| (span.start, span.end));
    found.dedup_by(|next, last| {
        let overlaps = next.start < last.end;
        if overlaps {
            last.end = last.end.max(next.end);
        }
        overlaps
    });
    found
}

/// What is written around the words. Where there are several, the first word gets the first, and so on, over and over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags {
    before: Vec<String>,
    after: Vec<String>,
}

impl Tags {
    /// What is written before words, and after them; `None` if there is nothing of either.
    #[must_use]
    pub fn new(before: Vec<String>, after: Vec<String>) -> Option<Self> {
        (!before.is_empty() && !after.is_empty()).then_some(Self { before, after })
    }

    fn around(&self, word: usize) -> (&str, &str) {
        (&self.before[word % self.before.len()], &self.after[word % self.after.len()])
    }
}

/// How texts are cut into fragments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragments {
    /// What is written around the words.
    pub tags: Tags,
    /// How much of the text before its first word a fragment shows, at most. Unit: characters.
    pub lead: usize,
    /// How long a fragment is, at most, tags not counted; its first word is whole in any case. Unit: characters.
    pub size: usize,
    /// How many there are, at most.
    pub most: usize,
}

impl Fragments {
    /// The fragments of `text`, in its order; `found` are the words that were found in it, as [`matches()`] gives them.
    ///
    /// A fragment begins at a word, or as much before it as is wanted and was not shown yet, and has as many characters as it
    /// may. The next one begins at the first word that is not whole in it. Takes time and memory for the text and the tags.
    #[must_use]
    pub fn of(&self, text: &str, found: &[Range<usize>]) -> Vec<String> {
        let mut fragments = Vec::new();
        let (mut word, mut shown) = (0, 0);
        while fragments.len() < self.most
            && let Some(first) = found.get(word)
        {
            let letters = text[first.clone()].chars().take(self.size).count();
            let lead = self.lead.min(self.size - letters);
            let not_shown = text[shown.min(first.start)..first.start].chars().rev();
            let start = first.start - bytes(not_shown, lead);
            let end = first.end.max(start + bytes(text[start..].chars(), self.size));
            let next = word + found[word..].partition_point(|span| span.end <= end);
            fragments.push(self.tagged(text, start..end, (word, &found[word..next])));
            (word, shown) = (next, end);
        }
        fragments
    }

    /// A part of a text with tags around some of its words, of which the first has the number `first` in the text.
    fn tagged(&self, text: &str, part: Range<usize>, (first, words): (usize, &[Range<usize>])) -> String {
        let mut tagged = String::with_capacity(part.len());
        let mut at = part.start;
        for (number, word) in (first..).zip(words) {
            let (before, after) = self.tags.around(number);
            tagged.push_str(&text[at..word.start]);
            tagged.push_str(before);
            tagged.push_str(&text[word.clone()]);
            tagged.push_str(after);
            at = word.end;
        }
        tagged.push_str(&text[at..part.end]);
        tagged
    }
}

/// How many bytes the first `count` of some characters have.
fn bytes(characters: impl Iterator<Item = char>, count: usize) -> usize {
    characters.take(count).map(char::len_utf8).sum()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::text::Analyzer;

    const MILVUS: &str =
        "Milvus supports full text search. Use BM25 for keyword relevance. Filters can narrow results.";

    fn braces(lead: usize, size: usize, most: usize) -> Fragments {
        let tags = Tags::new(vec!["{".to_owned()], vec!["}".to_owned()]).unwrap();
        Fragments { tags, lead, size, most }
    }

    /// Where the words of `query` are in `text`, both analysed by `params`.
    fn found(params: &str, query: &str, text: &str) -> Vec<Range<usize>> {
        let analyzer = Analyzer::new(params).unwrap();
        let words: Vec<String> = analyzer.analyze(query).into_iter().map(|token| token.text).collect();
        matches(&analyzer.analyze(text), |word| words.iter().any(|wanted| wanted == word))
    }

    fn shown(fragments: &Fragments, query: &str, text: &str) -> Vec<String> {
        fragments.of(text, &found("", query, text))
    }

    #[test]
    fn a_fragment_begins_at_the_first_word_that_is_found() {
        let usual = braces(0, 100, 5);

        assert_eq!(
            shown(&usual, "bm25", MILVUS),
            ["{BM25} for keyword relevance. Filters can narrow results."]
        );
        assert_eq!(
            shown(&usual, "FOR search", MILVUS),
            ["{search}. Use BM25 {for} keyword relevance. Filters can narrow results."]
        );
        assert!(shown(&usual, "filter", MILVUS).is_empty(), "a part of a word is none");
        assert!(shown(&usual, "", MILVUS).is_empty() && shown(&usual, "x", "").is_empty());
    }

    #[test]
    fn fragments_are_as_long_and_as_many_as_is_asked() {
        let words = "full bm25 filters";

        assert_eq!(
            shown(&braces(0, 20, 5), words, MILVUS),
            ["{full} text search. Us", "{BM25} for keyword rel", "{Filters} can narrow r"]
        );
        assert_eq!(shown(&braces(0, 9, 2), words, MILVUS), ["{full} text", "{BM25} for "]);
        assert_eq!(
            shown(&braces(0, 1, 9), words, MILVUS),
            ["{full}", "{BM25}", "{Filters}"],
            "words are whole"
        );
        assert_eq!(shown(&braces(12, 16, 1), "bm25", MILVUS), ["search. Use {BM25}"]);
        assert_eq!(shown(&braces(99, 100, 1), "bm25", MILVUS), [MILVUS.replace("BM25", "{BM25}")]);
        assert_eq!(shown(&braces(99, 14, 1), "bm25", MILVUS), ["arch. Use {BM25}"], "the word is in it");
    }

    #[test]
    fn what_one_fragment_shows_the_next_does_not_show_before_its_word() {
        // The second word begins in the first fragment and does not end in it.
        assert_eq!(shown(&braces(3, 6, 5), "a bcd", "a xx bcd e"), ["{a} xx b", "{bcd} e"]);
        assert_eq!(shown(&braces(3, 5, 5), "a bcd", "a yyyyyyyy bcd e"), ["{a} yyy", "y {bcd}"]);
    }

    #[test]
    fn tags_take_turns() {
        let tags = Tags::new(["<1>", "<2>"].map(str::to_owned).to_vec(), vec!["</>".to_owned()]).unwrap();
        let fragments = Fragments { tags, ..braces(0, 3, 9) };

        assert_eq!(shown(&fragments, "a b", "a b a xxxx b"), ["<1>a</> <2>b</>", "<1>a</> x", "<2>b</>"]);
        assert_eq!(Tags::new(Vec::new(), vec![String::new()]), None);
        assert_eq!(Tags::new(vec![String::new()], Vec::new()), None);
    }

    #[test]
    fn characters_are_counted_not_bytes() {
        let chinese = r#"{"tokenizer": {"type": "jieba", "mode": "search"}}"#;
        let text = "在中华人民共和国,人民当家作主";

        let words = found(chinese, "中华人民共和国", text);
        // The long word and those inside of it are one, the word that stands alone is another.
        assert_eq!(
            words.iter().map(|word| &text[word.clone()]).collect::<Vec<_>>(),
            ["中华人民共和国", "人民"]
        );
        assert_eq!(braces(1, 10, 9).of(text, &words), ["在{中华人民共和国},人", "{人民}当家作主"]);
        assert_eq!(shown(&braces(2, 7, 9), "größe", "die Größe zählt"), ["e {Größe}"]);
    }

    #[test]
    fn words_are_found_as_their_analyzer_knows_them() {
        let english = r#"{"type": "english"}"#;
        let compounds = r#"{"tokenizer": "standard", "filter": ["lowercase", {"type": "decompounder", "word_list": ["dampf", "schiff"]}]}"#;
        let all =
            |params: &str, query: &str, text: &str| braces(0, 100, 5).of(text, &found(params, query, text));

        assert_eq!(all(english, "running the", "the Runs of a run"), ["{Runs} of a {run}"]);
        assert_eq!(all(compounds, "schiff", "ein Dampfschiff"), ["{Dampfschiff}"]);
    }

    /// The fragments of a text, found by going through it letter by letter.
    fn naive(fragments: &Fragments, text: &str, found: &[Range<usize>]) -> Vec<String> {
        let letters: Vec<(usize, char)> = text.char_indices().collect();
        let letter_at = |byte: usize| letters.iter().take_while(|(at, _)| *at < byte).count();
        let words: Vec<Range<usize>> =
            found.iter().map(|word| letter_at(word.start)..letter_at(word.end)).collect();
        let (mut all, mut done, mut shown) = (Vec::new(), vec![false; words.len()], 0);
        for (number, word) in words.iter().enumerate() {
            if done[number] || all.len() == fragments.most {
                continue;
            }
            let (mut start, mut end) = (word.start, word.end);
            while start > shown && word.start - start < fragments.lead && end - start < fragments.size {
                start -= 1;
            }
            while end < letters.len() && end - start < fragments.size {
                end += 1;
            }
            let mut fragment = String::new();
            for (at, (_, letter)) in letters.iter().enumerate().take(end).skip(start) {
                for (number, word) in words.iter().enumerate() {
                    if word.start == at && word.end <= end {
                        fragment.push_str(&fragments.tags.before[number % fragments.tags.before.len()]);
                        done[number] = true;
                    }
                }
                fragment.push(*letter);
                for (number, word) in words.iter().enumerate() {
                    if word.end == at + 1 && word.start >= start {
                        fragment.push_str(&fragments.tags.after[number % fragments.tags.after.len()]);
                    }
                }
            }
            all.push(fragment);
            shown = end;
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn fragments_are_those_found_letter_by_letter(
            letters in vec(prop_oneof![3 => "[ab ]", 1 => "[äß中🦀]"], 0..40),
            cuts in vec(any::<prop::sample::Index>(), 0..12),
            (lead, size, most) in (0_usize..9, 1_usize..12, 1_usize..5),
            (before, after) in (vec("[<({]{0,2}", 1..4), vec("[>)}]{0,2}", 1..3)),
        ) {
            let text = letters.concat();
            let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| ends[cut.index(ends.len())]).collect();
            cuts.sort_unstable();
            cuts.dedup();
            let words: Vec<Range<usize>> =
                cuts.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
            let fragments = Fragments { tags: Tags::new(before, after).unwrap(), lead, size, most };

            prop_assert_eq!(fragments.of(&text, &words), naive(&fragments, &text, &words));
        }

        #[test]
        fn words_that_are_found_cover_what_theirs_do(spans in vec((0_usize..20, 1_usize..6), 0..10)) {
            let token = |(start, length): &(usize, usize)| Token {
                text: if length % 2 == 0 { "even" } else { "odd" }.to_owned(),
                start: *start,
                end: start + length,
                position: 0,
            };
            let tokens: Vec<Token> = spans.iter().map(token).collect();
            let covers = |spans: &[Range<usize>], at| spans.iter().any(|span| span.contains(&at));
            let wanted: Vec<Range<usize>> =
                tokens.iter().filter(|token| token.text == "odd").map(|token| token.start..token.end).collect();

            let found = matches(&tokens, |word| word == "odd");
            prop_assert!((0..40).all(|at| covers(&found, at) == covers(&wanted, at)));
            prop_assert!(found.windows(2).all(|pair| pair[0].end <= pair[1].start));
            // None was made longer than by words that overlap: each border is that of a word.
            let is_border = |at: &usize| wanted.iter().any(|span| span.start == *at || span.end == *at);
            prop_assert!(found.iter().all(|span| is_border(&span.start) && is_border(&span.end)));
        }
    }
}
