//! The screen as a pure machine: events in, effects out, and a buffer drawn. No I/O, no clock, no globals.

mod doable;
mod draw;
mod draw_kill;
mod event;
mod header;
mod help;
mod keys;
mod kill;
mod layer;
mod plan;
mod recording;
mod replay;
mod scrub;
mod state;
pub mod when;

pub use event::{AppOptions, Effect, Event};
pub use recording::{Playback, RecorderState, Recording, Spot, SpotKind};

use crate::model::Frame;
use crate::panes::{PANES, drill};
use crate::snapshot::{Action as Deed, Deep, DeepKind, DeepState, Moment, Subject, TaskKey};
use crate::view::{Target, Theme, Tree};
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind};
use keys::{Action, Place};
use kill::Stage;
use layer::{Layer, PageState, Purpose};
use replay::Replay;
use state::ViewState;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The whole interactive program but for its terminal and its source of frames.
#[derive(Debug)]
pub struct App {
    options: AppOptions,
    /// The frame on the screen.
    frame: Arc<Frame>,
    /// The newest one while the screen is held.
    held: Option<Arc<Frame>>,
    now: Moment,
    /// Now, also while a recording is shown.
    clock: Moment,
    pane: usize,
    /// The open view of each pane.
    open: Vec<usize>,
    /// Each pane's views.
    views: Vec<Vec<ViewState>>,
    layers: Vec<Layer>,
    focus: Option<Subject>,
    /// The recording that is shown instead of the running host.
    replay: Option<Replay>,
    /// The file that the host is recorded to.
    recorder: Option<RecorderState>,
    /// The key that asked for the ring, until it is there.
    rewinding: Option<Action>,
    /// Where one is in the recording.
    now_unix_ns: i64,
    /// Rows of the table when last drawn.
    table_rows: usize,
    /// What the caller must do about this event.
    effects: Vec<Effect>,
    /// Number of the last plan that was asked for.
    plans: u64,
    /// The processes that `k` is for, whatever is selected.
    tags: BTreeSet<TaskKey>,
    /// Something to tell, as what became of an action whose layer was left, and since when it is told.
    told: Option<(String, Moment)>,
    /// The deep read that was asked for last.
    deep: Option<Deep>,
}

impl App {
    /// The program before its first frame.
    #[must_use]
    pub fn new(options: AppOptions) -> Self {
        let views = PANES.iter().map(|p| p.views.iter().map(|v| ViewState::new(*v)).collect()).collect();
        let pane = PANES.iter().position(|p| p.name == options.pane).unwrap_or(0);
        Self {
            options,
            frame: Arc::default(),
            held: None,
            now: Moment::default(),
            clock: Moment::default(),
            pane,
            open: vec![0; PANES.len()],
            views,
            layers: Vec::new(),
            focus: None,
            replay: None,
            recorder: None,
            rewinding: None,
            now_unix_ns: 0,
            table_rows: 10,
            effects: Vec::new(),
            plans: 0,
            tags: BTreeSet::new(),
            told: None,
            deep: None,
        }
    }

    /// The colours that it is drawn with.
    #[must_use]
    pub fn theme(&self) -> &Theme {
        &self.options.theme
    }

