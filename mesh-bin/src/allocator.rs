//! jemalloc, told to give memory back: half a second after a burst of connections has gone, so has what it took.

#[cfg(feature = "jemalloc")]
mod jemalloc {
    #[global_allocator]
    static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

    /// Read by jemalloc before `main`. Two arenas are enough: threads are as many as cores and hold on to theirs; each
    /// more would keep its own share of unused pages.
    #[expect(unsafe_code, reason = "to export a symbol; it is a constant, ends with a zero, and nothing else reads it")]
    #[unsafe(export_name = "_rjem_malloc_conf")]
    static SETTINGS: &[u8; 82] =
        b"narenas:2,background_thread:true,dirty_decay_ms:500,muzzy_decay_ms:0,tcache:true\0\0";
}
