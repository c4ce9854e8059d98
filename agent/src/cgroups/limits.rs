//! What a job is held to: what it asked for, within what the operator of the box allows.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::What;

/// Processes that a job may have unless the operator says otherwise: enough for the threads of any training on one box,
/// and few enough that a program gone wild stops before the box does.
pub(crate) const MAX_PROCESSES: u64 = 16_384;

/// What one job is held to, as far as the box can.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Limits {
    /// Main memory, MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ram_mb: Option<u64>,
    /// CPUs at the same time, in fractions if need be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Processes at the same time, each thread counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
}

/// What the operator of the box wants jobs to be held to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Bounds {
    /// For jobs that ask for none.
    pub default_ram_mb: Option<u64>,
    pub default_cpus: Option<f64>,
    pub max_ram_mb: Option<u64>,
    pub max_cpus: Option<f64>,
    pub max_processes: Option<u64>,
}

impl Bounds {
    /// Whether somebody has said how much of it jobs may have.
    pub(crate) fn says(&self, what: What) -> bool {
        match what {
            What::Ram => self.default_ram_mb.or(self.max_ram_mb).is_some(),
            What::Cpus => self.default_cpus.or(self.max_cpus).is_some(),
            What::Processes => self.max_processes.is_some_and(|most| most != MAX_PROCESSES),
        }
    }

    /// These bounds, and the tighter ones of a rule.
    pub(crate) fn within(self, rule: &Self) -> Self {
        Self {
            default_ram_mb: rule.default_ram_mb.or(self.default_ram_mb),
            default_cpus: rule.default_cpus.or(self.default_cpus),
            max_ram_mb: tighter(self.max_ram_mb, rule.max_ram_mb),
            max_cpus: tighter(self.max_cpus, rule.max_cpus),
            max_processes: tighter(self.max_processes, rule.max_processes),
        }
    }

    /// What a job is held to that asked for so much; 0 asks for nothing.
    ///
    /// # Errors
    /// It asks for more than a job may have here. Given less, it would only fail later.
    pub(crate) fn limits(self, ram_mb: u64, cpus: f64) -> Result<Limits, String> {
        let (ram_mb, cpus) = (Some(ram_mb).filter(|asked| *asked > 0), Some(cpus).filter(|asked| *asked > 0.0));
        Ok(Limits {
            ram_mb: choose(ram_mb, self.default_ram_mb, self.max_ram_mb, "MiB of memory")?,
            cpus: choose(cpus, self.default_cpus, self.max_cpus, "CPUs")?,
            processes: self.max_processes,
        })
    }
}

fn tighter<T: PartialOrd>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other < one { other } else { one }),
        (one, other) => one.or(other),
    }
}

fn choose<T: PartialOrd + fmt::Display + Copy>(
    asked: Option<T>,
    default: Option<T>,
    most: Option<T>,
    of_what: &str,
) -> Result<Option<T>, String> {
    match (asked, most) {
        (Some(asked), Some(most)) if asked > most => {
            Err(format!("the operator of this box lets a job have {most} {of_what}, and this one asks for {asked}"))
        }
        (Some(asked), _) => Ok(Some(asked)),
        (None, most) => Ok(tighter(default, most)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        default_ram_mb: Some(1_000),
        default_cpus: None,
        max_ram_mb: Some(4_000),
        max_cpus: Some(2.0),
        max_processes: Some(500),
    };

    #[test]
    fn a_job_gets_what_it_asks_for_or_else_the_default() {
        let limits = BOUNDS.limits(3_000, 0.5).unwrap();
        assert_eq!(limits, Limits { ram_mb: Some(3_000), cpus: Some(0.5), processes: Some(500) });
        let limits = BOUNDS.limits(0, 0.0).unwrap();
        assert_eq!(limits, Limits { ram_mb: Some(1_000), cpus: Some(2.0), processes: Some(500) });
        assert_eq!(Bounds::default().limits(0, 0.0), Ok(Limits::default()), "nobody wants a limit");
    }

    #[test]
    fn a_job_that_asks_for_more_than_it_may_have_is_refused() {
        assert!(BOUNDS.limits(4_001, 0.0).unwrap_err().contains("4000 MiB of memory, and this one asks for 4001"));
        assert!(BOUNDS.limits(0, 2.5).unwrap_err().contains("2 CPUs"));
    }

    #[test]
    fn a_rule_can_only_tighten_what_a_job_may_have() {
        let rule = Bounds { max_ram_mb: Some(8_000), max_cpus: Some(1.0), ..Bounds::default() };
        let both = BOUNDS.within(&rule);
        assert_eq!((both.max_ram_mb, both.max_cpus, both.max_processes), (Some(4_000), Some(1.0), Some(500)));
    }
}
