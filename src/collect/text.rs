//! The common shapes of `/proc` text: lines, words, numbers, and counters whose names are shared between samples.

use crate::snapshot::{Counters, Names, Text};
use std::collections::BTreeSet;

/// The lines of a file, without their ends.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| *b == b'\n').filter(|line| !line.is_empty())
}

/// The words of a line, split at blanks and tabs.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|b| *b == b' ' || *b == b'\t').filter(|word| !word.is_empty())
}

/// A decimal number filling all of `word`. A negative one (`Tcp MaxConn -1`, `hung_task_warnings -1`) comes as its
/// two's complement, so that "no limit" is the largest number; `None` for anything else or beyond 64 bits.
#[must_use]
pub fn number(word: &[u8]) -> Option<u64> {
    let (negative, digits) = match word.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, word),
    };
    let value = radix(digits, 10)?;
    Some(if negative { value.wrapping_neg() } else { value })
}

/// A hexadecimal number without `0x`, filling all of `word` (`softnet_stat`, `/proc/net/stat`).
#[must_use]
pub fn hex(word: &[u8]) -> Option<u64> {
    radix(word, 16)
}

fn radix(digits: &[u8], base: u32) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| {
        let digit = char::from(*digit).to_digit(base)?;
        sum.checked_mul(u64::from(base))?.checked_add(u64::from(digit))
    })
}

/// A decimal fraction such as a load average or a PSI percentage; `None` unless finite.
#[must_use]
pub fn fraction(word: &[u8]) -> Option<f64> {
    std::str::from_utf8(word).ok()?.parse().ok().filter(|value: &f64| value.is_finite())
}

/// Kernel bytes as shared text; invalid UTF-8 is replaced.
#[must_use]
pub fn text(bytes: &[u8]) -> Text {
    String::from_utf8_lossy(bytes).into()
}

/// Counters of one file (or several read together) in the order they stand there.
#[derive(Debug, Default)]
pub struct Tally {
    keys: Vec<u8>,
    values: Vec<u64>,
}

impl Tally {
    /// Forgets everything but the capacity.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.values.clear();
    }

    /// Notes one counter, named `group` and `name` in one word.
    pub fn push(&mut self, group: &[u8], name: &[u8], value: u64) {
        self.keys.extend_from_slice(group);
        self.keys.extend_from_slice(name);
        self.keys.push(b'\n');
        self.values.push(value);
    }

    /// Notes one counter under a name of ours.
    pub fn put(&mut self, name: &str, value: u64) {
        self.push(name.as_bytes(), b"", value);
    }
}

/// Makes [`Counters`] from tallies. Names are built once per set of names and then shared: a pass over files whose
/// names did not change allocates the values only.
#[derive(Debug, Default)]
pub struct Shapes {
    known: Vec<Shape>,
}

#[derive(Debug)]
struct Shape {
    keys: Vec<u8>,
    names: Names,
    /// Place in `names` of each value in the order of the file.
    slots: Vec<usize>,
}

impl Shapes {
    /// More sets of names than this are not remembered; namespaces differ in `IcmpMsg` and little else.
    const MAX: usize = 64;

    /// The tally as counters.
    pub fn counters(&mut self, tally: &Tally) -> Counters {
        let at = self.known.iter().position(|shape| shape.keys == tally.keys);
        let at = at.unwrap_or_else(|| {
            if self.known.len() == Self::MAX {
                self.known.remove(0);
            }
            self.known.push(Shape::of(&tally.keys));
            self.known.len() - 1
        });
        self.known.get(at).map_or_else(Counters::default, |shape| shape.fill(&tally.values))
    }
}

impl Shape {
    fn of(keys: &[u8]) -> Self {
        let in_file: Vec<&[u8]> = keys.strip_suffix(b"\n").map_or(Vec::new(), |k| k.split(|b| *b == b'\n').collect());
        // Sorted as lossy text, not as bytes: lookups compare text.
        let sorted: BTreeSet<String> = in_file.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
        let names: Vec<Text> = sorted.into_iter().map(Text::from).collect();
        let slots = in_file
            .iter()
            .map(|key| {
                let key = String::from_utf8_lossy(key);
                names.partition_point(|name| **name < *key)
            })
            .collect();
        Self { keys: keys.to_vec(), names: names.into(), slots }
    }

    fn fill(&self, values: &[u64]) -> Counters {
        let mut sorted = vec![0; self.names.len()];
        for (slot, value) in self.slots.iter().zip(values) {
            if let Some(place) = sorted.get_mut(*slot) {
                *place = *value;
            }
        }
        Counters::with_names(self.names.clone(), sorted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_whole_words() {
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(number(b"18446744073709551616"), None);
        assert_eq!(number(b"-1"), Some(u64::MAX));
        assert_eq!(number(b"-"), None);
        assert_eq!(number(b"12kB"), None);
        assert_eq!(number(b"+1"), None);
        assert_eq!(hex(b"0000fF"), Some(255));
        assert_eq!(hex(b"0x1"), None);
        assert_eq!(fraction(b"0.49"), Some(0.49));
        assert_eq!(fraction(b"inf"), None);
    }

    #[test]
    fn names_are_shared_until_they_change() {
        let mut shapes = Shapes::default();
        let mut tally = Tally::default();
        tally.push(b"Tcp", b"OutRsts", 5);
        tally.push(b"Ip", b"InReceives", 9);
        let first = shapes.counters(&tally);
        let second = shapes.counters(&tally);
        assert_eq!(first.get("TcpOutRsts"), Some(5));
        assert_eq!(first.get("IpInReceives"), Some(9));
        let (a, b) = (first.iter().next().unwrap().0, second.iter().next().unwrap().0);
        assert!(Text::ptr_eq(a, b));
        tally.put("Udp6NoPorts", 1);
        assert_eq!(shapes.counters(&tally).get("Udp6NoPorts"), Some(1));
    }

    #[test]
    fn a_name_that_comes_twice_keeps_the_last_value() {
        let mut tally = Tally::default();
        tally.put("x", 1);
        tally.put("x", 2);
        assert_eq!(Shapes::default().counters(&tally).get("x"), Some(2));
    }

    #[test]
    fn nothing_gives_nothing() {
        assert!(Shapes::default().counters(&Tally::default()).is_empty());
    }

    proptest! {
        #[test]
        fn any_names_can_be_found_again(names in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..6), 0..20)) {
            let mut tally = Tally::default();
            for (value, name) in names.iter().enumerate() {
                let name: Vec<u8> = name.iter().copied().filter(|b| *b != b'\n').collect();
                tally.push(b"g", &name, value as u64);
            }
            let counters = Shapes::default().counters(&tally);
            for (name, value) in counters.iter() {
                prop_assert_eq!(counters.get(name), Some(value));
            }
        }

        #[test]
        fn words_never_panic(bytes: Vec<u8>) {
            for word in lines(&bytes).flat_map(words) {
                let _ = (number(word), hex(word), fraction(word), text(word));
            }
        }
    }
}
