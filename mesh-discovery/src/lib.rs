//! Endpoints over time: service discovery as streams of changes
