//! Request metrics with bounded series as a tower layer
