//! The keys: one table, from which dispatch, the key bar and help are made.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Fold,
    Unfold,
    Enter,
    Back,
    Pane(usize),
    NextPane,
    PreviousPane,
    NextView,
    PreviousView,
    Sort,
    Reverse,
    Search,
    NextFound,
    PreviousFound,
    Filter,
    ClearFilter,
    Tree,
    Pause,
    Play,
    StepBack,
    StepOn,
    PreviousAnomaly,
    NextAnomaly,
    Slower,
    Faster,
    JumpTo,
    Spots,
    Live,
    Mark,
    SaveRing,
    Record,
    Picture,
    Follow,
    Kill,
    Tag,
    Untag,
    DestroySockets,
    Thaw,
    ReadFiles,
    ReadMemory,
    Help,
    Quit,
}

/// Where a key does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Everywhere.
    Any,
    /// On a row or line that leads somewhere.
    Leads,
    /// In a pane's table.
    Table,
    /// In a drill-down.
    Page,
    /// In a pane whose rows can be sorted.
    Sorted,
    /// In a pane with a tree.
    Tree,
    /// In a pane with several views.
    Views,
    /// While a search is on.
    Searching,
    /// While a filter is on.
    Filtering,
    /// On what can be ended.
    Kills,
    /// On a process that can be tagged.
    Tags,
    /// While some are tagged.
    Tagged,
    /// On TCP sockets that can be destroyed.
    Sockets,
    /// In a frozen cgroup.
    Frozen,
    /// In the drill-down of a task.
    TaskPage,
    /// On the running host.
    Live,
    /// In a recording.
    Replay,
    /// In the ring of this session.
    Ring,
}

/// A key and what it does where.
pub(super) struct Binding {
    /// The keys that do it.
    pub codes: &'static [KeyCode],
    /// How they are written.
    pub label: &'static str,
    /// In the key bar; empty = only in help.
    pub word: &'static str,
    /// In help.
    pub help: &'static str,
    /// Where.
    pub places: &'static [Place],
    /// What.
    pub action: Action,
}

const fn key(
    codes: &'static [KeyCode],
    label: &'static str,
    word: &'static str,
    help: &'static str,
    places: &'static [Place],
    action: Action,
) -> Binding {
    Binding { codes, label, word, help, places, action }
}

use KeyCode::{BackTab, Backspace, Char, Down, End, Enter, Esc, F, Home, Left, PageDown, PageUp, Right, Tab, Up};

