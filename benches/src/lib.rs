//! Criterion benches per layer and instruction counts of the proxy
