//! Scripted frames for screen tests: hand-made snapshots, joined as the engine joins them.
#![allow(dead_code, unused_imports, reason = "each test file uses a part of the kit")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::too_many_lines,
    reason = "a kit for tests: what it is given is right, or the test fails"
)]

mod build;
mod counted;
pub mod plans;
pub mod states;
mod story_d;
pub mod twin;

pub use build::{Build, at};
pub use counted::counted;
pub use story_d::{build as story_d_build, detail_of_java, key, story_d};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::sync::Arc;
use whytop::app::{App, AppOptions, Effect, Event};
use whytop::model::Frame;
use whytop::view::{Role, Theme};

/// Changes the processes of a frame in the making.
pub fn change_tasks(build: &mut Build, change: impl FnOnce(&mut Vec<whytop::snapshot::Task>)) {
    let mut tasks = build.snap.tasks.data().unwrap().clone();
    change(&mut tasks.rows);
    build.snap.tasks = whytop::snapshot::Section::ok(build.snap.at, tasks);
}

/// Changes its cgroups.
pub fn change_cgroups<T>(build: &mut Build, change: impl FnOnce(&mut Vec<whytop::snapshot::Cgroup>) -> T) -> T {
    let mut cgroups = build.snap.cgroups.data().unwrap().clone();
    let out = change(&mut cgroups.rows);
    build.snap.cgroups = whytop::snapshot::Section::ok(build.snap.at, cgroups);
    out
}

/// Changes its slab caches.
pub fn change_slabs(build: &mut Build, change: impl FnOnce(&mut Vec<whytop::snapshot::Slab>)) {
    let mut slabs = build.snap.slab.data().unwrap().clone();
    change(&mut slabs.rows);
    build.snap.slab = whytop::snapshot::Section::ok(build.snap.at, slabs);
}

/// An app over a frame, its pane open.
pub fn app(pane: &str, frame: &Arc<Frame>) -> App {
    let mut app = App::new(AppOptions {
        theme: Theme::probe(),
        ascii: false,
        read_only: false,
        pane: pane.into(),
        utc_offset_secs: 0,
    });
    app.step(Event::Frame(Arc::clone(frame)));
    app
}

/// Presses keys: single characters, or names in angle brackets: `/java<enter><down><esc>`.
pub fn press(app: &mut App, keys: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    let mut rest = keys;
    while let Some(ch) = rest.chars().next() {
        let named = rest.strip_prefix('<').and_then(|r| r.split_once('>'));
        let (code, tail) = match named {
            Some(("lt", tail)) => (KeyCode::Char('<'), tail),
            Some((name, tail)) => (named_key(name), tail),
            None => (KeyCode::Char(ch), &rest[ch.len_utf8()..]),
        };
        effects.extend(app.step(Event::Key(KeyEvent::new(code, KeyModifiers::NONE))));
        rest = tail;
    }
    effects
}

fn named_key(name: &str) -> KeyCode {
    use KeyCode::{BackTab, Backspace, Down, End, Enter, Esc, F, Home, Left, PageDown, PageUp, Right, Tab, Up};
    match name {
        "enter" => Enter,
        "esc" => Esc,
        "bs" => Backspace,
        "up" => Up,
        "down" => Down,
        "left" => Left,
        "right" => Right,
        "pgup" => PageUp,
        "pgdn" => PageDown,
        "home" => Home,
        "end" => End,
        "tab" => Tab,
        "s-tab" => BackTab,
        _ => F(name.strip_prefix('f').and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("unknown key <{name}>"))),
    }
}

/// Draws at a size.
pub fn draw(app: &mut App, width: u16, height: u16) -> Buffer {
    let mut buf = Buffer::empty(Rect::new(0, 0, width, height));
    app.draw(&mut buf);
    buf
}

/// The text of a screen, without what trails a row.
pub fn text(buf: &Buffer) -> String {
    rows(buf, |buf, x, y| buf[(x, y)].symbol().to_owned())
}

/// The roles of a screen: a letter a cell. The ground of a selected row shows where a cell has no text.
pub fn roles(buf: &Buffer) -> String {
    let theme = Theme::probe();
    let ground = theme.style(Role::Selected).bg;
    rows(buf, |buf, x, y| {
        let cell = &buf[(x, y)];
        let selected = ground == Some(cell.bg);
        if cell.symbol().trim().is_empty() {
            return if selected { "s".into() } else { " ".into() };
        }
        let role = Role::ALL.iter().find(|r| theme.style(**r).fg == Some(cell.fg));
        role.map_or("?".into(), |r| r.letter().to_string())
    })
}

fn rows(buf: &Buffer, cell: impl Fn(&Buffer, u16, u16) -> String) -> String {
    let mut out = String::new();
    for y in 0..buf.area.height {
        let mut row = String::new();
        let mut x = 0;
        while x < buf.area.width {
            row.push_str(&cell(buf, x, y));
            // A wide character covers the next cell too.
            x += u16::try_from(unicode_width::UnicodeWidthStr::width(buf[(x, y)].symbol()).max(1)).unwrap();
        }
        out.push_str(row.trim_end());
        out.push('\n');
    }
    out
}
