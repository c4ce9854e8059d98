//! What agents say of themselves. It is hostile input: whoever holds a box can say anything.

use titan_api::{
    agents::{Facts, JoinRequest, Measures, Model, RegisterRequest},
    limits,
};

use super::{Findings, Validate};
use crate::auth::proof::public_key_bytes;

/// Longest round trip that is believed, milliseconds.
const RTT_MS: f64 = 600_000.0;
/// A measured part of a whole may come out a little over it.
const CPU_LOAD: f64 = 1.01;
/// More kinds of limits than there are.
const ENFORCED: usize = 16;
/// No GPU that works is hotter.
const TEMPERATURE_C: u32 = 1_000;

impl Validate for JoinRequest {
    fn check(&self, f: &mut Findings) {
        f.protocol(self.protocol);
        f.require(public_key_bytes(&self.public_key).is_some(), "public_key", || {
            "must be the 32 bytes of an Ed25519 public key in base64url without padding".to_owned()
        });
    }
}

impl Validate for RegisterRequest {
    fn check(&self, f: &mut Findings) {
        f.protocol(self.protocol);
        f.token("instance_id", &self.instance_id);
        f.at_most("running", self.running.len(), limits::LEASES);
        f.inside("facts", |f| self.facts.check(f));
    }
}

impl Validate for Facts {
    fn check(&self, f: &mut Findings) {
        f.name("hostname", &self.hostname, 255);
        f.name("os", &self.os, limits::LABEL_BYTES);
        f.name("arch", &self.arch, limits::LABEL_BYTES);
        f.name("version", &self.version, limits::LABEL_BYTES);
        f.text("cpu_model", &self.cpu_model, limits::TEXT_BYTES);
        f.text("boot_id", &self.boot_id, limits::LABEL_BYTES);
        f.within("cpus", f64::from(self.cpus), 1.0..=limits::CPUS);
        f.within("ram_mb", self.ram_mb, 1..=limits::MEMORY_MB);
        f.within("max_jobs", self.max_jobs, 1..=limits::MAX_JOBS);
        f.labels("labels", &self.labels);
        f.labels("versions", &self.versions);
        if let Some(endpoint) = &self.endpoint {
            let is_url = endpoint.starts_with("https://") || endpoint.starts_with("http://");
            f.require(is_url, "endpoint", || "must be an http or https URL".to_owned());
            f.name("endpoint", endpoint, limits::TEXT_BYTES);
        }
        f.at_most("enforces", self.enforces.len(), ENFORCED);
        f.each("enforces", &self.enforces, |f, what| f.token("", what));
        if let Some(price) = self.price_per_hour {
            f.within("price_per_hour", price, 0.0..=limits::PRICE_PER_HOUR);
        }
        check_devices(self, f);
        check_models(&self.models, f);
    }
}

fn check_devices(facts: &Facts, f: &mut Findings) {
    f.at_most("gpus", facts.gpus.len(), limits::GPUS);
    f.distinct("gpus", facts.gpus.iter().map(|gpu| gpu.uuid.as_str()));
    f.each("gpus", &facts.gpus, |f, gpu| {
        f.token("uuid", &gpu.uuid);
        f.text("name", &gpu.name, limits::TEXT_BYTES);
        f.within("vram_mb", gpu.vram_mb, 1..=limits::MEMORY_MB);
    });
}

/// An agent's models.
pub(super) fn check_models(models: &[Model], f: &mut Findings) {
    f.at_most("models", models.len(), limits::MODELS);
    f.distinct("models", models.iter().map(|model| model.name.as_str()));
    f.each("models", models, |f, model| {
        f.model_name("name", &model.name);
        f.within("vram_mb", model.vram_mb, 0..=limits::MEMORY_MB);
        f.within("parallel", model.parallel, 1..=limits::REQUESTS);
        f.text("backend", &model.backend, limits::LABEL_BYTES);
        f.within("size_mb", model.size_mb.unwrap_or(0), 0..=limits::MEMORY_MB);
    });
}

