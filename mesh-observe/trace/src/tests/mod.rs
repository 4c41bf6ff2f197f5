mod b3;
mod sample;
mod tracestate;
mod w3c;
