//! The guest's kernel: where it is kept, and which modules it needs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The command that brings a kernel into the cache.
pub const FETCH: &str = "tests/lab/vm/fetch-kernel";

/// An unpacked kernel package.
pub struct Kernel {
    /// `vmlinuz`.
    pub image: PathBuf,
    /// Every module file, by its name as the kernel writes it (`_`, never `-`).
    modules: BTreeMap<String, PathBuf>,
}

impl Kernel {
    /// The kernel in the cache; the error says how to bring one there.
    pub fn find() -> Result<Self, String> {
        let root = cache().join("kernel");
        let no_kernel = || format!("no kernel for virtual machines in {}: run {FETCH}", root.display());
        let image = std::fs::read_dir(root.join("boot"))
            .map_err(|_| no_kernel())?
            .flatten()
            .map(|e| e.path())
            .find(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("vmlinuz")))
            .ok_or_else(no_kernel)?;
        let mut modules = BTreeMap::new();
        for lib in ["lib/modules", "usr/lib/modules"] {
            list_modules(&root.join(lib), &mut modules);
        }
        Ok(Self { image, modules })
    }

    /// The files of `names` and of all they depend on, in the order in which they load. What this kernel has built in
    /// has no file.
    pub fn load_order(&self, names: &[&str]) -> Vec<PathBuf> {
        let mut order = Vec::new();
        for name in names {
            self.visit(name, &mut order);
        }
        order
    }

    fn visit(&self, name: &str, order: &mut Vec<PathBuf>) {
        let Some(file) = self.modules.get(&name.replace('-', "_")) else { return };
        if !order.contains(file) {
            for needed in depends(file) {
                self.visit(&needed, order);
            }
            order.push(file.clone());
        }
    }
}

fn cache() -> PathBuf {
    let var = |name| std::env::var_os(name).map(PathBuf::from);
    var("WHYTOP_LAB_CACHE").unwrap_or_else(|| {
        let home = || var("HOME").unwrap_or_default().join(".cache");
        var("XDG_CACHE_HOME").unwrap_or_else(home).join("whytop-lab")
    })
}

fn list_modules(dir: &Path, into: &mut BTreeMap<String, PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            list_modules(&path, into);
        } else if path.extension().is_some_and(|e| e == "ko")
            && let Some(name) = path.file_stem()
        {
            into.insert(name.to_string_lossy().replace('-', "_"), path);
        }
    }
}

/// The `depends=` entry of a module's `.modinfo`: NUL-ended strings.
fn depends(file: &Path) -> Vec<String> {
    let bytes = std::fs::read(file).unwrap_or_default();
    let Some(at) = memchr::memmem::find(&bytes, b"\0depends=") else { return Vec::new() };
    let list = bytes[at + 9..].split(|b| *b == 0).next().unwrap_or_default();
    String::from_utf8_lossy(list).split(',').filter(|n| !n.is_empty()).map(str::to_owned).collect()
}
