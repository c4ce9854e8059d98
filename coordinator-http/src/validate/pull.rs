//! Models that clients have pulled.

use titan_api::pull::PullModel;

use super::{Findings, Validate};

impl Validate for PullModel {
    fn check(&self, f: &mut Findings) {
        f.model_name("model", &self.model);
    }
}
