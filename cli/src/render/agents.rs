//! Agents as people see them.

use titan_api::{
    agents::{Agent, AgentState, Facts, Trouble},
    inference::ModelSpeed,
    time::Timestamp,
};

use super::{
    jobs::labels,
    style::{Style, Tone},
    table::{Cell, Column, Table, pairs},
    units::{age, megabytes},
};

/// The list of agents; `wide` shows more of each.
#[must_use]
pub fn list(agents: &[Agent], now: Timestamp, style: Style, wide: bool) -> String {
    let mut columns = vec![
        Column::new("ID"),
        Column::new("STATE"),
        Column::new("SCORE").right().yields(3),
        Column::new("JOBS").right().yields(7),
        Column::new("CPUS").right().yields(1),
        Column::new("RAM FREE").right().yields(2),
        Column::new("GPUS").shrinks().yields(5),
        Column::new("RTT").right().yields(0),
        Column::new("SEEN").right().yields(6),
        Column::new("HOST").shrinks().yields(4),
    ];
    if wide {
        columns.extend([
            Column::new("SYSTEM"),
            Column::new("VERSION"),
            Column::new("LABELS"),
            Column::new("REGISTERED"),
        ]);
    }
    let mut table = Table::new(&columns);
    for agent in agents {
        table.row(row(agent, now, wide));
    }
    table.render(style)
}

fn row(agent: &Agent, now: Timestamp, wide: bool) -> Vec<Cell> {
    let facts = &agent.facts;
    let mut row: Vec<Cell> = vec![
        agent.id.as_str().into(),
        state(agent),
        format!("{:.3}", agent.score).into(),
        work(agent).into(),
        facts.cpus.to_string().into(),
        megabytes(agent.ram_free_mb).into(),
        gpus_in_short(agent).into(),
        agent.rtt_ms.map_or("-".to_owned(), |ms| format!("{ms:.1} ms")).into(),
        age(agent.last_seen_at, now).into(),
        facts.hostname.as_str().into(),
    ];
    if wide {
        let labels = labels(&facts.labels);
        row.extend([
            format!("{} {}", facts.os, facts.arch).into(),
            facts.version.as_str().into(),
            if labels.is_empty() { "-".to_owned() } else { labels }.into(),
            agent.registered_at.to_string().into(),
        ]);
    }
    row
}

/// What it runs, of what it may; an agent that takes no processes has no such bound.
fn work(agent: &Agent) -> String {
    let live = agent.live_attempts;
    if agent.facts.accepts_processes { format!("{live}/{}", agent.max_jobs) } else { live.to_string() }
}

/// One agent, whole.
#[must_use]
pub fn whole(agent: &Agent, now: Timestamp, style: Style) -> String {
    let facts = &agent.facts;
    let since = |then: Timestamp| format!("{then} ({} ago)", age(then, now));
    let ram = format!("{} free of {}", megabytes(agent.ram_free_mb), megabytes(facts.ram_mb));
    let processes = if facts.accepts_processes { "yes" } else { "no (it was started without --allow-jobs)" };
    let mut text = pairs(
        &[
            ("id", agent.id.as_str().into()),
            ("state", state(agent)),
            ("because", because(agent, now).into()),
            ("hindered by", hindered_by(agent).into()),
            ("score", format!("{:.3}", agent.score).into()),
            ("jobs", work(agent).replace('/', " of at most ").into()),
            ("takes processes", processes.into()),
            ("held to", held_to(facts).into()),
            ("host", facts.hostname.as_str().into()),
            ("system", format!("{} {}", facts.os, facts.arch).into()),
            ("processor", format!("{} × {}", facts.cpus, or_unknown(&facts.cpu_model)).into()),
            ("memory", ram.into()),
            ("labels", labels(&facts.labels).into()),
            ("endpoint", facts.endpoint.as_deref().unwrap_or_default().into()),
            ("round trip", agent.rtt_ms.map(|ms| format!("{ms:.1} ms")).unwrap_or_default().into()),
            ("version", facts.version.as_str().into()),
            ("versions", versions(facts).into()),
            (
                "kept",
                if facts.ephemeral { "until an hour after it was seen last (--ephemeral)".into() } else { "".into() },
            ),
            ("registered", since(agent.registered_at).into()),
            ("last seen", since(agent.last_seen_at).into()),
        ],
        style,
    );
    if !agent.gpus.is_empty() {
        text += "\n";
        text += &gpus(agent, style);
    }
    if !facts.models.is_empty() {
        text += "\n";
        text += &models(agent, now, style);
    }
    text
}

/// What the box can hold a job to; nothing where it runs none.
fn held_to(facts: &Facts) -> String {
    match facts.enforces.as_slice() {
        _ if !facts.accepts_processes => String::new(),
        [] => "nothing: this box cannot limit what a job uses (its log and `titan agent doctor` say why)".to_owned(),
        enforces => enforces.join(", "),
    }
}

/// Versions of what jobs depend on.
fn versions(facts: &Facts) -> String {
    let words = facts.versions.iter().map(|(name, version)| format!("{} {version}", name.replace('_', " ")));
    words.collect::<Vec<_>>().join(", ")
}

/// Whether it is gone after it said that it stops: it holds nothing to wait for, or is not heard any more.
fn has_left(agent: &Agent) -> bool {
    agent.leaving && (agent.live_attempts == 0 || agent.state == AgentState::Offline)
}

