//! The generator against the floor server: every message comes back, whatever its size.

use std::io;
use std::path::PathBuf;
use std::thread;

use ferroloop_benches::address::Address;
use ferroloop_benches::args::Options;
use ferroloop_benches::floor::{Answer, Floor};
use ferroloop_benches::{connect, echo, http, loopback};

/// Starts a floor server that lives as long as the test process.
fn serve(address: &str) -> io::Result<String> {
    let (mut floor, place) = Floor::bind(&Address::parse(address)?)?;
    thread::spawn(move || floor.serve());
    Ok(place)
}

fn options(words: &str, place: &str) -> io::Result<Options> {
    let line = format!("{words} --to {place} --warmup 0.05 --duration 0.2");
    Options::parse(line.split_whitespace().map(str::to_owned))
}

fn unix_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("ferroloop-benches-{}-{name}", std::process::id()))
}

fn assert_all_echoed(address: &str) -> io::Result<()> {
    let place = serve(address)?;
    for words in [
        "echo --size 1",
        "echo --size 1024 --line",
        "echo --size 3000000 --connections 3",
    ] {
        let report = echo::run(&options(&format!("{words} --verify"), &place)?)?;
        assert!(report.done > 0 && report.errors == 0, "{words}: {report}");
        assert_eq!(report.done, report.latency.len());
    }
    Ok(())
}

#[test]
fn every_message_comes_back_over_tcp() -> io::Result<()> {
    assert_all_echoed("127.0.0.1:0")
}

#[test]
fn every_message_comes_back_over_a_unix_socket() -> io::Result<()> {
    let path = unix_path("echo");
    let result = assert_all_echoed(&path.to_string_lossy());
    std::fs::remove_file(path)?;
    result
}

#[test]
fn connections_are_made_and_dropped() -> io::Result<()> {
    let report = connect::run(&options("connect --connections 4", &serve("127.0.0.1:0")?)?)?;
    assert!(report.done > 0 && report.errors == 0, "{report}");
    Ok(())
}

#[test]
fn a_server_that_says_something_else_is_an_error() -> io::Result<()> {
    let place = serve("127.0.0.1:0")?;
    let report = http::run(&options("http --connections 1", &place)?)?;
    assert!(report.done == 0 && report.errors > 0, "{report}");
    Ok(())
}

#[test]
fn a_rate_is_kept() -> io::Result<()> {
    let place = serve("127.0.0.1:0")?;
    let mut options = options("echo --connections 4 --rate 200", &place)?;
    options.duration = std::time::Duration::from_millis(500);
    let report = echo::run(&options)?;
    assert!(report.done > 0 && report.errors == 0, "{report}");
    Ok(())
}

#[test]
fn no_server_is_an_error() -> io::Result<()> {
    assert!(echo::run(&options("echo", &unix_path("nobody").to_string_lossy())?).is_err());
    Ok(())
}

#[test]
fn requests_are_answered_by_servers_that_share_a_port() -> io::Result<()> {
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let (floors, place) = Floor::bind_several(any, 2, Answer::Http)?;
    for mut floor in floors {
        thread::spawn(move || floor.serve());
    }
    let report = http::run(&options("http --connections 8", &place.to_string())?)?;
    assert!(report.done > 0 && report.errors == 0, "{report}");
    Ok(())
}

#[test]
fn messages_come_back_within_each_thread() -> io::Result<()> {
    let duration = std::time::Duration::from_millis(50);
    for kind in [loopback::Kind::Tcp, loopback::Kind::Unix] {
        assert!(loopback::summed_rate(kind, 2, duration)? > 0.0);
    }
    Ok(())
}
