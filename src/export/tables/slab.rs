//! Kernel object caches.
use crate::export::table::table;

table!("slab", "kernel object caches, one row a cache and sample", slab, |_snap, data| &data.rows, |s| {
    cache: Text = &s.name, "name";
    active_objs: Int = s.active_objs, "objects in use";
    num_objs: Int = s.num_objs, "objects in all";
    obj_bytes: Int = s.obj_bytes, "size of one";
    bytes: Int = s.bytes, "memory of the cache";
    reclaimable: Bool = s.reclaimable, "whether the kernel calls it reclaimable";
});
