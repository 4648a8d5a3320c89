//! Acting from the screens: keys in, effects out; what is sent is always for what was pinned.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod kit;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use kit::{app, draw, key, plans, press, roles, states, story_d, text};
use std::fmt::Write as _;
use std::sync::Arc;
use whytop::app::{App, AppOptions, Effect, Event};
use whytop::model::Frame;
use whytop::snapshot::{Action, Decision, Effect as Foretold, OutcomeKind, Signal, TaskKey};
use whytop::view::Theme;

fn kill(pid: u32, signal: Signal) -> Action {
    Action::Signal { tasks: vec![key(pid)], signal }
}

/// The plan that was asked for last.
fn asked(effects: &[Effect]) -> Option<(u64, Action)> {
    effects.iter().rev().find_map(|effect| match effect {
        Effect::Plan { id, action } => Some((*id, action.clone())),
        _ => None,
    })
}

fn sent(effects: &[Effect]) -> Vec<u64> {
    effects.iter().filter_map(|e| if let Effect::Act { id, .. } = e { Some(*id) } else { None }).collect()
}

/// An app in which the plan of a row is open.
fn with_plan(keys: &str, decision: Decision, foretold: Foretold) -> (App, u64, Action) {
    let mut app = app("tasks", &story_d());
    let effects = press(&mut app, keys);
    let (id, action) = asked(&effects).unwrap();
    app.step(Event::Planned { id, plan: Ok(Box::new(plans::of(&action, decision, foretold))) });
    (app, id, action)
}

const JAVA: &str = "v\\comm=java rss>1g<enter>k";

#[test]
fn nothing_is_sent_before_the_plan_was_seen() {
    let mut app = app("tasks", &story_d());
    let effects = press(&mut app, JAVA);
    let (id, action) = asked(&effects).unwrap();
    assert_eq!(action, kill(16951, Signal::TERM));
    assert!(sent(&press(&mut app, "<enter><enter> y")).is_empty(), "there is no plan yet");
    app.step(Event::Planned { id, plan: Ok(Box::new(plans::of(&action, Decision::Allowed, Foretold::Terminates))) });
    assert_eq!(sent(&press(&mut app, "<enter>")), [id]);
    assert!(sent(&press(&mut app, "<enter><enter>")).is_empty(), "once is enough");
}

#[test]
fn a_long_command_line_hides_nothing_of_the_plan() {
    let mut app = app("tasks", &story_d());
    let (id, action) = asked(&press(&mut app, JAVA)).unwrap();
    let mut proposal = plans::of(&action, Decision::Allowed, Foretold::Caught);
    plans::command(&mut proposal, &"-Dsome.property=value ".repeat(300));
    app.step(Event::Planned { id, plan: Ok(Box::new(proposal)) });
    let screen = text(&draw(&mut app, 80, 24));
    assert!(screen.contains("it catches SIGTERM") && screen.contains("instead"), "{screen}");
}

#[test]
fn a_refused_plan_is_never_carried_out_and_esc_forgets_it() {
    let (mut app, id, _) = with_plan(JAVA, Decision::Refused, Foretold::Ignored);
    let effects = press(&mut app, "<enter>y<enter>");
    assert!(sent(&effects).is_empty());
    let effects = press(&mut app, "<esc>");
    assert!(effects.contains(&Effect::Forget(id)), "{effects:?}");
    assert!(text(&draw(&mut app, 120, 40)).contains("COMMAND"), "back in the table");
}

#[test]
fn a_word_must_be_typed_where_one_is_asked_for() {
    let (mut app, id, _) = with_plan(JAVA, Decision::Confirm, Foretold::ContainerStops);
    assert!(sent(&press(&mut app, "<enter><enter><enter>")).is_empty());
    assert!(sent(&press(&mut app, "checkou<enter>")).is_empty());
    assert!(text(&draw(&mut app, 120, 40)).contains("Not that. Type checkout"));
    let effects = press(&mut app, "checkout<enter>");
    assert!(effects.contains(&Effect::Act { id, typed: Some("checkout".into()) }), "{effects:?}");
}

