//! Large files copied, which fills the page cache: once on the whole host, once in a memory cgroup that the cache fills
//! to its limit.

use crate::actors::{forever, name, ready};
use crate::kit::{self, Control, Stage, cgroup};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::thread;

pub const CALM: Control =
    Control { name: "large_file_copy", root: true, actors: &[("copy", copy)], load, ..Control::BASE };

/// The file: several times the cgroup's limit.
const FILE_BYTES: usize = 1 << 30;
const LIMIT_BYTES: u64 = 256 << 20;

fn load() -> Stage {
    let mut stage = Stage::default();
    let dir = kit::scratch(&mut stage, "copy");
    let group = cgroup::limited(&mut stage, "copy", LIMIT_BYTES);
    let dir = dir.to_str().expect("utf-8");
    stage.actor(&["copy", dir, "outside", ""]);
    stage.pid = stage.actor(&["copy", dir, "inside", group.to_str().expect("utf-8")]);
    stage
}

/// Writes a file, then copies it again and again.
fn copy(args: &[&str]) {
    let [dir, file, group] = args else { panic!("copy DIR FILE CGROUP") };
    name("copy");
    if !group.is_empty() {
        cgroup::enter(Path::new(group));
    }
    let (from, to) = (Path::new(dir).join(file), Path::new(dir).join(format!("{file}.copy")));
    thread::spawn(move || {
        let mut block = vec![b'x'; 1 << 20];
        let mut written = File::create(&from).expect("create");
        for _ in 0..FILE_BYTES / block.len() {
            written.write_all(&block).expect("write");
        }
        loop {
            let (mut source, mut target) = (File::open(&from).expect("open"), File::create(&to).expect("create"));
            while let Ok(got @ 1..) = source.read(&mut block) {
                target.write_all(&block[..got]).expect("write");
            }
        }
    });
    ready();
    forever()
}
