//! Layers above a pane: drill-downs, help, the sort menu, the prompt. The top one takes the keys.

use super::kill::Kill;
use crate::view::Target;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tui_input::{Input, InputRequest};

/// A layer.
#[derive(Clone, Debug)]
pub(super) enum Layer {
    /// Everything about one subject.
    Page(PageState),
    /// A plan, and what became of it.
    Kill(Box<Kill>),
    /// The keys and columns of the screen below.
    Help {
        /// Rows scrolled off.
        scroll: usize,
    },
    /// Which column to sort by.
    Sort {
        /// The chosen one.
        at: usize,
    },
    /// Findings, marks and actions of a recording, to go to.
    Spots {
        /// The chosen one.
        at: usize,
    },
    /// A line to type into.
    Prompt {
        /// What for.
        purpose: Purpose,
        /// What has been typed.
        input: Input,
        /// What stood there before, for Esc.
        before: String,
    },
}

/// What a prompt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Search.
    Search,
    /// Filter.
    Filter,
    /// A time of the recording.
    Jump,
    /// A mark's text.
    Mark,
}

/// Where one is in a drill-down.
#[derive(Clone, Debug)]
pub(super) struct PageState {
    /// What it is about.
    pub target: Target,
    /// The selected line's target: pinned to it, not to its number.
    pub selected: Option<Target>,
    /// Its number when last drawn.
    pub line: usize,
    /// Rows scrolled off.
    pub scroll: u16,
    /// Whether the selection was moved last, not the page: then the page follows it, else it follows the page.
    pub led: bool,
    /// Rows of the page and of the screen when last drawn.
    pub rows: (u16, u16),
}

impl PageState {
    /// A page just opened.
    pub fn new(target: Target) -> Self {
        Self { target, selected: None, line: 0, scroll: 0, led: true, rows: (0, 0) }
    }
}

/// Edits a line with the keys of a shell.
pub(super) fn edit(input: &mut Input, key: KeyEvent) {
    use InputRequest as Do;
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    let request = match key.code {
        KeyCode::Char('u') if ctrl => Do::DeleteLine,
        KeyCode::Char('w') if ctrl => Do::DeletePrevWord,
        KeyCode::Char('a') if ctrl => Do::GoToStart,
        KeyCode::Char('e') if ctrl => Do::GoToEnd,
        KeyCode::Char('k') if ctrl => Do::DeleteTillEnd,
        KeyCode::Char(_) if ctrl || key.modifiers.contains(KeyModifiers::ALT) => return,
        KeyCode::Char(ch) => Do::InsertChar(ch),
        KeyCode::Backspace => Do::DeletePrevChar,
        KeyCode::Delete => Do::DeleteNextChar,
        KeyCode::Left => Do::GoToPrevChar,
        KeyCode::Right => Do::GoToNextChar,
        KeyCode::Home => Do::GoToStart,
        KeyCode::End => Do::GoToEnd,
        _ => return,
    };
    input.handle(request);
}
