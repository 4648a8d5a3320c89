//! The same samples live and recorded: what the engine says and what every pane shows must be the same.

use super::{app, draw, press, roles, text};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use whytop::collect::sampler::{Sampler, SamplerOptions};
use whytop::collect::{Roots, now};
use whytop::engine::{Engine, EngineOptions};
use whytop::model::Frame;
use whytop::panes::{PANES, drill};
use whytop::playback::Playback;
use whytop::record::{Header, Log, Reader, Writer};
use whytop::snapshot::Snapshot;
use whytop::source::{Live, Source};
use whytop::view::Target;

/// Rows of a view whose pages are looked at.
const PAGES: usize = 40;

/// What was live, and the recording made of it.
pub struct Recorded {
    pub live: Vec<Arc<Frame>>,
    pub bytes: Vec<u8>,
}

impl Recorded {
    pub fn of(looks: impl IntoIterator<Item = Snapshot>) -> Self {
        let mut engine = Engine::new(EngineOptions::default());
        let mut writer = Writer::new(Vec::new()).unwrap();
        let mut live: Vec<Arc<Frame>> = Vec::new();
        for snap in looks {
            let checkpoint = writer.wants_checkpoint(snap.wall_unix_ns).then(|| engine.checkpoint(&snap));
            writer.push(&snap, checkpoint.as_deref()).unwrap();
            live.push(Arc::new(engine.step(snap)));
        }
        let (mut log, mut bytes) = Log::new(&Header::of(&live[0].snap)).unwrap();
        for frame in writer.into_sink() {
            bytes.extend(log.append(&frame).unwrap());
        }
        bytes.extend(log.close(live.last().unwrap().snap.wall_unix_ns).unwrap());
        Self { live, bytes }
    }

    pub fn playback(&self) -> Playback {
        Playback::new(Reader::from_bytes(self.bytes.clone()).unwrap(), EngineOptions::default()).unwrap()
    }

    pub fn wall(&self, i: usize) -> i64 {
        self.live[i].snap.wall_unix_ns
    }
}

/// Looks at this host for `span`, records what it sees, and compares: every frame with the one played, every pane of the
/// last. Frames and pictures that were compared; a panic where two differ.
pub fn compare_this_host(span: Duration) -> (usize, usize) {
    let options = SamplerOptions { interval: Duration::from_millis(500), max_cpu_pct: 100.0, eager: true, only: false };
    let mut startup = whytop::startup::prepare(&Roots::default(), false);
    let readers = std::mem::take(&mut startup.readers);
    let mut source = Live::new(Sampler::start(Roots::default(), options, 512 * 1024, readers));
    let start = now();
    let mut looks = Vec::new();
    while looks.len() < 2 || now().since(start) < span.as_secs_f64() {
        std::thread::sleep(source.due_in());
        looks.push(source.look().unwrap());
    }
    drop(source);
    // What is compared has time: others are looking at this host.
    rustix::process::nice(30).unwrap();
    let recorded = Recorded::of(looks);
    let mut playback = recorded.playback();
    for (i, live) in recorded.live.iter().enumerate() {
        assert_same_frame(live, playback.advance().unwrap().unwrap(), &format!("sample {i}"));
    }
    assert!(playback.advance().unwrap().is_none(), "no sample more");
    let pictures = assert_same_pictures(recorded.live.last().unwrap(), playback.frame(), "the last sample");
    (recorded.live.len(), pictures)
}

/// Every pane and view, and the pages that their first rows and every finding lead to, by name.
fn everything(frame: &Arc<Frame>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut targets: Vec<Target> = Vec::new();
    for pane in PANES {
        let mut app = app(pane.name, frame);
        for view in pane.views {
            let buf = draw(&mut app, 140, 50);
            all.insert(format!("{} {}", pane.name, view.name()), format!("{}\n{}", text(&buf), roles(&buf)));
            let sheet = view.sheet(frame);
            targets.extend((0..sheet.len()).filter_map(|row| sheet.target(row)).take(PAGES));
            press(&mut app, "v");
        }
    }
    targets.extend(frame.findings.iter().map(|f| Target::Finding(f.id, f.subject.clone())));
    let leads = |t: &Target| !matches!(t, Target::Subject(subject) if !drill::has_page(subject));
    for target in targets.iter().filter(|t| leads(t)) {
        let page = drill::page(&drill::Cx { frame, utc_offset_secs: 0, deep: None, recorded: false }, target);
        all.insert(format!("{target:?}"), format!("{page:#?}"));
    }
    all
}

/// The same samples, findings and stories.
pub fn assert_same_frame(live: &Frame, shown: &Frame, how: &str) {
    assert_eq!(live.snap, shown.snap, "{how}: the snapshot");
    assert_eq!(live.findings, shown.findings, "{how}: the findings");
    assert_eq!(live.stories, shown.stories, "{how}: the stories");
}

/// The same text and colours wherever one looks; how many pictures that were.
pub fn assert_same_pictures(live: &Arc<Frame>, shown: &Arc<Frame>, how: &str) -> usize {
    let (live, shown) = (everything(live), everything(shown));
    assert!(live.keys().eq(shown.keys()), "{how}: {:?}, {:?}", live.keys(), shown.keys());
    for (name, live) in &live {
        let different = live.lines().zip(shown[name].lines()).find(|(a, b)| a != b);
        assert!(*live == shown[name], "{how}: {name}: {different:#?}");
    }
    live.len()
}

/// All of it.
pub fn assert_same(live: &Arc<Frame>, shown: &Arc<Frame>, how: &str) {
    assert_same_frame(live, shown, how);
    assert_same_pictures(live, shown, how);
}
