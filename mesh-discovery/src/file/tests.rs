use super::*;
use crate::Sources;
use mesh_core::{Update, spec::Node};
use serde_json::json;
use std::{
    future::poll_fn,
    io::{self, Write},
    os::unix::fs::symlink,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};
use tokio::time::{sleep, timeout};

/// How long something is waited for that has to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory of the test's own; removed when it is over.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("mesh-discovery-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    /// Writes the file in place.
    fn write(&self, path: &str, text: &str) {
        fs::write(self.at(path), text).unwrap();
    }

    /// Puts another file in its place.
    fn replace(&self, path: &str, text: &str) {
        self.write("new", text);
        fs::rename(self.at("new"), self.at(path)).unwrap();
    }

    /// Puts another link in its place.
    fn relink(&self, path: &str, target: &str) {
        symlink(target, self.at("link")).unwrap();
        fs::rename(self.at("link"), self.at(path)).unwrap();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Only what the file system tells is seen: nothing is polled while a test lasts.
fn watched(path: PathBuf) -> Updates {
    File::new(path).poll_every(Duration::from_secs(3600)).updates()
}

/// The ports of the next update.
async fn next(updates: &mut Updates) -> Vec<u16> {
    let update = timeout(PATIENCE, poll_fn(|cx| updates.as_mut().poll_next(cx))).await;
    match update.expect("an update in time").expect("it never ends") {
        Update::Set(targets) => targets.iter().map(port).collect(),
        other => panic!("{other:?}"),
    }
}

fn port(target: &Target) -> u16 {
    target.address.to_string().rsplit_once(':').unwrap().1.parse().unwrap()
}

fn list(ports: &[u16]) -> String {
    let list: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    serde_json::to_string(&list).unwrap()
}

#[tokio::test]
async fn a_file_written_in_place() {
    let directory = Directory::new();
    directory.write("e.json", &list(&[1]));
    let mut updates = watched(directory.at("e.json"));
    assert_eq!(next(&mut updates).await, [1]);
    for round in 2..6 {
        directory.write("e.json", &list(&[1, round]));
        assert_eq!(next(&mut updates).await, [1, round]);
    }
    // piece by piece: no list until it is whole
    let mut file = fs::File::create(directory.at("e.json")).unwrap();
    for piece in ["[\"127.0.0.1:7\"", ",", "\"127.0.0.1:8\"]"] {
        file.write_all(piece.as_bytes()).unwrap();
        file.sync_all().unwrap();
        tokio::task::yield_now().await;
    }
    drop(file);
    assert_eq!(next(&mut updates).await, [7, 8]);
    directory.write("e.json", "[]");
    assert_eq!(next(&mut updates).await, [0_u16; 0], "none is an answer");
}

#[tokio::test]
async fn a_file_replaced_by_a_rename() {
    let directory = Directory::new();
    directory.write("e.json", &list(&[1]));
    let mut updates = watched(directory.at("e.json"));
    assert_eq!(next(&mut updates).await, [1]);
    for round in 2..6 {
        directory.replace("e.json", &list(&[round]));
        assert_eq!(next(&mut updates).await, [round]);
    }
}

#[tokio::test]
async fn a_directory_swapped_by_its_link() {
    // as Kubernetes mounts a config map: e.json -> ..data/e.json, ..data -> ..1
    let directory = Directory::new();
    let version = |number: u16| {
        let name = format!("..{number}");
        fs::create_dir(directory.at(&name)).unwrap();
        directory.write(&format!("{name}/e.json"), &list(&[number]));
        name
    };
    directory.relink("..data", &version(1));
    directory.relink("e.json", "..data/e.json");
    let mut updates = watched(directory.at("e.json"));
    // the link itself on the path, too
    let mut through = watched(directory.at("..data/e.json"));
    assert_eq!((next(&mut updates).await, next(&mut through).await), (vec![1], vec![1]));
    for number in 2..5 {
        directory.relink("..data", &version(number));
        fs::remove_dir_all(directory.at(&format!("..{}", number - 1))).unwrap();
        assert_eq!((next(&mut updates).await, next(&mut through).await), (vec![number], vec![number]));
    }
    // and what a link leads to is watched where it is
    directory.write("..4/e.json", &list(&[44]));
    assert_eq!((next(&mut updates).await, next(&mut through).await), (vec![44], vec![44]));
}

#[tokio::test]
async fn a_file_that_is_deleted_and_comes_back() {
    let directory = Directory::new();
    fs::create_dir(directory.at("deep")).unwrap();
    directory.write("deep/e.json", &list(&[1]));
    let mut updates = watched(directory.at("deep/e.json"));
    assert_eq!(next(&mut updates).await, [1]);
    fs::remove_file(directory.at("deep/e.json")).unwrap();
    directory.write("deep/e.json", &list(&[2]));
    assert_eq!(next(&mut updates).await, [2]);
    // with its directory
    fs::remove_dir_all(directory.at("deep")).unwrap();
    fs::create_dir(directory.at("deep")).unwrap();
    directory.write("deep/e.json", &list(&[3]));
    assert_eq!(next(&mut updates).await, [3]);
}

#[tokio::test]
async fn a_file_that_is_not_there_yet() {
    let directory = Directory::new();
    let mut updates = watched(directory.at("a/b/e.json"));
    let silent = poll_fn(|cx| std::task::Poll::Ready(updates.as_mut().poll_next(cx).is_pending())).await;
    assert!(silent, "a missing file is no empty list");
    let write = async {
        fs::create_dir_all(directory.at("a/b")).unwrap();
        tokio::task::yield_now().await;
        directory.replace("a/b/e.json", &list(&[1]));
    };
    assert_eq!(tokio::join!(next(&mut updates), write).0, [1]);
}

#[tokio::test]
async fn what_is_polled_needs_no_event() {
    let directory = Directory::new();
    directory.write("e.json", &list(&[1]));
    let settings = FileSettings { path: directory.at("e.json"), poll: Duration::from_millis(10) };
    // nobody tells: a watch without a watcher
    let mut updates = File::of(settings).updates();
    assert_eq!(next(&mut updates).await, [1]);
    directory.write("e.json", &list(&[2]));
    assert_eq!(next(&mut updates).await, [2]);
}

#[tokio::test]
async fn a_bad_file_leaves_the_last_good_endpoints_and_says_why_once() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let directory = Directory::new();
    directory.write("e.json", &list(&[1]));
    let mut updates = File::new(directory.at("e.json")).poll_every(Duration::from_millis(10)).updates();
    assert_eq!(next(&mut updates).await, [1]);
    for (text, line, column, message) in [
        ("garbage", 1, 1, "expected value"),
        ("", 0, 0, "it is empty"),
        ("[\n  \"127.0.0.1:1\",\n  \"127.0.0.1:1\"\n]", 3, 15, "the address `127.0.0.1:1` is given twice"),
        ("[\n  { \"address\": \"nowhere\" }\n]", 2, 24, "`nowhere` is a name"),
    ] {
        let told = async {
            directory.replace("e.json", text);
            while !log.has(&format!("line={line} column={column}"), message) {
                sleep(Duration::from_millis(5)).await;
            }
            // looked at again some times
            sleep(Duration::from_millis(50)).await;
        };
        let update = async { poll_fn(|cx| updates.as_mut().poll_next(cx)).await };
        tokio::select! {
            told = timeout(PATIENCE, told) => assert!(told.is_ok(), "{text:?}: {log:?}"),
            update = update => panic!("{text:?} gave {update:?}"),
        }
        assert_eq!(log.count(message), 1, "{log:?}");
    }
    directory.replace("e.json", &list(&[1]));
    assert_eq!(next(&mut updates).await, [1]);
    fs::remove_file(directory.at("e.json")).unwrap();
    fs::create_dir(directory.at("e.json")).unwrap();
    fs::remove_dir(directory.at("e.json")).unwrap();
    directory.replace("e.json", &list(&[2]));
    assert_eq!(next(&mut updates).await, [2]);
}

