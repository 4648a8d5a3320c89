//! Any bytes as a recording: no panic, no allocation without bound. Heads and checksums are put right first, else nothing
//! but they would be tried.

#![no_main]

use libfuzzer_sys::fuzz_target;
use whytop::record::{Frame, FrameKind, Header, Log, Reader};

fuzz_target!(|data: &[u8]| {
    read(data.to_vec());
    // The same bytes as the bodies of frames: a letter, a length, so many bytes.
    let Ok((mut log, mut file)) = Log::new(&Header::default()) else { return };
    let mut rest = data;
    let mut wall_unix_ns = 0;
    while let [letter, low, high, after @ ..] = rest {
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(after.len());
        let (body, next) = after.split_at(len);
        rest = next;
        wall_unix_ns += 1_000_000_000;
        let kinds = [
            FrameKind::Key,
            FrameKind::Delta,
            FrameKind::Base,
            FrameKind::Note,
            FrameKind::Checkpoint,
            FrameKind::Index,
            FrameKind::Header,
        ];
        let Some(kind) = kinds.get(usize::from(*letter) % kinds.len()) else { return };
        let frame = Frame { kind: *kind, wall_unix_ns, body: body.to_vec() };
        if let Ok(bytes) = log.append(&frame) {
            file.extend(bytes);
        }
    }
    read(file);
    // As what a keyframe unpacks to: the columns themselves.
    if let Ok(packed) = zstd::bulk::compress(data, 1) {
        let mut body = vec![0];
        let mut len = data.len();
        while len >= 0x80 {
            body.push((len & 0x7f) as u8 | 0x80);
            len >>= 7;
        }
        body.push(len as u8);
        body.extend(packed);
        let Ok((mut log, mut file)) = Log::new(&Header::default()) else { return };
        if let Ok(bytes) = log.append(&Frame { kind: FrameKind::Key, wall_unix_ns: 0, body }) {
            file.extend(bytes);
        }
        read(file);
    }
});

fn read(bytes: Vec<u8>) {
    let Ok(reader) = Reader::from_bytes(bytes) else { return };
    let _ = (reader.notes(), reader.check(), reader.checkpoint_before(i64::MAX), reader.span());
    let Ok(mut cursor) = reader.start() else { return };
    while let Ok(Some(_)) = cursor.next_snapshot() {}
    if let Some((from, to)) = reader.span() {
        let _ = reader.at(from / 2 + to / 2).and_then(|mut cursor| cursor.next_snapshot());
    }
}
