//! What relaying costs the thread that does it, copied and spliced, in blocks of several sizes.
//!
//! `cargo run --release -p mesh-net --example relay_cost`

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use mesh_net::{Connected, RelayOptions, Stream, relay};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const BYTES: usize = 4 << 30;

fn main() -> Result<()> {
    println!("| sent in blocks of | copied, CPU ms per GiB | spliced | copied, GiB/s | spliced |");
    println!("| ---: | ---: | ---: | ---: | ---: |");
    for block in [1 << 10, 16 << 10, 64 << 10, 1 << 20] {
        let [copied, spliced] = [run(block, false)?, run(block, true)?];
        println!(
            "| {} KiB | {:.0} | {:.0} | {:.2} | {:.2} |",
            block >> 10,
            copied.cpu.as_secs_f64() * 1e3 / copied.gib,
            spliced.cpu.as_secs_f64() * 1e3 / spliced.gib,
            copied.gib / copied.wall.as_secs_f64(),
            spliced.gib / spliced.wall.as_secs_f64()
        );
    }
    Ok(())
}

struct Cost {
    gib: f64,
    cpu: Duration,
    wall: Duration,
}

fn run(block: usize, splice: bool) -> Result<Cost> {
    let ((mut client, ours), (to, mut end)) = (pair()?, pair()?);
    let bytes = if block < 16 << 10 { BYTES / 8 } else { BYTES };
    let relaying = thread::spawn(move || -> Result<Cost> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (started, before) = (Instant::now(), cpu()?);
        let relayed = runtime.block_on(async {
            let connected = Connected::new(stream(to)?);
            Ok::<_, Box<dyn Error + Send + Sync>>(
                relay(stream(ours)?, connected, RelayOptions::default().splice(splice)).await,
            )
        })?;
        let gib = relayed.sent as f64 / f64::from(1 << 30);
        Ok(Cost { gib, cpu: cpu()? - before, wall: started.elapsed() })
    });
    let sending = thread::spawn(move || -> Result<()> {
        let block = vec![7; block];
        for _ in 0..bytes / block.len() {
            client.write_all(&block)?;
        }
        client.shutdown(Shutdown::Write)?;
        client.read_to_end(&mut Vec::new())?;
        Ok(())
    });
    let mut buffer = vec![0; 1 << 20];
    while end.read(&mut buffer)? > 0 {}
    drop(end);
    sending.join().map_err(|_| "the sender panicked")??;
    relaying.join().map_err(|_| "the relay panicked")?
}

fn pair() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let one = TcpStream::connect(listener.local_addr()?)?;
    Ok((one, listener.accept()?.0))
}

fn stream(stream: TcpStream) -> Result<Stream> {
    stream.set_nonblocking(true)?;
    Ok(tokio::net::TcpStream::from_std(stream)?.into())
}

/// What this thread has run.
fn cpu() -> Result<Duration> {
    let times = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(Duration::from_nanos(times.split(' ').next().unwrap_or_default().parse()?))
}
