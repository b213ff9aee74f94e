//! What a run found, and its JSON.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use crate::histogram::Histogram;

/// The counts of one run.
#[derive(Debug, Default)]
pub struct Report {
    /// Messages, responses or connections completed while counting.
    pub done: u64,
    /// Bytes received while counting.
    pub bytes: u64,
    /// Wrong answers, resets, early ends.
    pub errors: u64,
    /// The first error's text.
    pub first_error: Option<String>,
    /// Requests that were due and had no answer at the end; 0 without a rate.
    pub behind: u64,
    /// How long the counting took.
    pub elapsed: Duration,
    /// From sending a message to having its whole answer.
    pub latency: Histogram,
}

impl Report {
    /// Counts one completed message.
    pub fn complete(&mut self, latency: Duration) {
        self.done += 1;
        self.latency.record(latency);
    }

    /// Counts one failure and keeps the text of the first.
    pub fn fail(&mut self, what: &dyn fmt::Display) {
        self.errors += 1;
        if self.first_error.is_none() {
            self.first_error = Some(what.to_string());
        }
    }

    /// Forgets the warm-up's counts; its errors stay.
    pub fn start_counting(&mut self) {
        self.done = 0;
        self.bytes = 0;
        self.latency.clear();
    }

    #[allow(clippy::cast_precision_loss, reason = "no run completes 2^53 messages")]
    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{{\"per_second\": {:.1}, \"done\": {}, \"seconds\": {:.4}, \"bytes_per_second\": {:.0}, ",
            self.per_second(self.done),
            self.done,
            self.elapsed.as_secs_f64(),
            self.per_second(self.bytes),
        )?;
        write!(out, "\"latency_us\": {{")?;
        for (name, per_mille) in [("p50", 500), ("p90", 900), ("p99", 990), ("p999", 999)] {
            write!(
                out,
                "\"{name}\": {:.1}, ",
                self.latency.percentile_us(per_mille)
            )?;
        }
        write!(
            out,
            "\"max\": {:.1}}}, \"behind\": {}, \"errors\": {}, ",
            self.latency.longest_us(),
            self.behind,
            self.errors
        )?;
        match &self.first_error {
            Some(text) => write!(out, "\"first_error\": \"{}\"}}", escape(text)),
            None => write!(out, "\"first_error\": null}}"),
        }
    }
}

/// The exit code of a program that ends with `outcome`; an error is written to stderr.
pub fn exit_code(program: &str, outcome: io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{program}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn escape(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '"' | '\\' | '\0'..='\x1f' => ' ',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_json_whatever_the_error_says() {
        let mut report = Report {
            elapsed: Duration::from_secs(2),
            ..Report::default()
        };
        report.complete(Duration::from_micros(10));
        report.fail(&"a \"quoted\"\nline");
        let text = report.to_string();
        assert!(
            text.starts_with("{\"per_second\": 0.5, \"done\": 1,"),
            "{text}"
        );
        assert!(
            text.ends_with("\"errors\": 1, \"first_error\": \"a  quoted  line\"}"),
            "{text}"
        );
    }
}
