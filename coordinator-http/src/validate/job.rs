//! Jobs as clients submit them.

use titan_api::{
    inference::{InferenceRoute, InferenceSpec, ModelAliases},
    jobs::{JobKind, OnDisconnect, ProcessSpec, Requirements, SubmitBatch, SubmitJob},
    limits,
    scheduler::{Profile, SetScheduler},
};

use super::{Findings, Validate};

impl Validate for SubmitJob {
    fn check(&self, f: &mut Findings) {
        self.check_kind(f);
        f.inside("requirements", |f| self.requirements.check(f));
        f.within("priority", self.priority, limits::PRIORITY);
        f.within("max_attempts", self.max_attempts, limits::MAX_ATTEMPTS);
        if let Some(timeout_ms) = self.timeout_ms {
            f.within("timeout_ms", timeout_ms, 1..=limits::TIMEOUT_MS);
        }
        f.within("backoff_ms", self.backoff_ms, 0..=limits::BACKOFF_MS);
        f.within("disconnect_grace_ms", self.disconnect_grace_ms, 0..=limits::DISCONNECT_GRACE_MS);
        let is_kept = self.on_disconnect == OnDisconnect::Keep;
        f.require(is_kept || self.disconnect_grace_ms == 0, "disconnect_grace_ms", || {
            "is for `on_disconnect: keep`: set that too".to_owned()
        });
        f.at_most("depends_on", self.depends_on.len(), limits::DEPENDENCIES);
        f.distinct("depends_on", self.depends_on.iter().map(String::as_str));
        f.each("depends_on", &self.depends_on, |f, id| f.token("", id));
        if let Some(reference) = &self.reference {
            f.token("ref", reference);
        }
        f.labels("labels", &self.labels);
    }
}

trait Kinds {
    /// What is asked for is that which the kind says, and no other.
    fn check_kind(&self, f: &mut Findings);
}

impl Kinds for SubmitJob {
    fn check_kind(&self, f: &mut Findings) {
        match (self.kind, &self.inference) {
            (JobKind::Process, inference) => {
                f.inside("process", |f| self.process.check(f));
                f.require(inference.is_none(), "inference", || "is for jobs of kind `inference`".to_owned());
            }
            (JobKind::Inference, None) => f.require(false, "inference", || "is missing".to_owned()),
            (JobKind::Inference, Some(asked)) => {
                f.require(self.process.is_absent(), "process", || "is for jobs of kind `process`".to_owned());
                let r = &self.requirements;
                let plain = Requirements { agent_labels: r.agent_labels.clone(), ..Requirements::default() };
                f.require(*r == plain, "requirements", || {
                    "of a request to a model are `agent_labels` at most: the agent knows what its models need"
                        .to_owned()
                });
                f.inside("inference", |f| asked.check(f));
            }
        }
    }
}

impl Validate for InferenceSpec {
    fn check(&self, f: &mut Findings) {
        f.model_name("model", &self.model);
        f.require(self.route != InferenceRoute::Pull, "route", || {
            "is for `POST /api/v1/models/pull`, which makes such jobs".to_owned()
        });
        let is_document = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&self.body).is_ok();
        f.require(is_document, "body", || "must be the text of a JSON object".to_owned());
        for (name, ms) in [
            ("first_token_timeout_ms", self.first_token_timeout_ms),
            ("token_timeout_ms", self.token_timeout_ms),
            ("load_timeout_ms", self.load_timeout_ms),
        ] {
            f.within(name, ms, 1..=limits::INFERENCE_TIMEOUT_MS);
        }
    }
}

impl Validate for ModelAliases {
    fn check(&self, f: &mut Findings) {
        f.at_most("aliases", self.aliases.len(), limits::ALIASES);
        f.inside("aliases", |f| {
            for (alias, names) in &self.aliases {
                f.model_name(alias, alias);
                f.require(!names.is_empty(), alias, || "stands for no name".to_owned());
                f.at_most(alias, names.len(), limits::ALIASES);
                f.each(alias, names, |f, name| f.model_name("", name));
            }
        });
    }
}

impl Validate for SubmitBatch {
    fn check(&self, f: &mut Findings) {
        f.require(!self.jobs.is_empty(), "jobs", || "is empty".to_owned());
        f.at_most("jobs", self.jobs.len(), limits::BATCH);
        f.each("jobs", &self.jobs, |f, job| job.check(f));
    }
}

