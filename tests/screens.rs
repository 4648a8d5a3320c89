//! Screens: keys in, text and colour roles out.

mod kit;

use kit::{app, draw, key, press, roles, states, story_d, text};
use std::fmt::Write as _;
use std::sync::Arc;
use whytop::app::{App, AppOptions, Effect, Event, Playback, RecorderState, Recording, Spot, SpotKind};
use whytop::model::{Frame, Severity};
use whytop::panes::PANES;
use whytop::snapshot::Subject;
use whytop::view::{Depth, Role, Theme, svg};

const SIZES: [(u16, u16); 3] = [(80, 24), (200, 60), (20, 5)];

/// A screen as text beside its roles, for a snapshot.
fn shown(app: &mut App, width: u16, height: u16) -> String {
    let buf = draw(app, width, height);
    format!("{}\n-- roles --\n{}", text(&buf), roles(&buf))
}

fn grouped(pane: &str) -> String {
    let mut out = String::new();
    for (name, frame) in
        [("full", story_d()), ("empty", states::empty()), ("denied", states::denied()), ("stale", states::stale())]
    {
        for (width, height) in SIZES {
            let mut app = app(pane, &frame);
            let screen = shown(&mut app, width, height);
            out.extend(["==== ", pane, ", ", name, &format!(", {width}x{height}\n"), &screen, "\n"]);
        }
    }
    out
}

#[test]
fn every_pane_in_every_state_at_every_size() {
    for pane in PANES {
        insta::assert_snapshot!(format!("pane_{}", pane.name), grouped(pane.name));
    }
}

#[test]
fn every_view_of_every_pane() {
    let frame = story_d();
    for pane in PANES.iter().filter(|p| p.views.len() > 1) {
        let mut out = String::new();
        let mut app = app(pane.name, &frame);
        for view in pane.views {
            writeln!(out, "==== {} {}\n{}", pane.name, view.name(), text(&draw(&mut app, 120, 40))).unwrap();
            press(&mut app, "v");
        }
        insta::assert_snapshot!(format!("views_{}", pane.name), out);
    }
}

#[test]
fn drill_downs() {
    let frame = story_d();
    let walks = [
        ("cgroup", "why", "<enter>"),
        ("finding", "why", "<down><down><down><down><enter>"),
        ("wchan", "why", "<down><down><down><enter>"),
        ("task", "tasks", "\\comm=supervisord<enter><enter>"),
        ("remote", "tcp", "v<enter>"),
        ("listener", "tcp", "vv<enter>"),
        ("netns", "tcp", "vvv<enter>"),
        ("slab", "memory", "<enter>"),
        ("iface", "net", "v<enter>"),
        ("udp", "net", "vv<enter>"),
    ];
    let mut out = String::new();
    for (name, pane, keys) in walks {
        let mut app = app(pane, &frame);
        press(&mut app, keys);
        writeln!(out, "==== {name}\n{}", text(&draw(&mut app, 120, 40))).unwrap();
    }
    insta::assert_snapshot!("drill_downs", out);
}

#[test]
fn a_task_in_full_before_and_after_its_detail_came() {
    let mut build = kit::story_d_build();
    let mut out = String::new();
    let walk = "\\comm=java<enter>t<home>/16951<enter><enter>";
    let mut first = app("tasks", &story_d());
    let effects = press(&mut first, walk);
    assert!(effects.contains(&Effect::Focus(Some(Subject::Task(key(16951))))), "the sampler is asked for its detail");
    writeln!(out, "==== before\n{}", shown(&mut first, 120, 40)).unwrap();
    build.snap.detail = Some(kit::detail_of_java());
    first.step(Event::Frame(build.done()));
    writeln!(out, "==== after\n{}", shown(&mut first, 120, 40)).unwrap();
    insta::assert_snapshot!("task", out);
    let effects = press(&mut first, "<esc>");
    assert!(effects.contains(&Effect::Focus(None)));
}