/// Every event as one line.
#[derive(Clone, Debug, Default)]
struct Log(std::sync::Arc<std::sync::Mutex<Vec<String>>>);

impl Log {
    fn has(&self, one: &str, other: &str) -> bool {
        self.0.lock().unwrap().iter().any(|line| line.contains(one) && line.contains(other))
    }

    fn count(&self, part: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|line| line.contains(part)).count()
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Line(String);

        impl tracing::field::Visit for Line {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!("{field}={value:?} ");
            }
        }

        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn settings_are_a_path_or_a_mapping() {
    let read = |value| Node::from(value).deserialize::<FileSettings>();
    let expected = FileSettings { path: "e.yaml".into(), poll: Duration::from_secs(30) };
    assert_eq!(read(json!("e.yaml")).unwrap(), expected);
    assert_eq!(read(json!({ "path": "e.yaml" })).unwrap(), expected);
    assert_eq!(read(json!({ "path": "e.yaml", "poll": "1s" })).unwrap().poll, Duration::from_secs(1));
    let mut sources = Sources::new();
    crate::register(&mut sources);
    for (value, message) in [
        (json!({ "file": { "pth": "e.yaml" } }), "file: unknown key `pth`; did you mean `path`?"),
        (json!({ "file": {} }), "file: missing key `path`"),
        (json!({ "file": "" }), "file.path: expected the path of a file, found an empty text"),
        (json!({ "file": { "path": "e", "poll": "1ms" } }), "file.poll: must be at least 10ms"),
    ] {
        let invalid = sources.check(&value.into()).unwrap_err();
        assert_eq!(invalid.to_string(), message);
    }
    let source = sources.check(&json!({ "file": "e.yaml" }).into()).unwrap();
    assert_eq!(source.effective(), &json!({ "path": "e.yaml", "poll": "30s" }));
}

#[tokio::test]
async fn another_format_is_read_by_its_reader() {
    fn read_lines(text: &str) -> Result<Static, Invalid> {
        let mut targets = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let address = text.parse::<mesh_core::Address>();
            let here = |message: String| Invalid::new(message).at_position(Position::new(line, 1));
            targets.push(Target::new(address.map_err(|error| here(error.to_string()))?));
        }
        Static::new(targets).map_err(|error| Invalid::new(error.to_string()))
    }

    let directory = Directory::new();
    directory.write("e.txt", "127.0.0.1:1\n127.0.0.1:2\n");
    let mut updates = File::new(directory.at("e.txt")).read_by(read_lines).updates();
    assert_eq!(next(&mut updates).await, [1, 2]);
}

#[test]
fn a_circle_of_links_has_an_end() -> io::Result<()> {
    let directory = Directory::new();
    symlink("b", directory.at("a"))?;
    symlink("a", directory.at("b"))?;
    let watch = FileWatch::new(&directory.at("a"));
    watch.renew();
    assert!(text_of(&directory.at("a")).is_err());
    Ok(())
}
