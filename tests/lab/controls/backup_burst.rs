//! A backup: many threads that read past the page cache and sync small files, each in D for a moment, again and again.

use crate::actors::{forever, name, ready};
use crate::kit::{self, Control, Stage};
use rustix::fs::{Mode, OFlags};
use std::io::Write as _;
use std::path::Path;
use std::thread;

pub const CALM: Control = Control { name: "backup_burst", actors: &[("backup", backup)], load, ..Control::BASE };

const FILE_BYTES: u64 = 256 << 20;
const BLOCK_BYTES: u64 = 256 << 10;
const READERS: u64 = 48;
const WRITERS: usize = 16;

fn load() -> Stage {
    let mut stage = Stage::default();
    // Not a tmpfs, which knows no direct reads.
    let dir = kit::scratch(&mut stage, "backup");
    let mut file = std::fs::File::create(dir.join("data")).expect("create");
    let block = vec![b'b'; 1 << 20];
    for _ in 0..FILE_BYTES >> 20 {
        file.write_all(&block).expect("write");
    }
    file.sync_all().expect("on the disk");
    stage.pid = stage.actor(&["backup", dir.to_str().expect("utf-8")]);
    stage
}

fn backup(args: &[&str]) {
    let [dir] = args else { panic!("backup DIR") };
    name("backup");
    let dir = Path::new(dir);
    for n in 0..READERS {
        let data = dir.join("data");
        thread::spawn(move || {
            let direct = rustix::fs::open(&data, OFlags::RDONLY | OFlags::DIRECT, Mode::empty());
            // Some file systems have no direct reads.
            let file = direct.or_else(|_| rustix::fs::open(&data, OFlags::RDONLY, Mode::empty())).expect("open");
            // Direct reads need an aligned buffer.
            let mut room = vec![0_u8; usize::try_from(BLOCK_BYTES + 4096).expect("small")];
            let start = room.as_ptr().align_offset(4096);
            let block = &mut room[start..][..usize::try_from(BLOCK_BYTES).expect("small")];
            let blocks = FILE_BYTES / BLOCK_BYTES;
            for at in (0..blocks).cycle().skip(usize::try_from(n * blocks / READERS).expect("small")) {
                rustix::io::pread(&file, &mut *block, at * BLOCK_BYTES).expect("read");
            }
        });
    }
    for n in 0..WRITERS {
        let file = dir.join(format!("small{n}"));
        thread::spawn(move || {
            loop {
                let mut file = std::fs::File::create(&file).expect("create");
                file.write_all(&[b's'; 4096]).and_then(|()| file.sync_all()).expect("sync");
            }
        });
    }
    ready();
    forever()
}