#[test]
fn what_stuck_threads_wait_for_at_every_size() {
    let mut build = kit::story_d_build();
    build.snap.detail = Some(kit::detail_of_java());
    let frame = build.done();
    let mut out = String::new();
    for (width, height) in SIZES {
        let mut app = app("tasks", &frame);
        press(&mut app, "v\\comm=java rss>1g<enter><enter>");
        writeln!(out, "==== {width}x{height}\n{}", shown(&mut app, width, height)).unwrap();
    }
    let mut app = app("tasks", &frame);
    press(&mut app, "v\\comm=java rss>1g<enter><enter>");
    let (mut steps, mut screen) = (0, text(&draw(&mut app, 120, 60)));
    while !screen.contains("▸ threads") {
        press(&mut app, "<down>");
        screen = text(&draw(&mut app, 120, 60));
        steps += 1;
        assert!(steps < 40, "{screen}");
    }
    press(&mut app, "<enter>");
    writeln!(out, "==== its threads\n{}", text(&draw(&mut app, 120, 24))).unwrap();
    insta::assert_snapshot!("waits", out);
}

#[test]
fn one_can_go_on_and_on_and_come_back() {
    // A process → its far end → another process there → its cgroup → the cgroup above it.
    let mut app = app("tcp", &story_d());
    press(&mut app, "\\port=61616<enter><enter>");
    let wanted = [" › 10.", "agent(", "agent.service"];
    for want in wanted {
        let mut screen = String::new();
        for _ in 0..30 {
            screen = text(&draw(&mut app, 120, 60));
            let on = screen.lines().find(|l| l.starts_with('▸')).unwrap_or_default().to_owned();
            if on.contains(want.trim_start_matches(" › ")) {
                break;
            }
            press(&mut app, "<down>");
        }
        press(&mut app, "<enter>");
        let now = text(&draw(&mut app, 120, 60));
        assert!(now.contains('›') && now != screen, "{want}: {now}");
    }
    for _ in 0..4 {
        press(&mut app, "<bs>");
    }
    assert!(text(&draw(&mut app, 120, 40)).contains("\\ port=61616: 1 match"), "back where one came from");
}

#[test]
fn a_log_line_leads_to_what_it_names_or_to_itself() {
    let mut app = app("log", &story_d());
    press(&mut app, "\\kind=fs_error<enter><enter>");
    let page = text(&draw(&mut app, 120, 40));
    assert!(page.contains("Log › fs_error") && page.contains("fields"), "{page}");
    press(&mut app, "<esc><esc>\\kind=oom_kill<enter><enter>");
    let page = text(&draw(&mut app, 120, 40));
    assert!(page.contains("Log › java(16951)"), "{page}");
}

#[test]
fn escape_returns_exactly_where_one_was() {
    let mut app = app("why", &story_d());
    press(&mut app, "<down><down><down>");
    let before = text(&draw(&mut app, 120, 40));
    press(&mut app, "<enter>");
    let first = text(&draw(&mut app, 120, 40));
    assert!(first.contains("Why › wait in mem_cgroup_oom"), "{first}");
    press(&mut app, "<down><down><down><enter>");
    let second = text(&draw(&mut app, 120, 40));
    assert!(second.contains("Why › wait in mem_cgroup_oom › java(17001)"), "{second}");
    assert!(second.contains("Esc back to wait in mem_cgroup_oom"));
    press(&mut app, "<esc>");
    let back = text(&draw(&mut app, 120, 40));
    assert!(back.contains("▸        ") && back.contains("java(17001)"));
    press(&mut app, "<bs>");
    assert_eq!(text(&draw(&mut app, 120, 40)), before);
}

/// The row with the pin.
fn pinned(app: &mut App) -> String {
    let screen = text(&draw(app, 120, 40));
    screen.lines().find(|l| l.starts_with('▸')).unwrap_or_default().to_owned()
}

#[test]
fn the_selection_is_pinned_to_its_subject() {
    let mut app = app("memory", &story_d());
    press(&mut app, "<down><down>");
    assert!(pinned(&mut app).contains("kmalloc-64"));
    // It grows past the others, and goes on being the selected one.
    let mut build = kit::story_d_build();
    kit::change_slabs(&mut build, |rows| rows[2].bytes = 200 << 30);
    app.step(Event::Frame(build.done()));
    let row = pinned(&mut app);
    assert!(row.contains("kmalloc-64") && row.contains("200G"), "{row}");
}

#[test]
fn the_worst_story_leads_until_a_key_chose_another() {
    let calmer = {
        let mut build = kit::story_d_build();
        build.frame.stories.rotate_left(1);
        build.done()
    };
    let mut app = app("why", &story_d());
    assert!(pinned(&mut app).contains("web/checkout-7f9c"));
    app.step(Event::Frame(calmer.clone()));
    assert!(pinned(&mut app).contains("331 GB of kernel memory"), "{}", pinned(&mut app));
    press(&mut app, "<down>");
    let chosen = pinned(&mut app);
    app.step(Event::Frame(story_d()));
    assert_eq!(pinned(&mut app), chosen);
}

