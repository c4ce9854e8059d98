//! Why agents cannot take a job, in words.

use titan_api::scheduler::RuledOut;

use super::clean;

/// What these agents lack, and how many they are: `has no slot free: 2 agents`.
#[must_use]
pub fn ruled_out(of: &RuledOut) -> String {
    let agents = if of.agents == 1 { "1 agent".to_owned() } else { format!("{} agents", of.agents) };
    format!("{}: {agents}", why(&of.reason))
}

fn why(reason: &str) -> String {
    let words = match reason {
        "kind" => "takes no process jobs",
        "labels" => "has other labels",
        "gpus" => "has fewer GPUs",
        "vram" => "has GPUs with less memory",
        "ram" => "has less memory",
        "cpus" => "has fewer CPUs",
        "model" => "does not serve the model",
        "refused" => "refused it by its policy",
        "offline" => "is offline",
        "half_open" => "is on trial after failures",
        "draining" => "is draining",
        "slots" => "has no slot free",
        "vram_free" => "has too little GPU memory free",
        "gpus_free" => "has no GPU free for itself",
        "ram_free" => "has too little memory free",
        "cpus_free" => "has too few CPUs free",
        "cooling" => "failed at the model of late",
        "held" => "is kept free for a job that was passed over",
        "hindered" => "is hindered on its box",
        "not_waiting" => "asks for no such work now",
        other => return format!("ruled out by {}", clean(other)),
    };
    words.to_owned()
}
