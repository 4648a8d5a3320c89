//! The five stories walked: from the first screen to an act, in at most six keys, on what real trouble looked like.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod kit;

use kit::{app, draw, plans, press, text};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use whytop::app::{App, Effect, Event};
use whytop::engine::EngineOptions;
use whytop::model::Frame;
use whytop::playback::Playback;
use whytop::record::Reader;
use whytop::snapshot::{Action, Decision, Effect as Foretold, TaskKey};

/// A story's recording, seconds before its end, the keys up to the plan, and whom that is for.
const WALKS: [(&str, i64, &[&str], &str); 5] = [
    ("a-syn-sent", 24, &["k"], "agent"),
    ("b-time-wait", 10, &["<enter>", "<end>", "<enter>", "k"], "scheduler"),
    ("c-slab", 26, &["<enter>", "k"], "auth-retry"),
    ("d-oom-spiral", 10, &["<end>", "<up>", "k"], "supervisord"),
    ("e-udp-drops", 10, &["k"], "jgroups"),
];

fn frame(story: &str, before_end_s: i64) -> Arc<Frame> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stories").join(format!("{story}.wtr"));
    let mut playback = Playback::new(Reader::open(&path).unwrap(), EngineOptions::default()).unwrap();
    let (_, end) = playback.reader().span().unwrap();
    Arc::clone(playback.seek(end - before_end_s * 1_000_000_000).unwrap())
}

fn shown(app: &mut App) -> String {
    text(&draw(app, 100, 30))
}

fn name(frame: &Frame, key: TaskKey) -> &str {
    let rows = &frame.snap.tasks.data().unwrap().rows;
    rows.iter().find(|t| t.key == key).map_or("", |t| &*t.comm)
}

#[test]
fn from_the_first_screen_to_the_act_in_at_most_six_keys() {
    let mut out = String::new();
    for (story, before_end_s, keys, whom) in WALKS {
        let frame = frame(story, before_end_s);
        let mut app = app("why", &frame);
        writeln!(out, "==== {story}\n{}", shown(&mut app)).unwrap();
        let mut effects = Vec::new();
        for key in keys {
            effects = press(&mut app, key);
        }
        let asked = effects.iter().find_map(|effect| match effect {
            Effect::Plan { id, action } => Some((*id, action.clone())),
            _ => None,
        });
        let Some((id, action)) = asked else { panic!("{story}: no plan was asked for:\n{}", shown(&mut app)) };
        let target = match &action {
            Action::Signal { tasks, .. } => name(&frame, tasks[0]).to_owned(),
            other => format!("{other:?}"),
        };
        assert!(target.contains(whom), "{story}: a plan for {target}");
        app.step(Event::Planned {
            id,
            plan: Ok(Box::new(plans::of(&action, Decision::Allowed, Foretold::Terminates))),
        });
        writeln!(out, "---- {} for {target}", keys.join(" ")).unwrap();
        let sent =
            press(&mut app, "<enter>").into_iter().any(|e| matches!(e, Effect::Act { id: sent, .. } if sent == id));
        assert!(sent, "{story}: Enter sends what was planned");
        assert!(keys.len() < 6);
    }
    insta::assert_snapshot!("walks", out);
}