/// Every key. The first that fits the place wins.
pub(super) static BINDINGS: &[Binding] = &[
    key(&[Enter], "Enter", "drill", "go to what the row is about", &[Place::Leads], Action::Enter),
    key(&[Esc, Backspace], "Esc", "back", "back to where you were", &[Place::Page], Action::Back),
    key(&[Char(' '), Char('p')], "Space", "play", "play or hold (p too)", &[Place::Replay], Action::Play),
    key(&[Char('[')], "[ ]", "step", "a sample back, a sample on", &[Place::Replay], Action::StepBack),
    key(&[Char(']')], "", "", "", &[Place::Replay], Action::StepOn),
    key(
        &[Char('{')],
        "{ }",
        "anomaly",
        "to where a finding began: the one before, the next",
        &[Place::Replay],
        Action::PreviousAnomaly,
    ),
    key(&[Char('}')], "", "", "", &[Place::Replay], Action::NextAnomaly),
    key(&[Char('@')], "@", "time", "go to a time: 03:12, 03:12:30, -5m", &[Place::Replay], Action::JumpTo),
    key(&[Char('<')], "< >", "", "slower, faster: 0.5 to 60 times", &[Place::Replay], Action::Slower),
    key(&[Char('>')], "", "", "", &[Place::Replay], Action::Faster),
    key(&[Char('m')], "m", "marks", "findings, marks and actions, to go to", &[Place::Replay], Action::Spots),
    key(&[Char('L')], "L", "live", "back to the live screen", &[Place::Ring], Action::Live),
    key(
        &[Char('k'), F(9)],
        "k",
        "kill",
        "plan how to end it; nothing is sent before you saw the plan (F9 too)",
        &[Place::Kills],
        Action::Kill,
    ),
    key(&[Char(' ')], "Space", "tag", "tag this process: k is for all that are tagged", &[Place::Tags], Action::Tag),
    key(&[Char('U')], "U", "untag", "take all tags away", &[Place::Tagged], Action::Untag),
    key(
        &[Char('x')],
        "x",
        "destroy sockets",
        "plan to destroy these TCP sockets",
        &[Place::Sockets],
        Action::DestroySockets,
    ),
    key(&[Char('u')], "u", "thaw", "plan to thaw its frozen cgroup", &[Place::Frozen], Action::Thaw),
    key(
        &[Char('l')],
        "l",
        "all files",
        "read every descriptor of it: costs kernel memory for each; Esc gives it up",
        &[Place::TaskPage],
        Action::ReadFiles,
    ),
    key(
        &[Char('M')],
        "M",
        "memory",
        "read where its memory is (smaps_rollup): takes its memory lock; Esc gives it up",
        &[Place::TaskPage],
        Action::ReadMemory,
    ),
    key(&[Esc], "Esc", "clear filter", "show all rows again", &[Place::Filtering], Action::ClearFilter),
    key(&[Char('v')], "v", "view", "next view of this pane", &[Place::Views], Action::NextView),
    key(&[Char('V')], "V", "", "previous view of this pane", &[Place::Views], Action::PreviousView),
    key(&[Char('s'), F(6)], "s", "sort", "choose the column to sort by (F6 too)", &[Place::Sorted], Action::Sort),
    key(&[Char('I')], "I", "", "sort the other way round", &[Place::Sorted], Action::Reverse),
    key(&[Char('/'), F(3)], "/", "search", "go to the next row with a text (F3 too)", &[Place::Table], Action::Search),
    key(&[Char('n')], "n", "next", "next row that was searched for", &[Place::Searching], Action::NextFound),
    key(&[Char('N')], "N", "", "previous row that was searched for", &[Place::Searching], Action::PreviousFound),
    key(&[Char('\\'), F(4)], "\\", "filter", "show only rows that match (F4 too)", &[Place::Table], Action::Filter),
    key(&[Char('t'), F(5)], "t", "tree", "rows under their parents, or flat (F5 too)", &[Place::Tree], Action::Tree),
    key(&[Right, Char('l'), Char('+')], "→", "", "unfold what hangs under the row", &[Place::Table], Action::Unfold),
    key(&[Left, Char('h'), Char('-')], "←", "", "fold it, or go to its parent", &[Place::Table], Action::Fold),
    key(&[Char('F')], "F", "", "keep the first row selected, whatever comes on top", &[Place::Table], Action::Follow),
    key(&[Char('p')], "p", "pause", "hold this picture, or go on", &[Place::Any], Action::Pause),
    key(&[Char('[')], "[", "", "a sample back: into the last 10 minutes", &[Place::Live], Action::StepBack),
    key(&[Char('{')], "{", "", "back to where the last finding began", &[Place::Live], Action::PreviousAnomaly),
    key(&[Char('m')], "m", "", "put a mark into what is recorded", &[Place::Live], Action::Mark),
    key(
        &[Char('w')],
        "w",
        "save 10 min",
        "write the last 10 minutes to a file",
        &[Place::Live, Place::Ring],
        Action::SaveRing,
    ),
    key(&[Char('r')], "r", "record", "record to a file, or stop", &[Place::Live, Place::Ring], Action::Record),
    key(&[Char('P')], "P", "", "save this screen as a picture (SVG) and as text", &[Place::Any], Action::Picture),
    key(&[Up], "↑", "", "one row up", &[Place::Any], Action::Up),
    key(&[Down], "↓", "", "one row down", &[Place::Any], Action::Down),
    key(&[PageUp], "PgUp", "", "a screen up", &[Place::Any], Action::PageUp),
    key(&[PageDown], "PgDn", "", "a screen down", &[Place::Any], Action::PageDown),
    key(&[Home, Char('g')], "Home", "", "first row (g too)", &[Place::Any], Action::Home),
    key(&[End, Char('G')], "End", "", "last row (G too)", &[Place::Any], Action::End),
    key(&[Char('1')], "1-7", "", "that pane", &[Place::Any], Action::Pane(0)),
    key(&[Char('2')], "", "", "", &[Place::Any], Action::Pane(1)),
    key(&[Char('3')], "", "", "", &[Place::Any], Action::Pane(2)),
    key(&[Char('4')], "", "", "", &[Place::Any], Action::Pane(3)),
    key(&[Char('5')], "", "", "", &[Place::Any], Action::Pane(4)),
    key(&[Char('6')], "", "", "", &[Place::Any], Action::Pane(5)),
    key(&[Char('7')], "", "", "", &[Place::Any], Action::Pane(6)),
    key(&[Tab], "Tab", "", "next pane", &[Place::Any], Action::NextPane),
    key(&[BackTab], "S-Tab", "", "previous pane", &[Place::Any], Action::PreviousPane),
    key(&[Char('?'), F(1)], "?", "help", "this help (F1 too)", &[Place::Any], Action::Help),
    key(&[Char('q'), F(10)], "q", "quit", "leave (F10 and Ctrl-C too)", &[Place::Any], Action::Quit),
];

/// What a key does at these places.
pub(super) fn action(event: KeyEvent, places: &[Place]) -> Option<Action> {
    if event.modifiers.contains(KeyModifiers::CONTROL) {
        return match event.code {
            Char('c') => Some(Action::Quit),
            Char('d') => Some(Action::PageDown),
            Char('u') => Some(Action::PageUp),
            _ => None,
        };
    }
    let bound = BINDINGS.iter().find(|b| b.codes.contains(&event.code) && fits(b, places));
    bound.map(|b| b.action)
}

/// Whether a key does something at these places.
pub(super) fn fits(binding: &Binding, places: &[Place]) -> bool {
    binding.places.iter().any(|p| *p == Place::Any || places.contains(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pane_has_its_number_and_no_key_has_two_meanings_at_one_place() {
        let numbers = BINDINGS.iter().filter(|b| matches!(b.action, Action::Pane(_))).count();
        assert_eq!(numbers, crate::panes::PANES.len());
        for (i, a) in BINDINGS.iter().enumerate() {
            for b in BINDINGS.iter().skip(i + 1) {
                let shared = a.codes.iter().any(|c| b.codes.contains(c));
                let together = a.places.iter().any(|p| b.places.contains(p));
                assert!(!(shared && together), "{} and {}", a.help, b.help);
            }
        }
    }
}
