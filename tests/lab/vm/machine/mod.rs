//! A virtual machine to make trouble in: `qemu-system-x86_64` with a Debian kernel and a root of busybox, whytop and the
//! program that starts it.
//!
//! One guest takes 3 to 6 seconds to boot in software emulation. What it runs is a shell script ([`Spec::run`]); each
//! line that the script prints comes out of [`Machine::line`], and [`Machine::say`] writes lines to its input. The guest
//! turns itself off when the script ends; [`Machine::stop_dead`] is the power cord. Disks are raw images on the host,
//! `/dev/vda`, `/dev/vdb`… in the guest, written through, so that what the guest synced before a stop is in the image:
//!
//! ```ignore
//! #[path = "lab/vm/machine/mod.rs"]   // from another test than the lab
//! mod machine;
//!
//! let image = dir.join("disk");
//! must("truncate", &["-s", "64M", image]); must("mkfs.ext4", &["-q", "-F", image]);
//! let run = "mount -t ext4 /dev/vda /mnt; echo mounted; whytop record /mnt/r --interval 1s";
//! let mut vm = Machine::boot(&Spec { run, disks: &[&image], ..Spec::new("recorder") })?;
//! vm.wait_for("mounted", 60.0)?;      // seconds, generous: the machine under test may be slow
//! std::thread::sleep(random);
//! vm.stop_dead();                     // SIGKILL to qemu: the file is what the image holds now
//! must("debugfs", &["-R", "dump /r /tmp/r", image]);   // no mount needed; or: mount -o loop
//! ```
//!
//! In the guest: `/bin/whytop` (this build's, or what `WHYTOP_LAB_BINARY` names), `/bin/lab` (the test program itself:
//! `/bin/lab --actor …`), every busybox applet, `ip` and `tc` of the host; `/proc /sys /dev /tmp /run`, the cgroups asked
//! for; the kernel log on the console, which [`Machine::console`] gives for a failure report.
#![allow(dead_code, reason = "each test that includes this uses a part of it")]

mod initramfs;
mod kernel;

use initramfs::Archive;
pub use kernel::Kernel;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// Which cgroup hierarchies a guest has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cgroups {
    /// The unified tree alone, at `/sys/fs/cgroup`.
    V2,
    /// `memory`, `pids`, `cpu,cpuacct`, `freezer` and `blkio`, each in `/sys/fs/cgroup/NAME`; no unified tree.
    V1,
}

/// A machine to boot. Write only what differs: `Spec { run, ..Spec::new("name") }`.
pub struct Spec<'a> {
    /// For messages.
    pub name: &'a str,
    pub memory_mb: u32,
    pub cpus: u32,
    pub cgroups: Cgroups,
    /// Kernel modules, in the order in which they load, those they depend on not named; `name option=value` gives options.
    pub modules: &'a [&'a str],
    /// Words for the kernel's command line.
    pub append: &'a str,
    /// What the guest runs: a shell script.
    pub run: &'a str,
    /// Raw images on the host.
    pub disks: &'a [&'a Path],
    /// Further words for qemu.
    pub qemu: &'a [&'a str],
}

impl<'a> Spec<'a> {
    pub fn new(name: &'a str) -> Self {
        Self {
            name,
            memory_mb: 512,
            cpus: 2,
            cgroups: Cgroups::V2,
            modules: &[],
            append: "",
            run: "",
            disks: &[],
            qemu: &[],
        }
    }
}

/// Why no machine can be booted here, with what would change it.
pub fn cannot() -> Option<String> {
    let missing: Vec<&str> =
        ["qemu-system-x86_64", "busybox", "ldd"].into_iter().filter(|t| which(t).is_none()).collect();
    if !missing.is_empty() {
        return Some(format!("not installed: {} (Debian: qemu-system-x86, busybox-static)", missing.join(", ")));
    }
    Kernel::find().err()
}

/// A running guest; killed when dropped.
pub struct Machine {
    name: String,
    qemu: Child,
    lines: Receiver<String>,
    /// Holds the initramfs, the console's file and the monitor's socket.
    dir: tempfile::TempDir,
}

