//! Reads what callgrind writes.
//!
//! The format is described in the manual of valgrind, "Callgrind Format Specification". Only what
//! callgrind itself writes with its default options is read: one event (instructions), one
//! position (the line).

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Functions that hand out memory, of jemalloc as the program links it and of the C library.
const ALLOCATE: &[&str] =
    &["_rjem_malloc", "_rjem_mallocx", "_rjem_calloc", "malloc", "calloc", "aligned_alloc", "posix_memalign"];

/// Functions that give memory another size.
const REALLOCATE: &[&str] = &["_rjem_rallocx", "_rjem_realloc", "realloc"];

/// What one run executed.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    /// Instructions by the part of the program whose source they come from: what is inlined
    /// counts where it was written.
    pub(crate) parts: HashMap<String, i64>,
    /// Calls of functions that hand out memory.
    pub(crate) allocations: i64,
    /// Calls of functions that give memory another size.
    pub(crate) reallocations: i64,
}

/// The words before a command that make callgrind write what each of its threads executes.
pub(crate) fn words(file: &Path) -> Vec<String> {
    vec![
        "valgrind".to_owned(),
        "--quiet".to_owned(),
        "--tool=callgrind".to_owned(),
        "--separate-threads=yes".to_owned(),
        format!("--callgrind-out-file={}", file.display()),
    ]
}

impl Profile {
    /// Reads what callgrind wrote beside this file: the profile of the busiest thread.
    ///
    /// The other threads of a process under measurement do what time asks for, not requests.
    /// The files are removed, so that the next run does not meet them.
    pub(crate) fn take(file: &Path) -> Result<Profile, String> {
        let mut busiest = None;
        for thread in 1.. {
            // callgrind numbers threads from 1, `FILE-01`.
            let path = format!("{}-{thread:02}", file.display());
            let Ok(text) = fs::read(&path) else { break };
            fs::remove_file(&path).map_err(|error| format!("{path}: {error}"))?;
            let profile = Profile::parse(&String::from_utf8_lossy(&text))?;
            if busiest.as_ref().is_none_or(|busiest: &Profile| busiest.total() < profile.total()) {
                busiest = Some(profile);
            }
        }
        busiest.ok_or_else(|| format!("callgrind wrote nothing beside {}", file.display()))
    }

    /// Reads the text of a callgrind file.
    fn parse(text: &str) -> Result<Profile, String> {
        let mut profile = Profile::default();
        let mut files = Names::default();
        let mut objects = Names::default();
        let mut functions = Names::default();
        let (mut file, mut object, mut function) = (0, 0, 0);
        let (mut callee, mut costs_of_call) = (0, false);
        // Parts by (object, file): each pair is judged once.
        let mut parts: HashMap<(usize, usize), String> = HashMap::new();
        for line in text.lines() {
            let bytes = line.as_bytes();
            if bytes.first().is_some_and(|byte| byte.is_ascii_digit() || b"+-*".contains(byte)) {
                if std::mem::take(&mut costs_of_call) {
                    continue;
                }
                let cost = line.split_ascii_whitespace().nth(1).map_or(Ok(0), str::parse::<i64>);
                let cost = cost.map_err(|error| format!("{line:?}: {error}"))?;
                let part = parts.entry((object, file)).or_insert_with(|| part_of(files.get(file), objects.get(object)));
                match profile.parts.get_mut(part) {
                    Some(sum) => *sum += cost,
                    None => drop(profile.parts.insert(part.clone(), cost)),
                }
            } else if let Some((key, value)) = line.split_once('=') {
                match key {
                    "ob" => object = objects.read(value)?,
                    "fl" | "fi" | "fe" => file = files.read(value)?,
                    "fn" => function = functions.read(value)?,
                    "cob" => drop(objects.read(value)?),
                    "cfi" | "cfl" => drop(files.read(value)?),
                    "cfn" => callee = functions.read(value)?,
                    "calls" => {
                        costs_of_call = true;
                        let count = value.split(' ').next().unwrap_or_default().parse::<i64>();
                        let count = count.map_err(|error| format!("{line:?}: {error}"))?;
                        profile.count_call(functions.get(function), functions.get(callee), count);
                    }
                    _ => {}
                }
            }
        }
        Ok(profile)
    }

