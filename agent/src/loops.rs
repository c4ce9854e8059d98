//! The loops of the agent, watched: each is to go on until the agent ends.

use tokio::task::{JoinError, JoinSet};

/// Loops that run.
#[derive(Debug, Default)]
pub(crate) struct Loops(JoinSet<(&'static str, Result<(), JoinError>)>);

impl Loops {
    /// Starts one.
    pub(crate) fn start(&mut self, name: &'static str, what: impl Future<Output = ()> + Send + 'static) {
        let running = tokio::spawn(what);
        self.0.spawn(async move { (name, running.await) });
    }

    /// Waits until one has ended, which none should, and says which and why.
    pub(crate) async fn first_end(&mut self) -> String {
        match self.0.join_next().await {
            Some(Ok((name, Ok(())))) => format!("the {name} loop has ended"),
            Some(Ok((name, Err(e)))) => format!("the {name} loop has failed: {e}"),
            Some(Err(e)) => format!("a loop has failed: {e}"),
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_loop_that_ended_is_named_with_the_reason() {
        let mut loops = Loops::default();
        loops.start("idle", std::future::pending());
        loops.start("claim", async { panic!("a fault") });
        let why = loops.first_end().await;
        assert!(why.contains("the claim loop has failed") && why.contains("a fault"), "{why}");
    }
}
