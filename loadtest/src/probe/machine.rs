//! The machine that figures were measured on, and how busy it was.

use std::fs;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_mb: u64,
    pub kernel: String,
    /// Runnable processes, averaged over the last minute, before and after.
    pub load_before: f64,
    pub load_after: f64,
    /// Cores that everything else on the machine used meanwhile, on average.
    pub others_cores: f64,
}

impl Machine {
    /// As it is now. What Linux does not tell stays empty.
    pub fn now() -> Machine {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let after = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key));
            line.and_then(|line| line.split_once(':'))
                .map(|(_, value)| value.trim().to_owned())
                .unwrap_or_default()
        };
        let memory = after(&read("/proc/meminfo"), "MemTotal");
        let kib: u64 = memory.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
        Machine {
            cpu: after(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mb: kib / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: load(),
            load_after: load(),
            others_cores: 0.0,
        }
    }

    /// With what is known in the end.
    #[must_use]
    pub fn after(mut self, others_cores: f64) -> Machine {
        self.load_after = load();
        self.others_cores = others_cores;
        self
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} cores of {}, {} MB, Linux {}; load {:.1} before and {:.1} after, others used {:.2} cores",
            self.cores,
            self.cpu,
            self.memory_mb,
            self.kernel,
            self.load_before,
            self.load_after,
            self.others_cores
        )
    }
}

fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}