    /// Counts the calls that enter the allocator, not those it makes itself.
    fn count_call(&mut self, caller: &str, callee: &str, count: i64) {
        let callee = plain(callee);
        let inside = |name: &str| ALLOCATE.contains(&name) || REALLOCATE.contains(&name);
        if inside(plain(caller)) {
            return;
        }
        if ALLOCATE.contains(&callee) {
            self.allocations += count;
        } else if REALLOCATE.contains(&callee) {
            self.reallocations += count;
        }
    }

    /// All instructions.
    pub(crate) fn total(&self) -> i64 {
        self.parts.values().sum()
    }

    /// What this run has more than a shorter one.
    pub(crate) fn minus(mut self, shorter: &Profile) -> Profile {
        for (part, cost) in &shorter.parts {
            *self.parts.entry(part.clone()).or_default() -= cost;
        }
        self.allocations -= shorter.allocations;
        self.reallocations -= shorter.reallocations;
        self
    }
}

/// A function's name without what callgrind adds for recursion (`malloc'2`).
fn plain(name: &str) -> &str {
    name.split('\'').next().unwrap_or(name)
}

/// Names are written once as `(7) name` and then as `(7)`.
#[derive(Default)]
struct Names(HashMap<usize, String>);

impl Names {
    fn read(&mut self, value: &str) -> Result<usize, String> {
        let (number, name) = value
            .strip_prefix('(')
            .and_then(|rest| rest.split_once(')'))
            .ok_or_else(|| format!("not a compressed name: {value:?}"))?;
        let number = number.parse().map_err(|error| format!("{value:?}: {error}"))?;
        if let Some(name) = name.strip_prefix(' ') {
            self.0.insert(number, name.to_owned());
        }
        Ok(number)
    }

    fn get(&self, number: usize) -> &str {
        self.0.get(&number).map_or("???", String::as_str)
    }
}

/// The crate or library that a source file belongs to.
fn part_of(file: &str, object: &str) -> String {
    if let Some((_, inside)) = file.split_once("/registry/src/") {
        // index.example-0123/NAME-1.2.3/src/lib.rs
        if let Some(package) = inside.split('/').nth(1) {
            return name_without_version(package).to_owned();
        }
    }
    if let Some((_, inside)) = file.split_once("/library/") {
        return inside.split('/').next().unwrap_or(inside).to_owned();
    }
    if file.contains("jemalloc") || file.contains("/out/build/") {
        return "jemalloc".to_owned();
    }
    let root = crate::command::root().to_string_lossy();
    let inside = file.strip_prefix(&*root).unwrap_or(file).trim_start_matches('/');
    if let Some((package, _)) = inside.split_once("/src/")
        && inside.ends_with(".rs")
    {
        return package.rsplit('/').next().unwrap_or(package).to_owned();
    }
    let object = object.rsplit('/').next().unwrap_or(object);
    if object.contains(".so") { object.to_owned() } else { "(no source)".to_owned() }
}

/// `name-with-dashes-1.2.3` without `-1.2.3`.
fn name_without_version(package: &str) -> &str {
    package
        .rmatch_indices('-')
        .find(|(at, _)| package[at + 1..].starts_with(|first: char| first.is_ascii_digit()))
        .map_or(package, |(at, _)| &package[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_of_calls_are_not_counted_twice() {
        let text = "version: 1\nevents: Ir\n\
            ob=(1) /x/mesh\n\
            fl=(1) /home/.cargo/registry/src/index-1/hyper-util-0.1.2/src/a.rs\n\
            fn=(1) hyper::serve\n\
            10 100\n\
            fi=(2) /rustc/abc/library/core/src/mem.rs\n\
            +3 20\n\
            fe=(1)\n\
            cfn=(2) _rjem_malloc\n\
            calls=7 50\n\
            * 700\n\
            +1 5\n\
            \n\
            fl=(3) /rustc/abc/library/alloc/src/x.rs\n\
            fn=(2)\n\
            50 700\n\
            cfn=(3) _rjem_mallocx\n\
            calls=2 50\n\
            50 10\n\
            \n\
            totals: 825\n";
        let profile = Profile::parse(text).expect("a profile");
        assert_eq!(profile.parts["hyper-util"], 105);
        assert_eq!(profile.parts["core"], 20);
        assert_eq!(profile.parts["alloc"], 700);
        assert_eq!((profile.total(), profile.allocations), (825, 7));
    }
}
