//! The layer by its name in a pipeline.
