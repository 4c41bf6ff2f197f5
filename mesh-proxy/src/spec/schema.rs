//! What the schema says of the parts that registered layers and sources read.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

macro_rules! registered {
    ($($(#[$doc:meta])* $name:ident)*) => { $(
        $(#[$doc])*
        pub(crate) struct $name;

        impl $name {
            /// The name of its definition, which whoever makes the schema adds.
            pub(crate) const NAME: &str = stringify!($name);
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                Self::NAME.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "$ref": format!("#/definitions/{}", Self::NAME) })
            }
        }
    )* };
}

registered! {
    /// A list of layers.
    Pipeline
    /// A source of endpoints.
    Discovery
    /// Where a service makes itself known.
    Registrar
}
