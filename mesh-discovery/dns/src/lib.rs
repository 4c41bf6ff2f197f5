//! Endpoints by DNS: A, AAAA and SRV records, kept as long as they live.
