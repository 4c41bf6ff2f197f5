//! Observability layers for tower: request metrics
