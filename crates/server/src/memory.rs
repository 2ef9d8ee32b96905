//! The memory that the process takes, and that it may take, as Linux tells it.

use std::fs;
use std::path::Path;

use tidegate_core::Admission;

/// Tells admission what memory the node takes.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    over: bool,
}

impl Watch {
    /// To be called about once a second. Reads nothing where memory is not limited.
    pub(crate) fn watch(&mut self, admission: &Admission) {
        let Some(limit) = admission.caps().memory else { return };
        let Some(bytes) = resident() else { return };
        admission.measured(bytes);
        // Said once when it begins, and once when it is over.
        if self.over != (bytes > limit) {
            self.over = !self.over;
            if self.over {
                tracing::warn!(bytes, limit, "more memory than node.resident_limit: newcomers are refused");
            } else {
                tracing::info!(bytes, limit, "less memory than node.resident_limit again");
            }
        }
    }
}

/// Bytes of physical memory that this process takes; `None` where the system does not tell.
pub(crate) fn resident() -> Option<usize> {
    field(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Bytes of physical memory that this process may take: the machine's, or less where its control group, or
/// one above it, has less. `None` where the system does not tell.
pub(crate) fn available() -> Option<usize> {
    let machine = field(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    Some(limits(&groups, Path::new("/sys/fs/cgroup")).fold(machine, usize::min))
}

/// The limits of the control groups that the process is in, of both versions.
fn limits<'a>(groups: &'a str, root: &'a Path) -> impl Iterator<Item = usize> + 'a {
    groups.lines().flat_map(move |line| {
        // hierarchy:controllers:path
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (root, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            "memory" => (root.join("memory"), "memory.limit_in_bytes"),
            _ => (root.to_owned(), "none"),
        };
        let own = root.join(path.trim_start_matches('/'));
        // In a container the path may be that of the host, of which only the root is to be seen.
        let above: Vec<_> =
            own.ancestors().take_while(|at| at.starts_with(&root)).map(Path::to_owned).collect();
        above.into_iter().filter_map(move |at| fs::read_to_string(at.join(file)).ok()?.trim().parse().ok())
    })
}

/// A field in kibibytes, as `/proc` writes it.
fn field(text: &str, name: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read() {
        let text = "VmPeak:\t  9 kB\nVmRSS:\t   12 kB\nRssAnon: 3 kB\n";
        assert_eq!(field(text, "VmRSS:"), Some(12 * 1024));
        assert_eq!(field(text, "VmSwap:"), None);
        assert_eq!(field("VmRSS:\t12\n", "VmRSS:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_takes_memory_and_less_than_there_is() {
        let before = resident().expect("Linux tells");
        let held = vec![1u8; 32 << 20];
        let after = resident().expect("Linux tells");
        assert!(after >= before + (24 << 20), "{before} -> {after}");
        assert!(after < available().expect("Linux tells"));
        drop(held);
    }

    #[test]
    fn the_tightest_control_group_counts() {
        let root = std::env::temp_dir().join(format!("tidegate-groups-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
            fs::write(path, text).expect("a file");
        };
        write("memory.max", "max\n");
        write("a/memory.max", "5000\n");
        write("a/b/memory.max", "7000\n");
        write("memory/c/memory.limit_in_bytes", "6000\n");
        let found: Vec<_> = limits("5:cpu:/x\n4:memory:/c\n0::/a/b\n", &root).collect();
        assert_eq!(found, [6000, 7000, 5000]);
        // Of a path that cannot be seen, what is above it.
        assert_eq!(limits("0::/a/unknown\n", &root).collect::<Vec<_>>(), [5000]);
        fs::remove_dir_all(&root).expect("the test's own");
    }
}