#[test]
fn of_many_of_one_kind_the_first_stands_and_the_others_are_folded() {
    let mut build = kit::story_d_build();
    let story = &mut build.frame.stories[0];
    let alike = build.frame.findings[story.findings[1]].clone();
    for n in 0..20 {
        story.findings.push(build.frame.findings.len());
        let subject = Subject::Cgroup(whytop::snapshot::CgroupKey { inode: 9000 + n, ..Default::default() });
        build.frame.findings.push(whytop::model::Finding { subject, ..alike.clone() });
    }
    let mut app = app("why", &build.done());
    let all = |app: &mut App| text(&draw(app, 120, 60)).matches(alike.id).count();
    let screen = text(&draw(&mut app, 120, 40));
    assert!(screen.contains(&format!("+ {}  20 more like it", alike.id)), "{screen}");
    assert_eq!(all(&mut app), 2);
    press(&mut app, "<down><down><down><down><down><right>");
    assert_eq!(all(&mut app), 23, "with the one of the footer: {}", text(&draw(&mut app, 120, 60)));
}

#[test]
fn an_ended_subject_stays_dim_for_a_minute() {
    let mut app = app("memory", &story_d());
    press(&mut app, "<down><down>");
    draw(&mut app, 120, 40);
    let without = |secs: f64| {
        let mut build = kit::story_d_build();
        kit::change_slabs(&mut build, |rows| {
            rows.remove(2);
        });
        build.snap.at = kit::at(3_553_920.0 + secs);
        build.done()
    };
    app.step(Event::Frame(without(1.0)));
    app.step(Event::Frame(without(13.0)));
    let row = pinned(&mut app);
    assert!(row.contains("kmalloc-64") && row.contains("ended 12s ago"), "{row}");
    let grid = roles(&draw(&mut app, 120, 40));
    assert!(grid.lines().any(|l| l.starts_with('k') && l.contains("eeeeee")), "it is drawn as ended");
    press(&mut app, "<enter>");
    assert!(!text(&draw(&mut app, 120, 40)).contains('›'), "what has ended leads nowhere");
    app.step(Event::Frame(without(62.0)));
    let row = pinned(&mut app);
    assert!(row.contains("proc_inode_cache"), "the row that took its place: {row}");
}

#[test]
fn filter_and_search() {
    let mut app = app("tcp", &story_d());
    press(&mut app, "\\port=61616");
    let typing = text(&draw(&mut app, 120, 40));
    assert!(typing.contains("\\port=61616") && typing.contains("1 match, 6 hidden"), "{typing}");
    press(&mut app, "<enter>");
    let on = text(&draw(&mut app, 120, 40));
    assert!(on.contains("\\ port=61616: 1 match, 6 hidden") && on.contains("agent") && !on.contains("redis"), "{on}");
    press(&mut app, "\\9<enter>");
    let none = text(&draw(&mut app, 120, 40));
    assert!(
        none.contains("The filter `port=616169` hides all 7 rows.") && none.contains("Esc shows them again"),
        "{none}"
    );
    press(&mut app, "<esc>");
    assert!(text(&draw(&mut app, 120, 40)).contains("redis"));
    press(&mut app, "\\nope=1");
    assert!(text(&draw(&mut app, 120, 40)).contains("no column `nope` here; columns: pid established"));
    press(&mut app, "<esc>");
    press(&mut app, "/redis<enter>");
    assert!(pinned(&mut app).contains("redis"));
    let found = roles(&draw(&mut app, 120, 40));
    assert!(found.lines().any(|l| l.contains("fffff")), "what was found is pointed out");
    press(&mut app, "/nginx<enter>");
    let first = pinned(&mut app);
    press(&mut app, "n");
    let second = pinned(&mut app);
    assert!(first.contains("7002") && second.contains("7003"), "{first}\n{second}");
    press(&mut app, "N");
    assert_eq!(pinned(&mut app), first);
}