    /// Takes one event; what the caller must do comes back, in order.
    pub fn step(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Key(key) if key.kind == KeyEventKind::Release => return Vec::new(),
            Event::Key(key) => {
                if self.key(key) {
                    return vec![Effect::Quit];
                }
            }
            Event::Resize => {}
            Event::Frame(frame) => {
                self.now_unix_ns = frame.snap.wall_unix_ns;
                // In a recording it is as late as the frame; a session of another boot may begin at 0 again.
                if self.replay.is_some() {
                    self.now = frame.snap.at;
                } else {
                    self.now = self.now.max(frame.snap.at);
                    self.clock = self.clock.max(self.now);
                }
                if self.held.is_some() {
                    self.held = Some(frame);
                } else {
                    self.show(frame);
                }
            }
            Event::Recording(recording) => self.open_recording(recording),
            Event::Absent { from_unix_ns, to_unix_ns } => self.say_absent(from_unix_ns, to_unix_ns),
            Event::Recorder(state) => self.recorder = state,
            Event::Notice(text) => self.say(text),
            Event::Tick { now, utc_offset_secs } => {
                if self.replay.is_none() {
                    self.now = self.now.max(now);
                }
                self.clock = now;
                self.options.utc_offset_secs = utc_offset_secs;
            }
            Event::Planned { id, plan } => self.planned(id, plan),
            Event::Acted { id, proposal } => self.acted(id, proposal),
            Event::Deep(deep) => {
                // What comes of a read that was given up is not wanted any more.
                if self.deep.as_ref().is_some_and(|asked| (asked.task, asked.kind) == (deep.task, deep.kind)) {
                    self.deep = Some(*deep);
                }
            }
        }
        self.note_end();
        let mut effects = vec![Effect::Redraw];
        effects.append(&mut self.effects);
        let focus = self.focused();
        if focus != self.focus {
            // Whoever leaves a page does not wait for what was asked for there.
            if self.is_reading() {
                self.deep = None;
                effects.push(Effect::StopReading);
            }
            self.focus.clone_from(&focus);
            effects.push(Effect::Focus(focus));
        }
        effects
    }

    /// Tells the operator something for a while.
    fn say(&mut self, text: impl Into<String>) {
        self.told = Some((text.into(), self.clock));
    }

    /// The subject of the topmost drill-down.
    fn focused(&self) -> Option<Subject> {
        self.layers.iter().rev().find_map(|l| match l {
            Layer::Page(page) => match &page.target {
                Target::Subject(subject) => Some(subject.clone()),
                // Its threads are read with it.
                Target::Threads(key) => Some(Subject::Task(*key)),
                Target::Finding(..) | Target::Log(..) => None,
            },
            _ => None,
        })
    }

    fn show(&mut self, frame: Arc<Frame>) {
        self.frame = frame;
        self.sweep_tags();
        let frame = Arc::clone(&self.frame);
        // Only the open view is made anew; the others are when they are opened.
        self.view_mut().arrange(&frame);
    }

    fn view(&self) -> Option<&ViewState> {
        self.views.get(self.pane)?.get(*self.open.get(self.pane)?)
    }

    #[expect(clippy::indexing_slicing, reason = "pane < PANES.len() and every pane has a view; a test walks them all")]
    fn view_mut(&mut self) -> &mut ViewState {
        let open = self.open[self.pane];
        &mut self.views[self.pane][open]
    }

    /// What pages are made from.
    fn cx(&self) -> drill::Cx<'_> {
        drill::Cx {
            frame: &self.frame,
            utc_offset_secs: self.options.utc_offset_secs,
            deep: self.deep.as_ref(),
            recorded: self.replay.is_some(),
        }
    }

    /// Where one is, for the keys.
    fn places(&self) -> Vec<Place> {
        let mut places = self.places_here();
        match &self.replay {
            None => places.push(Place::Live),
            Some(replay) if replay.recording.is_ring => places.extend([Place::Replay, Place::Ring]),
            Some(_) => places.push(Place::Replay),
        }
        places
    }

    fn places_here(&self) -> Vec<Place> {
        if let Some(Layer::Page(state)) = self.layers.last() {
            let cx = self.cx();
            let leads = draw::selected_line(state, &drill::page(&cx, &state.target)).is_some();
            let mut places = if leads { vec![Place::Page, Place::Leads] } else { vec![Place::Page] };
            if self.replay.is_none() && self.task_page().is_some() {
                places.push(Place::TaskPage);
            }
            self.acting_places(&mut places);
            return places;
        }
        let mut places = vec![Place::Table];
        let Some(view) = self.view() else { return places };
        if self.row_target().is_some_and(|t| has_page(&t)) {
            places.push(Place::Leads);
        }
        if view.view.tree() != Tree::Fixed {
            places.push(Place::Sorted);
        }
        if matches!(view.view.tree(), Tree::On | Tree::Off) {
            places.push(Place::Tree);
        }
        if self.views.get(self.pane).is_some_and(|v| v.len() > 1) {
            places.push(Place::Views);
        }
        if !view.search.is_empty() {
            places.push(Place::Searching);
        }
        if !view.filter.is_empty() {
            places.push(Place::Filtering);
        }
        self.acting_places(&mut places);
        places
    }

    /// Where one can act: nowhere when nothing may be changed, and not in the past.
    fn acting_places(&self, places: &mut Vec<Place>) {
        if self.replay.is_some() {
            return;
        }
        let acts = [
            (Place::Kills, self.to_kill().is_some()),
            (Place::Tags, self.to_tag().is_some()),
            (Place::Tagged, !self.tags.is_empty() && self.layers.is_empty()),
            (Place::Sockets, self.to_destroy().is_some()),
            (Place::Frozen, self.to_thaw().is_some()),
        ];
        places.extend(acts.into_iter().filter(|(_, here)| *here).map(|(place, _)| place));
    }

    /// Takes a key; whether it means to leave.
    fn key(&mut self, key: KeyEvent) -> bool {
        let ctrl_c = keys::action(key, &[]) == Some(Action::Quit) && key.code == KeyCode::Char('c');
        if ctrl_c {
            return true;
        }
        if keys::action(key, &[]) == Some(Action::Picture) && !self.is_typing() {
            self.effects.push(Effect::Picture);
            return false;
        }
        match self.layers.last() {
            Some(Layer::Prompt { .. }) => self.prompt_key(key),
            Some(Layer::Help { .. }) => self.help_key(key),
            Some(Layer::Sort { .. }) => self.sort_key(key),
            Some(Layer::Kill(_)) => self.kill_key(key),
            Some(Layer::Spots { .. }) => self.spots_act(keys::action(key, &[Place::Leads])),
            Some(Layer::Page(_)) | None => match keys::action(key, &self.places()) {
                Some(Action::Quit) => return true,
                Some(action) => self.act(action),
                None => {}
            },
        }
        false
    }

    /// Whether letters are text.
    fn is_typing(&self) -> bool {
        match self.layers.last() {
            Some(Layer::Prompt { .. }) => true,
            Some(Layer::Kill(kill)) => matches!(kill.stage, Stage::Typing { .. }),
            _ => false,
        }
    }

    fn act(&mut self, action: Action) {
        let on_page = matches!(self.layers.last(), Some(Layer::Page(_)));
        match action {
            Action::Pane(n) => self.open_pane(n),
            Action::NextPane => self.open_pane((self.pane + 1) % PANES.len()),
            Action::PreviousPane => self.open_pane((self.pane + PANES.len() - 1) % PANES.len()),
            Action::Help => self.layers.push(Layer::Help { scroll: 0 }),
            Action::Pause => self.pause(),
            Action::Back if self.is_reading() => self.stop_reading(),
            Action::Mark => self.prompt(Purpose::Mark),
            Action::SaveRing => self.effects.push(Effect::SaveRing),
            Action::Record => self.effects.push(Effect::Record),
            Action::StepBack | Action::PreviousAnomaly if self.replay.is_none() => self.rewind(action),
            _ if self.replay.is_some() && is_playback(action) => self.replay_act(action),
            Action::Back => {
                self.layers.pop();
            }
            Action::ReadFiles => self.read(DeepKind::Files),
            Action::ReadMemory => self.read(DeepKind::Memory),
            Action::Tag => self.tag(),
            Action::Untag => self.tags.clear(),
            Action::Kill | Action::DestroySockets | Action::Thaw => {
                let deed = match action {
                    Action::Kill => self.to_kill(),
                    Action::Thaw => self.to_thaw().map(|cgroup| Deed::Thaw { cgroup }),
                    _ => self.to_destroy().map(|sockets| Deed::DestroySockets { sockets }),
                };
                if let Some(deed) = deed {
                    // From here on a key has chosen this row.
                    self.view_mut().chosen = true;
                    self.propose(deed);
                }
            }
            _ if on_page => self.page_act(action),
            _ => self.table_act(action),
        }
    }

    /// Asks for a deep read of the task whose page is open.
    fn read(&mut self, kind: DeepKind) {
        if let Some(task) = self.task_page() {
            let state = DeepState::Reading { done: 0, total: 0, for_ns: 0 };
            self.deep = Some(Deep { task, kind, state });
            self.effects.push(Effect::Read(task, kind));
        }
    }

    fn is_reading(&self) -> bool {
        matches!(&self.deep, Some(Deep { state: DeepState::Reading { .. }, .. }))
    }

    fn stop_reading(&mut self) {
        if self.is_reading() {
            self.deep = None;
            self.effects.push(Effect::StopReading);
        }
    }

    /// The task whose page is open.
    fn task_page(&self) -> Option<TaskKey> {
        match self.layers.last() {
            Some(Layer::Page(PageState { target: Target::Subject(Subject::Task(key)), .. })) => Some(*key),
            _ => None,
        }
    }

    fn open_pane(&mut self, pane: usize) {
        if pane < PANES.len() {
            self.layers.clear();
            self.pane = pane;
            let frame = Arc::clone(&self.frame);
            self.view_mut().arrange(&frame);
        }
    }

    fn pause(&mut self) {
        match self.held.take() {
            None => self.held = Some(Arc::clone(&self.frame)),
            Some(newest) => self.show(newest),
        }
    }

    fn table_act(&mut self, action: Action) {
        let frame = Arc::clone(&self.frame);
        let screen = isize::try_from(self.table_rows.max(2) - 1).unwrap_or(1);
        let view = self.view_mut();
        match action {
            Action::Up => view.move_by(-1),
            Action::Down => view.move_by(1),
            Action::PageUp => view.move_by(-screen),
            Action::PageDown => view.move_by(screen),
            Action::Home => view.move_by(isize::MIN),
            Action::End => view.move_by(isize::MAX),
            Action::Fold => view.fold(true, &frame),
            Action::Unfold => view.fold(false, &frame),
            Action::Tree => view.switch_tree(&frame),
            Action::Reverse => {
                if let Some((column, _)) = view.sort() {
                    view.sort_by(column, &frame);
                }
            }
            Action::NextFound => {
                view.find(1);
            }
            Action::PreviousFound => {
                view.find(-1);
            }
            Action::ClearFilter => view.set_filter(String::new(), &frame),
            Action::Follow => {
                view.follow = !view.follow;
                view.arrange(&frame);
            }
            Action::Sort => {
                let at = view.sort().map_or(0, |(column, _)| column);
                self.layers.push(Layer::Sort { at });
            }
            Action::Search => self.prompt(Purpose::Search),
            Action::Filter => self.prompt(Purpose::Filter),
            Action::NextView => self.switch_view(1),
            Action::PreviousView => self.switch_view(-1),
            Action::Enter => {
                view.chosen = true;
                let target = self.row_target();
                self.drill(target);
            }
            _ => {}
        }
    }

    /// Where the selected row leads.
    fn row_target(&self) -> Option<Target> {
        let view = self.view()?;
        view.listing.as_ref()?.sheet.target(view.row()?)
    }

    fn switch_view(&mut self, by: isize) {
        let frame = Arc::clone(&self.frame);
        let count = self.views.get(self.pane).map_or(1, Vec::len).max(1);
        if let Some(open) = self.open.get_mut(self.pane) {
            *open = (*open + count).saturating_add_signed(by) % count;
        }
        self.view_mut().arrange(&frame);
    }

    /// Opens the page of what a row is about, where there is one and it is not the one that is open.
    fn drill(&mut self, target: Option<Target>) {
        let Some(target) = target else { return };
        let open = matches!(self.layers.last(), Some(Layer::Page(page)) if page.target == target);
        if has_page(&target) && !open {
            // Known before it is drawn: the next key may be on its way.
            let page = drill::page(&self.cx(), &target);
            let selected = page.lines.iter().find_map(|line| line.target.clone());
            self.layers.push(Layer::Page(PageState { selected, ..PageState::new(target) }));
        }
    }

    fn page_act(&mut self, action: Action) {
        let cx = drill::Cx {
            frame: &self.frame,
            utc_offset_secs: self.options.utc_offset_secs,
            deep: self.deep.as_ref(),
            recorded: self.replay.is_some(),
        };
        let Some(Layer::Page(state)) = self.layers.last_mut() else { return };
        let page = drill::page(&cx, &state.target);
        let leads: Vec<(usize, &Target)> =
            page.lines.iter().enumerate().filter_map(|(i, l)| l.target.as_ref().map(|t| (i, t))).collect();
        let at = draw::selected_line(state, &page);
        let place = leads.iter().position(|(i, _)| Some(*i) == at);
        let (total, shown) = state.rows;
        let screen = shown.max(2) - 1;
        let last = total.saturating_sub(shown);
        state.led = true;
        let go = |state: &mut PageState, place: usize| {
            if let Some((line, target)) = leads.get(place) {
                state.line = *line;
                state.selected = Some((*target).clone());
            }
        };
        let scroll = |state: &mut PageState, to: u16| {
            state.scroll = to.min(last);
            state.led = false;
        };
        let now = state.scroll;
        match action {
            // Beyond the first and the last line that leads somewhere, the page itself moves.
            Action::Up => match place {
                Some(place) if place > 0 => go(state, place - 1),
                _ => scroll(state, now.saturating_sub(1)),
            },
            Action::Down => match place {
                Some(place) if place + 1 < leads.len() => go(state, place + 1),
                _ => scroll(state, now + 1),
            },
            Action::PageUp => scroll(state, now.saturating_sub(screen)),
            Action::PageDown => scroll(state, now.saturating_add(screen)),
            Action::Home => {
                go(state, 0);
                scroll(state, 0);
            }
            Action::End => {
                go(state, leads.len().saturating_sub(1));
                scroll(state, last);
            }
            Action::Enter => {
                let target = place.and_then(|p| leads.get(p)).map(|(_, t)| (*t).clone());
                self.drill(target);
            }
            _ => {}
        }
    }

    fn prompt(&mut self, purpose: Purpose) {
        let view = self.view_mut();
        let before = match purpose {
            Purpose::Search => view.search.clone(),
            Purpose::Filter => view.filter.clone(),
            Purpose::Jump | Purpose::Mark => String::new(),
        };
        let input = match purpose {
            Purpose::Search | Purpose::Jump | Purpose::Mark => tui_input::Input::default(),
            Purpose::Filter => tui_input::Input::new(before.clone()),
        };
        self.layers.push(Layer::Prompt { purpose, input, before });
    }

    /// A prompt works while one types: the screen shows at once what matches.
    fn prompt_key(&mut self, key: KeyEvent) {
        let Some(Layer::Prompt { purpose, input, before }) = self.layers.last_mut() else { return };
        let purpose = *purpose;
        let text = match key.code {
            KeyCode::Enter => {
                let typed = input.value().to_owned();
                match purpose {
                    Purpose::Jump if !self.jump(&typed) => return,
                    Purpose::Mark => self.effects.push(Effect::Mark(typed)),
                    _ => {}
                }
                self.layers.pop();
                return;
            }
            KeyCode::Esc => {
                let before = std::mem::take(before);
                self.layers.pop();
                before
            }
            _ => {
                layer::edit(input, key);
                input.value().to_owned()
            }
        };
        let frame = Arc::clone(&self.frame);
        let view = self.view_mut();
        match purpose {
            Purpose::Filter => view.set_filter(text, &frame),
            Purpose::Search => {
                view.search = text.to_lowercase();
                view.find(0);
            }
            Purpose::Jump | Purpose::Mark => {}
        }
    }

    fn help_key(&mut self, key: KeyEvent) {
        let Some(Layer::Help { scroll }) = self.layers.last_mut() else { return };
        match keys::action(key, &[]) {
            Some(Action::Up) => *scroll = scroll.saturating_sub(1),
            Some(Action::Down) => *scroll += 1,
            Some(Action::PageUp) => *scroll = scroll.saturating_sub(10),
            Some(Action::PageDown) => *scroll += 10,
            Some(Action::Home) => *scroll = 0,
            _ => {
                self.layers.pop();
            }
        }
    }

    fn sort_key(&mut self, key: KeyEvent) {
        let count = self.view().map_or(0, |v| v.view.heads().len());
        let Some(Layer::Sort { at }) = self.layers.last_mut() else { return };
        match keys::action(key, &[]) {
            Some(Action::Up) => *at = at.saturating_sub(1),
            Some(Action::Down) => *at = (*at + 1).min(count.saturating_sub(1)),
            Some(Action::Home) => *at = 0,
            Some(Action::End) => *at = count.saturating_sub(1),
            _ => {
                let chosen = *at;
                self.layers.pop();
                if key.code == KeyCode::Enter {
                    let frame = Arc::clone(&self.frame);
                    self.view_mut().sort_by(chosen, &frame);
                }
            }
        }
    }
}

/// Whether an action moves in a recording.
fn is_playback(action: Action) -> bool {
    use Action::{Faster, JumpTo, Live, NextAnomaly, Play, PreviousAnomaly, Slower, Spots, StepBack, StepOn};
    matches!(action, Play | StepBack | StepOn | PreviousAnomaly | NextAnomaly | Slower | Faster | JumpTo | Spots | Live)
}

/// Whether there is a page to go to.
fn has_page(target: &Target) -> bool {
    match target {
        Target::Subject(subject) => drill::has_page(subject),
        Target::Finding(..) | Target::Log(..) | Target::Threads(_) => true,
    }
}
