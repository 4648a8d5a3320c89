//! A parallel compile: more compilers than cores, each of a generated file, again and again.

use crate::actors::{forever, name, ready};
use crate::kit::{self, Control, Stage};
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

pub const CALM: Control =
    Control { name: "parallel_compile", tools: &["cc"], actors: &[("compile", compile)], load, ..Control::BASE };

fn load() -> Stage {
    let mut stage = Stage::default();
    let dir = kit::scratch(&mut stage, "compile");
    let mut source = String::from("#include <stddef.h>\n");
    for n in 0..400 {
        let _ = writeln!(
            source,
            "double work{n}(double *a, size_t n) {{ double s = {n}; for (size_t i = 0; i < n; i++) {{ \
s += a[i] * (double)(i % {}); a[i] = s / (s + 1.0); }} return s; }}",
            n + 2
        );
    }
    std::fs::write(dir.join("work.c"), source).expect("write a source");
    let jobs = 4 * thread::available_parallelism().map_or(2, usize::from);
    stage.pid = stage.actor(&["compile", dir.to_str().expect("utf-8"), &jobs.to_string()]);
    stage
}

fn compile(args: &[&str]) {
    let [dir, jobs] = args else { panic!("compile DIR JOBS") };
    name("build");
    for job in 0..crate::actors::number(jobs) {
        let dir = Path::new(dir).to_owned();
        let object: usize = job;
        thread::spawn(move || {
            loop {
                let mut cc = Command::new("cc");
                cc.current_dir(&dir).args(["-O2", "-c", "work.c", "-o", &format!("{object}.o")]);
                cc.stdin(Stdio::null()).stderr(Stdio::null()).status().ok();
            }
        });
    }
    ready();
    forever()
}
