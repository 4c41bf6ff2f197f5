//! `POST /reload`: 200 with the report, 422 with the faults of a file that is not good, 409 where it cannot be taken.

use super::{Response, json, text};
use crate::{Refused, Reloader, read::Diagnostic};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json as value};

pub(super) async fn answer(headers: &HeaderMap, reloader: Option<&Reloader>) -> Response {
    // a page of another site can send other types without being asked first
    let is_json = |value: &http::HeaderValue| value.to_str().is_ok_and(|text| text.starts_with("application/json"));
    if !headers.get(header::CONTENT_TYPE).is_none_or(is_json) {
        return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "only application/json\n");
    }
    let Some(reloader) = reloader else {
        return refused(StatusCode::CONFLICT, "the spec that runs is from no file".into(), &[]);
    };
    match reloader.reload("POST /reload").await {
        Ok(report) => json(&report),
        Err(Refused::Invalid(faults)) => {
            let what = format!("{} is not good", reloader.file().display());
            refused(StatusCode::UNPROCESSABLE_ENTITY, what, &faults)
        }
        Err(Refused::Engine(error)) => refused(StatusCode::CONFLICT, error.to_string(), &[]),
    }
}

fn refused(status: StatusCode, error: String, faults: &[Diagnostic]) -> Response {
    let mut body = value!({ "error": error });
    if !faults.is_empty() {
        body["faults"] = faults.iter().map(fault).collect();
    }
    let mut response = json(&body);
    *response.status_mut() = status;
    response
}

fn fault(fault: &Diagnostic) -> Value {
    value!({
        "file": fault.file,
        "line": fault.position.line,
        "column": fault.position.column,
        "message": fault.message,
        "help": fault.suggestion,
    })
}
