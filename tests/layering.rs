//! Reads the imports of the source and fails on one that the layering of the program doesn't allow.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What each layer may use besides itself; a layer that is not here may use everything.
const MAY_USE: &[(&str, &[&str])] = &[
    ("snapshot", &[]),
    ("collect", &["snapshot"]),
    ("act", &["snapshot", "collect"]),
    ("model", &["snapshot"]),
    ("detect", &["snapshot", "model"]),
    ("engine", &["snapshot", "model", "detect"]),
    ("record", &["snapshot"]),
    ("source", &["snapshot", "collect", "record"]),
    ("playback", &["snapshot", "model", "engine", "record", "source"]),
    ("view", &["snapshot", "model"]),
    ("panes", &["snapshot", "model", "view"]),
    ("app", &["snapshot", "model", "view", "panes"]),
    ("report", &["snapshot", "model", "view"]),
    ("export", &["snapshot", "report"]),
    ("startup", &["snapshot", "collect", "record"]),
    ("config", &["detect"]),
];

#[test]
fn every_import_is_allowed() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&src, &mut files);
    assert!(files.len() > 20, "the source was not found below {}", src.display());
    let mut wrong = Vec::new();
    for file in files {
        let below = file.strip_prefix(&src).unwrap();
        let layer = below.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == layer) else { continue };
        for used in imports(&std::fs::read_to_string(&file).unwrap()) {
            if used != layer && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{} uses crate::{used}", below.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_pane_uses_no_other_pane() {
    let panes = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/panes");
    let names: BTreeSet<String> = std::fs::read_dir(&panes)
        .unwrap()
        .map(|e| e.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| name != "mod")
        .collect();
    let source = std::fs::read_to_string(panes.join("mod.rs")).unwrap();
    let table = source.split("panes! {").nth(1).and_then(|rest| rest.split('}').next()).unwrap_or_default();
    let panes_in_table: BTreeSet<&str> =
        table.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| names.contains(*word)).collect();
    let mut files = Vec::new();
    walk(&panes, &mut files);
    for file in files {
        let own = file.strip_prefix(&panes).unwrap().components().next().unwrap().as_os_str().to_str().unwrap();
        let own = own.trim_end_matches(".rs");
        let text = code(&std::fs::read_to_string(&file).unwrap());
        for other in panes_in_table.iter().filter(|p| **p != own && own != "mod") {
            for path in [format!("super::{other}::"), format!("panes::{other}::"), format!("super::super::{other}::")] {
                assert!(!text.contains(&path), "{} uses {path}", file.display());
            }
        }
    }
}

#[test]
fn imports_are_found_in_every_form() {
    let text = "use crate::model::Frame;\nuse crate::{app::App, view};\n// crate::engine\nfn f(x: crate::snapshot::Text) {}\n\
                #[cfg(test)]\nmod tests { use crate::source; }";
    let found = imports(text);
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), ["app", "model", "snapshot", "view"]);
}

fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") && path.file_stem().is_none_or(|s| s != "tests") {
            into.push(path);
        }
    }
}

/// A file's code without comments and without its tests.
fn code(text: &str) -> String {
    let product = text.split("#[cfg(test)]").next().unwrap();
    product.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// The layers that a file names after `crate::`.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rest in code(text).split("crate::").skip(1) {
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut start = true;
            let mut name = String::new();
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => start = true,
                    c if start && (c.is_alphanumeric() || c == '_') => name.push(c),
                    c if start && !c.is_whitespace() => start = false,
                    _ => {}
                }
                if !start || c == ',' {
                    found.insert(std::mem::take(&mut name));
                }
            }
            found.insert(name);
        } else {
            found.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    found.remove("");
    found
}
