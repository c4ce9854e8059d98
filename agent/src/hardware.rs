//! What this box is and has, and what it has left.

mod accelerators;
mod facts;
mod gpus;
mod meter;
mod programs;

pub use accelerators::Accelerator;
pub(crate) use accelerators::Devices;
pub(crate) use facts::{Detected, boot_id};
pub(crate) use gpus::{Diagnosis, GpuMeasures, Gpus, diagnose};
pub(crate) use meter::Meter;

const MB: u64 = 1_024 * 1_024;
