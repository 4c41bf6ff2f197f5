use super::{Metadata, Reply, Request};
use mesh_core::Context;
use std::fmt::{self, Write as _};

/// A line that is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The target is not `service.method`.
    Target,
    /// The status is not a number up to 255.
    Status,
    /// There is an entry of metadata without `=`.
    Metadata,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DecodeError::Target => "expected `service.method` at the beginning of the line",
            DecodeError::Status => "expected a status up to 255 at the beginning of the line",
            DecodeError::Metadata => "expected `name=value`, or ` -- ` before what follows the metadata",
        })
    }
}

impl std::error::Error for DecodeError {}

/// Whether the protocol can carry this as a value of metadata: text without white space.
pub(crate) fn can_carry(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok_and(|text| !text.contains(char::is_whitespace))
}

/// A request as a line, its end included.
pub fn encode_request(request: &Request) -> String {
    let way = if request.one_way { "!" } else { "" };
    line(format!("{way}{}.{}", request.service, request.method), &request.metadata, &request.arguments)
}

/// An answer as a line, its end included.
pub fn encode_reply(reply: &Reply) -> String {
    line(reply.status.to_string(), &reply.metadata, &reply.result)
}

/// A line as a request, which is given `context`.
///
/// # Errors
/// It is none.
pub fn decode_request(line: &str, context: Context) -> Result<Request, DecodeError> {
    let (target, metadata, arguments) = parts(line)?;
    let (one_way, target) = match target.strip_prefix('!') {
        Some(target) => (true, target),
        None => (false, target),
    };
    let (service, method) = target.rsplit_once('.').ok_or(DecodeError::Target)?;
    if service.is_empty() || method.is_empty() {
        return Err(DecodeError::Target);
    }
    Ok(Request { service: service.into(), method: method.into(), metadata, arguments, one_way, context })
}

/// A line as an answer.
///
/// # Errors
/// It is none.
pub fn decode_reply(line: &str) -> Result<Reply, DecodeError> {
    let (status, metadata, result) = parts(line)?;
    let mut reply = Reply::new(status.parse().map_err(|_| DecodeError::Status)?).with_result(&result);
    reply.metadata = metadata;
    Ok(reply)
}

fn line(mut line: String, metadata: &Metadata, rest: &str) -> String {
    for (name, value) in metadata {
        let _ = write!(line, " {name}={}", String::from_utf8_lossy(value));
    }
    if !rest.is_empty() {
        line.push_str(" -- ");
        // what would end the line early is a blank
        line.extend(rest.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
    }
    line.push('\n');
    line
}

fn parts(line: &str) -> Result<(&str, Metadata, String), DecodeError> {
    let line = line.trim_end_matches(['\n', '\r']);
    let (head, rest) = line.split_once(" -- ").unwrap_or((line, ""));
    let mut words = head.split_ascii_whitespace();
    let first = words.next().unwrap_or("");
    let metadata = words.map(|word| {
        let (name, value) = word.split_once('=').ok_or(DecodeError::Metadata)?;
        Ok((name.to_owned().into(), value.as_bytes().to_vec()))
    });
    Ok((first, metadata.collect::<Result<_, _>>()?, rest.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_core::RequestView;

    #[test]
    fn there_and_back() {
        let request = Request::new("shop.Orders", "place").with("user", "7").with_arguments("3 apples").one_way();
        let text = encode_request(&request);
        assert_eq!(text, "!shop.Orders.place user=7 -- 3 apples\n");
        let read = decode_request(&text, Context::none()).unwrap();
        assert_eq!((read.service(), read.method(), read.get("user")), ("shop.Orders", "place", Some(&b"7"[..])));
        assert_eq!((read.one_way, read.arguments.as_str()), (true, "3 apples"));
        let reply = decode_reply(&encode_reply(&Reply::new(40).with_result("no\napples"))).unwrap();
        assert_eq!((reply.status, reply.result.as_str()), (40, "no apples"));
    }

    #[test]
    fn what_is_no_message() {
        let request = |line| decode_request(line, Context::none()).map(|_| ()).unwrap_err();
        assert_eq!(request("\n"), DecodeError::Target);
        assert_eq!(request("orders\n"), DecodeError::Target);
        assert_eq!(request("orders.place user\n"), DecodeError::Metadata);
        assert_eq!(decode_reply("256\n").map(|_| ()), Err(DecodeError::Status));
    }

    #[test]
    fn a_value_that_cannot_be_carried_is_left_out() {
        let request = Request::new("a", "b").with("user", "two words");
        assert_eq!(request.get("user"), None);
    }
}