#[test]
fn filters_compare_in_the_unit_of_their_column() {
    for (filter, hits) in
        [("state=Z", 312), ("d>20 comm=java", 39), ("rss>1g", 1), ("container=web/checkout-7f9c !java !python3", 2)]
    {
        let mut app = app("tasks", &story_d());
        press(&mut app, &format!("v\\{filter}<enter>"));
        let screen = text(&draw(&mut app, 120, 40));
        assert!(screen.contains(&format!(": {hits} match")), "{filter}: {screen}");
    }
}

#[test]
fn piles_open_and_trees_fold() {
    let mut app = app("tasks", &story_d());
    let closed = text(&draw(&mut app, 120, 40));
    assert!(closed.contains("+ 312 × python3 Z") && !closed.contains("20003"), "{closed}");
    press(&mut app, "<end><right>");
    let opened = text(&draw(&mut app, 120, 40));
    assert!(opened.contains("20003"), "{opened}");
    press(&mut app, "<left>");
    assert!(!text(&draw(&mut app, 120, 40)).contains("20003"));
    press(&mut app, "t");
    assert!(!text(&draw(&mut app, 120, 40)).contains("└─"), "flat");
}

#[test]
fn sorting_and_its_menu() {
    let mut app = app("memory", &story_d());
    press(&mut app, "s");
    let menu = text(&draw(&mut app, 80, 24));
    assert!(menu.contains("Sort by") && menu.contains("how fast it grows, a minute"), "{menu}");
    press(&mut app, "<end><up><enter>");
    let screen = text(&draw(&mut app, 120, 40));
    let cache = screen.lines().filter_map(|l| l.split_whitespace().last()).skip_while(|w| !w.contains("CACHE")).nth(2);
    assert_eq!(cache, Some("buffer_head"), "trouble stays on top, the rest is sorted by name:\n{screen}");
    press(&mut app, "I");
    let screen = text(&draw(&mut app, 120, 40));
    let cache = screen.lines().filter_map(|l| l.split_whitespace().last()).skip_while(|w| !w.contains("CACHE")).nth(2);
    assert_eq!(cache, Some("xfs_inode"), "{screen}");
}

#[test]
fn pause_holds_the_picture() {
    let mut app = app("memory", &story_d());
    press(&mut app, "p");
    let mut build = kit::story_d_build();
    build.snap.at = kit::at(3_553_950.0);
    kit::change_slabs(&mut build, |rows| rows[2].bytes = 200 << 30);
    app.step(Event::Frame(build.done()));
    let held = text(&draw(&mut app, 120, 40));
    assert!(held.contains("PAUSED") && held.contains("picture 30s old") && !held.contains("200G"), "{held}");
    press(&mut app, "p");
    assert!(text(&draw(&mut app, 120, 40)).contains("200G"));
}

#[test]
fn silence_is_said() {
    let mut app = app("why", &story_d());
    app.step(Event::Tick { now: kit::at(3_553_930.0), utc_offset_secs: 3600 });
    let screen = text(&draw(&mut app, 120, 40));
    assert!(screen.contains("○ 23:14:17, no look for 10s"), "{screen}");
}

#[test]
fn stretched_lanes_and_gaps_are_said() {
    let mut build = kit::story_d_build();
    build.snap.own.lanes = vec![whytop::snapshot::LaneCost {
        name: "tasks".into(),
        period_ns: 3_000_000_000,
        wanted_ns: 1_000_000_000,
        ..Default::default()
    }];
    let mut app = app("why", &build.done());
    let screen = text(&draw(&mut app, 200, 60));
    assert!(screen.contains("tasks every 3s") && screen.contains("can't see 1"), "{screen}");
}

#[test]
fn hostile_names_are_shown_not_obeyed() {
    let mut build = kit::story_d_build();
    let evil = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}txt.exe\u{200b}漢字\n";
    kit::change_tasks(&mut build, |rows| {
        for task in rows.iter_mut().filter(|t| t.key.pid == 4711 || t.key.pid == 16951) {
            task.comm = evil.into();
            task.cmdline = Some(evil.repeat(300).into());
            task.cgroup = Some(format!("/{evil}").into());
        }
    });
    build.frame.findings[3].message = format!("children of {evil} are dead");
    build.event("user_fault", 1.0, &[], evil);
    let frame = build.done();
    for pane in PANES {
        for (width, height) in [(80, 24), (120, 40), (20, 5)] {
            let mut app = app(pane.name, &frame);
            for keys in ["", "<down><enter>", "<esc>v", "v<down><down><enter>"] {
                press(&mut app, keys);
                let buf = draw(&mut app, width, height);
                for cell in buf.content() {
                    let bad = |c: char| {
                        c.is_control()
                            || ('\u{200b}'..='\u{200f}').contains(&c)
                            || ('\u{202a}'..='\u{202e}').contains(&c)
                    };
                    assert!(!cell.symbol().chars().any(bad), "{} after {keys:?}: {:?}", pane.name, cell.symbol());
                }
            }
        }
    }
    let mut app = app("tasks", &frame);
    assert!(text(&draw(&mut app, 120, 40)).contains("\\x1b[2J"), "it is there to be read");
}

