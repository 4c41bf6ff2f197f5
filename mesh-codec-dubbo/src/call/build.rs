//! A call of one's own.

use super::Request;
use crate::{
    frame::{Flags, Frame, Head, Serialization, Status},
    hessian2::Writer,
};
use bytes::BytesMut;
use mesh_core::{Context, Name, time};
use std::{fmt, time::Duration};

type Write<'a> = Box<dyn FnOnce(&mut Writer<BytesMut>) + 'a>;

/// Makes a call, as Java's consumers write one. See [`Request::of`].
pub struct RequestBuilder<'a> {
    service: &'a str,
    method: &'a str,
    version: &'a str,
    descriptor: &'a str,
    arguments: Option<Write<'a>>,
    attachments: Vec<(&'a str, String)>,
    is_one_way: bool,
    context: Option<Context>,
}

impl Request {
    /// A call of a method of a service, without parameters until some are given.
    ///
    /// ```
    /// use mesh_codec_dubbo::Request;
    /// use mesh_core::RequestView;
    ///
    /// let request = Request::of("demo.Shop", "order")
    ///     .version("1.0.0")
    ///     .arguments("Ljava/lang/String;I", |writer| {
    ///         writer.string("apples");
    ///         writer.int(3);
    ///     })
    ///     .attachment("dubbo.tag", "gray")
    ///     .build();
    /// assert_eq!((request.service(), request.method()), ("demo.Shop", "order"));
    /// assert_eq!(request.attachment("dubbo.tag"), Some("gray"));
    /// ```
    pub fn of<'a>(service: &'a str, method: &'a str) -> RequestBuilder<'a> {
        RequestBuilder {
            service,
            method,
            version: "0.0.0",
            descriptor: "",
            arguments: None,
            attachments: Vec::new(),
            is_one_way: false,
            context: None,
        }
    }
}

impl<'a> RequestBuilder<'a> {
    /// The version of the service. Default: none, which is written `0.0.0`.
    #[must_use]
    pub fn version(self, version: &'a str) -> Self {
        Self { version, ..self }
    }

    /// The group of the service. Default: none.
    #[must_use]
    pub fn group(self, group: &str) -> Self {
        self.attachment("group", group)
    }

    /// How long the answer is waited for, for the provider to know: it is not measured here.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        self.attachment("timeout", &timeout.as_millis().to_string())
    }

    /// The types of the parameters, as the JVM writes them, and what writes one value for each.
    #[must_use]
    pub fn arguments(self, descriptor: &'a str, write: impl FnOnce(&mut Writer<BytesMut>) + 'a) -> Self {
        Self { descriptor, arguments: Some(Box::new(write)), ..self }
    }

    /// One more attachment.
    #[must_use]
    pub fn attachment(mut self, name: &'a str, value: &str) -> Self {
        self.attachments.push((name, value.to_owned()));
        self
    }

    /// Nobody waits for an answer.
    #[must_use]
    pub fn one_way(self) -> Self {
        Self { is_one_way: true, ..self }
    }

    /// The record of the call. Default: a new one, of a request that has arrived now.
    #[must_use]
    pub fn context(self, context: Context) -> Self {
        Self { context: Some(context), ..self }
    }

    /// The call.
    pub fn build(self) -> Request {
        let mut writer = Writer::new(BytesMut::with_capacity(256));
        for text in ["2.0.2", self.service, self.version, self.method, self.descriptor] {
            writer.string(text);
        }
        if let Some(write) = self.arguments {
            write(&mut writer);
        }
        writer.map(None);
        let own = [("path", self.service), ("interface", self.service), ("version", self.version)];
        let given = self.attachments.iter().map(|(name, value)| (*name, &value[..]));
        for (name, value) in own.into_iter().chain(given) {
            writer.string(name);
            writer.string(value);
        }
        writer.end();
        let serialization = Serialization::HESSIAN2;
        let flags = if self.is_one_way { Flags::one_way(serialization) } else { Flags::two_way(serialization) };
        let frame = Frame { head: Head { flags, status: Status(0), id: 0 }, body: writer.into_inner().freeze() };
        let context = self.context.unwrap_or_else(|| {
            let context = Context::begin(time::now(), None);
            context.set_protocol(Name::DUBBO);
            context.add_request_bytes(frame.body.len() as u64);
            context.end_request_on_arrival();
            context
        });
        Request::from_frame(frame, context).expect("it begins with the strings that were written")
    }
}

impl fmt::Debug for RequestBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBuilder")
            .field("service", &self.service)
            .field("method", &self.method)
            .field("descriptor", &self.descriptor)
            .finish_non_exhaustive()
    }
}
