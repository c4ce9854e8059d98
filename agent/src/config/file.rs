//! Files that an operator writes: TOML, YAML or JSON, by the end of the name.

use std::{fs::File, io::Read, os::unix::fs::MetadataExt, path::Path};

use anyhow::{Context, anyhow, bail, ensure};
use nix::unistd::Uid;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::keys::Keys;

/// No file of settings is longer.
const MOST_BYTES: u64 = 1_024 * 1_024;

/// Reads what the file at `path` says. Names other than `keys` are refused.
///
/// # Errors
/// Says what is wrong with the file, and where.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, keys: &Keys) -> anyhow::Result<T> {
    let name = path.display();
    let value = parse(path, &text(path)?).with_context(|| format!("{name} cannot be understood"))?;
    keys.check(&value, "").with_context(|| format!("{name} holds something unknown"))?;
    serde_path_to_error::deserialize(value).map_err(|e| {
        let place = e.path().to_string();
        anyhow!(in_words(&e.into_inner().to_string())).context(format!("{name}: the value of `{place}` cannot be used"))
    })
}

/// What serde says of a value, without the names of Rust's types.
fn in_words(why: &str) -> String {
    let number = if why.starts_with("invalid type: string") { "number without quotes" } else { "number" };
    let Some((what, expected)) = why.rsplit_once("expected ") else { return why.to_owned() };
    let expected = match expected {
        "u16" | "u32" | "u64" if !why.starts_with("invalid type") => match expected {
            "u16" => format!("a whole number from 0 to {}", u16::MAX),
            "u32" => format!("a whole number from 0 to {}", u32::MAX),
            _ => "a whole number, not less than 0".to_owned(),
        },
        "u16" | "u32" | "u64" => format!("a whole {number}"),
        "f64" => format!("a {number}"),
        other => other.to_owned(),
    };
    format!("{what}expected {expected}")
}

fn text(path: &Path) -> anyhow::Result<String> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("{name} cannot be opened"))?;
    check_owner(path, &file)?;
    let mut text = String::new();
    file.take(MOST_BYTES + 1).read_to_string(&mut text).with_context(|| format!("{name} cannot be read"))?;
    ensure!(text.len() as u64 <= MOST_BYTES, "{name} is longer than 1 MiB: it is no file of settings");
    Ok(text)
}

/// Whoever may write the file decides what the agent does, so that must be nobody beside its account and root.
fn check_owner(path: &Path, file: &File) -> anyhow::Result<()> {
    let name = path.display();
    let about = file.metadata().with_context(|| format!("{name} cannot be looked at"))?;
    ensure!(about.is_file(), "{name} is no file");
    let own = Uid::effective();
    ensure!(
        about.uid() == 0 || about.uid() == own.as_raw(),
        "{name} belongs to another account, which could change what the agent does: chown it to {}",
        if own.is_root() { "root" } else { "the agent's account or root" }
    );
    // An account's own group is often the default; only root's agent has more rights than the group's members.
    let forbidden = if own.is_root() { 0o022 } else { 0o002 };
    ensure!(
        about.mode() & forbidden == 0,
        "{name} can be written by other accounts, which could change what the agent does: chmod go-w {name}"
    );
    Ok(())
}