#[test]
fn other_plans_for_the_same_pinned_process() {
    let (mut app, id, _) = with_plan(JAVA, Decision::Allowed, Foretold::Caught);
    let effects = press(&mut app, "9");
    let (second, action) = asked(&effects).unwrap();
    assert_eq!(action, kill(16951, Signal::KILL));
    assert!(effects.contains(&Effect::Forget(id)));
    // The answer to the first comes late: it is nobody's.
    app.step(Event::Planned { id, plan: Ok(Box::new(plans::of(&action, Decision::Allowed, Foretold::Terminates))) });
    assert!(sent(&press(&mut app, "<enter>")).is_empty());
    app.step(Event::Planned {
        id: second,
        plan: Ok(Box::new(plans::of(&action, Decision::Allowed, Foretold::Terminates))),
    });
    let (third, tree) = asked(&press(&mut app, "T")).unwrap();
    assert_eq!(tree, Action::Tree { root: key(16951), signal: Signal::KILL });
    app.step(Event::Planned {
        id: third,
        plan: Ok(Box::new(plans::of(&tree, Decision::Allowed, Foretold::Terminates))),
    });
    let (fourth, hup) = asked(&press(&mut app, "s<home><enter>")).unwrap();
    assert_eq!(hup, Action::Tree { root: key(16951), signal: Signal::HUP });
    app.step(Event::Planned { id: fourth, plan: Err("its pid is another process's by now".into()) });
    let screen = text(&draw(&mut app, 120, 40));
    assert!(screen.contains("No plan: its pid is another process's by now"), "{screen}");
    assert!(sent(&press(&mut app, "<enter>")).is_empty());
}

#[test]
fn a_whole_cgroup_from_its_row_and_from_a_process_in_it() {
    let mut cgroups = app("cgroups", &story_d());
    let (_, action) = asked(&press(&mut cgroups, "/checkout-7f9c<enter>k")).unwrap();
    assert!(matches!(&action, Action::KillCgroup { cgroup } if cgroup.path.ends_with("/checkout-7f9c")), "{action:?}");
    let (mut tasks, ..) = with_plan(JAVA, Decision::Allowed, Foretold::Terminates);
    let (_, from_task) = asked(&press(&mut tasks, "c")).unwrap();
    assert_eq!(from_task, action);
}

#[test]
fn zombies_are_their_parents_to_reap() {
    let mut app = app("tasks", &story_d());
    let (id, action) = asked(&press(&mut app, "<end>k")).unwrap();
    assert_eq!(action, Action::Reap { parent: key(4711) }, "the pile of zombies");
    app.step(Event::Planned { id, plan: Ok(Box::new(plans::of(&action, Decision::Allowed, Foretold::Caught))) });
    let (_, parent) = asked(&press(&mut app, "k")).unwrap();
    assert_eq!(parent, kill(4711, Signal::TERM));
}

#[test]
fn tagged_processes_are_one_plan_and_lose_their_tags_when_it_is_carried_out() {
    let mut app = app("tasks", &story_d());
    press(&mut app, "v\\comm=nginx<enter>");
    press(&mut app, "<home>  <up>");
    let screen = text(&draw(&mut app, 120, 40));
    assert!(screen.contains("2 tagged: k is for them"), "{screen}");
    assert!(screen.lines().any(|l| l.starts_with('•')) && screen.lines().any(|l| l.starts_with('»')), "{screen}");
    // Whatever is selected by then.
    press(&mut app, "<esc>\\comm=redis-server<enter>");
    let (id, action) = asked(&press(&mut app, "k")).unwrap();
    assert_eq!(action, Action::Signal { tasks: vec![key(7002), key(7003)], signal: Signal::TERM });
    app.step(Event::Planned { id, plan: Ok(Box::new(plans::of(&action, Decision::Allowed, Foretold::Terminates))) });
    assert_eq!(sent(&press(&mut app, "<enter>")), [id]);
    press(&mut app, "<esc>");
    assert!(!text(&draw(&mut app, 120, 40)).contains("tagged"));
    press(&mut app, " U");
    let (_, action) = asked(&press(&mut app, "<f9>")).unwrap();
    assert_eq!(action, kill(5200, Signal::TERM));
}

