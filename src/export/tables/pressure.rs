//! Pressure stall information of the host.
use crate::export::table::table;

table!("pressure", "pressure stall information of the host, one row a sample", pressure, |_snap, data| [data], |p| {
    cpu_some_usec: Int = p.cpu.map(|x| x.some_usec), "some task waited for a CPU, microseconds since boot";
    memory_some_usec: Int = p.memory.map(|x| x.some_usec), "some task waited for memory";
    memory_full_usec: Int = p.memory.and_then(|x| x.full_usec), "all waited for memory";
    io_some_usec: Int = p.io.map(|x| x.some_usec), "some task waited for I/O";
    io_full_usec: Int = p.io.and_then(|x| x.full_usec), "all waited for I/O";
});
