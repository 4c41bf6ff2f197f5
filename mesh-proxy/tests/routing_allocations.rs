//! Finding a route allocates nothing, in a small table and in one of 10,000 routes.

#[path = "../benches/variants/mod.rs"]
mod variants;

use mesh_test::alloc::{Counting, count};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn nothing_is_allocated() {
    for (name, make) in variants::VARIANTS {
        let mut call = make();
        let ((), allocated) = count(|| call(10));
        assert_eq!(allocated.count, 0, "{name}");
    }
}