fn parse(path: &Path, text: &str) -> anyhow::Result<Value> {
    let value = match path.extension().and_then(|end| end.to_str()) {
        Some("toml") => toml::from_str(text)?,
        // An empty one is a file without settings.
        Some("yaml" | "yml") => {
            yaml_serde::from_str::<Option<Value>>(text)?.unwrap_or_else(|| Value::Object(<_>::default()))
        }
        Some("json") => serde_json::from_str(text)?,
        _ => bail!("its name must end with .toml, .yaml, .yml or .json"),
    };
    ensure!(matches!(value, Value::Object(_)), "it must be a table of settings");
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

    use super::*;
    use crate::{config::RunArgs, hardware::Accelerator};

    fn file(folder: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    fn read_it(path: &Path) -> anyhow::Result<RunArgs> {
        read(path, &Keys::of::<RunArgs>().with::<Accelerator>("accelerator"))
    }

    fn complaint(name: &str, text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        format!("{:#}", read_it(&file(&folder, name, text)).unwrap_err())
    }

    #[test]
    fn the_same_settings_can_be_written_in_three_ways() {
        let folder = tempfile::tempdir().unwrap();
        let toml = "coordinator = ['https://a', 'https://b']\ndrain_grace = '2m'\nallow_jobs = true\n\
                    [labels]\ngpu = 'a100'\n[[accelerator]]\nid = 'amd-0'\nmemory_mb = 192000\n";
        let yaml = "coordinator:\n  - https://a\n  - https://b\ndrain_grace: 2m\nallow_jobs: true\nlabels:\n  gpu: a100\n\
                    accelerator:\n  - id: amd-0\n    memory_mb: 192000\n";
        let json = r#"{"coordinator": ["https://a", "https://b"], "drain_grace": "2m", "allow_jobs": true,
            "labels": {"gpu": "a100"}, "accelerator": [{"id": "amd-0", "memory_mb": 192000}]}"#;
        let read = |name: &str, text: &str| read_it(&file(&folder, name, text)).unwrap();
        let settings = read("a.toml", toml);
        assert_eq!((settings.drain_grace, settings.labels.len()), (Some(Duration::from_mins(2)), 1));
        assert_eq!((settings.coordinators.len(), settings.accelerators[0].memory_mb), (2, 192_000));
        assert!(
            read("a.yaml", yaml) == settings && read("a.yml", yaml) == settings && read("a.json", json) == settings
        );
        assert_eq!(read("empty.yaml", ""), RunArgs::default());
        assert_eq!(read("empty.toml", ""), RunArgs::default());
    }

    #[test]
    fn a_file_takes_the_words_for_yes_and_no_that_the_flag_takes() {
        let folder = tempfile::tempdir().unwrap();
        let allows = |text: &str| read_it(&file(&folder, "a.yaml", &format!("allow_jobs: {text}"))).unwrap().allow_jobs;
        assert_eq!(["yes", "on", "true", "'1'"].map(allows), [Some(true); 4]);
        assert_eq!(["no", "Off", "false"].map(allows), [Some(false); 3]);
        assert_eq!(allows("null"), None);
    }

    #[test]
    fn what_cannot_be_understood_is_told_with_its_place() {
        assert!(complaint("a.toml", "max_jobs = 1\nmax_jobs = ").contains("line 2"), "{}", complaint("a.toml", "a = "));
        assert!(complaint("a.yaml", "a: [").contains("line"), "{}", complaint("a.yaml", "a: ["));
        assert!(complaint("a.json", "{").contains("line 1"));
        assert!(complaint("a.ini", "").contains(".toml, .yaml, .yml or .json"));
        assert!(complaint("a.json", "[]").contains("a table of settings"));
        assert!(complaint("a.toml", "max_jobs = 'many'").contains("`max_jobs` cannot be used"));
        assert!(complaint("a.toml", "drain_grace = '5 parsecs'").contains("`drain_grace` cannot be used"));
        for (text, why) in [
            ("max_jobs = 'many'", "expected a whole number without quotes"),
            ("max_jobs = 1.5", "expected a whole number"),
            ("max_jobs = -1", "expected a whole number from 0 to 4294967295"),
            ("max_ram_mb = -1", "expected a whole number, not less than 0"),
            ("max_cpus = 'all'", "expected a number without quotes"),
            ("allow_jobs = 'perhaps'", "`perhaps`: write true or false (yes, no, on and off will do, too)"),
            ("allow_jobs = 1.5", "write true or false (yes, no, on and off will do, too)"),
            ("drain_grace = 'abc'", "`abc`: expected number at 0; write a number and a unit, for example 30s or 2h"),
        ] {
            assert!(complaint("a.toml", text).ends_with(why), "{}", complaint("a.toml", text));
        }
        let inside = complaint("a.toml", "[[accelerator]]\nid = 'x'\nmemory_mb = -1");
        assert!(inside.contains("`accelerator[0].memory_mb` cannot be used"), "{inside}");
        assert!(complaint("a.toml", "max_job = 1").contains("did you mean `max_jobs`?"));
    }

    #[test]
    fn a_file_that_others_may_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(&folder, "a.toml", "max_jobs = 1");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(format!("{:#}", read_it(&path).unwrap_err()).contains("chmod go-w"));
        assert!(format!("{:#}", read_it(folder.path()).unwrap_err()).contains("is no file"));
        if Uid::effective().is_root() {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
            assert!(format!("{:#}", read_it(&path).unwrap_err()).contains("belongs to another account"));
        }
    }
}
