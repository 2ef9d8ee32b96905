//! What was measured on.

use std::fs;

use procfs::{CpuInfo, Current as _, Meminfo};

/// Lines of a table: name and value.
pub(crate) fn described() -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let Ok(cpu) = CpuInfo::current() {
        let model = cpu.model_name(0).unwrap_or("of unknown model").to_owned();
        let virtual_ = cpu.flags(0).is_some_and(|flags| flags.contains(&"hypervisor"));
        let where_ = if virtual_ { ", virtual machine" } else { "" };
        lines.push(("CPU", format!("{model}, {} cores{where_}", cpu.num_cores())));
    }
    if let Ok(memory) = Meminfo::current() {
        lines.push(("Memory", format!("{:.0} GiB", memory.mem_total as f64 / f64::from(1 << 30))));
    }
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    lines.push(("System", format!("Linux {}", kernel.trim())));
    lines
}

/// Today, in UTC.
pub(crate) fn date() -> String {
    time::OffsetDateTime::now_utc().date().to_string()
}
