//! The way in for GPUs: whoever can see some says which there are and what each has left.

use titan_api::agents::{Gpu, GpuMeasure};

/// A source of GPUs.
pub(crate) trait Gpus: Send + Sync + std::fmt::Debug {
    /// Those there are. Asked once, when the agent starts.
    fn list(&self) -> Vec<Gpu>;

    /// What each of them has left now.
    fn measure(&self) -> Vec<GpuMeasure>;
}

/// The GPUs of a box on which no driver was found that this build can ask.
#[derive(Debug)]
struct NoGpus;

impl Gpus for NoGpus {
    fn list(&self) -> Vec<Gpu> {
        Vec::new()
    }

    fn measure(&self) -> Vec<GpuMeasure> {
        Vec::new()
    }
}

/// The source of GPUs that works on this box.
pub(crate) fn detect() -> Box<dyn Gpus> {
    Box::new(NoGpus)
}
