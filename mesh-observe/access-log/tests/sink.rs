//! Files, rotation, and writers that fall behind.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use mesh_access_log::{
    AccessLogLayer, AccessLogSettings, BUFFER_LIMIT, DROPPED_TOTAL, Format, LINES_TOTAL, Sink, flush,
};
use metrics_exporter_prometheus::PrometheusBuilder;
use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    sync::mpsc,
};
use support::{Memory, PATIENCE};
use tower::{Layer, ServiceExt, service_fn};

/// A directory of this test, empty.
fn directory(name: &str) -> PathBuf {
    let directory =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("access-log-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    directory
}

fn layer(sink: Sink, text: &str) -> AccessLogLayer {
    AccessLogLayer::to(sink).format(Format::text(text).unwrap())
}

/// A call of this path, answered at once.
async fn call(layer: &AccessLogLayer, path: &str) {
    use mesh_core::{BoxError, Context, http::CallBody};
    let service = layer.results_only().layer(service_fn(async |_: http::Request<CallBody<()>>| Ok::<_, BoxError>(())));
    let request = http::Request::get(path).body(CallBody::new(Context::none(), ())).unwrap();
    service.oneshot(request).await.unwrap();
}

#[tokio::test]
async fn a_rotated_file_is_left_for_a_new_one() {
    let directory = directory("rotation");
    let (path, old) = (directory.join("access.log"), directory.join("access.log.1"));
    fs::write(&path, "before\n").unwrap();
    let layer = layer(Sink::file(&path), "%REQ(:PATH)%");
    let sink = layer.handle().sink().clone();
    call(&layer, "/one").await;
    assert!(sink.flush(PATIENCE));
    fs::rename(&path, &old).unwrap();
    call(&layer, "/two").await;
    assert!(sink.flush(PATIENCE));
    fs::remove_file(&path).unwrap();
    call(&layer, "/three").await;
    assert!(sink.flush(PATIENCE));
    assert_eq!(fs::read_to_string(&old).unwrap(), "before\n/one\n", "appended, and left");
    assert_eq!(fs::read_to_string(&path).unwrap(), "/three\n");
    assert_eq!((sink.lines(), sink.dropped()), (3, 0));
}

#[tokio::test]
async fn a_file_is_one_for_all_that_name_it() {
    let path = directory("shared").join("access.log");
    let settings = |text: &str| AccessLogSettings {
        format: Format::text(text).unwrap(),
        path: Some(path.clone()),
        ..AccessLogSettings::default()
    };
    let one = AccessLogLayer::from(settings("one %REQ(:PATH)%"));
    let other = AccessLogLayer::from(settings("other %REQ(:PATH)%"));
    call(&one, "/").await;
    call(&other, "/").await;
    drop((one, other));
    // the last has gone: its writer ends after what there is, and a program can wait for it
    assert!(flush(PATIENCE));
    let mut lines: Vec<String> = fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["one /", "other /"]);
}

#[tokio::test]
async fn what_cannot_be_written_is_counted_and_later_lines_are_not_lost() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let directory = directory("missing");
    let path = directory.join("not-there").join("access.log");
    let layer = metrics::with_local_recorder(&recorder, || layer(Sink::file(&path), "%REQ(:PATH)%"));
    let sink = layer.handle().sink().clone();
    call(&layer, "/lost").await;
    assert!(sink.flush(PATIENCE));
    assert_eq!((sink.lines(), sink.dropped()), (0, 1));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    call(&layer, "/kept").await;
    assert!(sink.flush(PATIENCE));
    assert_eq!(fs::read_to_string(&path).unwrap(), "/kept\n");
    let page = recorder.handle().render();
    for series in [LINES_TOTAL, DROPPED_TOTAL] {
        let line = format!("{series}{{sink=\"{}\"}} 1", path.display());
        assert!(page.contains(&line), "{line} is not in {page}");
    }
}

/// A writer that waits until it is told to go on.
struct Stalled {
    begun: mpsc::Sender<()>,
    go_on: mpsc::Receiver<()>,
    memory: Memory,
}

impl Write for Stalled {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.begun.send(());
        let _ = self.go_on.recv();
        self.memory.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn nobody_waits_for_a_stalled_writer() {
    let (begun, has_begun) = mpsc::channel();
    let (release, go_on) = mpsc::channel();
    let memory = Memory::default();
    let sink = Sink::writer(Stalled { begun, go_on, memory: memory.clone() });
    let layer = layer(sink.clone(), &format!("%REQ(:PATH)%{}", "x".repeat(4000)));
    call(&layer, "/first").await;
    has_begun.recv_timeout(PATIENCE).unwrap();
    // more than this thread may be ahead
    let calls = 2 * BUFFER_LIMIT as u64 / 4000;
    for _ in 0..calls {
        call(&layer, "/more").await;
    }
    let dropped = sink.dropped();
    assert!(dropped > calls / 3 && dropped < calls, "{dropped} of {calls}");
    assert!(!sink.flush(std::time::Duration::from_millis(1)), "it is stalled");
    drop(release);
    let lines = memory.lines(&sink);
    assert_eq!(lines.len() as u64, 1 + calls - dropped);
    assert!(lines.iter().all(|line| line.ends_with('x')), "whole lines");
    assert_eq!((sink.lines(), sink.dropped()), (lines.len() as u64, dropped));
}

#[test]
fn threads_write_whole_lines() {
    let memory = Memory::default();
    let layer = layer(memory.sink(), "%REQ(:PATH)% end");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let layer = layer.clone();
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                for number in 0..500 {
                    runtime.block_on(call(&layer, &format!("/{thread}/{number}")));
                }
            });
        }
    });
    let mut lines = memory.lines(layer.handle().sink());
    assert_eq!(lines.len(), 2000);
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len(), 2000);
    assert!(lines.iter().all(|line| line.ends_with(" end")));
}