#[test]
fn no_size_and_no_key_brings_it_down() {
    let keys = [
        "",
        "<enter>",
        "<esc>",
        "?",
        "<esc>",
        "s<down><enter>",
        "/a<enter>",
        "n",
        "\\x<enter>",
        "<esc>",
        "t",
        "<right>",
        "<end>",
        "<pgup>",
        "F",
        "p",
        "p",
        "v",
        "<tab>",
    ];
    for frame in [story_d(), states::empty(), states::denied(), states::stale(), Arc::new(Frame::default())] {
        let mut app = app("why", &frame);
        for _ in 0..PANES.len() {
            for step in keys {
                press(&mut app, step);
                for (width, height) in [(0, 0), (1, 1), (2, 3), (20, 5), (33, 7), (80, 24), (5, 60)] {
                    draw(&mut app, width, height);
                }
            }
        }
    }
}

#[test]
fn ascii_is_ascii_and_without_colour_severity_stays() {
    for pane in PANES {
        let options = AppOptions {
            theme: Theme::built_in("default", Depth::None).unwrap(),
            ascii: true,
            read_only: true,
            pane: pane.name.into(),
            utc_offset_secs: 0,
        };
        let mut app = App::new(options);
        app.step(Event::Frame(story_d()));
        let buf = draw(&mut app, 120, 40);
        let screen = text(&buf);
        assert!(screen.is_ascii(), "{screen}");
        assert!(screen.contains("D!2,871") && screen.contains("read-only"), "{screen}");
        let crit = Theme::built_in("default", Depth::None).unwrap().style(Role::Crit).add_modifier;
        assert!(buf.content().iter().any(|c| c.modifier.contains(crit)));
        assert!(
            buf.content().iter().all(|c| c.fg == ratatui::style::Color::Reset && c.bg == ratatui::style::Color::Reset)
        );
    }
}

#[test]
fn help_is_made_from_the_tables() {
    let mut app = app("tasks", &story_d());
    press(&mut app, "?");
    let mut all = text(&draw(&mut app, 120, 80));
    press(&mut app, "<pgdn>");
    all.push_str(&text(&draw(&mut app, 120, 80)));
    for head in PANES[2].views[0].heads() {
        assert!(all.contains(head.id) && all.contains(head.help), "{}", head.id);
    }
    press(&mut app, "x");
    assert!(!text(&draw(&mut app, 120, 40)).contains("any other key"));
}

#[test]
fn keys_leave_and_move_between_panes() {
    let mut app = app("why", &story_d());
    for (keys, pane) in [("3", 2), ("<tab>", 3), ("<s-tab><s-tab>", 1), ("7<tab>", 0)] {
        press(&mut app, keys);
        let title = PANES[pane].title;
        let buf = draw(&mut app, 120, 40);
        let grid = roles(&buf);
        let tab = grid.lines().nth(3).unwrap();
        let at = text(&buf).lines().nth(3).unwrap().find(title).unwrap();
        assert_eq!(tab.chars().nth(at - 1), Some('s'), "{title} is open: {tab}");
    }
    assert_eq!(press(&mut app, "q"), [Effect::Quit]);
    let ctrl_c =
        crossterm::event::KeyEvent::new(crossterm::event::KeyCode::Char('c'), crossterm::event::KeyModifiers::CONTROL);
    press(&mut app, "/typing");
    assert_eq!(app.step(Event::Key(ctrl_c)), [Effect::Quit], "also out of a prompt");
}