#[test]
fn sockets_of_a_row_and_a_frozen_cgroup() {
    let mut tcp = app("tcp", &story_d());
    let (_, action) = asked(&press(&mut tcp, "v\\port=61616<enter>x")).unwrap();
    let Action::DestroySockets { sockets } = action else { panic!("{action:?}") };
    assert_eq!((sockets.remote_port, sockets.owner), (Some(61616), None));
    let mut build = kit::story_d_build();
    let path = kit::change_cgroups(&mut build, |rows| {
        let row = rows.iter_mut().find(|c| c.key.path.ends_with("/checkout-7f9c")).unwrap();
        row.frozen = Some(true);
        row.key.clone()
    });
    let mut frozen = app("cgroups", &build.done());
    let (_, action) = asked(&press(&mut frozen, "/checkout-7f9c<enter>u")).unwrap();
    assert_eq!(action, Action::Thaw { cgroup: path });
}

#[test]
fn a_page_is_about_what_its_title_names() {
    let mut app = app("tasks", &story_d());
    press(&mut app, "v\\comm=java rss>1g<enter><enter>");
    // The selected line leads to its cgroup or parent; k is for the process all the same.
    let (_, action) = asked(&press(&mut app, "<down>k")).unwrap();
    assert_eq!(action, kill(16951, Signal::TERM));
}

#[test]
fn read_only_has_no_key_to_act_with() {
    let mut app = App::new(AppOptions {
        theme: Theme::probe(),
        ascii: false,
        read_only: true,
        pane: "tasks".into(),
        utc_offset_secs: 0,
    });
    app.step(Event::Frame(story_d()));
    let effects = press(&mut app, "v\\comm=java rss>1g<enter>k<f9> k<enter>kx");
    assert!(asked(&effects).is_none(), "{effects:?}");
    press(&mut app, "<esc>?");
    let help = text(&draw(&mut app, 120, 60));
    assert!(!help.contains("plan how to end it") && !help.contains("tag this process"), "{help}");
}

#[test]
fn kill_is_offered_after_its_time_and_never_sent_by_itself() {
    let (mut app, id, action) = with_plan(JAVA, Decision::Allowed, Foretold::Caught);
    press(&mut app, "<enter>");
    let mut proposal = plans::of(&action, Decision::Allowed, Foretold::Caught);
    plans::outcome(&mut proposal, OutcomeKind::Survived, 400, "", false);
    app.step(Event::Acted { id, proposal: Box::new(proposal.clone()) });
    assert!(asked(&press(&mut app, "9")).is_none(), "it has its time first");
    let screen = text(&draw(&mut app, 120, 40));
    assert!(screen.contains("until SIGKILL is offered"), "{screen}");
    let mut effects = Vec::new();
    for secs in 1..60 {
        effects.extend(app.step(Event::Tick { now: kit::at(3_553_920.0 + f64::from(secs)), utc_offset_secs: 0 }));
    }
    assert!(sent(&effects).is_empty() && asked(&effects).is_none());
    let screen = text(&draw(&mut app, 120, 40));
    assert!(screen.contains("9 plans SIGKILL for what is left"), "{screen}");
    assert_eq!(asked(&press(&mut app, "9")).unwrap().1, kill(16951, Signal::KILL));
}

#[test]
fn an_outcome_is_told_to_whoever_has_left() {
    let (mut app, id, action) = with_plan(JAVA, Decision::Allowed, Foretold::Terminates);
    let effects = press(&mut app, "<enter><esc>");
    assert!(!effects.contains(&Effect::Forget(id)), "it goes on being watched");
    let mut proposal = plans::of(&action, Decision::Allowed, Foretold::Terminates);
    plans::outcome(&mut proposal, OutcomeKind::Exited, 300, "", true);
    app.step(Event::Acted { id, proposal: Box::new(proposal) });
    assert!(text(&draw(&mut app, 120, 40)).contains("java(16951) exited in 0.3 s"));
    app.step(Event::Tick { now: kit::at(3_553_960.0), utc_offset_secs: 0 });
    assert!(!text(&draw(&mut app, 120, 40)).contains("exited in"));
}

