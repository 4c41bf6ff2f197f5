//! Resilience layers for tower: rate limit and timeout, one feature each
