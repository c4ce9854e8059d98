//! From a keeper to its backend: one more process of this binary gives up what the backend must not have and then becomes
//! it. What goes wrong on the way is said in the backend's log.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use nix::unistd::{Pid, getppid, setsid};

use crate::{
    executor::{become_user, explain, restrict, words},
    supervise::{environment::inherited, home::Home, spec::Spec},
};

/// Bytes of a token.
const TOKEN_BYTES: usize = 4_096;

/// Comes back only if it is not possible.
pub(super) fn become_backend(home: &Home, keeper: Pid) -> ExitCode {
    let Err(why) = exec(home, keeper);
    eprintln!("{why}");
    ExitCode::from(127)
}

fn exec(home: &Home, keeper: Pid) -> Result<Infallible, String> {
    let spec = Spec::read(home).map_err(|e| format!("spec.json: {}", words(&e)))?.ok_or("there is nothing to start")?;
    // While the files can be read.
    let secrets = secrets(&spec)?;
    setsid().map_err(|e| format!("it cannot have a session of its own: {}", e.desc()))?;
    let mut command = Command::new(&spec.program);
    command.args(&spec.args).env_clear().envs(&spec.env).envs(inherited(&spec.inherited)).envs(secrets);
    if let Some(user) = &spec.user {
        become_user(user, &mut command).map_err(|e| format!("it cannot run as {}: {}", user.name, words(&e)))?;
    }
    restrict().map_err(|e| format!("its rights cannot be restricted: {}", words(&e)))?;
    if getppid() != keeper {
        return Err("its keeper is gone".to_owned());
    }
    let folder = &spec.folder;
    std::env::set_current_dir(folder).map_err(|e| format!("it cannot work in {}: {}", folder.display(), words(&e)))?;
    Err(explain(&spec.program.to_string_lossy(), &command.exec()))
}

/// The values that stand in files.
fn secrets(spec: &Spec) -> Result<BTreeMap<String, String>, String> {
    let read = |(name, path): (&String, &std::path::PathBuf)| {
        let text = fs::read_to_string(path).map_err(|e| format!("{} cannot be read: {}", path.display(), words(&e)))?;
        let token = text.trim();
        if token.is_empty() || token.len() > TOKEN_BYTES || token.contains(['\0', '\n']) {
            return Err(format!("{} holds no token", path.display()));
        }
        Ok((name.clone(), token.to_owned()))
    };
    spec.secrets.iter().map(read).collect()
}
