//! Retries as a tower layer: budget, backoff, replayed bodies, another endpoint.
