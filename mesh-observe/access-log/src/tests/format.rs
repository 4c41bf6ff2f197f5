use crate::{DEFAULT_JSON, DEFAULT_TEXT, Format, operator::NAMES};
use proptest::prelude::*;

fn fault(text: &str) -> String {
    Format::text(text).unwrap_err().to_string()
}

#[test]
fn the_defaults_are_what_they_say() {
    assert!(Format::text(DEFAULT_TEXT).is_ok() && Format::json(DEFAULT_JSON).is_ok());
    assert_eq!(Format::default(), Format::default_text());
}

#[test]
fn every_operator_is_there() {
    for name in NAMES {
        let operator = match name {
            "REQ" | "RESP" | "QUERY_PARAM" => format!("%{name}(x)%"),
            _ => format!("%{name}%"),
        };
        assert!(Format::text(&operator).is_ok(), "{operator}");
    }
    for text in [
        "%REQ(X-A?:PATH):12%",
        "%START_TIME(%Y/%m/%dT%H:%M:%S%z (%s))% x",
        "%START_TIME(%s)%%PATH(NQ)%",
        "100%% %GRPC_STATUS(NUMBER)% %GRPC_STATUS(CAMEL_STRING)% %GRPC_STATUS(SNAKE_STRING)%",
        "",
    ] {
        assert!(Format::text(text).is_ok(), "{text}: {}", fault(text));
    }
}

#[test]
fn faults_say_where_and_what_instead() {
    assert_eq!(fault("é %RESPONSE_COD%"), "unknown operator `%RESPONSE_COD%` at character 3");
    assert_eq!(
        fault("%TRAILER(x)%"),
        "`%TRAILER%` cannot be served here at character 1; did you mean `%GRPC_STATUS%`?"
    );
    assert_eq!(fault("a %PROTOCOL"), "an operator has no end at character 3; a percent sign itself is written `%%`");
    assert_eq!(fault("%REQ%"), "`%REQ%` needs a header: `%REQ(user-agent)%` at character 1");
    assert_eq!(
        fault("%DURATION(us)%"),
        "`%DURATION(us)%`: this operator takes no argument at character 1; write `%DURATION%`"
    );
    assert!(fault("%REQ(:STATUS)%").contains("the pseudo-headers are"));
    assert!(fault("%REQ(a b)%").contains("`a b` is no header"));
    assert!(fault("%REQ()%").contains("is no header"));
    assert!(fault("%REQ(a):0%").contains("1 to 4096"));
    assert!(fault("%REQ(a):x%").contains("is no length"));
    assert!(fault("%PROTOCOL:3%").contains("only values of headers and the path"));
    assert!(fault("%START_TIME(%Q)%").contains("`%Q` is no part of a time"));
    assert!(fault("%PATH(X)%").contains("with its query `WQ`"));
    assert!(fault("%QUERY_PARAM()%").contains("needs a name"));
    assert!(fault("%GRPC_STATUS(X)%").contains("CAMEL_STRING"));
    assert!(fault("a\nb").contains("no control characters in it at character 2"));
    assert_eq!(Format::text("%REQUEST%").unwrap_err().character(), 1);
    let many: String = (0..33).map(|number| format!("%REQ(x-{number})%")).collect();
    assert!(fault(&many).contains("33 different headers are more than 32"));
}

#[test]
fn faults_of_objects() {
    let fault = |fields: &[(&str, &str)]| Format::json(fields.iter().copied()).unwrap_err().to_string();
    assert_eq!(fault(&[]), "an object without fields says nothing");
    assert_eq!(fault(&[("a", "x"), ("a", "y")]), "the field `a` is there twice");
    assert_eq!(fault(&[("a", "b %NONE%")]), "unknown operator `%NONE%` at character 3 of `a`");
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,60}") {
        let _ = Format::text(&text);
        let _ = Format::json([("a", text)]);
    }

    /// What looks like operators, more often than not with a fault.
    #[test]
    fn no_operator_panics(parts in proptest::collection::vec("%|\\(|\\)|:|\\?|REQ|RESP|START_TIME|PATH|9| |%[YmdHMSfsz]", 0..12)) {
        let text = parts.concat();
        if let Err(error) = Format::text(&text) {
            prop_assert!(error.character() <= text.chars().count());
        }
    }
}
