//! Durations, rates, percentages, sizes, statuses and addresses: what is read and written is read as the same again.
#![no_main]
#![allow(clippy::unwrap_used, reason = "what is written is read again")]

use libfuzzer_sys::fuzz_target;
use mesh_core::{
    Address,
    units::{Rate, Ratio, Size, Statuses, format_duration, parse_duration},
};
use std::{fmt::Display, str::FromStr};

fn both_ways<T: FromStr<Err: Display> + Display + PartialEq>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => {
            let written = value.to_string();
            assert!(written.parse::<T>().ok() == Some(value), "{text:?} as {written:?}");
        }
        Err(error) => drop(error.to_string()),
    }
}

fuzz_target!(|text: &str| {
    both_ways::<Rate>(text);
    both_ways::<Ratio>(text);
    both_ways::<Size>(text);
    both_ways::<Statuses>(text);
    both_ways::<Address>(text);
    match parse_duration(text) {
        Ok(duration) => assert_eq!(parse_duration(&format_duration(duration)).unwrap(), duration),
        Err(error) => drop(error.to_string()),
    }
});