/// A small generator: the same numbers on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).unwrap()
    }
}

/// A frame of a few processes: who they are, and what they are sorted by, changes with every one. A pid may be another
/// process's; its name tells which.
fn crowd(dice: &mut Dice) -> Arc<Frame> {
    let mut build = kit::story_d_build();
    let lives: Vec<(u32, u64)> =
        (100..112).filter_map(|pid| if dice.roll(6) > 0 { Some((pid, dice.roll(3) as u64)) } else { None }).collect();
    kit::change_tasks(&mut build, |rows| {
        rows.truncate(1);
        for (pid, life) in lives {
            let mut task = kit::Build::task(pid, 1, &format!("w{pid}-{life}"), whytop::snapshot::TaskState::Sleeping);
            task.key.start_ticks = 1000 * u64::from(pid) + life;
            task.rss_bytes = dice.roll(1 << 20) as u64 * 4096;
            task.utime_ticks = dice.roll(1000) as u64;
            task.threads = 1 + u32::try_from(dice.roll(40)).unwrap();
            rows.push(task);
        }
    });
    build.frame.findings.clear();
    build.frame.stories.clear();
    build.done()
}

/// The process in the row with the pin, by its name on the screen: `w104-2` is pid 104, start 104,002.
fn on_screen(app: &mut App) -> Option<TaskKey> {
    let screen = text(&draw(app, 100, 24));
    let row = screen.lines().find(|l| l.starts_with('▸'))?.to_owned();
    if row.contains("ended") {
        return None;
    }
    let name = row.split_whitespace().rev().find_map(|word| word.strip_prefix('w'))?;
    let (pid, life) = name.split_once('-')?;
    let pid: u32 = pid.parse().ok()?;
    Some(TaskKey { pid, start_ticks: 1000 * u64::from(pid) + life.parse::<u64>().ok()? })
}

#[test]
fn a_row_that_moves_or_is_replaced_never_changes_who_is_meant() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let frames: Vec<Arc<Frame>> = (0..40).map(|_| crowd(&mut dice)).collect();
    let keys =
        ["<up>", "<down>", "<pgdn>", "<home>", "<end>", "s<down><enter>", "s<up><up><enter>", "I", "t", "F", "p"];
    let mut app = app("tasks", &frames[0]);
    press(&mut app, "v<home>");
    let (mut plans_made, mut signals) = (0, 0);
    for _ in 0..10_000 {
        for _ in 0..=dice.roll(3) {
            if dice.roll(2) == 0 {
                app.step(Event::Frame(Arc::clone(&frames[dice.roll(frames.len())])));
            } else {
                press(&mut app, keys[dice.roll(keys.len())]);
            }
        }
        let meant = on_screen(&mut app);
        let Some((id, action)) = asked(&press(&mut app, "k")) else {
            assert_eq!(meant, None, "a row on the screen can be acted on");
            continue;
        };
        plans_made += 1;
        let Action::Signal { tasks, signal: Signal::TERM } = &action else { panic!("{action:?}") };
        if let Some(meant) = meant {
            assert_eq!(*tasks, [meant], "k is for the row with the pin");
        }
        let shuffle = |app: &mut App, dice: &mut Dice| {
            for _ in 0..dice.roll(3) {
                app.step(Event::Frame(Arc::clone(&frames[dice.roll(frames.len())])));
            }
        };
        shuffle(&mut app, &mut dice);
        let plan = Ok(Box::new(plans::of(&action, Decision::Allowed, Foretold::Terminates)));
        app.step(Event::Planned { id, plan });
        shuffle(&mut app, &mut dice);
        let effects = press(&mut app, ["<enter>", "<esc>"][dice.roll(2)]);
        for act in sent(&effects) {
            assert_eq!(act, id, "what is carried out is the plan that was seen");
            signals += 1;
        }
        shuffle(&mut app, &mut dice);
        press(&mut app, "<esc>");
    }
    assert!(plans_made > 8_000 && signals > 3_000, "{plans_made} plans, {signals} carried out");
}