impl Validate for ProcessSpec {
    fn check(&self, f: &mut Findings) {
        f.require(self.command.first().is_some_and(|c| !c.is_empty()), "command", || "names no program".to_owned());
        f.at_most("command", self.command.len(), limits::COMMAND_ARGS);
        let bytes: usize = self.command.iter().map(String::len).sum();
        f.require(bytes <= limits::COMMAND_BYTES, "command", || too_long(bytes, limits::COMMAND_BYTES));
        f.each("command", &self.command, |f, entry| f.without_nul("", entry));
        check_env(self, f);
        if let Some(dir) = &self.working_dir {
            f.require(!dir.is_empty(), "working_dir", || {
                "is empty; leave it out for a folder of the job's own".to_owned()
            });
            f.require(dir.len() <= limits::TEXT_BYTES, "working_dir", || too_long(dir.len(), limits::TEXT_BYTES));
            f.without_nul("working_dir", dir);
        }
        let stdin_bytes = self.stdin.as_ref().map_or(0, String::len);
        f.require(stdin_bytes <= limits::STDIN_BYTES, "stdin", || too_long(stdin_bytes, limits::STDIN_BYTES));
    }
}

/// Both kinds of variables share their bounds.
fn check_env(process: &ProcessSpec, f: &mut Findings) {
    let plain = process.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let secret = process.secret_env.iter().map(|(name, value)| (name.as_str(), value.reveal()));
    let count = process.env.len() + process.secret_env.len();
    let bytes: usize = plain.clone().chain(secret.clone()).map(|(name, value)| name.len() + value.len()).sum();
    f.at_most("env", count, limits::ENV_VARS);
    f.require(bytes <= limits::ENV_BYTES, "env", || too_long(bytes, limits::ENV_BYTES));
    check_variables("env", plain, f);
    check_variables("secret_env", secret, f);
    f.inside("secret_env", |f| {
        for name in process.secret_env.keys() {
            f.require(!process.env.contains_key(name), name, || "is in `env` too".to_owned());
        }
    });
}

fn check_variables<'a>(field: &str, variables: impl Iterator<Item = (&'a str, &'a str)>, f: &mut Findings) {
    f.inside(field, |f| {
        for (name, value) in variables {
            let good = !name.is_empty() && !name.contains(['=', '\0']) && !name.chars().any(char::is_control);
            f.require(good, name, || {
                "a variable's name is not empty and holds no = and no control character".to_owned()
            });
            f.without_nul(name, value);
        }
    });
}

impl Validate for Requirements {
    fn check(&self, f: &mut Findings) {
        let most_gpus = u32::try_from(limits::GPUS).unwrap_or(u32::MAX);
        f.within("gpus", self.gpus, 0..=most_gpus);
        f.within("vram_mb", self.vram_mb, 0..=limits::MEMORY_MB);
        f.require(self.gpus > 0 || self.vram_mb == 0, "vram_mb", || "is memory of a GPU: set `gpus` too".to_owned());
        f.require(self.gpus > 0 || !self.exclusive, "exclusive", || "is about GPUs: set `gpus` too".to_owned());
        f.within("ram_mb", self.ram_mb, 0..=limits::MEMORY_MB);
        f.within("cpus", self.cpus, 0.0..=limits::CPUS);
        f.labels("agent_labels", &self.agent_labels);
    }
}

impl Validate for SetScheduler {
    fn check(&self, f: &mut Findings) {
        let Some(w) = self.weights else {
            return f
                .require(self.profile != Profile::Custom, "weights", || "profile `custom` needs weights".to_owned());
        };
        f.require(self.profile == Profile::Custom, "weights", || "only profile `custom` takes weights".to_owned());
        let parts =
            [("vram", w.vram), ("load", w.load), ("rtt", w.rtt), ("performance", w.performance), ("cost", w.cost)];
        f.inside("weights", |f| parts.iter().for_each(|(name, part)| f.within(name, *part, 0.0..=1.0)));
        let sum: f64 = parts.iter().map(|(_, part)| part).sum();
        f.require((sum - 1.0).abs() < 1e-6, "weights", || format!("sum to {sum} and must sum to 1"));
    }
}

impl Findings {
    fn without_nul(&mut self, field: &str, text: &str) {
        self.require(!text.contains('\0'), field, || "holds a NUL character".to_owned());
    }
}

