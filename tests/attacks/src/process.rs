//! What Linux knows of a process.

use std::fs;
use std::io;

/// A running process, looked at from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// Resident memory, in KiB.
    pub(crate) fn resident(self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most resident memory since [`Process::forget_peak`], in KiB.
    pub(crate) fn peak(self) -> u64 {
        self.status("VmHWM:")
    }

    /// Begins to look for the peak anew.
    pub(crate) fn forget_peak(self) {
        // Not permitted in some sandboxes: the peak is then the process's whole life's, which is stricter.
        let _ = fs::write(format!("/proc/{}/clear_refs", self.0), "5");
    }

    /// Open descriptors.
    pub(crate) fn descriptors(self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0)).map_or(0, Iterator::count)
    }

    /// Time it has spent on a CPU, in hundredths of a second.
    pub(crate) fn cpu(self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        // The name, in brackets, may hold anything: what counts comes after it (proc(5)).
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        after.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
    }

    fn status(self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }
}

/// Lets everybody else go before the calling thread: an attacker is not to take the CPU that the healthy
/// clients and the server need, for it would have a machine of its own.
pub(crate) fn step_back() -> io::Result<()> {
    let me = fs::read_link("/proc/thread-self")?;
    let thread = me.file_name().ok_or(io::ErrorKind::NotFound)?;
    let mut renice = std::process::Command::new("renice");
    renice.args(["-n", "19", "-p"]).arg(thread).stdout(std::process::Stdio::null());
    renice.status().map(|_| ())
}
