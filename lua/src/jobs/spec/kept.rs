//! A submission as it is kept. What is usual in it is left out: most of it is in most jobs, and all that is kept is written,
//! held in memory, and read again with each lease.

use serde::{Serialize, Serializer, ser::SerializeMap};
use titan_api::{
    inference::InferenceSpec,
    jobs::{ProcessSpec, Requirements, SubmitJob},
    trace::{TRACEPARENT, TRACESTATE, TraceContext},
};

/// A job that is being submitted.
#[derive(Debug)]
pub(crate) struct Kept<'a> {
    /// The job. What it asks a model is kept apart, since that is forgotten before the rest.
    pub(crate) job: &'a SubmitJob,
    /// What it depends on, by ids.
    pub(crate) depends_on: Vec<&'a str>,
    /// Who submits it.
    pub(crate) owner: &'a str,
    /// What submits it, in its trace.
    pub(crate) trace: Option<&'a TraceContext>,
}

impl Serialize for Kept<'_> {
    /// Each field is named, so that a new one is not forgotten here. What a job has by a choice of ours, which may change, is
    /// written always.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let SubmitJob {
            kind,
            process,
            inference,
            requirements,
            priority,
            max_attempts,
            timeout_ms,
            backoff_ms,
            on_disconnect,
            disconnect_grace_ms,
            not_before,
            depends_on: _,
            on_dependency_failure,
            reference,
            labels,
            allow_unserved,
        } = self.job;
        let mut fields = Fields(serializer.serialize_map(None)?);
        fields.always("kind", kind)?;
        if !process.is_absent() {
            fields.always("process", &Program(process))?;
        }
        fields.unless_usual("inference", &inference.as_ref().map(InferenceSpec::without_body))?;
        fields.always("requirements", &Wants(requirements))?;
        fields.unless_usual("priority", priority)?;
        fields.always("max_attempts", max_attempts)?;
        fields.unless_usual("timeout_ms", timeout_ms)?;
        fields.always("backoff_ms", backoff_ms)?;
        fields.unless_usual("on_disconnect", on_disconnect)?;
        fields.unless_usual("disconnect_grace_ms", disconnect_grace_ms)?;
        fields.unless_usual("not_before", not_before)?;
        fields.unless_usual("depends_on", &self.depends_on)?;
        fields.unless_usual("on_dependency_failure", on_dependency_failure)?;
        fields.unless_usual("ref", reference)?;
        fields.unless_usual("labels", labels)?;
        fields.unless_usual("allow_unserved", allow_unserved)?;
        fields.always("submitted_by", &self.owner)?;
        if let Some(TraceContext { parent, state }) = self.trace {
            fields.always(TRACEPARENT, parent)?;
            fields.unless_usual(TRACESTATE, state)?;
        }
        fields.0.end()
    }
}

struct Program<'a>(&'a ProcessSpec);

impl Serialize for Program<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ProcessSpec { command, env, secret_env, working_dir, stdin } = self.0;
        let mut fields = Fields(serializer.serialize_map(None)?);
        fields.always("command", command)?;
        fields.unless_usual("env", env)?;
        fields.unless_usual("secret_env", secret_env)?;
        fields.unless_usual("working_dir", working_dir)?;
        fields.unless_usual("stdin", stdin)?;
        fields.0.end()
    }
}

struct Wants<'a>(&'a Requirements);

impl Serialize for Wants<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Requirements { gpus, vram_mb, exclusive, ram_mb, cpus, agent_labels } = self.0;
        let mut fields = Fields(serializer.serialize_map(None)?);
        fields.unless_usual("gpus", gpus)?;
        fields.unless_usual("vram_mb", vram_mb)?;
        fields.unless_usual("exclusive", exclusive)?;
        fields.unless_usual("ram_mb", ram_mb)?;
        fields.unless_usual("cpus", cpus)?;
        // A class is made again of these, by a script (lib/class).
        fields.always("agent_labels", agent_labels)?;
        fields.0.end()
    }
}

/// An object that is being written.
struct Fields<M>(M);

impl<M: SerializeMap> Fields<M> {
    fn always(&mut self, name: &'static str, value: &impl Serialize) -> Result<(), M::Error> {
        self.0.serialize_entry(name, value)
    }

    /// Writes a value, unless it is the one that whoever reads takes for one that is missing.
    fn unless_usual<T: Serialize + Default + PartialEq>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), M::Error> {
        if *value == T::default() { Ok(()) } else { self.0.serialize_entry(name, value) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::Spec, *};

    /// What is kept of a job, and read of that.
    fn kept(job: &SubmitJob, trace: Option<&TraceContext>) -> (Value, Spec) {
        let depends_on = job.depends_on.iter().map(String::as_str).collect();
        let json = serde_json::to_vec(&Kept { job, depends_on, owner: "key", trace }).unwrap();
        (serde_json::from_slice(&json).unwrap(), Spec::from_json(&json).unwrap())
    }

    #[test]
    fn what_is_usual_is_left_out_and_read_as_it_was() {
        let mut job = SubmitJob::default();
        let nothing = json!({
            "kind": "process", "requirements": { "agent_labels": {} }, "max_attempts": 3, "backoff_ms": 1_000,
            "submitted_by": "key"
        });
        assert_eq!(kept(&job, None).0, nothing);
        job.process.command.push("true".to_owned());
        job.requirements.gpus = 1;
        let (json, read) = kept(&job, None);
        assert_eq!(json["process"], json!({ "command": ["true"] }));
        assert_eq!(json["requirements"], json!({ "gpus": 1, "agent_labels": {} }));
        assert_eq!((read.job, read.owner), (job, "key".to_owned()));
    }

    #[test]
    fn all_that_a_job_can_have_is_kept_but_what_it_asks_a_model() {
        let all = json!({
            "kind": "process", "priority": -7, "max_attempts": 1, "timeout_ms": 1, "backoff_ms": 0, "on_disconnect": "keep",
            "disconnect_grace_ms": 2, "not_before": "2026-01-01T00:00:00Z", "depends_on": ["a", "b"],
            "on_dependency_failure": "run", "ref": "c", "labels": { "d": "e" }, "allow_unserved": true,
            "process": {
                "command": ["f", "g"], "env": { "h": "i" }, "secret_env": { "j": "k" }, "working_dir": "/l", "stdin": "m"
            },
            "requirements": {
                "gpus": 1, "vram_mb": 2, "exclusive": true, "ram_mb": 3, "cpus": 0.5, "agent_labels": { "n": "o" }
            },
            "inference": {
                "route": "chat_completions", "model": "p", "body": "q", "stream": true, "continues": true,
                "first_token_timeout_ms": 4, "token_timeout_ms": 5, "load_timeout_ms": 6
            },
        });
        let job: SubmitJob = serde_json::from_value(all.clone()).unwrap();
        let (mut json, read) = kept(&job, None);
        let inference = job.inference.as_ref().map(InferenceSpec::without_body);
        assert_eq!(read.job, SubmitJob { inference, ..job.clone() });
        json["inference"]["body"] = "q".into();
        let names = |json: &Value| json.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        json.as_object_mut().unwrap().remove("submitted_by");
        assert_eq!(names(&json), names(&serde_json::to_value(&job).unwrap()), "nothing is left to be usual");
    }

    #[test]
    fn what_submitted_it_is_kept_with_it() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
        for state in [None, Some("a=b".parse().unwrap())] {
            let trace = TraceContext { parent, state };
            assert_eq!(kept(&SubmitJob::default(), Some(&trace)).1.trace, Some(trace));
        }
        assert_eq!(kept(&SubmitJob::default(), None).1.trace, None);
    }
}
