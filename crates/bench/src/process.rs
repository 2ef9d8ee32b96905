//! What the system says of a process: its CPU time and its memory.

use std::ops::Sub;

use procfs::process::Process;
use serde::Serialize;

use crate::Error;

/// The processes that make up the server; none where nobody said which.
#[derive(Debug, Default)]
pub(crate) struct Server(Vec<Process>);

impl Server {
    pub(crate) fn find(pids: &[i32]) -> Result<Self, Error> {
        let find = |&pid| {
            let process = Process::new(pid).and_then(|process| process.stat().map(|_| process));
            process.map_err(|source| Error::Process { pid, source })
        };
        pids.iter().map(find).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn is_known(&self) -> bool {
        !self.0.is_empty()
    }

    /// CPU time until now, of all threads, those that ended included.
    pub(crate) fn cpu(&self) -> Cpu {
        self.0.iter().map(cpu).fold(Cpu::default(), |sum, cpu| Cpu {
            user: sum.user + cpu.user,
            system: sum.system + cpu.system,
        })
    }

    /// Memory now.
    pub(crate) fn memory(&self) -> Memory {
        self.0.iter().map(memory).fold(Memory::default(), |sum, memory| Memory {
            resident: sum.resident + memory.resident,
            proportional: sum.proportional + memory.proportional,
            anonymous: sum.anonymous + memory.anonymous,
        })
    }
}

/// CPU time, in microseconds. The system counts it in ticks of 10 ms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Cpu {
    /// In the program.
    pub user: f64,
    /// In the kernel on its behalf.
    pub system: f64,
}

impl Cpu {
    /// This process's until now.
    pub(crate) fn own() -> Self {
        Process::myself().map(|own| cpu(&own)).unwrap_or_default()
    }

    /// Both together.
    pub fn total(self) -> f64 {
        self.user + self.system
    }

    /// Shared among `n`.
    pub(crate) fn per(self, n: u64) -> Self {
        let n = n.max(1) as f64;
        Self { user: self.user / n, system: self.system / n }
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { user: self.user - before.user, system: self.system - before.system }
    }
}

/// A process's memory, in bytes, without what the kernel keeps for its sockets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// What is in memory (RSS).
    pub resident: u64,
    /// The same, with pages that several processes share counted in parts (PSS).
    pub proportional: u64,
    /// What of that is of no file (`Pss_Anon`): the program's own part of its code and libraries depends on who else
    /// runs them, and changes while others come and go.
    pub anonymous: u64,
}

fn cpu(process: &Process) -> Cpu {
    let us = |ticks: u64| ticks as f64 * 1e6 / procfs::ticks_per_second() as f64;
    process.stat().map(|stat| Cpu { user: us(stat.utime), system: us(stat.stime) }).unwrap_or_default()
}

fn memory(process: &Process) -> Memory {
    let rollup = process.smaps_rollup().ok();
    let map = rollup.as_ref().and_then(|rollup| rollup.memory_map_rollup.iter().next());
    let figure = |name: &str| map.and_then(|map| map.extension.map.get(name).copied());
    let resident = process.status().ok().and_then(|status| status.vmrss).unwrap_or(0) * 1024;
    let proportional = figure("Pss").unwrap_or(resident);
    Memory { resident, proportional, anonymous: figure("Pss_Anon").unwrap_or(proportional) }
}

#[cfg(test)]
mod tests {
    use super::{Cpu, Server};

    #[test]
    fn a_process_is_measured() {
        let own = Server::find(&[std::process::id() as i32]).unwrap();
        let (before, memory) = (Cpu::own(), own.memory());
        assert!(memory.proportional > 100_000 && memory.resident >= memory.proportional / 2, "{memory:?}");
        let mut x = 1u64;
        while (own.cpu() - before).total() < 20_000.0 {
            (0..1_000_000).for_each(|n| x = std::hint::black_box(x.wrapping_mul(31) + n));
        }
        assert!(Cpu::own().total() - before.total() >= 20_000.0);
        let held = vec![1u8; 32 << 20];
        assert!(own.memory().proportional >= memory.proportional + (30 << 20));
        drop(held);
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        let error = Server::find(&[i32::MAX]).unwrap_err().to_string();
        assert!(error.contains(&i32::MAX.to_string()), "{error}");
    }
}
