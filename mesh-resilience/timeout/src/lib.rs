//! Timeouts and deadlines as a tower layer, told apart from cancellation
