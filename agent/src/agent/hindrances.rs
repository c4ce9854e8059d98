//! What keeps an agent from asking for work, in words for those who look at the pool and wonder.

use titan_api::{agents::Hindrance, jobs::JobKind, limits};

use super::Agent;

impl Agent {
    /// All that keeps it from asking for work now; these GPUs do not answer.
    pub(super) fn hindrances(&self, silent_gpus: &[String]) -> Vec<Hindrance> {
        let in_jobs = if self.config.allow_jobs { self.hindrances_in_jobs(silent_gpus) } else { Vec::new() };
        let in_models = self.supervise.hindrances().into_iter().chain(self.backends.hindrances());
        let in_jobs = in_jobs.into_iter().map(|why| (JobKind::Process, why));
        let all = in_jobs.chain(in_models.map(|why| (JobKind::Inference, why)));
        all.take(limits::HINDRANCES).map(|(kind, why)| Hindrance { kind, why: brief(&why) }).collect()
    }

    fn hindrances_in_jobs(&self, silent_gpus: &[String]) -> Vec<String> {
        let mut all: Vec<_> = self.why_disk_is_short.borrow().iter().cloned().collect();
        if self.attempts.free_slots(&[]) == 0 {
            all.extend(of_disowned(self.attempts.disowned_jobs()));
        }
        all.extend(
            silent_gpus.iter().map(|uuid| format!("the GPU {uuid} does not answer, so nothing is placed on it")),
        );
        all
    }
}

/// So many attempts have ended as far as the pool knows, and take slots here all the same.
fn of_disowned(disowned: usize) -> Option<String> {
    match disowned {
        0 => None,
        1 => Some("an attempt that is no longer this agent's takes a slot until its processes are gone".to_owned()),
        many => {
            Some(format!("{many} attempts that are no longer this agent's take slots until their processes are gone"))
        }
    }
}

/// The text as a coordinator takes it.
fn brief(text: &str) -> String {
    let mut brief: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if brief.len() > limits::HINDRANCE_BYTES {
        brief.truncate(brief.floor_char_boundary(limits::HINDRANCE_BYTES - '…'.len_utf8()));
        brief.push('…');
    }
    brief
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_short_and_steers_no_terminal() {
        assert_eq!(brief(" it\u{1b}ends\n"), "it ends");
        let long = brief(&"é".repeat(200));
        assert!(long.len() <= limits::HINDRANCE_BYTES && long.ends_with("é…"), "{long}");
    }
}