#[test]
fn a_deep_read_is_made_on_request_and_given_up_with_esc() {
    use whytop::snapshot::{Counters, Deep, DeepKind, DeepState};
    let mut app = app("tasks", &story_d());
    let effects = press(&mut app, "v\\comm=java rss>1g<enter><enter>");
    assert!(!effects.iter().any(|e| matches!(e, Effect::Read(..))), "never unasked");
    let task = key(16951);
    assert!(press(&mut app, "M").contains(&Effect::Read(task, DeepKind::Memory)));
    let deep = |kind, state| Event::Deep(Box::new(Deep { task, kind, state }));
    app.step(deep(DeepKind::Memory, DeepState::Reading { done: 0, total: 0, for_ns: 1_400_000_000 }));
    assert!(text(&draw(&mut app, 120, 60)).contains("reading smaps_rollup for 1s"));
    let effects = press(&mut app, "<esc>");
    assert!(effects.contains(&Effect::StopReading));
    assert!(text(&draw(&mut app, 120, 60)).contains("› java(16951)"), "Esc gave up the read, not the page");
    app.step(deep(DeepKind::Memory, DeepState::Memory(Counters::from_pairs([("Pss", 7 << 20)]))));
    assert!(!text(&draw(&mut app, 120, 60)).contains("7.0M"), "it was given up");
    press(&mut app, "M");
    app.step(deep(DeepKind::Memory, DeepState::Memory(Counters::from_pairs([("Pss", 7 << 20)]))));
    assert!(text(&draw(&mut app, 120, 60)).contains("7.0M"));
    press(&mut app, "l");
    assert!(press(&mut app, "<bs><bs>").contains(&Effect::StopReading));
}

#[test]
fn plans_and_outcomes_on_screens_of_every_size() {
    let mut out = String::new();
    for (name, walk) in plans::SCREENS {
        for (width, height) in [(80, 24), (200, 60), (20, 5)] {
            let mut app = walk();
            let buf = draw(&mut app, width, height);
            let _ = writeln!(out, "==== {name}, {width}x{height}\n{}\n-- roles --\n{}", text(&buf), roles(&buf));
        }
    }
    insta::assert_snapshot!("plans", out);
}

#[test]
fn no_key_and_no_answer_brings_it_down() {
    let mut dice = Dice(42);
    let frames = [story_d(), states::empty(), states::denied(), states::stale()];
    let codes: Vec<KeyCode> = "k 9tTcurskxUlM?sq/\\1234567vpF"
        .chars()
        .map(KeyCode::Char)
        .chain([KeyCode::Enter, KeyCode::Esc, KeyCode::Down, KeyCode::Up, KeyCode::PageDown, KeyCode::F(9)])
        .collect();
    let mut app = app("tasks", &frames[0]);
    let mut last = None;
    for _ in 0..3_000 {
        let effects = match dice.roll(8) {
            0 => app.step(Event::Frame(Arc::clone(&frames[dice.roll(frames.len())]))),
            1 => match last.take() {
                Some((id, action)) => {
                    let decision = [Decision::Allowed, Decision::Confirm, Decision::Refused][dice.roll(3)];
                    let plan = Ok(Box::new(plans::of(&action, decision, Foretold::Terminates)));
                    app.step(Event::Planned { id, plan })
                }
                None => app.step(Event::Resize),
            },
            _ => app.step(Event::Key(KeyEvent::new(codes[dice.roll(codes.len())], KeyModifiers::NONE))),
        };
        last = asked(&effects).or(last);
        if dice.roll(10) == 0 {
            draw(&mut app, [0, 1, 20, 80][dice.roll(4)], [0, 1, 5, 24][dice.roll(4)]);
        }
    }
}
