//! Settings from several places made into one.

use super::{BackendArg, LlamaCppArgs, OllamaArgs, RunArgs, VllmArgs, file, keys::Keys};
use crate::hardware::Accelerator;

impl RunArgs {
    /// These settings, and for what they leave open those of the file that they name.
    ///
    /// # Errors
    /// The file cannot be read or says something that makes no sense.
    pub(crate) fn with_file(self) -> anyhow::Result<Self> {
        let Some(path) = self.config.as_deref().filter(|path| !path.as_os_str().is_empty()) else { return Ok(self) };
        let keys = Keys::of::<Self>()
            .with::<Accelerator>("accelerator")
            .with::<BackendArg>("backend")
            .with::<OllamaArgs>("ollama")
            .with::<VllmArgs>("vllm")
            .with::<LlamaCppArgs>("llamacpp");
        let file = file::read(path, &keys)?;
        Ok(self.or(file))
    }

    /// Takes each setting apart, so that none can be forgotten.
    fn or(self, other: Self) -> Self {
        let Self {
            config,
            coordinators,
            join_token_file,
            node_id,
            hostname,
            labels,
            max_jobs,
            backends,
            probe_backends,
            ollama,
            vllm,
            llamacpp,
            keep_backends,
            backend_start_timeout,
            backend_user,
            hf_token_file,
            gateway_listen,
            advertise_url,
            price_per_hour,
            ephemeral,
            allow_jobs,
            policy,
            job_user,
            allow_root_jobs,
            default_ram_mb,
            max_ram_mb,
            default_cpus,
            max_cpus,
            max_processes,
            state_dir,
            work_dir,
            min_free_disk_mb,
            nvml_library,
            listen,
            ca_file,
            heartbeat_interval,
            drain_grace,
            on_stop,
            otel_exporter_otlp_endpoint,
            log_format,
            log_level,
            log_file,
            accelerators,
        } = self;
        Self {
            config: config.or(other.config),
            coordinators: first(coordinators, other.coordinators),
            join_token_file: join_token_file.or(other.join_token_file),
            node_id: node_id.or(other.node_id),
            hostname: hostname.or(other.hostname),
            labels: first(labels, other.labels),
            max_jobs: max_jobs.or(other.max_jobs),
            backends: first(backends, other.backends),
            probe_backends: probe_backends.or(other.probe_backends),
            ollama: ollama.or(other.ollama),
            vllm: vllm.or(other.vllm),
            llamacpp: llamacpp.or(other.llamacpp),
            keep_backends: keep_backends.or(other.keep_backends),
            backend_start_timeout: backend_start_timeout.or(other.backend_start_timeout),
            backend_user: backend_user.or(other.backend_user),
            hf_token_file: hf_token_file.or(other.hf_token_file),
            gateway_listen: gateway_listen.or(other.gateway_listen),
            advertise_url: advertise_url.or(other.advertise_url),
            price_per_hour: price_per_hour.or(other.price_per_hour),
            ephemeral: ephemeral.or(other.ephemeral),
            allow_jobs: allow_jobs.or(other.allow_jobs),
            policy: policy.or(other.policy),
            job_user: job_user.or(other.job_user),
            allow_root_jobs: allow_root_jobs.or(other.allow_root_jobs),
            default_ram_mb: default_ram_mb.or(other.default_ram_mb),
            max_ram_mb: max_ram_mb.or(other.max_ram_mb),
            default_cpus: default_cpus.or(other.default_cpus),
            max_cpus: max_cpus.or(other.max_cpus),
            max_processes: max_processes.or(other.max_processes),
            state_dir: state_dir.or(other.state_dir),
            work_dir: work_dir.or(other.work_dir),
            min_free_disk_mb: min_free_disk_mb.or(other.min_free_disk_mb),
            nvml_library: nvml_library.or(other.nvml_library),
            listen: listen.or(other.listen),
            ca_file: ca_file.or(other.ca_file),
            heartbeat_interval: heartbeat_interval.or(other.heartbeat_interval),
            drain_grace: drain_grace.or(other.drain_grace),
            on_stop: on_stop.or(other.on_stop),
            otel_exporter_otlp_endpoint: otel_exporter_otlp_endpoint.or(other.otel_exporter_otlp_endpoint),
            log_format: log_format.or(other.log_format),
            log_level: log_level.or(other.log_level),
            log_file: log_file.or(other.log_file),
            accelerators: first(accelerators, other.accelerators),
        }
    }
}

/// A list replaces a list; two are not mixed.
fn first<T>(list: Vec<T>, other: Vec<T>) -> Vec<T> {
    if list.is_empty() { other } else { list }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_goes_before_the_file_and_the_rest_comes_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        std::fs::write(
            &path,
            "max_jobs = 3\nallow_jobs = true\nlabels = { a = 1, b = \"x\" }\ncoordinator = \"http://c\"",
        )
        .unwrap();
        let given = RunArgs {
            config: Some(path),
            allow_jobs: Some(false),
            coordinators: vec!["http://given".into()],
            ..RunArgs::default()
        };
        let all = given.with_file().unwrap();
        assert_eq!((all.allow_jobs, all.max_jobs), (Some(false), Some(3)));
        assert_eq!((all.coordinators, all.labels), (vec!["http://given".into()], vec!["a=1".into(), "b=x".into()]));
    }
}
