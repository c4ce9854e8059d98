//! What the operator wants jobs to be held to.

use anyhow::ensure;
use titan_api::limits;

use super::RunArgs;
use crate::cgroups::{Bounds, MAX_PROCESSES};

/// No program begins with less, MiB.
const LEAST_RAM_MB: u64 = 4;
/// The kernel gives out no smaller part of a CPU.
const LEAST_CPUS: f64 = 0.01;

/// Checks these settings together.
///
/// # Errors
/// Says which is wrong and what to do about it.
pub(super) fn of(args: &RunArgs) -> anyhow::Result<Bounds> {
    let bounds = Bounds {
        default_ram_mb: args.default_ram_mb,
        default_cpus: args.default_cpus,
        max_ram_mb: args.max_ram_mb,
        max_cpus: args.max_cpus,
        max_processes: Some(args.max_processes.unwrap_or(MAX_PROCESSES)),
    };
    check(&bounds, &["--default-ram-mb", "--default-cpus", "--max-ram-mb", "--max-cpus", "--max-processes"])?;
    let is_over =
        |default: Option<f64>, most: Option<f64>| default.zip(most).is_some_and(|(default, most)| default > most);
    ensure!(
        bounds.default_ram_mb <= bounds.max_ram_mb || bounds.max_ram_mb.is_none(),
        "--default-ram-mb is more than --max-ram-mb: no job may have more than that"
    );
    ensure!(
        !is_over(bounds.default_cpus, bounds.max_cpus),
        "--default-cpus is more than --max-cpus: no job may have more than that"
    );
    Ok(bounds)
}

/// Checks each of them by itself; `names` has what each is called, in the order of the fields.
///
/// # Errors
/// Says which is wrong and what it must be.
pub(crate) fn check(bounds: &Bounds, names: &[&str; 5]) -> anyhow::Result<()> {
    for (ram_mb, name) in [(bounds.default_ram_mb, names[0]), (bounds.max_ram_mb, names[2])] {
        let most = limits::MEMORY_MB;
        let fits = ram_mb.is_none_or(|ram_mb| (LEAST_RAM_MB..=most).contains(&ram_mb));
        ensure!(fits, "{name} must be from {LEAST_RAM_MB} to {most} MiB");
    }
    for (cpus, name) in [(bounds.default_cpus, names[1]), (bounds.max_cpus, names[3])] {
        let fits = cpus.is_none_or(|cpus| (LEAST_CPUS..=limits::CPUS).contains(&cpus));
        ensure!(fits, "{name} must be from {LEAST_CPUS} to {}", limits::CPUS);
    }
    ensure!(bounds.max_processes != Some(0), "{} must be at least 1", names[4]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut RunArgs)) -> String {
        let mut args = RunArgs::default();
        change(&mut args);
        format!("{:#}", of(&args).unwrap_err())
    }

    #[test]
    fn only_processes_are_bounded_unless_the_operator_says_more() {
        let bounds = of(&RunArgs::default()).unwrap();
        assert_eq!(bounds, Bounds { max_processes: Some(MAX_PROCESSES), ..Bounds::default() });
    }

    #[test]
    fn bounds_that_make_no_sense_are_named() {
        assert!(refusal(|a| a.max_ram_mb = Some(0)).contains("--max-ram-mb must be from 4"));
        assert!(refusal(|a| a.default_ram_mb = Some(u64::MAX)).contains("--default-ram-mb"));
        assert!(refusal(|a| a.max_cpus = Some(f64::NAN)).contains("--max-cpus must be from 0.01"));
        assert!(refusal(|a| a.default_cpus = Some(-1.0)).contains("--default-cpus"));
        assert!(refusal(|a| a.max_processes = Some(0)).contains("--max-processes must be at least 1"));
        let over = refusal(|a| (a.default_ram_mb, a.max_ram_mb) = (Some(9), Some(8)));
        assert!(over.contains("more than --max-ram-mb"), "{over}");
        assert!(refusal(|a| (a.default_cpus, a.max_cpus) = (Some(2.0), Some(1.0))).contains("more than --max-cpus"));
    }
}
