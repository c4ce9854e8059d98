//! Showing something anew every so often, until Ctrl-C.

use std::{io::IsTerminal, time::Duration};

use clap::Args;
use titan_api::client::ClientError;

use crate::{
    failure::Failure,
    patience::Patience,
    render::{clean, lines},
    session::Session,
};

/// Whether to go on looking.
#[derive(Debug, Clone, Copy, Args)]
pub struct Watching {
    /// Show it anew every 2 s, or as often as this says, until Ctrl-C.
    #[arg(short, long, value_name = "DURATION", value_parser = humantime::parse_duration, num_args = 0..=1, require_equals = true, default_missing_value = "2s")]
    pub watch: Option<Duration>,
}

/// The least time between two looks, whatever was asked for.
const AT_LEAST: Duration = Duration::from_millis(500);
const HOME: &str = "\u{1b}[H";
const CLEAR_LINE: &str = "\u{1b}[K";
const CLEAR_REST: &str = "\u{1b}[J";

/// Shows what `look` gives, from the top of the terminal. A coordinator that is away for a while is waited for.
///
/// # Errors
/// [`Failure`] if there is no terminal, or the coordinator refuses or stays away.
pub async fn show(
    session: &Session,
    every: Duration,
    doing: &str,
    look: impl AsyncFn() -> Result<String, ClientError>,
) -> Result<(), Failure> {
    if !session.format.is_table() || !std::io::stdout().is_terminal() {
        return Err(Failure::Usage(
            "--watch draws on a terminal, as a table; in a script call it in a loop".to_owned(),
        ));
    }
    let patience = Patience::default().give_up_after;
    let (mut shown, mut wrong_since) = (String::new(), None);
    loop {
        let wrong = match look().await {
            Ok(text) => {
                (shown, wrong_since) = (text, None);
                String::new()
            }
            Err(error) if error.is_transient() && !shown.is_empty() => {
                let since = *wrong_since.get_or_insert_with(std::time::Instant::now);
                if since.elapsed() > patience {
                    return Err(session.failed(doing)(error));
                }
                format!("\n{}; trying again\n", clean(&error.to_string()))
            }
            Err(error) => return Err(session.failed(doing)(error)),
        };
        session.print(&screen(&(shown.clone() + &wrong), session.style.height))?;
        tokio::time::sleep(every.max(AT_LEAST)).await;
    }
}

/// The text from the top of a terminal, as much of it as there is room for.
fn screen(text: &str, height: Option<usize>) -> String {
    let room = height.unwrap_or(usize::MAX).saturating_sub(1);
    let shown = lines(text.lines().take(room).map(|line| line.to_owned() + CLEAR_LINE));
    format!("{HOME}{shown}{CLEAR_REST}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_left_out_and_what_was_there_is_cleared() {
        assert_eq!(screen("a\nb\nc\n", Some(3)), "\u{1b}[Ha\u{1b}[K\nb\u{1b}[K\n\u{1b}[J");
    }
}
