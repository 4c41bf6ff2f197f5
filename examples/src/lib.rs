//! Runnable examples of the mesh crates
