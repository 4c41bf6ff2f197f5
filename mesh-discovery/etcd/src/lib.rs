//! Endpoints by etcd: a watched prefix, and registration under a lease.
