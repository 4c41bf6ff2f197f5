//! Trace context propagation and request spans as a tower layer: W3C and B3.