impl Validate for Measures {
    fn check(&self, f: &mut Findings) {
        f.at_most("gpus", self.gpus.len(), limits::GPUS);
        f.distinct("gpus", self.gpus.iter().map(|gpu| gpu.uuid.as_str()));
        f.each("gpus", &self.gpus, |f, gpu| {
            f.token("uuid", &gpu.uuid);
            f.within("free_mb", gpu.free_mb, 0..=limits::MEMORY_MB);
            f.within("used_by_attempts_mb", gpu.used_by_attempts_mb.unwrap_or(0), 0..=limits::MEMORY_MB);
            f.within("utilization", gpu.utilization.unwrap_or(0.0), 0.0..=1.0);
            f.within("temperature_c", gpu.temperature_c.unwrap_or(0), 0..=TEMPERATURE_C);
        });
        f.within("ram_free_mb", self.ram_free_mb.unwrap_or(0), 0..=limits::MEMORY_MB);
        f.within("cpu_load", self.cpu_load.unwrap_or(0.0), 0.0..=CPU_LOAD);
        f.within("rtt_ms", self.rtt_ms.unwrap_or(0.0), 0.0..=RTT_MS);
        f.at_most("seen", self.seen.len(), limits::LEASES);
        f.at_most("hindered_by", self.hindered_by.len(), limits::HINDRANCES);
        f.each("hindered_by", &self.hindered_by, |f, hindrance| {
            f.name("why", &hindrance.why, limits::HINDRANCE_BYTES);
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use titan_api::agents::GpuMeasure;

    use super::*;

    fn pointers(value: &impl Validate) -> Vec<String> {
        let mut findings = Findings::default();
        value.check(&mut findings);
        findings.errors.into_iter().map(|e| e.pointer).collect()
    }

    fn facts(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut facts = json!({
            "hostname": "box", "os": "linux", "arch": "x86_64", "cpus": 8, "ram_mb": 16_000, "max_jobs": 2, "version": "0.1.0",
        });
        change(&mut facts);
        pointers(&serde_json::from_value::<Facts>(facts).unwrap())
    }

    #[test]
    fn an_honest_box_is_believed() {
        assert_eq!(facts(|_| {}), [""; 0]);
        assert_eq!(facts(|b| b["gpus"] = json!([{"uuid": "GPU-1", "vram_mb": 24_000}])), [""; 0]);
    }

    #[test]
    fn a_box_that_brags_is_not_believed() {
        let gpu = |uuid: &str, vram_mb: u64| json!({"uuid": uuid, "vram_mb": vram_mb});
        assert_eq!(facts(|b| b["gpus"] = json!(vec![gpu("a", 1); 65])), ["/gpus", "/gpus"]);
        assert_eq!(facts(|b| b["gpus"] = json!([gpu("a", u64::MAX)])), ["/gpus/0/vram_mb"]);
        assert_eq!(facts(|b| b["gpus"] = json!([gpu("a,b", 1)])), ["/gpus/0/uuid"]);
        assert_eq!(facts(|b| b["ram_mb"] = json!(0)), ["/ram_mb"]);
        assert_eq!(facts(|b| b["cpus"] = json!(5_000)), ["/cpus"]);
        assert_eq!(facts(|b| b["max_jobs"] = json!(65)), ["/max_jobs"]);
        assert_eq!(facts(|b| b["hostname"] = json!("a\u{1b}[31m")), ["/hostname"]);
        assert_eq!(facts(|b| b["labels"] = json!({"*": "x", "y": "v".repeat(129)})), ["/labels/*", "/labels/y"]);
        assert_eq!(facts(|b| b["endpoint"] = json!("file:///etc")), ["/endpoint"]);
    }

    #[test]
    fn measures_that_cannot_be_are_refused() {
        let measured =
            |cpu_load, rtt_ms| Measures { cpu_load: Some(cpu_load), rtt_ms: Some(rtt_ms), ..Measures::default() };
        assert_eq!(pointers(&measured(1.0, 0.2)), [""; 0]);
        assert_eq!(pointers(&measured(f64::NAN, f64::INFINITY)), ["/cpu_load", "/rtt_ms"]);
        assert_eq!(pointers(&measured(-0.1, -1.0)), ["/cpu_load", "/rtt_ms"]);
        let gpu = GpuMeasure {
            uuid: "a".to_owned(),
            free_mb: u64::MAX,
            used_by_attempts_mb: Some(u64::MAX),
            utilization: Some(f64::NAN),
            temperature_c: Some(u32::MAX),
        };
        let all = Measures { gpus: vec![gpu], ..Measures::default() };
        let wrong = ["free_mb", "used_by_attempts_mb", "utilization", "temperature_c"];
        assert_eq!(pointers(&all), wrong.map(|field| format!("/gpus/0/{field}")));
    }
}
