//! Accelerators that an operator declares, because the agent cannot find them by itself. They are not measured: what jobs
//! asked for is what counts as taken.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::ensure;
use serde::Deserialize;
use titan_api::{agents::Gpu, limits};

/// One of them, as the settings file has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accelerator {
    /// A name that is unique on the box; jobs see it in `devices`.
    pub id: String,
    /// What it is, for people.
    #[serde(default)]
    pub name: String,
    /// Its memory, megabytes.
    pub memory_mb: u64,
    /// The environment variable by which a program is told what it may use, for example `HIP_VISIBLE_DEVICES`.
    #[serde(default)]
    pub variable: Option<String>,
    /// What stands for this one in that variable, for example `0`; the id by default.
    #[serde(default)]
    pub value: Option<String>,
}

/// The accelerators of a box, and how its jobs get to see those that they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Devices {
    /// Whether the box has GPUs of NVIDIA.
    pub has_cuda: bool,
    /// The others.
    pub declared: Vec<Accelerator>,
}

impl Accelerator {
    /// Refuses what makes no sense.
    ///
    /// # Errors
    /// Says which is wrong, and how.
    pub(crate) fn check(all: &[Self]) -> anyhow::Result<()> {
        let mut ids = BTreeSet::new();
        for one in all {
            let id = &one.id;
            let good = (1..=limits::LABEL_BYTES).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b':'));
            ensure!(good, "the id `{id}` of an accelerator must be 1 to 128 characters of A-Z a-z 0-9 . _ - :");
            ensure!(ids.insert(id), "two accelerators have the id `{id}`");
            let most = limits::MEMORY_MB;
            ensure!(
                (1..=most).contains(&one.memory_mb),
                "the accelerator `{id}` must have a memory_mb from 1 to {most}"
            );
            let printable = |text: &str| text.len() <= limits::LABEL_BYTES && !text.chars().any(char::is_control);
            ensure!(printable(&one.name), "the name of the accelerator `{id}` must be printable and at most 128 bytes");
            let variable = one.variable.as_deref().unwrap_or("X");
            let named = !variable.is_empty() && variable.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            ensure!(named, "`{variable}` cannot be the variable of the accelerator `{id}`");
            ensure!(variable != "CUDA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES is set for NVIDIA's GPUs by the agent");
            let value = one.value.as_deref().unwrap_or("0");
            ensure!(
                printable(value) && !value.is_empty() && !value.contains(','),
                "the value of the accelerator `{id}` must be printable and hold no comma"
            );
        }
        ensure!(all.len() <= limits::GPUS, "{} accelerators are declared; a box may have {}", all.len(), limits::GPUS);
        Ok(())
    }

    /// As the coordinator gets to know it.
    pub(crate) fn gpu(&self) -> Gpu {
        let name = if self.name.is_empty() { &self.id } else { &self.name };
        Gpu { uuid: self.id.clone(), name: name.clone(), vram_mb: self.memory_mb }
    }
}

impl Devices {
    /// The variables that show a job the devices that it was `given`, and hide all others of their kind.
    pub(crate) fn variables(&self, given: &[String]) -> BTreeMap<String, String> {
        let mut all: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for one in &self.declared {
            let Some(variable) = &one.variable else { continue };
            let visible = all.entry(variable.clone()).or_default();
            if given.contains(&one.id) {
                visible.push(one.value.as_deref().unwrap_or(&one.id));
            }
        }
        let cuda: Vec<_> =
            given.iter().map(String::as_str).filter(|id| self.declared.iter().all(|one| one.id != *id)).collect();
        if self.has_cuda || !cuda.is_empty() {
            // Empty hides all GPUs from a job that was given none.
            all.insert("CUDA_VISIBLE_DEVICES".to_owned(), cuda);
        }
        all.into_iter().map(|(variable, visible)| (variable, visible.join(","))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amd(id: &str, value: Option<&str>) -> Accelerator {
        let variable = Some("HIP_VISIBLE_DEVICES".to_owned());
        Accelerator { id: id.into(), memory_mb: 1, variable, value: value.map(Into::into), ..Accelerator::default() }
    }

    fn given(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn a_job_sees_of_each_kind_what_it_was_given() {
        let mute = Accelerator { id: "fpga".into(), memory_mb: 1, ..Accelerator::default() };
        let devices = Devices { has_cuda: true, declared: vec![amd("amd-0", Some("0")), amd("amd-1", None), mute] };
        let seen = |ids: &[&str]| {
            let variables = devices.variables(&given(ids));
            (variables["CUDA_VISIBLE_DEVICES"].clone(), variables["HIP_VISIBLE_DEVICES"].clone())
        };
        assert_eq!(seen(&[]), (String::new(), String::new()));
        assert_eq!(seen(&["GPU-1", "amd-1", "amd-0", "fpga"]), ("GPU-1".into(), "0,amd-1".into()));
        assert!(Devices::default().variables(&[]).is_empty());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let complaint =
            |all: &[Accelerator]| Accelerator::check(all).map_or_else(|e| e.to_string(), |()| String::new());
        assert_eq!(complaint(&[amd("a", None), amd("b", Some("GPU 1"))]), "");
        assert!(complaint(&[amd("a b", None)]).contains("`a b`"));
        assert!(complaint(&[amd("a", None), amd("a", None)]).contains("two accelerators"));
        assert!(complaint(&[Accelerator { memory_mb: 0, ..amd("a", None) }]).contains("memory_mb"));
        assert!(complaint(&[amd("a", Some("0,1"))]).contains("no comma"));
        let variable = |name: &str| Accelerator { variable: Some(name.into()), ..amd("a", None) };
        assert!(complaint(&[variable("A=B")]).contains("`A=B`"));
        assert!(complaint(&[variable("CUDA_VISIBLE_DEVICES")]).contains("by the agent"));
    }
}
