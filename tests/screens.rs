//! Screens: keys in, text and colour roles out.

mod kit;

use kit::{app, draw, press, story_d};
use whytop::app::{App, AppOptions, Event};
use whytop::view::{Depth, Theme, svg};

/// Writes pictures to look at into the folder that `WHYTOP_SHOTS` names.
#[test]
fn shots() {
    let Ok(dir) = std::env::var("WHYTOP_SHOTS") else {
        println!("SKIPPED: WHYTOP_SHOTS names no folder for pictures");
        return;
    };
    let frame = story_d();
    let wanted = std::env::var("WHYTOP_SHOT").unwrap_or_default();
    for line in wanted.lines().filter(|l| !l.trim().is_empty()) {
        let mut words = line.split('|');
        let [name, pane, keys, size, theme] = [(); 5].map(|()| words.next().unwrap_or_default().trim());
        let (width, height) = size.split_once('x').unwrap();
        let theme = Theme::built_in(if theme.is_empty() { "default" } else { theme }, Depth::True).unwrap();
        let paper = if theme.name == "light" { svg::Paper::LIGHT } else { svg::Paper::DARK };
        let mut app =
            App::new(AppOptions { theme, ascii: false, read_only: false, pane: pane.into(), utc_offset_secs: 0 });
        app.step(Event::Frame(frame.clone()));
        press(&mut app, keys);
        let buf = draw(&mut app, width.parse().unwrap(), height.parse().unwrap());
        std::fs::write(format!("{dir}/{name}.svg"), svg::svg(&buf, paper)).unwrap();
    }
}

#[test]
fn draws() {
    let mut app = app("why", &story_d());
    println!("{}", kit::text(&draw(&mut app, 120, 40)));
}
