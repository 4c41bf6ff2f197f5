//! Formats: text with operators or JSON, read once.

use crate::{
    escape::Mode,
    operator::{Field, FormatError, Operator},
};
use std::{fmt, sync::Arc};

/// The format of a line: text with operators, or a JSON object. Clones share it.
///
/// ```
/// use mesh_access_log::Format;
///
/// let format = Format::text("%START_TIME% %REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE%")?;
/// assert!(Format::text("%RESPONSE_COD%").is_err());
/// let object = Format::json([("path", "%REQ(:PATH)%"), ("code", "%RESPONSE_CODE%")])?;
/// # drop((format, object));
/// # Ok::<(), mesh_access_log::FormatError>(())
/// ```
#[derive(Clone)]
pub struct Format {
    pub(crate) source: Source,
    pub(crate) compiled: Arc<Compiled>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    DefaultText,
    DefaultJson,
    Text(Arc<str>),
    Json(Arc<[(String, String)]>),
}

/// The default text: Envoy's, with what this layer can serve.
pub const DEFAULT_TEXT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL%\" %RESPONSE_CODE% \
     %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \"%REQ(X-FORWARDED-FOR)%\" \
     \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"";

/// The fields of the default JSON object, in their order.
pub const DEFAULT_JSON: [(&str, &str); 21] = [
    ("start_time", "%START_TIME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("grpc_status", "%GRPC_STATUS_NUMBER%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("trace_id", "%TRACE_ID%"),
    ("listener", "%LISTENER_NAME%"),
    ("route_name", "%ROUTE_NAME%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
];

/// A line, ready to be filled in.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) mode: Mode,
    pub(crate) parts: Box<[Part]>,
    /// What is kept of the request, by slot.
    pub(crate) request: Box<[Capture<Field>]>,
    /// The headers among it, in lower case, for one look at all of them.
    pub(crate) headers: Box<[Box<str>]>,
    /// What is kept of the response's head, by slot.
    pub(crate) response: Box<[Capture<Box<str>>]>,
    pub(crate) needs_head: bool,
    pub(crate) needs_head_time: bool,
}

/// A value that is kept: the first of these that is there, cut.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Capture<F> {
    pub(crate) fields: Vec<F>,
    pub(crate) limit: usize,
}

#[derive(Debug)]
pub(crate) enum Part {
    Literal(Box<[u8]>),
    /// `whole`: alone in its JSON field, so a number may be one and what is missing is `null`.
    Value {
        value: Value,
        whole: bool,
    },
}

#[derive(Debug)]
pub(crate) enum Value {
    /// The slot of a value of the request.
    Request(usize),
    /// The slot of a value of the response's head.
    Response(usize),
    /// What is known at the end.
    End(Operator),
}

/// The most different headers that one format may have: they are looked for in one go, in place.
pub(crate) const HEADERS: usize = 32;

impl Format {
    /// Text with operators between percent signs; a percent sign of its own is written `%%`. A line ends in a newline
    /// whether the text says one or not.
    ///
    /// # Errors
    /// An operator is not known, cannot be served, or has a wrong argument.
    pub fn text(text: &str) -> Result<Self, FormatError> {
        Ok(Self { compiled: compile_text(text)?.into(), source: Source::Text(text.into()) })
    }

    /// A JSON object of these fields, in this order; each value is text with operators. A value that is one operator
    /// alone keeps its type: numbers stay numbers, and what is missing is `null`.
    ///
    /// # Errors
    /// As [`Format::text`]; no fields, or one twice.
    pub fn json<N: Into<String>, T: Into<String>>(
        fields: impl IntoIterator<Item = (N, T)>,
    ) -> Result<Self, FormatError> {
        let fields: Arc<[(String, String)]> =
            fields.into_iter().map(|(name, text)| (name.into(), text.into())).collect();
        Ok(Self { compiled: compile_json(&fields)?.into(), source: Source::Json(fields) })
    }

    /// [`DEFAULT_TEXT`].
    pub fn default_text() -> Self {
        let compiled = compile_text(DEFAULT_TEXT).expect("the default format is good");
        Self { compiled: compiled.into(), source: Source::DefaultText }
    }

    /// [`DEFAULT_JSON`].
    pub fn default_json() -> Self {
        let fields = DEFAULT_JSON.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let compiled = compile_json(&fields).expect("the default format is good");
        Self { compiled: compiled.into(), source: Source::DefaultJson }
    }
}

impl Default for Format {
    fn default() -> Self {
        Self::default_text()
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Format {}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.source, f)
    }
}

fn compile_text(text: &str) -> Result<Compiled, FormatError> {
    let mut compiler = Compiler::new(Mode::Text);
    compiler.template(text.trim_end_matches('\n'), false)?;
    compiler.literal(b"\n");
    compiler.finish()
}

fn compile_json(fields: &[(String, String)]) -> Result<Compiled, FormatError> {
    if fields.is_empty() {
        return Err(FormatError::new("an object without fields says nothing"));
    }
    let mut compiler = Compiler::new(Mode::Json);
    for (index, (name, text)) in fields.iter().enumerate() {
        if fields[..index].iter().any(|(earlier, _)| earlier == name) {
            return Err(FormatError::new(format!("the field `{name}` is there twice")));
        }
        compiler.literal(if index == 0 { b"{\"" } else { b",\"" });
        compiler.text(name);
        compiler.literal(b"\":");
        compiler.field(text).map_err(|error| error.in_field(name))?;
    }
    compiler.literal(b"}\n");
    compiler.finish()
}

