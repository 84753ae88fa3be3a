//! What the operating system says about this process. Nothing where there is no `/proc`.

use std::fmt::Write as _;

use super::names;

/// Clock ticks per second in `/proc/self/stat`; 100 on every Linux that we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What the operating system says that this process takes; `None` of what it does not say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessFigures {
    /// Memory but for pages of files, which the system gives up when memory is short. Unit: bytes.
    pub held_bytes: Option<u64>,
    /// User and system time of all threads since the start. Unit: seconds.
    pub cpu_seconds: Option<f64>,
}

impl ProcessFigures {
    /// What it takes now.
    #[must_use]
    pub fn now() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            held_bytes: held_bytes(&read("/proc/self/status")).map(|bytes| bytes as u64),
            cpu_seconds: cpu_seconds(&read("/proc/self/stat")),
        }
    }
}

/// Appends the process's own metrics to `text` in Prometheus's format; leaves out what cannot be read.
pub(super) fn encode(text: &mut String) {
    let line = |text: &mut String, (name, help): (&str, &str), kind: &str, number: f64| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {number}");
    };
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(bytes) = resident_bytes(&status) {
        line(text, (names::PROCESS_RESIDENT_MEMORY_BYTES, "Resident memory size in bytes."), "gauge", bytes);
    }
    if let Some(bytes) = held_bytes(&status) {
        let help = "Memory of this process in bytes, without what the system can read of files again.";
        line(text, (names::MEMORY_USED_BYTES, help), "gauge", bytes);
    }
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        // One of them is the directory being read.
        let open = entries.count().saturating_sub(1);
        line(
            text,
            (names::PROCESS_OPEN_FDS, "Number of open file descriptors."),
            "gauge",
            f64::from(u32::try_from(open).unwrap_or(u32::MAX)),
        );
    }
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    if let Some(seconds) = cpu_seconds(&stat) {
        line(
            text,
            (names::PROCESS_CPU_SECONDS_TOTAL, "Total user and system CPU time spent in seconds."),
            "counter",
            seconds,
        );
    }
}

/// Memory of all kinds. Unit: bytes.
fn resident_bytes(status: &str) -> Option<f64> {
    bytes_of(status, "VmRSS:")
}

/// Memory but for pages of files, which the system gives up when memory is short: vectors that lie on the disk are such. Unit: bytes.
fn held_bytes(status: &str) -> Option<f64> {
    Some(bytes_of(status, "RssAnon:")? + bytes_of(status, "RssShmem:")?)
}

/// A line such as `VmRSS:  123 kB` of `/proc/self/status`. Unit: bytes.
fn bytes_of(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<f64>().ok().map(|kib| kib * 1024.0)
}

/// User and system time of `/proc/self/stat`, its fields 14 and 15. Unit: s.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The second field is the name in parentheses and may hold spaces.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user = fields.next()?.parse::<f64>().ok()?;
    let system = fields.next()?.parse::<f64>().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_help_and_kind() {
        let mut text = String::new();
        encode(&mut text);

        let lines: Vec<&str> = text.lines().collect();
        for number in lines.iter().filter(|line| !line.starts_with('#')) {
            let name = number.split(' ').next().unwrap();
            for kind in ["HELP", "TYPE"] {
                let said = format!("# {kind} {name} ");
                assert!(lines.iter().any(|line| line.starts_with(&said)), "{said} is not in {text}");
            }
        }
    }

    #[test]
    fn memory_and_time_are_read_from_the_kernels_text() {
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t   12 kB\n"), Some(12288.0));
        let status = "VmRSS:\t 30 kB\nRssAnon:\t 12 kB\nRssFile:\t 17 kB\nRssShmem:\t 1 kB\n";
        assert_eq!(held_bytes(status), Some(13_312.0));
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        assert_eq!(cpu_seconds(stat), Some(2.0));
    }
}
