//! The README's tables are the program's own: a rule or a pane that is not in it, or is there in other words, fails.

use std::fmt::Write as _;

const README: &str = include_str!("../README.md");

#[test]
fn every_rule_has_its_row() {
    let mut table = String::from("| finding | says |\n|---|---|\n");
    for rule in whytop::detect::rules() {
        let _ = writeln!(table, "| `{}` | {} |", rule.id, rule.about);
    }
    assert!(README.contains(&table), "the README's table of findings should be:\n\n{table}");
}

#[test]
fn every_pane_has_its_row() {
    for (n, pane) in whytop::panes::PANES.iter().enumerate() {
        let row = format!("| `{}` | **{}** | ", n + 1, pane.title);
        assert!(README.contains(&row), "no row in the README starts: {row}");
    }
}

#[test]
fn every_theme_is_named() {
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/themes")).unwrap() {
        let name = file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
        assert!(README.contains(&format!("`{name}`")), "theme {name} is not in the README");
    }
}