/// Why the agent is in its state; nothing if it is well.
fn because(agent: &Agent, now: Timestamp) -> String {
    let breaker = &agent.breaker;
    let mut parts = Vec::new();
    match (agent.leaving, has_left(agent)) {
        (false, _) => {}
        (true, false) => parts.push("it was told to stop, and takes no new work".to_owned()),
        (true, true) if agent.live_attempts > 0 => {
            parts.push("it was told to stop, and may have left jobs running".to_owned());
        }
        (true, true) => parts.push("it was told to stop".to_owned()),
    }
    match breaker.cause {
        Some(Trouble::Lateness) => parts.push("its heartbeats are late".to_owned()),
        Some(Trouble::Silence) if agent.state == AgentState::Offline => parts.push("it is not heard".to_owned()),
        Some(Trouble::Silence) => parts.push("it was not heard until now".to_owned()),
        Some(Trouble::Failures) | None => {}
    }
    if breaker.failures > 0 {
        parts.push(format!("{} failures in a row", breaker.failures));
    }
    if let Some(until) = breaker.cool_down_until {
        let left = if until > now { format!("in {}", age(now, until)) } else { "with its next heartbeat".to_owned() };
        parts.push(format!("tried again {left}"));
    }
    if agent.state == AgentState::HalfOpen {
        let trial = breaker.trial_job_id.as_ref();
        parts.push(trial.map_or("waits for a trial".to_owned(), |job| format!("on trial with job {job}")));
    }
    if breaker.guarded {
        parts.push("in service because half of the pool is offline already".to_owned());
    }
    parts.join(", ")
}

/// What keeps it from asking for work, in its own words; nothing if nothing does.
fn hindered_by(agent: &Agent) -> String {
    agent.hindered_by.iter().map(|hindrance| hindrance.why.as_str()).collect::<Vec<_>>().join("; ")
}

fn gpus(agent: &Agent, style: Style) -> String {
    let mut table = Table::new(&[
        Column::new("GPU"),
        Column::new("NAME"),
        Column::new("MEMORY").right(),
        Column::new("FREE").right(),
    ]);
    for gpu in &agent.gpus {
        table.row(vec![
            gpu.uuid.as_str().into(),
            gpu.name.as_str().into(),
            megabytes(gpu.vram_mb).into(),
            megabytes(gpu.vram_free_mb).into(),
        ]);
    }
    table.render(style)
}

/// What it serves, how fast that was, and whether one of them rests after failures of its backend.
fn models(agent: &Agent, now: Timestamp, style: Style) -> String {
    let mut table = Table::new(&[
        Column::new("MODEL").shrinks(),
        Column::new("STATE"),
        Column::new("AT ONCE").right().yields(2),
        Column::new("TOKENS/S").right().yields(1),
        Column::new("FIRST TOKEN").right().yields(0),
        Column::new("BACKEND").yields(3),
    ]);
    for model in &agent.facts.models {
        let speed = agent.speeds.iter().find(|speed| speed.model == model.name);
        let figure = |of: Option<f64>, unit: &str| of.map_or("-".to_owned(), |figure| format!("{figure:.0}{unit}"));
        table.row(vec![
            model.name.as_str().into(),
            state_of_model(model.loaded, speed, now),
            model.parallel.to_string().into(),
            figure(speed.and_then(|speed| speed.tokens_per_second), "").into(),
            figure(speed.and_then(|speed| speed.first_token_ms), " ms").into(),
            model.backend.as_str().into(),
        ]);
    }
    table.render(style)
}

fn state_of_model(is_loaded: bool, speed: Option<&ModelSpeed>, now: Timestamp) -> Cell {
    match speed.and_then(|speed| speed.cool_down_until) {
        Some(until) if until > now => Cell::toned(&format!("rests for {} after failures", age(now, until)), Tone::Bad),
        Some(_) => Cell::toned("is tried again", Tone::Warning),
        None if is_loaded => Cell::toned("loaded", Tone::Good),
        None => "not loaded".into(),
    }
}

/// How many GPUs, the first one's name, and the memory that is free on the freest.
fn gpus_in_short(agent: &Agent) -> String {
    let freest_mb = agent.gpus.iter().map(|g| g.vram_free_mb).max().unwrap_or_default();
    match agent.gpus.first() {
        None => "-".to_owned(),
        Some(first) => {
            format!("{} × {}, {} free", agent.gpus.len(), or_unknown(&first.name), megabytes(freest_mb))
        }
    }
}

fn or_unknown(name: &str) -> &str {
    if name.is_empty() { "unknown" } else { name }
}

fn state(agent: &Agent) -> Cell {
    if agent.leaving {
        return if has_left(agent) {
            Cell::toned("stopped", Tone::Faint)
        } else {
            Cell::toned("stopping", Tone::Warning)
        };
    }
    let tone = match agent.state {
        AgentState::Healthy if agent.draining || !agent.hindered_by.is_empty() => Tone::Warning,
        AgentState::Healthy => Tone::Good,
        AgentState::Degraded | AgentState::HalfOpen => Tone::Warning,
        AgentState::Offline => Tone::Bad,
    };
    let draining = if agent.draining { ", draining" } else { "" };
    let hindered = if agent.hindered_by.is_empty() { "" } else { ", hindered" };
    Cell::toned(&format!("{}{draining}{hindered}", agent.state), tone)
}