#[test]
fn tables_for_the_command_line() {
    use whytop::panes::{TableOptions, table};
    let frame = story_d();
    let options =
        TableOptions { filter: "d>0".into(), sort: Some("rss".into()), top: Some(2), view: Some("all".into()) };
    let rows = table(&frame, "tasks", &options).unwrap();
    assert_eq!((rows.matching, rows.rows.len()), (39, 2));
    let pid = rows.heads.iter().position(|h| h.id == "pid").unwrap();
    assert_eq!(rows.rows[0].cells[pid].json(), "16951");
    for pane in PANES.iter().skip(1) {
        for view in pane.views {
            let options = TableOptions { view: Some(view.name().into()), ..TableOptions::default() };
            assert!(!table(&frame, pane.name, &options).unwrap().rows.is_empty(), "{} {}", pane.name, view.name());
        }
    }
    for (pane, options, says) in [
        ("x", TableOptions::default(), "no pane `x`; panes: why tcp tasks"),
        ("tcp", TableOptions { sort: Some("x".into()), ..Default::default() }, "no column `x`; columns: pid"),
        ("tcp", TableOptions { view: Some("x".into()), ..Default::default() }, "no view `x`; views: process remote"),
        ("tcp", TableOptions { filter: "x=1".into(), ..Default::default() }, "filter: no column `x`"),
    ] {
        assert!(table(&frame, pane, &options).unwrap_err().to_string().starts_with(says));
    }
}

#[test]
fn five_thousand_rows_cost_what_is_seen() {
    let (listing, asked) = kit::counted(5_000);
    asked.store(0, std::sync::atomic::Ordering::Relaxed);
    let theme = Theme::probe();
    let mut buf = ratatui::buffer::Buffer::empty(ratatui::layout::Rect::new(0, 0, 80, 24));
    let area = buf.area;
    let mut canvas = whytop::view::Canvas { buf: &mut buf, theme: &theme, ascii: false };
    let look = whytop::view::table::Look { offset: 2_000, selected: Some(2_005), ..Default::default() };
    whytop::view::table::draw(&mut canvas, area, &listing, &look);
    let asked = asked.load(std::sync::atomic::Ordering::Relaxed);
    assert!((23..=23 * 2).contains(&asked), "{asked} cells made for 23 rows");
    assert!(text(&buf).contains("row 2005"));
}

/// Writes pictures to look at into the folder that `WHYTOP_SHOTS` names; `WHYTOP_SHOT` says which, a line each:
/// `name|pane|state:keys|120x40|theme`.
#[test]
fn shots() {
    let Ok(dir) = std::env::var("WHYTOP_SHOTS") else {
        println!("SKIPPED: WHYTOP_SHOTS names no folder for pictures");
        return;
    };
    let wanted = std::env::var("WHYTOP_SHOT").unwrap_or_default();
    for line in wanted.lines().filter(|l| !l.trim().is_empty()) {
        let mut words = line.split('|');
        let [name, pane, keys, size, theme] = [(); 5].map(|()| words.next().unwrap_or_default().trim());
        let (width, height) = size.split_once('x').unwrap();
        let theme = Theme::built_in(if theme.is_empty() { "default" } else { theme }, Depth::True).unwrap();
        let paper = if theme.name == "light" { svg::Paper::LIGHT } else { svg::Paper::DARK };
        let (state, keys) = keys.split_once(':').unwrap_or(("", keys));
        let frame = match state {
            "empty" => states::empty(),
            "denied" => states::denied(),
            "stale" => states::stale(),
            _ => story_d(),
        };
        let options = AppOptions { theme, ascii: false, read_only: false, pane: pane.into(), utc_offset_secs: 0 };
        let mut app = App::new(options);
        app.step(Event::Frame(frame));
        press(&mut app, keys);
        let mut detailed = kit::story_d_build();
        if state.is_empty() {
            detailed.snap.detail = Some(kit::detail_of_java());
            app.step(Event::Frame(detailed.done()));
        }
        let buf = draw(&mut app, width.parse().unwrap(), height.parse().unwrap());
        std::fs::write(format!("{dir}/{name}.svg"), svg::svg(&buf, paper)).unwrap();
    }
}

