//! What is asked of a comparison.

use super::peers::PEERS;
use super::scenario::SCENARIOS;

/// The name by which the figures of memory are asked for.
pub(super) const MEMORY: &str = "memory";

/// How often, how long, and which.
#[derive(Debug, PartialEq)]
pub(super) struct Options {
    pub(super) rounds: usize,
    /// Of each measurement, after a second of warm-up.
    pub(super) seconds: u32,
    /// Peers, scenarios and `memory`, by name. Nothing of a kind means all of it.
    only: Vec<String>,
}

impl Options {
    /// Reads `[--rounds N] [--seconds N] [NAME…]`.
    pub(super) fn read(arguments: &[String]) -> Result<Options, String> {
        let mut options = Options { rounds: 5, seconds: 3, only: Vec::new() };
        let mut arguments = arguments.iter();
        while let Some(word) = arguments.next() {
            let mut number = || {
                let value = arguments.next().and_then(|value| value.parse::<u32>().ok());
                value.filter(|value| *value > 0).ok_or_else(|| format!("{word} wants a number above 0"))
            };
            match word.as_str() {
                "--rounds" => options.rounds = number()? as usize,
                "--seconds" => options.seconds = number()?,
                name if names().any(|known| known == name) => options.only.push(word.clone()),
                name => {
                    let known: Vec<&str> = names().collect();
                    return Err(format!("unknown `{name}`, expected --rounds, --seconds or of {}", known.join(", ")));
                }
            }
        }
        Ok(options)
    }

    /// Whether everything is measured, so that the result may be published.
    pub(super) fn is_whole(&self) -> bool {
        self.only.is_empty()
    }

    pub(super) fn has_peer(&self, name: &str) -> bool {
        self.names(name) || !PEERS.iter().any(|peer| self.names(peer.name))
    }

    /// Asking for memory alone leaves the scenarios out, and the other way round.
    pub(super) fn has(&self, scenario: &str) -> bool {
        self.names(scenario)
            || !SCENARIOS.iter().map(|scenario| scenario.name).chain([MEMORY]).any(|name| self.names(name))
    }

    fn names(&self, name: &str) -> bool {
        self.only.iter().any(|only| only == name)
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    PEERS.iter().map(|peer| peer.name).chain(SCENARIOS.iter().map(|scenario| scenario.name)).chain([MEMORY])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Options, String> {
        Options::read(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn without_arguments_everything_is_measured() {
        let options = read(&[]).unwrap();
        assert!(options.is_whole() && options.has("tcp") && options.has(MEMORY) && options.has_peer("envoy"));
    }

    #[test]
    fn a_name_leaves_out_others_of_its_kind() {
        let options = read(&["--rounds", "2", "--seconds", "1", "tcp", "mesh"]).unwrap();
        assert_eq!((options.rounds, options.seconds, options.is_whole()), (2, 1, false));
        assert!(options.has("tcp") && !options.has("http2") && !options.has(MEMORY));
        assert!(options.has_peer("mesh") && !options.has_peer("mesh-bare"));
        let options = read(&["memory"]).unwrap();
        assert!(options.has(MEMORY) && !options.has("tcp") && options.has_peer("nginx"));
    }

    #[test]
    fn bad_arguments_say_what_is_wanted() {
        assert_eq!(read(&["--rounds", "0"]).unwrap_err(), "--rounds wants a number above 0");
        assert_eq!(read(&["--seconds"]).unwrap_err(), "--seconds wants a number above 0");
        assert!(
            read(&["traefik"]).unwrap_err().starts_with("unknown `traefik`, expected --rounds, --seconds or of mesh, ")
        );
    }
}
