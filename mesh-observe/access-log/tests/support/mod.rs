//! A sink in memory.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mesh_access_log::Sink;
use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

pub const PATIENCE: Duration = Duration::from_secs(30);

/// What has been written.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    /// A sink that writes here.
    pub fn sink(&self) -> Sink {
        Sink::writer(self.clone())
    }

    /// The lines so far, without their ends.
    pub fn lines(&self, sink: &Sink) -> Vec<String> {
        assert!(sink.flush(PATIENCE), "it writes");
        let bytes = self.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).expect("UTF-8");
        assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
        text.lines().map(str::to_owned).collect()
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
