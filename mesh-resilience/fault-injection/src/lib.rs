//! Fault injection as a tower layer: delays, aborts and resets at exact rates.
