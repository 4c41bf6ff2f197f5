//! jemalloc, told to give memory back: soon after a burst of connections has gone, so has what it took.

#[cfg(feature = "jemalloc")]
mod jemalloc {
    #[global_allocator]
    static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

    /// Read by jemalloc before `main`. One arena: workers are few, and what they free of small sizes stays with their
    /// thread; each further arena keeps unused pages of its own. A thread holds on to at most 20 pieces of a size.
    #[expect(unsafe_code, reason = "to export a symbol; it is a constant, ends with a zero, and nothing else reads it")]
    #[unsafe(export_name = "_rjem_malloc_conf")]
    static SETTINGS: &[u8; 118] = b"narenas:1,background_thread:true,dirty_decay_ms:100,muzzy_decay_ms:0,\
        tcache_nslots_small_max:20,tcache_nslots_large:8\0";
}