fn too_long(bytes: usize, most: usize) -> String {
    format!("has {bytes} bytes; at most {most} are taken")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pointers(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut body = json!({"kind": "process", "process": {"command": ["true"]}});
        change(&mut body);
        let mut findings = Findings::default();
        serde_json::from_value::<SubmitJob>(body).unwrap().check(&mut findings);
        findings.errors.into_iter().map(|e| e.pointer).collect()
    }

    #[test]
    fn a_job_within_all_bounds_is_taken() {
        assert_eq!(pointers(|_| {}), [""; 0]);
        assert_eq!(pointers(|b| b["requirements"] = json!({"gpus": 64, "vram_mb": 80_000, "cpus": 0.5})), [""; 0]);
    }

    #[test]
    fn every_field_that_is_out_of_bounds_is_named() {
        assert_eq!(pointers(|b| b["process"]["command"] = json!([])), ["/process/command"]);
        assert_eq!(pointers(|b| b["process"]["command"] = json!(["a", "b\u{0}"])), ["/process/command/1"]);
        assert_eq!(pointers(|b| b["process"]["command"] = json!(vec!["a"; 1_025])), ["/process/command"]);
        assert_eq!(pointers(|b| b["process"]["command"] = json!(["a".repeat(70_000)])), ["/process/command"]);
        assert_eq!(
            pointers(|b| b["process"]["env"] = json!({"A=B": "", "": "x"})),
            ["/process/env", "/process/env/A=B"]
        );
        assert_eq!(
            pointers(|b| {
                b["process"]["env"] = json!({"A": ""});
                b["process"]["secret_env"] = json!({"A": "x", "B": "\u{0}"});
            }),
            ["/process/secret_env/B", "/process/secret_env/A"]
        );
        assert_eq!(pointers(|b| b["process"]["secret_env"] = json!({"A": "x".repeat(65_536)})), ["/process/env"]);
        assert_eq!(pointers(|b| b["process"]["stdin"] = json!("a".repeat(65_537))), ["/process/stdin"]);
        assert_eq!(pointers(|b| b["process"]["working_dir"] = json!("")), ["/process/working_dir"]);
        assert_eq!(pointers(|b| b["priority"] = json!(1_001)), ["/priority"]);
        assert_eq!(pointers(|b| b["max_attempts"] = json!(0)), ["/max_attempts"]);
        assert_eq!(pointers(|b| b["timeout_ms"] = json!(0)), ["/timeout_ms"]);
        assert_eq!(pointers(|b| b["labels"] = json!({"a{b}": "x", "c": "d\n"})), ["/labels/a{b}", "/labels/c"]);
        assert_eq!(pointers(|b| b["requirements"] = json!({"vram_mb": 1})), ["/requirements/vram_mb"]);
        assert_eq!(pointers(|b| b["requirements"] = json!({"exclusive": true})), ["/requirements/exclusive"]);
        assert_eq!(
            pointers(|b| b["requirements"] = json!({"cpus": -1.0, "gpus": 65, "ram_mb": u64::MAX})),
            ["/requirements/gpus", "/requirements/ram_mb", "/requirements/cpus"]
        );
    }

    #[test]
    fn a_job_is_a_process_or_a_request_to_a_model_and_never_both() {
        let asked = || {
            json!({
                "model": "m", "route": "chat_completions", "body": "{}", "first_token_timeout_ms": 1, "token_timeout_ms": 1,
                "load_timeout_ms": 1,
            })
        };
        let request = |change: fn(&mut Value)| {
            let mut body = json!({"kind": "inference", "inference": asked()});
            change(&mut body);
            let mut findings = Findings::default();
            serde_json::from_value::<SubmitJob>(body).unwrap().check(&mut findings);
            findings.errors.into_iter().map(|e| e.pointer).collect::<Vec<_>>()
        };
        assert_eq!(request(|_| {}), [""; 0]);
        assert_eq!(request(|b| b["requirements"] = json!({"agent_labels": {"a": "b"}})), [""; 0]);
        assert_eq!(request(|b| b["requirements"] = json!({"gpus": 1})), ["/requirements"]);
        assert_eq!(request(|b| b["process"] = json!({"command": ["true"]})), ["/process"]);
        assert_eq!(request(|b| b["inference"] = json!(null)), ["/inference"]);
        assert_eq!(request(|b| b["inference"]["body"] = json!("[]")), ["/inference/body"]);
        assert_eq!(request(|b| b["inference"]["model"] = json!("")), ["/inference/model"]);
        assert_eq!(request(|b| b["inference"]["token_timeout_ms"] = json!(0)), ["/inference/token_timeout_ms"]);
        assert_eq!(pointers(|b| b["inference"] = asked()), ["/inference"]);
    }

    #[test]
    fn weights_belong_to_the_custom_profile_and_sum_to_one() {
        let find = |body: Value| {
            let mut findings = Findings::default();
            serde_json::from_value::<SetScheduler>(body).unwrap().check(&mut findings);
            findings.errors.into_iter().map(|e| e.pointer).collect::<Vec<_>>()
        };
        let weights = |vram: f64| json!({"vram": vram, "load": 0.5, "rtt": 0.25, "performance": 0.0});
        assert_eq!(find(json!({"profile": "latency"})), [""; 0]);
        assert_eq!(find(json!({"profile": "custom", "weights": weights(0.25)})), [""; 0]);
        let with_cost = json!({"vram": 0, "load": 0.5, "rtt": 0.25, "performance": 0, "cost": 0.25});
        assert_eq!(find(json!({"profile": "custom", "strategy": "round_robin", "weights": with_cost})), [""; 0]);
        assert_eq!(find(json!({"profile": "custom"})), ["/weights"]);
        assert_eq!(find(json!({"profile": "memory", "weights": weights(0.25)})), ["/weights"]);
        assert_eq!(find(json!({"profile": "custom", "weights": weights(0.5)})), ["/weights"]);
        assert_eq!(find(json!({"profile": "custom", "weights": weights(-0.5)})), ["/weights/vram", "/weights"]);
    }
}
