//! Concurrency limits as a tower layer: permits held to the response or to the end of the body.
