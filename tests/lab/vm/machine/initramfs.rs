//! The guest's root: a cpio archive (format newc) of busybox, whytop, the lab itself and the few tools it calls.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An archive being written. Several in a row are one initramfs for the kernel.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    dirs: BTreeSet<PathBuf>,
}

impl Archive {
    /// A file, and the directories above it.
    pub fn file(&mut self, path: &str, executable: bool, data: &[u8]) {
        self.parents(path);
        self.entry(path, if executable { 0o100_755 } else { 0o100_644 }, (0, 0), data);
    }

    pub fn link(&mut self, path: &str, target: &str) {
        self.parents(path);
        self.entry(path, 0o120_777, (0, 0), target.as_bytes());
    }

    pub fn dir(&mut self, path: &str) {
        self.parents(path);
        if self.dirs.insert(PathBuf::from(path)) {
            self.entry(path, 0o040_755, (0, 0), b"");
        }
    }

    pub fn character_device(&mut self, path: &str, major: u32, minor: u32) {
        self.parents(path);
        self.entry(path, 0o020_600, (major, minor), b"");
    }

    /// A program under `/bin`, with the libraries that the dynamic loader would take, each at its own path.
    pub fn program(&mut self, host: &Path, name: &str) -> Result<(), String> {
        self.file(&format!("/bin/{name}"), true, &without_debug(host)?);
        let libraries = Command::new("ldd").arg(host).output().map_err(|e| format!("ldd: {e}"))?;
        let text = String::from_utf8_lossy(&libraries.stdout).into_owned();
        for library in text.split_whitespace().filter(|w| w.starts_with('/')) {
            if self.dirs.insert(PathBuf::from(library)) {
                let data = std::fs::read(library).map_err(|e| format!("{library}: {e}"))?;
                self.file(library, true, &data);
            }
        }
        Ok(())
    }

    /// The archive with its end mark.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("/TRAILER!!!", 0, (0, 0), b"");
        self.bytes
    }

    fn parents(&mut self, path: &str) {
        let above: Vec<&Path> = Path::new(path).ancestors().skip(1).filter(|p| p.parent().is_some()).collect();
        for dir in above.into_iter().rev() {
            if self.dirs.insert(dir.to_owned()) {
                self.entry(&dir.to_string_lossy(), 0o040_755, (0, 0), b"");
            }
        }
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), data: &[u8]) {
        let name = path.trim_start_matches('/');
        self.entries += 1;
        let size = u32::try_from(data.len()).expect("a file below 4 GB");
        let name_size = u32::try_from(name.len() + 1).expect("a short name");
        let fields =
            [self.entries, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0].map(|f| format!("{f:08X}"));
        write!(self.bytes, "070701{}{name}\0", fields.concat()).expect("memory takes it");
        self.pad();
        self.bytes.extend_from_slice(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// A program's bytes, without debugging symbols where `strip` can take them out: a debug build has tens of megabytes.
fn without_debug(program: &Path) -> Result<Vec<u8>, String> {
    let read = |path: &Path| std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()));
    let Ok(small) = tempfile::NamedTempFile::new() else { return read(program) };
    let stripped = Command::new("strip").arg("-o").arg(small.path()).arg(program).stderr(Stdio::null()).status();
    if stripped.is_ok_and(|s| s.success()) { read(small.path()) } else { read(program) }
}
