//! `titan scheduler set`: another profile or strategy, or weights of one's own.

use clap::Args;
use titan_api::scheduler::{Profile, Scheduler, SetScheduler, Strategy, Weights};

use super::get;
use crate::{failure::Failure, session::Session};

/// Arguments of `titan scheduler set`.
#[derive(Debug, Clone, Args)]
#[group(id = "what", required = true, multiple = true)]
#[command(after_help = "\
Profiles:
  balanced  vram=0.4,load=0.3,rtt=0.2,performance=0.1
  memory    vram=0.6,load=0.2,rtt=0.15,performance=0.05
  latency   vram=0.3,load=0.2,rtt=0.4,performance=0.1

Examples:
  titan scheduler set --profile latency
  titan scheduler set --weights vram=0.5,load=0.3,cost=0.2
  titan scheduler set --strategy round_robin

Idle agents are scored anew within seconds. It needs the admin token.")]
pub struct Options {
    /// A named set of weights: balanced, memory or latency.
    #[arg(long, value_name = "PROFILE", value_parser = parse_profile, conflicts_with = "weights")]
    pub profile: Option<Profile>,
    /// Weights of your own, which sum to 1: of vram, load, rtt, performance and cost. Those not named are 0.
    #[arg(long, value_name = "NAME=N,…", value_parser = parse_weights)]
    pub weights: Option<Weights>,
    /// What decides between agents that have room: `score`, or `round_robin`.
    #[arg(long, value_name = "STRATEGY", value_parser = parse_strategy)]
    pub strategy: Option<Strategy>,
}

fn parse_profile(word: &str) -> Result<Profile, String> {
    let named = Profile::from_word(word).filter(|profile| profile.weights().is_some());
    named.ok_or_else(|| "must be balanced, memory or latency; --weights takes your own".to_owned())
}

fn parse_strategy(word: &str) -> Result<Strategy, String> {
    Strategy::from_word(word).ok_or_else(|| "must be score or round_robin".to_owned())
}

fn parse_weights(text: &str) -> Result<Weights, String> {
    let mut weights = Weights { vram: 0.0, load: 0.0, rtt: 0.0, performance: 0.0, cost: 0.0 };
    let mut named = Vec::new();
    for part in text.split(',') {
        let (name, number) = part.split_once('=').ok_or("must be NAME=N, for example vram=0.5,load=0.5")?;
        let number: Option<f64> = number.parse().ok();
        let number = number.filter(|n| (0.0..=1.0).contains(n));
        let number = number.ok_or_else(|| format!("{name} must be a number from 0 to 1"))?;
        let weight = match name {
            "vram" => &mut weights.vram,
            "load" => &mut weights.load,
            "rtt" => &mut weights.rtt,
            "performance" => &mut weights.performance,
            "cost" => &mut weights.cost,
            _ => return Err(format!("there is no weight {name:?}; there are vram, load, rtt, performance and cost")),
        };
        if named.contains(&name) {
            return Err(format!("{name} is named twice"));
        }
        named.push(name);
        *weight = number;
    }
    Ok(weights)
}

/// Reads what is set, and sets it with what is to change.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: Options) -> Result<(), Failure> {
    let now = session.client.scheduler().await.map_err(session.failed("read how agents are chosen"))?;
    let wanted = wanted(&now, &options);
    let set = session.client.set_scheduler(&wanted).await.map_err(session.failed("change how agents are chosen"))?;
    get::print(session, &set)
}

fn wanted(now: &Scheduler, options: &Options) -> SetScheduler {
    let strategy = options.strategy.unwrap_or(now.strategy);
    let (profile, weights) = match (options.profile, options.weights) {
        (Some(profile), _) => (profile, None),
        (None, Some(weights)) => (Profile::Custom, Some(weights)),
        (None, None) => (now.profile, (now.profile == Profile::Custom).then_some(now.weights)),
    };
    SetScheduler { profile, weights, strategy }
}