impl Machine {
    pub fn boot(spec: &Spec) -> Result<Self, String> {
        let kernel = Kernel::find()?;
        let dir = tempfile::tempdir().map_err(|e| format!("temporary directory: {e}"))?;
        let initrd = dir.path().join("initrd");
        std::fs::write(&initrd, root(spec, &kernel)?).map_err(|e| format!("{}: {e}", initrd.display()))?;
        let file = |name: &str| dir.path().join(name).display().to_string();
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-accel", accelerator(), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
            .args(["-m", &spec.memory_mb.to_string(), "-smp", &spec.cpus.to_string()])
            .args(["-serial", &format!("file:{}", file("console")), "-serial", "stdio"])
            .args(["-monitor", &format!("unix:{},server=on,wait=off", file("monitor"))])
            .arg("-kernel")
            .arg(&kernel.image)
            .arg("-initrd")
            .arg(&initrd)
            .args(["-append", &format!("{KERNEL} {}", spec.append)])
            .args(spec.qemu)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        for (n, disk) in spec.disks.iter().enumerate() {
            let drive = format!("id=d{n},if=none,format=raw,cache=writethrough,file={}", disk.display());
            qemu.args(["-drive", &drive, "-device", &format!("virtio-blk-pci,drive=d{n}")]);
        }
        let mut qemu = qemu.spawn().map_err(|e| format!("qemu-system-x86_64: {e}"))?;
        let (send, lines) = channel();
        let out = qemu.stdout.take().ok_or("qemu without a pipe")?;
        std::thread::spawn(move || {
            BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| send.send(line)).ok();
        });
        Ok(Self { name: spec.name.to_owned(), qemu, lines, dir })
    }

    /// The next line that the guest's script printed; `None` when the guest has ended. An error after `secs`.
    pub fn line(&mut self, secs: f64) -> Result<Option<String>, String> {
        match self.lines.recv_timeout(Duration::from_secs_f64(secs.max(0.0))) {
            Ok(line) => Ok(Some(line.trim_end().to_owned())),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                Err(format!("virtual machine {}: nothing said for {secs} s\n{}", self.name, self.console()))
            }
        }
    }

    /// Reads lines up to one that starts with `word`, and gives it.
    pub fn wait_for(&mut self, word: &str, secs: f64) -> Result<String, String> {
        loop {
            match self.line(secs)? {
                Some(line) if line.starts_with(word) => return Ok(line),
                Some(_) => {}
                None => {
                    return Err(format!("virtual machine {}: ended before {word:?}\n{}", self.name, self.console()));
                }
            }
        }
    }

    /// Writes a line to the script's input.
    pub fn say(&mut self, line: &str) {
        if let Some(input) = &mut self.qemu.stdin {
            writeln!(input, "{line}").and_then(|()| input.flush()).ok();
        }
    }

    /// Gives qemu's monitor a command (`mce 0 1 …`, `device_del …`).
    pub fn monitor(&self, command: &str) -> Result<(), String> {
        let path = self.dir.path().join("monitor");
        std::os::unix::net::UnixStream::connect(path)
            .and_then(|mut socket| {
                writeln!(socket, "{command}")?;
                // It answers with a prompt before and after the command.
                socket.set_read_timeout(Some(Duration::from_secs(1)))?;
                std::io::copy(&mut socket, &mut std::io::sink()).ok();
                Ok(())
            })
            .map_err(|e| format!("virtual machine {}: monitor: {e}", self.name))
    }

    /// The end of what the kernel wrote to its console.
    pub fn console(&self) -> String {
        let bytes = std::fs::read(self.dir.path().join("console")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(60);
        format!("--- end of its console\n{}\n---", lines[from..].join("\n"))
    }

    /// Stops it as a lost power cord would.
    pub fn stop_dead(mut self) {
        self.kill();
    }

    fn kill(&mut self) {
        self.qemu.kill().ok();
        self.qemu.wait().ok();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Of the kernel's messages the console, which is slow, gets warnings and worse alone. What holds off attacks on a
/// processor takes an emulated one's time.
const KERNEL: &str = "console=ttyS0 loglevel=5 panic=-1 mitigations=off";

/// `kvm` where the processor gives it to this machine, else software emulation. A `/dev/kvm` alone means little: under
/// some hypervisors it is there and takes minutes for a boot.
fn accelerator() -> &'static str {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let able = cpu.split_whitespace().any(|w| w == "vmx" || w == "svm");
    let open = || std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    if able && open() { "kvm" } else { "tcg" }
}

/// How this machine's guests run: for reports.
pub fn how() -> String {
    format!("qemu, {}", if accelerator() == "kvm" { "KVM" } else { "software emulation" })
}

fn root(spec: &Spec, kernel: &Kernel) -> Result<Vec<u8>, String> {
    let mut root = Archive::default();
    root.character_device("/dev/console", 5, 1);
    for dir in ["/proc", "/sys", "/tmp", "/run", "/mnt", "/root", "/etc"] {
        root.dir(dir);
    }
    root.file("/init", true, include_bytes!("init"));
    root.file("/run.sh", true, spec.run.as_bytes());
    // The default cap is made for a processor; an emulated one takes twenty times as long for a sample.
    root.file("/.config/whytop/config.toml", false, b"max_cpu = 100\n");
    root.file("/cgroups", false, if spec.cgroups == Cgroups::V2 { b"v2" } else { b"v1" });
    root.program(&which("busybox").ok_or("no busybox")?, "busybox")?;
    root.link("/bin/sh", "busybox");
    let whytop = std::env::var_os("WHYTOP_LAB_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_whytop").into());
    let own = std::env::current_exe().map_err(|e| format!("own path: {e}"))?;
    root.program(Path::new(&whytop), "whytop")?;
    root.program(&own, "lab")?;
    for tool in ["ip", "tc"] {
        if let Some(path) = which(tool) {
            root.program(&path, &format!("real/{tool}"))?;
        }
    }
    let (mut load, mut loaded) = (Vec::new(), BTreeSet::new());
    for module in spec.modules {
        let (name, options) = module.split_once(' ').unwrap_or((module, ""));
        for file in kernel.load_order(&[name]) {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy().replace('-', "_");
            let at = format!("/modules/{stem}.ko");
            if !loaded.insert(at.clone()) {
                continue;
            }
            let options = if stem == name.replace('-', "_") { options } else { "" };
            writeln!(load, "insmod {at} {options}").expect("memory takes it");
            root.file(&at, false, &std::fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?);
        }
    }
    root.file("/modules/load", false, &load);
    Ok(root.finish())
}

/// A program's path, system directories included.
fn which(tool: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(["/usr/sbin", "/sbin"]).map(|d| Path::new(d).join(tool)).find(|p| p.is_file())
}