struct Compiler {
    mode: Mode,
    parts: Vec<Part>,
    request: Vec<Capture<Field>>,
    response: Vec<Capture<Box<str>>>,
    needs_head: bool,
    needs_head_time: bool,
}

impl Compiler {
    fn new(mode: Mode) -> Self {
        Self {
            mode,
            parts: Vec::new(),
            request: Vec::new(),
            response: Vec::new(),
            needs_head: false,
            needs_head_time: false,
        }
    }

    /// The value of a JSON field.
    fn field(&mut self, text: &str) -> Result<(), FormatError> {
        let alone = text.strip_prefix('%').and_then(|rest| rest.strip_suffix('%'));
        if alone.is_some_and(|inner| !inner.is_empty() && end_of_operator(inner).is_none()) {
            return self.template(text, true);
        }
        self.literal(b"\"");
        self.template(text, false)?;
        self.literal(b"\"");
        Ok(())
    }

    fn template(&mut self, text: &str, whole: bool) -> Result<(), FormatError> {
        if let Some(at) = text.chars().position(char::is_control) {
            let error = FormatError::new("a line has no control characters in it");
            return Err(error.suggesting("in YAML `>-` makes one line of many").at(at + 1));
        }
        let mut rest = text;
        while let Some(start) = rest.find('%') {
            let (literal, operator) = (&rest[..start], &rest[start + 1..]);
            self.text(literal);
            let character = text[..text.len() - operator.len()].chars().count();
            let Some(end) = end_of_operator(operator) else {
                let error = FormatError::new("an operator has no end");
                return Err(error.suggesting("a percent sign itself is written `%%`").at(character));
            };
            if end == 0 {
                self.text("%");
            } else {
                let read = Operator::parse(&operator[..end]).map_err(|error| error.at(character))?;
                self.operator(read, whole);
            }
            rest = &operator[end + 1..];
        }
        self.text(rest);
        Ok(())
    }

    fn operator(&mut self, operator: Operator, whole: bool) {
        self.needs_head |= operator.needs_head();
        self.needs_head_time |= operator == Operator::ResponseDuration;
        let value = match operator {
            Operator::Request { fields, limit } => Value::Request(slot(&mut self.request, Capture { fields, limit })),
            Operator::Response { names, limit } => {
                Value::Response(slot(&mut self.response, Capture { fields: names, limit }))
            }
            Operator::StartTime(mut format) => {
                for text in format.literals() {
                    let mut escaped = Vec::new();
                    if self.mode == Mode::Json {
                        Mode::Json.escape(text.as_bytes(), &mut escaped);
                        *text = String::from_utf8_lossy(&escaped).into();
                    }
                }
                Value::End(Operator::StartTime(format))
            }
            other => Value::End(other),
        };
        self.parts.push(Part::Value { value, whole: whole && self.mode == Mode::Json });
    }

    /// Text of the format itself. In a text format it is the user's own, newlines included.
    fn text(&mut self, text: &str) {
        match self.mode {
            Mode::Text => self.literal(text.as_bytes()),
            Mode::Json => {
                let mut escaped = Vec::new();
                Mode::Json.escape(text.as_bytes(), &mut escaped);
                self.literal(&escaped);
            }
        }
    }

    fn literal(&mut self, bytes: &[u8]) {
        match self.parts.last_mut() {
            Some(Part::Literal(last)) => *last = [last, bytes].concat().into(),
            _ if bytes.is_empty() => {}
            _ => self.parts.push(Part::Literal(bytes.into())),
        }
    }

    fn finish(self) -> Result<Compiled, FormatError> {
        let mut headers: Vec<Box<str>> = Vec::new();
        for field in self.request.iter().flat_map(|capture| &capture.fields) {
            if let Field::Header(name) = field
                && !headers.contains(name)
            {
                headers.push(name.clone());
            }
        }
        if headers.len() > HEADERS {
            return Err(FormatError::new(format!("{} different headers are more than {HEADERS}", headers.len())));
        }
        Ok(Compiled {
            mode: self.mode,
            parts: self.parts.into(),
            request: self.request.into(),
            headers: headers.into(),
            response: self.response.into(),
            needs_head: self.needs_head,
            needs_head_time: self.needs_head_time,
        })
    }
}

fn slot<F: PartialEq>(captures: &mut Vec<Capture<F>>, capture: Capture<F>) -> usize {
    if let Some(slot) = captures.iter().position(|present| *present == capture) {
        return slot;
    }
    captures.push(capture);
    captures.len() - 1
}

/// The percent sign that ends an operator: the first that is not within its parentheses, which may have some of their
/// own, as in `%START_TIME(%H:%M)%`.
fn end_of_operator(text: &str) -> Option<usize> {
    let percent = text.find('%')?;
    let Some(open) = text.find('(').filter(|open| *open < percent) else { return Some(percent) };
    let closes = |at: &usize| matches!(text.as_bytes().get(at + 1), Some(b'%' | b':'));
    let closed = text[open..].match_indices(')').map(|(at, _)| open + at).find(closes)?;
    text[closed..].find('%').map(|at| closed + at)
}
