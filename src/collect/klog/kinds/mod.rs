//! The kinds of event, one file for each family. Adding one = a file and a word in the table below.

mod pending;

use super::line::Line;
use super::sink::Sink;
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

/// Any literal of any kind, and the words that the parser itself looks for.
static PREFILTER: LazyLock<regex::bytes::Regex> = LazyLock::new(|| {
    let mut words = vec![regex::escape(" callbacks suppressed"), regex::escape("last message repeated ")];
    words.extend(all().iter().flat_map(|k| k.literals()).map(|l| regex::escape(l)));
    compile(&words.join("|"))
});

#[expect(clippy::expect_used, reason = "escaped words are a valid pattern")]
fn compile(pattern: &str) -> regex::bytes::Regex {
    regex::bytes::Regex::new(pattern).expect("a pattern of escaped words")
}

/// Whether a line holds any literal.
pub(super) fn may_matter(line: &[u8]) -> bool {
    PREFILTER.is_match(line)
}

/// Where the first literal stands.
pub(super) fn find(block: &[u8]) -> Option<usize> {
    PREFILTER.find(block).map(|m| m.start())
}
