//! Where a file lies: the mount behind a descriptor.

use super::Look;
use crate::collect::mountinfo::{mounts, unescape};
use crate::collect::tasks::files::Decimal;
use crate::collect::tasks::status;
use procfs::process::MountInfo;

/// A mount in the namespace of the task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    id: i32,
    /// Type, device or server, and where: `ext4 /dev/sda3 at /data`.
    pub words: String,
    /// File-system type.
    pub kind: String,
    /// Whether a block device is under it.
    pub on_disk: bool,
    /// Minor number of its device: of a FUSE mount the number of its connection.
    pub minor: u32,
}

impl Mount {
    fn of(info: &MountInfo) -> Self {
        let path = |raw: &str| String::from_utf8_lossy(&unescape(raw)).into_owned();
        let source = path(info.mount_source.as_deref().unwrap_or_default());
        let point = path(&info.mount_point.to_string_lossy());
        let minor = info.majmin.split(':').nth(1).and_then(|minor| minor.parse().ok());
        Self {
            id: info.mnt_id,
            words: format!("{} {source} at {point}", info.fs_type),
            kind: info.fs_type.clone(),
            on_disk: source.starts_with("/dev/"),
            minor: minor.unwrap_or(0),
        }
    }

    pub fn is_fuse(&self) -> bool {
        self.kind.starts_with("fuse") && self.kind != "fusectl"
    }
}

impl Look<'_> {
    /// The mounts of the task's namespace.
    pub(super) fn mounts(&mut self) -> Vec<Mount> {
        let Ok(text) = self.read(b"/mountinfo") else { return Vec::new() };
        mounts(text, "").map(|info| Mount::of(&info)).collect()
    }

    /// The path behind a descriptor.
    pub(super) fn path_of(&mut self, fd: u32) -> Option<Vec<u8>> {
        self.files.link(&[&self.base, b"/fd/", Decimal::new(fd).bytes()], self.text).ok().map(<[u8]>::to_vec)
    }

    /// The mount that the file behind a descriptor is on.
    pub(super) fn mount_of<'m>(&mut self, fd: u32, mounts: &'m [Mount]) -> Option<&'m Mount> {
        let text = self.files.read(&[&self.base, b"/fdinfo/", Decimal::new(fd).bytes()], self.text).ok()?;
        let id = status::pairs(text).find(|(key, _)| *key == b"mnt_id")?.1;
        let id: i32 = std::str::from_utf8(id).ok()?.parse().ok()?;
        mounts.iter().find(|mount| mount.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_in_words() {
        let raw = b"60 25 0:47 / /mnt/a\\040b rw,nosuid - fuse.sshfs me@host:/x rw,user_id=0\n\
            61 25 7:3 / /data rw - ext4 /dev/loop3 rw\n";
        let found: Vec<Mount> = mounts(raw, "").map(|m| Mount::of(&m)).collect();
        assert_eq!(found[0].words, "fuse.sshfs me@host:/x at /mnt/a b");
        assert_eq!((found[0].minor, found[0].is_fuse(), found[0].on_disk), (47, true, false));
        assert_eq!((found[1].words.as_str(), found[1].on_disk), ("ext4 /dev/loop3 at /data", true));
    }
}