/// A recording of ten minutes: two findings, a mark, an action, a gap; the frame is of its eighth minute.
fn recording(frame: &Frame, is_ring: bool) -> Arc<Recording> {
    const MINUTE: i64 = 60_000_000_000;
    let from = frame.snap.wall_unix_ns - 8 * MINUTE;
    let spot = |minutes: (i64, i64), kind, text: &str| Spot {
        from_unix_ns: from + minutes.0 * MINUTE,
        to_unix_ns: from + minutes.1 * MINUTE,
        kind,
        text: text.into(),
    };
    let spots = vec![
        spot(
            (1, 3),
            SpotKind::Finding(Severity::Warning),
            "tcp.close_wait_pile  app(7) holds 210 sockets in CLOSE_WAIT",
        ),
        spot((4, 4), SpotKind::Mark, "the deploy"),
        spot((5, 9), SpotKind::Finding(Severity::Critical), "cgroup.oom_kill  java(16951) was killed\x1b[2J"),
        spot((9, 9), SpotKind::Action, "SIGTERM java(16951): exited"),
    ];
    let gaps = vec![(from + 6 * MINUTE, from + 7 * MINUTE)];
    Arc::new(Recording { from_unix_ns: from, to_unix_ns: from + 10 * MINUTE, spots, gaps, is_ring, plays: false })
}

fn replaying(pane: &str, frame: &Arc<Frame>) -> App {
    let mut app = app(pane, frame);
    app.step(Event::Recording(Some(recording(frame, false))));
    app.step(Event::Frame(Arc::clone(frame)));
    app
}

#[test]
fn a_recording_has_its_bar_at_every_size() {
    let frame = story_d();
    let mut out = String::new();
    for (width, height) in SIZES {
        writeln!(out, "==== {width}x{height}\n{}", shown(&mut replaying("why", &frame), width, height)).unwrap();
    }
    let mut app = replaying("why", &frame);
    press(&mut app, "m");
    writeln!(out, "==== spots\n{}", shown(&mut app, 80, 14)).unwrap();
    press(&mut app, "<esc>@0x");
    writeln!(out, "==== time\n{}", text(&draw(&mut app, 120, 14))).unwrap();
    insta::assert_snapshot!("replay", out);
}

/// What the player is asked for by some keys.
fn asked(app: &mut App, keys: &str) -> Vec<Playback> {
    let effects = press(app, keys).into_iter();
    effects.filter_map(|e| if let Effect::Playback(to) = e { Some(to) } else { None }).collect()
}

#[test]
fn keys_move_in_a_recording() {
    let frame = story_d();
    let now = frame.snap.wall_unix_ns;
    let minutes = |n: i64| now + n * 60_000_000_000;
    let mut app = replaying("tasks", &frame);
    assert_eq!(asked(&mut app, " "), [Playback::Play(1.0)]);
    assert_eq!(asked(&mut app, ">><"), [Playback::Play(2.0), Playback::Play(5.0), Playback::Play(2.0)]);
    assert_eq!(asked(&mut app, "p<lt>>"), [Playback::Pause], "a speed while held is for later");
    assert_eq!(asked(&mut app, "[]"), [Playback::Step(-1), Playback::Step(1)]);
    assert_eq!(
        asked(&mut app, "{{"),
        [Playback::Seek(minutes(-3)), Playback::Seek(minutes(-7))],
        "one key after another"
    );
    assert_eq!(asked(&mut app, "{"), [], "there is none before");
    assert!(text(&draw(&mut app, 120, 30)).contains("no finding begins before this"));
    app.step(Event::Frame(Arc::clone(&frame)));
    assert_eq!(asked(&mut app, "}"), []);
    assert_eq!(asked(&mut app, "@-90s<enter>"), [Playback::Seek(now - 90_000_000_000)]);
    assert_eq!(asked(&mut app, "@99h<enter>"), [], "no time: the prompt stays");
    assert_eq!(asked(&mut app, "<esc>@+99h<enter>"), [Playback::Seek(minutes(2))], "not beyond the end");
    app.step(Event::Frame(Arc::clone(&frame)));
    assert_eq!(asked(&mut app, "m<up><enter>"), [Playback::Seek(minutes(-4))], "the list stands at the last one begun");
    // Nothing leads out of a recording into the host.
    assert_eq!(asked(&mut app, "L"), []);
    let effects = press(&mut app, "wr");
    assert!(effects.iter().all(|e| *e == Effect::Redraw), "{effects:?}");
}

