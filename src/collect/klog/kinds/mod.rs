//! The kinds of event, one file for each family. Adding one = a file and a word in the table below.

mod pending;

use super::line::Line;
use super::sink::Sink;
use rustc_hash::FxHashMap;
use std::sync::LazyLock;

/// Reads the lines of a family of kinds.
pub(super) trait Kind: Send {
    /// Words of which a line must hold one to begin anything here.
    fn literals(&self) -> &'static [&'static str];

    /// Whether a report is open: then every line is shown, whatever it holds.
    fn is_open(&self) -> bool {
        false
    }

    /// Whether its lines fold into bursts.
    fn folds(&self) -> bool {
        false
    }

    /// Reads a line; says whether it was of this family.
    fn line(&mut self, line: &Line<'_>, sink: &mut Sink) -> bool;

    /// No line is there for now: gives out what is complete, and what got no line since it was last asked.
    fn idle(&mut self, _sink: &mut Sink) {}

    /// No line will come: gives out all.
    fn end(&mut self, _sink: &mut Sink) {}
}

macro_rules! kinds {
    ($($family:ident)*) => {
        $(mod $family;)*

        /// A machine for each family.
        pub(super) fn all() -> Vec<Box<dyn Kind>> {
            vec![$(Box::new($family::Machine::default())),*]
        }
    };
}

kinds! {
    oom_kill hung_task fork_rejected tcp net_tables netdev nfs block filesystem lockup rcu panic machine_check
    allocation slub user_fault
}

/// Kinds by their position in the table, as bits.
pub(super) type Mask = u32;

/// The bit of what the parser itself looks for: a limiter's count, a daemon's repeat.
const PARSER: Mask = 1 << 31;

/// Finds the literals of all kinds in one walk over the bytes.
struct Prefilter {
    any: regex::bytes::Regex,
    of: FxHashMap<&'static [u8], Mask>,
}

static PREFILTER: LazyLock<Prefilter> = LazyLock::new(|| {
    let mut of: FxHashMap<&'static [u8], Mask> = FxHashMap::default();
    of.insert(b" callbacks suppressed", PARSER);
    of.insert(b"last message repeated ", PARSER);
    for (at, kind) in all().iter().enumerate() {
        for literal in kind.literals() {
            *of.entry(literal.as_bytes()).or_default() |= 1 << at;
        }
    }
    let words: Vec<_> = of.keys().map(|l| regex::escape(&String::from_utf8_lossy(l))).collect();
    Prefilter { any: compile(&words.join("|")), of }
});

#[expect(clippy::expect_used, reason = "escaped words are a valid pattern")]
fn compile(pattern: &str) -> regex::bytes::Regex {
    regex::bytes::Regex::new(pattern).expect("a pattern of escaped words")
}

/// The kinds that a line may concern; 0 for nearly every line.
pub(super) fn concerned(line: &[u8]) -> Mask {
    let mut mask = 0;
    let mut from = 0;
    while let Some(hit) = PREFILTER.any.find_at(line, from) {
        mask |= PREFILTER.of.get(hit.as_bytes()).copied().unwrap_or(0);
        from = hit.start() + 1;
    }
    mask
}

/// Where the first literal stands.
pub(super) fn find(block: &[u8]) -> Option<usize> {
    PREFILTER.any.find(block).map(|m| m.start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_literal_is_found_by_itself() {
        assert!(all().len() < 31);
        for (at, kind) in all().iter().enumerate() {
            for literal in kind.literals() {
                assert!(concerned(format!("x{literal}y").as_bytes()) & (1 << at) != 0, "{literal}");
            }
        }
        // Of two literals that begin at the same byte only one would be seen.
        let literals: Vec<&[u8]> = PREFILTER.of.keys().copied().collect();
        for a in &literals {
            assert_eq!(literals.iter().filter(|b| b.starts_with(a)).count(), 1, "{}", String::from_utf8_lossy(a));
        }
        assert_eq!(concerned(b"docker0: port 3(veth5) entered forwarding state"), 0);
    }
}
