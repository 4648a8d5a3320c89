//! A database under a benchmark: a log that every transaction syncs, pages written back in bursts, readers all over the
//! file; and, where Python is there, SQLite with durable transactions and readers beside it.

use crate::actors::{forever, name, ready};
use crate::kit::{self, Control, Stage, which};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

pub const CALM: Control = Control { name: "database_benchmark", actors: &[("database", database)], load, ..Control::BASE };

const PAGE_BYTES: usize = 8192;
const PAGES: u64 = 16_384;
const WRITERS: usize = 4;
const READERS: usize = 4;

const SQLITE: &str = "
import os, random, sqlite3, sys
path = sys.argv[1]
base = sqlite3.connect(path)
base.execute('PRAGMA journal_mode=WAL')
base.execute('PRAGMA synchronous=FULL')
base.execute('CREATE TABLE account(id INTEGER PRIMARY KEY, amount INTEGER, note TEXT)')
base.executemany('INSERT INTO account VALUES(?, 0, ?)', ((n, 'x' * 200) for n in range(100000)))
base.commit()
readers = 0 if os.fork() else 1
base = sqlite3.connect(path, timeout=30)
while os.getppid() != 1:
    n = random.randrange(100000)
    if readers:
        base.execute('SELECT sum(amount) FROM account WHERE id BETWEEN ? AND ?', (n, n + 1000)).fetchall()
    else:
        base.execute('UPDATE account SET amount = amount + 1 WHERE id = ?', (n,))
        base.commit()
";

fn load() -> Stage {
    let mut stage = Stage::default();
    let dir = kit::scratch(&mut stage, "database");
    stage.pid = stage.actor(&["database", dir.to_str().expect("utf-8")]);
    stage
}

fn database(args: &[&str]) {
    let [dir] = args else { panic!("database DIR") };
    name("database");
    let dir = Path::new(dir);
    let table = dir.join("table");
    File::create(&table).expect("create").set_len(PAGES * PAGE_BYTES as u64).expect("room");
    for n in 0..WRITERS {
        let (log, table) = (dir.join(format!("log{n}")), table.clone());
        thread::spawn(move || write(&log, &table, n as u64));
    }
    for n in 0..READERS {
        let table = File::open(&table).expect("open");
        thread::spawn(move || {
            let mut page = [0; PAGE_BYTES];
            for at in pages(n as u64 + 100) {
                table.read_exact_at(&mut page, at).expect("read a page");
            }
        });
    }
    let _sqlite = which("python3").map(|python| {
        let mut run = Command::new(python);
        let base = dir.join("base.sqlite");
        run.args(["-c", SQLITE, base.to_str().expect("utf-8")]).stdin(Stdio::null()).stderr(Stdio::null());
        run.spawn().expect("start python")
    });
    ready();
    forever()
}

/// A transaction after another: the log is synced with each, the table with every 64th.
fn write(log: &Path, table: &Path, seed: u64) {
    let mut log = File::create(log).expect("create");
    let table = OpenOptions::new().write(true).open(table).expect("open");
    for (n, at) in pages(seed).enumerate() {
        log.write_all(&[b'l'; 512]).and_then(|()| log.sync_data()).expect("log");
        table.write_all_at(&[b'p'; PAGE_BYTES], at).expect("write a page");
        if n % 64 == 63 {
            table.sync_data().expect("checkpoint");
        }
    }
}

/// Places of pages, at random (a linear congruential generator).
fn pages(seed: u64) -> impl Iterator<Item = u64> {
    let next = |s: &u64| Some(s.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    std::iter::successors(next(&seed), next).map(|s| (s >> 33) % PAGES * PAGE_BYTES as u64)
}
