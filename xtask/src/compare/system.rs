//! What the kernel tells of a process, of cores and of ports.

use std::fs;
use std::net::TcpListener;

/// Ticks of `/proc/PID/stat` in a second: a constant of Linux towards programs, whatever the kernel counts in.
const TICKS: f64 = 100.0;

/// The processor time that a process has used with all its threads, in seconds: utime + stime.
pub(super) fn processor_time(process: u32) -> Result<f64, String> {
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    ticks(&stat).map(|ticks| ticks as f64 / TICKS).ok_or_else(|| format!("{path} is unlike what is known: {stat}"))
}

/// Fields 14 and 15. The second, in parentheses, is the program's name, which may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(14 - 3);
    let (user, system) = (fields.next()?, fields.next()?);
    Some(user.parse::<u64>().ok()? + system.parse::<u64>().ok()?)
}

/// More than ten thousand connections, with some of their endpoints, would need.
const MOST_DESCRIPTORS: u64 = 65_536;

/// The most descriptors that a program started by this one may open, within reason: the hard limit.
pub(super) fn descriptors() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    hard_limit(&limits).unwrap_or(MOST_DESCRIPTORS).min(MOST_DESCRIPTORS)
}

/// `Max open files  1024  524288  files`; `None` is no limit.
fn hard_limit(limits: &str) -> Option<u64> {
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().nth(1)?.parse().ok()
}

/// Which core is the proxy's, and which are those of endpoints and generators, as `taskset` reads them.
pub(super) struct Cores {
    pub(super) proxy: String,
    pub(super) load: String,
}

impl Cores {
    /// The last one that this process may use is the proxy's; an error when there is only one.
    pub(super) fn share() -> Result<Cores, String> {
        let path = "/proc/self/status";
        let status = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let mut cores = list.and_then(|list| cores(list.trim())).ok_or_else(|| format!("{path} names no cores"))?;
        let proxy = cores.pop().unwrap_or_default();
        if cores.is_empty() {
            return Err("the proxy has to have a core of its own, and there is only one".to_owned());
        }
        let load: Vec<String> = cores.iter().map(u32::to_string).collect();
        Ok(Cores { proxy: proxy.to_string(), load: load.join(",") })
    }
}

/// Reads a list such as `0-2,5`.
fn cores(list: &str) -> Option<Vec<u32>> {
    let mut cores = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cores.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
    }
    Some(cores)
}

/// An error that names those of the ports that somebody listens on.
///
/// Listeners that share a port by `SO_REUSEPORT` do so silently: with a forgotten process, each would get a part of the
/// connections, and the figures would be of neither.
pub(super) fn all_free(ports: &[u16]) -> Result<(), String> {
    let taken: Vec<String> = ports
        .iter()
        .filter_map(|port| TcpListener::bind(("127.0.0.1", *port)).err().map(|error| format!("{port} ({error})")))
        .collect();
    if taken.is_empty() { Ok(()) } else { Err(format!("nothing is measured on taken ports: {}", taken.join(", "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 250 30 11 12 20 0 3";
        assert_eq!(ticks(&format!("42 (mesh) {rest}")), Some(280));
        assert_eq!(ticks(&format!("42 (a) b (c) {rest}")), Some(280));
        assert_eq!(ticks("42 (mesh) S 1 2"), None);
        assert!(processor_time(std::process::id()).is_ok());
    }

    #[test]
    fn the_hard_limit_is_the_second_number() {
        let limits = "Max core file size   0   unlimited   bytes\nMax open files   1024   20000   files\n";
        assert_eq!(hard_limit(limits), Some(20_000));
        assert_eq!(hard_limit(&limits.replace("20000", "unlimited")), None);
        assert!(descriptors() > 0);
    }

    #[test]
    fn lists_of_cores_have_ranges_and_numbers() {
        assert_eq!(cores("0-2,5"), Some(vec![0, 1, 2, 5]));
        assert_eq!(cores("3"), Some(vec![3]));
        assert_eq!(cores("x"), None);
    }

    #[test]
    fn a_taken_port_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let why = all_free(&[port]).unwrap_err();
        assert!(why.starts_with(&format!("nothing is measured on taken ports: {port} (")), "{why}");
        drop(listener);
        assert_eq!(all_free(&[port]), Ok(()));
    }
}
