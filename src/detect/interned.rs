//! Units and counter names read back from a checkpoint: words that the rules have as literals.

use serde::{Deserialize, Deserializer, de::Error as _};
use std::sync::{Mutex, PoisonError};

/// A word of a rule. The name hides the reference from serde, which would borrow it from the bytes.
pub(super) type Word = &'static str;

/// Words kept at most, and the length of one: rules have some sixty, a damaged checkpoint may hold anything.
const WORDS_MAX: usize = 256;
const WORD_BYTES_MAX: usize = 64;

static WORDS: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

/// A word as if it were a literal.
pub(super) fn word<'de, D: Deserializer<'de>>(from: D) -> Result<&'static str, D::Error> {
    let text = String::deserialize(from)?;
    intern(text).ok_or_else(|| D::Error::custom("more words than rules have"))
}

/// A word that may be missing.
pub(super) fn some_word<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'static str>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| intern(text).ok_or_else(|| D::Error::custom("more words than rules have"))).transpose()
}

fn intern(text: String) -> Option<&'static str> {
    let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = words.iter().find(|w| **w == text) {
        return Some(known);
    }
    if words.len() >= WORDS_MAX || text.len() > WORD_BYTES_MAX {
        return None;
    }
    let word: &'static str = text.leak();
    words.push(word);
    Some(word)
}
