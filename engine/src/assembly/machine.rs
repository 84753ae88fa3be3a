//! What this machine, or the container we are in, is like.

use std::net::{IpAddr, UdpSocket};
use std::path::Path;

/// Memory that this process may use: the least limit of the container or control group it is in, else the machine's. Unit:
/// bytes; 0 if neither is known.
pub fn memory_bytes() -> u64 {
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
    let files = limit_files(&read("/proc/self/cgroup"));
    let limits: Vec<u64> =
        files.iter().map(|path| read(path).trim().parse::<u64>().unwrap_or(u64::MAX)).collect();
    smallest(&limits, total_of(&read("/proc/meminfo")))
}

/// Space of the volume that a path is on, or that the nearest folder above it is on that exists. Unit: bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// What anybody has stored.
    pub used: u64,
    /// The same and what this process may still store.
    pub limit: u64,
}

/// How full the volume of `path` is; `None` if the operating system does not say.
pub fn disk(path: &Path) -> Option<Disk> {
    let space = path.ancestors().find_map(|folder| rustix::fs::statvfs(folder).ok())?;
    let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
    let used = bytes(space.f_blocks.saturating_sub(space.f_bfree));
    // What only root may use is not space for us.
    Some(Disk { used, limit: used.saturating_add(bytes(space.f_bavail)) })
}

/// Where limits of memory stand: those of the groups in the kernel's page about this process and of all groups around
/// them, and those of the container whose root the group is.
fn limit_files(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        let mut group = group.trim_end_matches('/');
        loop {
            files.push(format!("{root}{group}/{file}"));
            let Some((around, _)) = group.rsplit_once('/') else { break };
            group = around;
        }
    }
    files
}

fn smallest(limits: &[u64], total: Option<u64>) -> u64 {
    let least = limits.iter().copied().chain(total).min().unwrap_or(u64::MAX);
    if least == u64::MAX { 0 } else { least }
}

/// `MemTotal` of the kernel's page about memory.
fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The address of this machine that others reach it by: the one that a packet to anywhere would leave from.
pub fn own_ip() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: connecting a datagram socket only chooses the way.
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// The name of this machine or pod, for people.
pub fn host() -> String {
    let named = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
    let kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    named.or_else(kernel).map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::{limit_files, smallest, total_of};

    #[test]
    fn limits_of_all_groups_around_the_process_are_looked_at() {
        let of = |groups| limit_files(groups);

        assert_eq!(
            of("0::/a/b\n"),
            ["/sys/fs/cgroup/a/b/memory.max", "/sys/fs/cgroup/a/memory.max", "/sys/fs/cgroup/memory.max"]
        );
        assert_eq!(of("0::/\n"), ["/sys/fs/cgroup/memory.max"]);
        let old = "5:cpu:/x\n4:memory:/x\n";
        assert_eq!(
            of(old),
            ["/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        );
    }

    #[test]
    fn the_smallest_limit_counts() {
        let total = total_of("MemTotal:       24689764 kB\nMemFree: 1 kB\n");

        assert_eq!(total, Some(24_689_764 * 1024));
        assert_eq!(smallest(&[u64::MAX, 1 << 30], total), 1 << 30);
        assert_eq!(smallest(&[u64::MAX, 9_223_372_036_854_771_712], total), 24_689_764 * 1024);
        assert_eq!(smallest(&[u64::MAX], None), 0);
    }
}
