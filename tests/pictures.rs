//! The pictures of `screenshots/`: drawn from recordings of the lab's stories, and held against what is drawn today.
//!
//! `WHYTOP_DRAW=1 cargo test --test pictures` draws them anew, as SVG and as PNG. The recordings are made by
//! `cargo test --test lab -- --tapes tests/fixtures/stories`.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// One picture: its name, the recording, the time in it, keys and size.
struct Picture {
    name: &'static str,
    story: &'static str,
    at: &'static str,
    keys: &'static str,
    size: &'static str,
}

const fn picture(name: &'static str, story: &'static str, keys: &'static str) -> Picture {
    Picture { name, story, at: "-10s", keys, size: "120x36" }
}

/// Of a story that ends before its recording's trouble does, with a kill.
const fn at_its_kill(picture: &Picture) -> Picture {
    Picture { at: "-22s", ..*picture }
}

const PICTURES: &[Picture] = &[
    at_its_kill(&picture("story-a-syn-sent", "a-syn-sent", "")),
    picture("story-b-time-wait", "b-time-wait", ""),
    at_its_kill(&picture("story-c-slab", "c-slab", "")),
    picture("story-d-oom-spiral", "d-oom-spiral", ""),
    picture("story-e-udp-drops", "e-udp-drops", ""),
    Picture { at: "-24s", ..picture("pane-tcp", "a-syn-sent", "2") },
    picture("pane-tasks", "d-oom-spiral", "3"),
    picture("pane-cgroups", "d-oom-spiral", "4"),
    at_its_kill(&picture("pane-memory", "c-slab", "5")),
    picture("pane-net", "e-udp-drops", "6"),
    picture("pane-log", "d-oom-spiral", "7"),
    Picture { at: "-24s", ..picture("task", "a-syn-sent", "2 Enter") },
    picture("help", "a-syn-sent", "?"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn drawn(picture: &Picture) -> String {
    let story = root().join("tests/fixtures/stories").join(format!("{}.wtr", picture.story));
    let mut args =
        vec!["screen", "--from", story.to_str().unwrap(), "--at", picture.at, "--size", picture.size, "--svg"];
    args.extend(["--keys", picture.keys]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_whytop"));
    let output = command.args(args).env_clear().env("HOME", "/nonexistent").output().unwrap();
    assert!(output.status.success(), "{}: {}", picture.name, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn path(picture: &Picture, extension: &str) -> PathBuf {
    root().join("screenshots").join(format!("{}.{extension}", picture.name))
}

/// The picture as pixels; `None` where the font is not installed.
fn pixels(svg: &str) -> Option<Pixmap> {
    let mut options = Options::default();
    let fonts = Arc::make_mut(&mut options.fontdb);
    for face in ["DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf"] {
        fonts.load_font_data(std::fs::read(Path::new("/usr/share/fonts/truetype/dejavu").join(face)).ok()?);
    }
    let tree = Tree::from_str(svg, &options).unwrap();
    let size = tree.size().to_int_size();
    let mut pixmap = Pixmap::new(size.width(), size.height()).unwrap();
    resvg::render(&tree, Transform::default(), &mut pixmap.as_mut());
    Some(pixmap)
}

#[test]
fn pictures_are_as_they_are_drawn_today() {
    let draw = std::env::var_os("WHYTOP_DRAW").is_some();
    let mut old = Vec::new();
    for picture in PICTURES {
        let svg = drawn(picture);
        if draw {
            std::fs::write(path(picture, "svg"), &svg).unwrap();
            pixels(&svg).expect("DejaVu Sans Mono (Debian: fonts-dejavu-core)").save_png(path(picture, "png")).unwrap();
        } else if std::fs::read_to_string(path(picture, "svg")).ok().as_ref() != Some(&svg) {
            old.push(picture.name);
        }
    }
    assert!(
        old.is_empty(),
        "no longer what is drawn: {old:?}; WHYTOP_DRAW=1 cargo test --test pictures, and look at them"
    );
}

/// The asciicast of a replay, which any player of asciicasts shows.
#[test]
fn the_cast_is_as_it_is_played_today() {
    let story = root().join("tests/fixtures/stories/d-oom-spiral.wtr");
    let args = ["screen", "--from", story.to_str().unwrap(), "--cast", "--size", "100x30"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_whytop"));
    let output =
        command.args(args).env_clear().env("HOME", "/nonexistent").env("TERM", "xterm-256color").output().unwrap();
    let cast = String::from_utf8(output.stdout).unwrap();
    let path = root().join("screenshots/replay.cast");
    if std::env::var_os("WHYTOP_DRAW").is_some() {
        std::fs::write(path, cast).unwrap();
        return;
    }
    assert!(std::fs::read_to_string(path).ok() == Some(cast), "WHYTOP_DRAW=1 cargo test --test pictures");
}

#[test]
fn a_picture_has_letters_in_it() {
    let Some(pixmap) = pixels(&drawn(PICTURES.first().unwrap())) else {
        println!("SKIPPED: DejaVu Sans Mono is not installed (Debian: fonts-dejavu-core)");
        return;
    };
    let colours: std::collections::BTreeSet<[u8; 3]> =
        pixmap.pixels().iter().map(|p| [p.red() / 32, p.green() / 32, p.blue() / 32]).collect();
    assert!(colours.len() > 8, "one ground and no text? {colours:?}");
}