#[test]
fn the_ring_is_entered_by_the_keys_that_go_back_and_left_for_the_live_screen() {
    let frame = story_d();
    let mut app = app("why", &frame);
    assert_eq!(asked(&mut app, "]}"), [], "nothing comes after now");
    assert_eq!(asked(&mut app, "["), [Playback::Rewind]);
    let ring = recording(&frame, true);
    let effects = app.step(Event::Recording(Some(Arc::clone(&ring))));
    assert!(effects.contains(&Effect::Playback(Playback::Step(-1))), "{effects:?}");
    app.step(Event::Frame(Arc::clone(&frame)));
    assert!(text(&draw(&mut app, 120, 30)).contains("REPLAY"));
    assert_eq!(asked(&mut app, "L"), [Playback::Live]);
    app.step(Event::Recording(None));
    app.step(Event::Frame(Arc::clone(&frame)));
    assert!(text(&draw(&mut app, 120, 30)).contains("LIVE"));
    assert_eq!(asked(&mut app, "{"), [Playback::Rewind]);
    let effects = app.step(Event::Recording(Some(ring)));
    assert!(effects.iter().any(|e| matches!(e, Effect::Playback(Playback::Seek(_)))), "{effects:?}");
}

#[test]
fn a_mark_is_typed_and_nothing_else_is_recorded_by_escape() {
    let mut app = app("why", &story_d());
    let marks = |effects: Vec<Effect>| {
        effects
            .into_iter()
            .filter_map(|e| if let Effect::Mark(text) = e { Some(text) } else { None })
            .collect::<Vec<_>>()
    };
    assert_eq!(marks(press(&mut app, "mthe deploy<enter>")), ["the deploy"]);
    assert_eq!(marks(press(&mut app, "mnever<esc>")), Vec::<String>::new());
}

#[test]
fn what_the_recording_does_not_hold_is_said_to_be_absent() {
    let mut build = kit::story_d_build();
    build.snap.detail = None;
    let frame = build.done();
    let mut app = replaying("tasks", &frame);
    press(&mut app, "\\comm=supervisord<enter><enter>");
    let screen = text(&draw(&mut app, 120, 40));
    assert!(screen.contains("not in the recording") && !screen.contains("reading"), "{screen}");
}

#[test]
fn files_are_written_from_live_screens_and_pictures_of_every_layer() {
    let frame = story_d();
    let mut app = app("tasks", &frame);
    assert!(press(&mut app, "w").contains(&Effect::SaveRing));
    assert!(press(&mut app, "r").contains(&Effect::Record));
    for (layer, way_back) in [("", ""), ("?", "<esc>"), ("vs", "<esc>"), ("<enter>", "<esc>"), ("k", "<esc>")] {
        assert!(press(&mut app, &format!("{layer}P")).contains(&Effect::Picture), "{layer}");
        press(&mut app, way_back);
    }
    assert!(!press(&mut app, "/P<esc>mP<esc>").contains(&Effect::Picture), "a letter in a text is a letter");

    app.step(Event::Recording(Some(recording(&frame, true))));
    assert!(press(&mut app, "w").contains(&Effect::SaveRing), "the ring can be saved where one looks back in it");
    app.step(Event::Recording(Some(recording(&frame, false))));
    let effects = press(&mut app, "wrP");
    assert!(!effects.iter().any(|e| matches!(e, Effect::SaveRing | Effect::Record)), "{effects:?}");
    assert!(effects.contains(&Effect::Picture));
    let at = frame.snap.wall_unix_ns;
    app.step(Event::Absent { from_unix_ns: at, to_unix_ns: at + 30_000_000_000 });
    assert!(text(&draw(&mut app, 80, 24)).contains("nothing is recorded from "));
}

#[test]
fn the_header_says_that_it_records() {
    let mut app = app("why", &story_d());
    let mut head = |state, width| {
        app.step(Event::Recorder(state));
        text(&draw(&mut app, width, 24)).lines().next().unwrap_or_default().to_owned()
    };
    // At 20 columns there is room for the name and the clock.
    for width in [30, 40, 80, 120] {
        assert!(!head(None, width).contains("REC"));
        assert!(head(Some(RecorderState { bytes: 2 << 20, is_well: true }), width).contains("●REC"), "{width}");
        assert!(head(Some(RecorderState { bytes: 0, is_well: false }), width).contains("○REC"), "{width}");
    }
}

#[test]
fn words_about_files_have_room_at_80_columns() {
    let mut app = app("why", &story_d());
    let words = "saved the last 10m: /var/lib/whytop/ring-20261122T031207Z.whytop, 1.2 MB";
    app.step(Event::Notice(words.into()));
    assert!(text(&draw(&mut app, 80, 24)).contains(words));
}
