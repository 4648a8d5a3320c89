//! A CPU that is stuck in the kernel.

use crate::actors::{name, number, ready};
use crate::kit::{Expect, Scenario, Stage};
use std::thread::sleep;
use std::time::Duration;

/// A BPF program that copies memory for seconds, which nothing may interrupt: the kernel reports a soft lockup and an RCU
/// stall.
pub const SOFT_LOCKUP: Scenario = Scenario {
    name: "cpu_stuck_in_the_kernel",
    root: true,
    actors: &[("sticks", sticks)],
    stage: || {
        let mut stage = Stage::default();
        std::fs::write("/proc/sys/kernel/watchdog_thresh", "1").expect("a shorter patience");
        std::fs::write("/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout", "3").expect("a shorter patience");
        stage.pid = stage.actor(&["sticks", "6"]);
        stage
    },
    expects: |_| {
        let cpu = |s: &serde_json::Value| s["kind"] == "cpu";
        vec![Expect::critical("kmsg.soft_lockup").about(cpu), Expect::critical("kmsg.rcu_stall")]
    },
    ..Scenario::BASE
};

const COPY: u32 = 4 << 20;

/// Sticks in the kernel for so many seconds, again and again.
fn sticks(args: &[&str]) {
    name("sticks");
    let map = bpf::array(COPY, 2);
    let took = |copies: i32| {
        let program = bpf::copying(map, copies, COPY);
        let before = seconds();
        bpf::run(program);
        seconds() - before
    };
    let one = took(20) / 20.0;
    ready();
    #[expect(clippy::cast_possible_truncation, reason = "some thousands")]
    let copies = (number::<f64>(args[0]) / one.max(1e-4)) as i32;
    loop {
        took(copies.min(50_000));
        sleep(Duration::from_millis(500));
    }
}

fn seconds() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// The few calls of bpf(2) that it takes: no library is worth it.
mod bpf {
    #![expect(unsafe_code, reason = "bpf(2) has no safe wrapper; each call's memory outlives it")]
    use std::ffi::c_void;

    const MAP_CREATE: i32 = 0;
    const PROG_LOAD: i32 = 5;
    const TEST_RUN: i32 = 10;
    const ARRAY: u32 = 2;
    const RAW_TRACEPOINT: u32 = 17;
    const MAP_LOOKUP_ELEM: i32 = 1;
    const PROBE_READ_KERNEL: i32 = 113;

    /// `attr` as words of 4 bytes, as `union bpf_attr` of each command lays them out.
    fn bpf(command: i32, attr: &[u32]) -> i32 {
        // SAFETY: the kernel reads `attr`, of the size given, and what it points to, which the callers keep alive.
        let got = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_ptr().cast::<c_void>(), size_of_val(attr)) };
        i32::try_from(got).ok().filter(|fd| *fd >= 0).unwrap_or_else(|| {
            panic!("bpf({command}): {}", std::io::Error::last_os_error());
        })
    }

    fn address<T>(of: &[T]) -> [u32; 2] {
        let a = of.as_ptr() as u64;
        [u32::try_from(a & 0xffff_ffff).expect("masked"), u32::try_from(a >> 32).expect("shifted")]
    }

    pub fn array(value: u32, entries: u32) -> i32 {
        bpf(MAP_CREATE, &[ARRAY, 4, value, entries])
    }

    /// An instruction: code, registers (source, destination), offset, immediate.
    fn insn(code: u8, source: u8, destination: u8, offset: i16, imm: i32) -> u64 {
        let registers = source << 4 | destination;
        let [o0, o1] = offset.to_le_bytes();
        let [i0, i1, i2, i3] = imm.to_le_bytes();
        u64::from_le_bytes([code, registers, o0, o1, i0, i1, i2, i3])
    }

    /// A program that copies entry 1 of the map to entry 0 so many times.
    pub fn copying(map: i32, copies: i32, bytes: u32) -> i32 {
        let bytes = i32::try_from(bytes).expect("below 2 GB");
        let mut code = Vec::new();
        for (key, keep_in) in [(0, 7), (1, 8)] {
            code.extend([
                insn(0x62, 0, 10, -4, key), // *(u32 *)(r10 - 4) = key
                insn(0xbf, 10, 2, 0, 0),    // r2 = r10
                insn(0x07, 0, 2, 0, -4),    // r2 += -4
                insn(0x18, 1, 1, 0, map),   // r1 = map
                insn(0, 0, 0, 0, 0),
                insn(0x85, 0, 0, 0, MAP_LOOKUP_ELEM),
                insn(0x55, 0, 0, 2, 0), // if r0 != 0 skip the end
                insn(0xb7, 0, 0, 0, 0),
                insn(0x95, 0, 0, 0, 0),
                insn(0xbf, 0, keep_in, 0, 0),
            ]);
        }
        code.push(insn(0xb7, 0, 9, 0, copies)); // r9 = copies
        code.extend([
            insn(0xbf, 7, 1, 0, 0),     // r1 = r7
            insn(0xb7, 0, 2, 0, bytes), // r2 = bytes
            insn(0xbf, 8, 3, 0, 0),     // r3 = r8
            insn(0x85, 0, 0, 0, PROBE_READ_KERNEL),
            insn(0x07, 0, 9, 0, -1), // r9 -= 1
            insn(0x55, 0, 9, -6, 0), // if r9 != 0 again
            insn(0xb7, 0, 0, 0, 0),
            insn(0x95, 0, 0, 0, 0),
        ]);
        let license = *b"GPL\0";
        let (at, gpl) = (address(&code), address(&license));
        let length = u32::try_from(code.len()).expect("a short program");
        bpf(PROG_LOAD, &[RAW_TRACEPOINT, length, at[0], at[1], gpl[0], gpl[1], 0, 0, 0, 0, 0, 0])
    }

    /// Runs it once, in this task.
    pub fn run(program: i32) {
        bpf(TEST_RUN, &[program.unsigned_abs(), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}
