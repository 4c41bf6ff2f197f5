//! Numbers and addresses as text, without the formatter: it costs more than the rest of a line.

use mesh_core::Address;
use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr},
};

/// Appends a number.
pub(crate) fn push_number(into: &mut Vec<u8>, number: u64) {
    push_padded(into, number, 1);
}

/// Appends a number with at least so many digits.
pub(crate) fn push_padded(into: &mut Vec<u8>, mut number: u64, digits: usize) {
    let mut text = [b'0'; 20];
    let mut start = text.len();
    while number != 0 {
        start -= 1;
        text[start] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    into.extend_from_slice(&text[start.min(text.len().saturating_sub(digits))..]);
}

/// Appends an id of 32 hexadecimal digits.
pub(crate) fn push_id(into: &mut Vec<u8>, id: u128) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(id.to_be_bytes()) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
    into.extend_from_slice(&text);
}

/// Appends an IP address.
pub(crate) fn push_ip(into: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    into.push(b'.');
                }
                push_number(into, octet.into());
            }
        }
        IpAddr::V6(address) => {
            let _ = write!(into, "{address}");
        }
    }
}

/// Appends an IP address and a port.
pub(crate) fn push_socket(into: &mut Vec<u8>, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(_) => push_ip(into, address.ip()),
        IpAddr::V6(_) => {
            into.push(b'[');
            push_ip(into, address.ip());
            into.push(b']');
        }
    }
    into.push(b':');
    push_number(into, address.port().into());
}

/// Appends where an endpoint listens. A path may have any bytes, so that it is escaped.
pub(crate) fn push_address(into: &mut Vec<u8>, address: &Address, mode: crate::escape::Mode) {
    match address {
        Address::Tcp(address) => push_socket(into, *address),
        Address::Unix(path) => {
            into.extend_from_slice(b"unix:");
            mode.escape(path.as_os_str().as_encoded_bytes(), into);
        }
    }
}
