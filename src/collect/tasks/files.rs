//! Small files below `/proc`: paths put together in a kept buffer, one `read` each.

use crate::collect::readers::Ask;
use crate::snapshot::Text;
use rustc_hash::FxHashSet;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;
use std::path::Path;
use std::sync::Arc;

/// Larger than every file that is read here; seq files then come whole in one `read`.
const FILE_BYTES: usize = 16 * 1024;

/// The tree, its root kept open.
#[derive(Debug)]
pub(crate) struct Files {
    root: OwnedFd,
    path: Vec<u8>,
}

impl Files {
    pub fn open(proc: &Path) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root: rustix::fs::open(proc, flags, Mode::empty())?, path: Vec::with_capacity(64) })
    }

    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Calls `each` with every entry's name; the listing begins anew each time.
    pub fn list(&self, buf: &mut Vec<u8>, each: impl FnMut(&[u8])) -> Result<(), Errno> {
        rustix::fs::seek(&self.root, SeekFrom::Start(0))?;
        list(self.root.as_fd(), buf, each)
    }

    /// Opens the directory `parts` joined.
    pub fn open_dir(&mut self, parts: &[&[u8]]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.root, joined(&mut self.path, parts), flags, Mode::empty())
    }

    /// Reads the file `parts` joined.
    pub fn read<'b>(&mut self, parts: &[&[u8]], buf: &'b mut Vec<u8>) -> Result<&'b [u8], Errno> {
        read_below(self.root.as_fd(), joined(&mut self.path, parts), buf)
    }

    /// Reads the file `parts` joined below `dir`.
    pub fn read_in<'b>(&mut self, dir: &OwnedFd, parts: &[&[u8]], buf: &'b mut Vec<u8>) -> Result<&'b [u8], Errno> {
        read_below(dir.as_fd(), joined(&mut self.path, parts), buf)
    }

    /// Reads the link `parts` joined.
    pub fn link<'b>(&mut self, parts: &[&[u8]], buf: &'b mut Vec<u8>) -> Result<&'b [u8], Errno> {
        buf.clear();
        buf.reserve(256);
        rustix::fs::readlinkat_raw(&self.root, joined(&mut self.path, parts), rustix::buffer::spare_capacity(buf))?;
        Ok(buf)
    }

    /// `st_size` of `parts` joined.
    pub fn size(&mut self, parts: &[&[u8]]) -> Result<u64, Errno> {
        let stat = rustix::fs::statat(&self.root, joined(&mut self.path, parts), AtFlags::empty())?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }
}

/// What every part of a pass reads with.
#[derive(Debug)]
pub(crate) struct Reads {
    pub files: Files,
    pub interned: Interned,
    /// Reads that can hang, for the readers.
    pub asks: Vec<Ask>,
}

/// Calls `each` with every entry's name of an open directory.
pub(crate) fn list(dir: BorrowedFd<'_>, buf: &mut Vec<u8>, mut each: impl FnMut(&[u8])) -> Result<(), Errno> {
    list_while(dir, buf, |name| {
        each(name);
        true
    })
}

/// Calls `each` with entries' names of an open directory until it says `false`.
pub(crate) fn list_while(
    dir: BorrowedFd<'_>,
    buf: &mut Vec<u8>,
    mut each: impl FnMut(&[u8]) -> bool,
) -> Result<(), Errno> {
    buf.clear();
    buf.reserve(32 * 1024);
    let mut entries = RawDir::new(dir, buf.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) if each(entry.file_name().to_bytes()) => {}
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn joined<'p>(path: &'p mut Vec<u8>, parts: &[&[u8]]) -> &'p [u8] {
    path.clear();
    for part in parts {
        path.extend_from_slice(part);
    }
    path
}

fn read_below<'b>(dir: BorrowedFd<'_>, path: &[u8], buf: &'b mut Vec<u8>) -> Result<&'b [u8], Errno> {
    buf.clear();
    if buf.capacity() < FILE_BYTES {
        buf.reserve_exact(FILE_BYTES);
    }
    let file = rustix::fs::openat(dir, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    loop {
        match rustix::io::read(&file, rustix::buffer::spare_capacity(buf)) {
            // Only a file that fills the buffer can have more to give.
            Ok(n) if n > 0 && buf.len() == buf.capacity() && buf.len() < 64 * FILE_BYTES => buf.reserve(buf.len()),
            Ok(_) => return Ok(buf),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// A pid or tid in a name of decimal digits.
pub(crate) fn id(name: &[u8]) -> Option<u32> {
    if name.is_empty() || name.len() > 10 {
        return None;
    }
    let mut id = 0_u32;
    for digit in name {
        id = id.checked_mul(10)?.checked_add(u32::from(digit.checked_sub(b'0').filter(|d| *d < 10)?))?;
    }
    Some(id)
}

/// A pid or tid as the name of its folder.
#[derive(Clone, Copy)]
pub(crate) struct Decimal {
    digits: [u8; 10],
    from: usize,
}

impl Decimal {
    pub fn new(mut id: u32) -> Self {
        let mut this = Self { digits: [b'0'; 10], from: 10 };
        for digit in this.digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(id % 10).unwrap_or(0);
            this.from -= 1;
            id /= 10;
            if id == 0 {
                break;
            }
        }
        this
    }

    pub fn bytes(&self) -> &[u8] {
        self.digits.get(self.from..).unwrap_or_default()
    }
}

/// Text shared between rows and samples.
#[derive(Debug, Default)]
pub(crate) struct Interned(FxHashSet<Text>);

impl Interned {
    /// The shared text of `raw`; bytes that are no UTF-8 become replacement characters.
    pub fn get(&mut self, raw: &[u8]) -> Text {
        let text = String::from_utf8_lossy(raw);
        if let Some(known) = self.0.get(text.as_ref()) {
            return Arc::clone(known);
        }
        let new = Text::from(text.as_ref());
        self.0.insert(Arc::clone(&new));
        new
    }

    /// Forgets what nobody else holds.
    pub fn sweep(&mut self) {
        self.0.retain(|text| Arc::strong_count(text) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_digits_only() {
        assert_eq!(id(b"4194304"), Some(4_194_304));
        for n in [0, 7, 10, 4_194_304, u32::MAX] {
            assert_eq!(id(Decimal::new(n).bytes()), Some(n));
        }
        for odd in [&b""[..], b"self", b".", b"..", b"12a", b"99999999999", b"4294967296", b"/1"] {
            assert_eq!(id(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn text_is_shared_while_somebody_holds_it() {
        let mut interned = Interned::default();
        let one = interned.get(b"java");
        assert!(Arc::ptr_eq(&one, &interned.get(b"java")));
        assert_eq!(&*interned.get(b"\xff"), "\u{fffd}");
        interned.sweep();
        assert_eq!(interned.0.len(), 1);
    }
}
