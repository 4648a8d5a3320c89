//! What `/sys/kernel/slab` knows of a cache: its other names and whether it is reclaimable.
//!
//! SLUB merges caches of like shape: `slabinfo` shows one of their names, and sysfs has a link for each, all to one
//! folder (`:0000064`).

use crate::collect::io::read_path;
use crate::collect::text::text;
use crate::snapshot::{Moment, Text};
use rustc_hash::{FxHashMap, FxHashSet};
use rustix::io::Errno;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Facts of one cache.
#[derive(Clone, Debug, Default)]
pub(super) struct Cache {
    pub name: Text,
    pub aliases: Vec<Text>,
    pub reclaimable: Option<bool>,
}

/// Facts by the name in `slabinfo`. The folder has hundreds of entries that hardly change: it is read again when an
/// unknown cache turns up, and now and then for names that were merged into a known one.
#[derive(Debug)]
pub(super) struct Caches {
    dir: PathBuf,
    known: FxHashMap<Vec<u8>, Cache>,
    read: Option<Moment>,
    denied: Option<Errno>,
}

impl Caches {
    const PERIOD_SECS: f64 = 300.0;

    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, known: FxHashMap::default(), read: None, denied: None }
    }

    /// Sees to it that the caches `names` are known; why they are not, when the folder can't be read.
    pub(super) fn learn<'a>(&mut self, names: impl Iterator<Item = &'a [u8]>, at: Moment) -> Option<Errno> {
        let fresh = self.read.is_some_and(|read| at.since(read) < Self::PERIOD_SECS);
        let names: FxHashSet<&[u8]> = names.collect();
        if !fresh || names.iter().any(|name| !self.known.contains_key(*name)) {
            self.known.clear();
            self.read = Some(at);
            self.denied = self.read_all(&names).err();
            for name in names {
                self.known.entry(name.to_vec()).or_insert_with(|| Cache { name: text(name), ..Cache::default() });
            }
        }
        self.denied
    }

    /// What is known of the cache `name`, which was learnt before.
    pub(super) fn get(&self, name: &[u8]) -> Cache {
        self.known.get(name).cloned().unwrap_or_default()
    }

    fn read_all(&mut self, names: &FxHashSet<&[u8]>) -> Result<(), Errno> {
        let folders = self.folders()?;
        let by_name: FxHashMap<&[u8], &[OsString]> = folders
            .iter()
            .flat_map(|users| users.iter().map(move |user| (user.as_bytes(), users.as_slice())))
            .collect();
        let mut buf = Vec::new();
        for name in names {
            let users = by_name.get(name).copied().unwrap_or_default();
            let mut aliases: Vec<Text> =
                users.iter().map(|u| u.as_bytes()).filter(|user| user != name).map(text).collect();
            aliases.sort();
            let reclaimable = users.first().and_then(|user| {
                read_path(&self.dir.join(user).join("reclaim_account"), &mut buf).ok()?;
                Some(buf.trim_ascii() == b"1")
            });
            self.known.insert(name.to_vec(), Cache { name: text(name), aliases, reclaimable });
        }
        Ok(())
    }

    /// The names that share a folder, for each folder.
    fn folders(&self) -> Result<Vec<Vec<OsString>>, Errno> {
        let mut folders: FxHashMap<OsString, Vec<OsString>> = FxHashMap::default();
        let entries = std::fs::read_dir(&self.dir).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let target = std::fs::read_link(entry.path()).ok().and_then(|to| Some(to.file_name()?.to_owned()));
            match target {
                Some(folder) => folders.entry(folder).or_default().push(name),
                // `:0000064` names a merged folder, not a user of it.
                None if name.as_bytes().starts_with(b":") => {}
                None => folders.entry(name.clone()).or_default().push(name),
            }
        }
        Ok(folders.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_to_one_folder_are_names_of_one_cache() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str, reclaim: &str| {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("reclaim_account"), reclaim).unwrap();
        };
        make(":0000064", "0\n");
        make(":a-0000104", "1\n");
        make("dentry", "1\n");
        for (name, to) in
            [("kmalloc-64", ":0000064"), ("pid", ":0000064"), ("task_xstate", ":0000064"), ("bh", ":a-0000104")]
        {
            symlink(to, dir.path().join(name)).unwrap();
        }
        let mut caches = Caches::new(dir.path().to_owned());
        let names: [&[u8]; 4] = [b"kmalloc-64", b"dentry", b"bh", b"not_in_sysfs"];
        assert_eq!(caches.learn(names.into_iter(), Moment(1)), None);
        let merged = caches.get(b"kmalloc-64");
        assert_eq!(merged.aliases.iter().map(|a| &**a).collect::<Vec<_>>(), ["pid", "task_xstate"]);
        assert_eq!(merged.reclaimable, Some(false));
        assert_eq!(caches.get(b"dentry").reclaimable, Some(true));
        assert_eq!(caches.get(b"bh").reclaimable, Some(true));
        assert_eq!(caches.get(b"not_in_sysfs").reclaimable, None);
        // Known names are not read again.
        std::fs::remove_file(dir.path().join("pid")).unwrap();
        caches.learn(names.into_iter(), Moment(2));
        assert_eq!(caches.get(b"kmalloc-64").aliases.len(), 2);
        caches.learn(names.into_iter(), Moment(400_000_000_000));
        assert_eq!(caches.get(b"kmalloc-64").aliases.len(), 1);
    }

    #[test]
    fn without_sysfs_the_names_remain() {
        let mut caches = Caches::new("/nonexistent".into());
        assert_eq!(caches.learn([&b"dentry"[..]].into_iter(), Moment(1)), Some(Errno::NOENT));
        assert_eq!(&*caches.get(b"dentry").name, "dentry");
    }
}
