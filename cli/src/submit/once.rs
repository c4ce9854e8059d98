//! Submitting once, however often it takes: every call has an `Idempotency-Key`, so one that may have been accepted is
//! repeated until that is known.

use std::time::Duration;

use titan_api::{
    client::{ClientError, Reply},
    time::Timestamp,
};

use crate::{
    dev::secrets,
    failure::Failure,
    interrupt,
    patience::{Patience, Trouble},
    session::Session,
};

/// How long to find out what became of a call whose answer was lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is submitted, and how to submit it again by hand.
#[derive(Debug)]
pub(crate) struct Call {
    key: String,
    doing: String,
    not_before: Option<Timestamp>,
}

impl Call {
    /// A call with that key, or one made up. `doing` is as in "cannot …".
    ///
    /// # Errors
    /// [`Failure`] if the system gives no random bytes.
    pub(crate) fn new(key: Option<String>, doing: String, not_before: Option<Timestamp>) -> Result<Self, Failure> {
        let key = key.map_or_else(|| secrets::random().map(|key| format!("titan-{}", &key[..32])), Ok)?;
        Ok(Self { key, doing, not_before })
    }

    /// What to add to the same command to find out.
    fn again(&self) -> String {
        // `--in` would say another time by then, and so make another job.
        let at = self.not_before.map(|time| format!(" and --at {time}")).unwrap_or_default();
        format!("the same command with --idempotency-key '{}'{at} makes no second one", self.key)
    }
}

/// Calls until there is an answer that tells what became of it.
///
/// # Errors
/// [`Failure`], as for every command; it says so if it is not known whether the call was accepted.
pub(crate) async fn until_answered<T>(
    session: &Session,
    call: &Call,
    send: impl AsyncFn(&str) -> Result<Reply<T>, ClientError>,
) -> Result<Reply<T>, Failure> {
    let _guard = interrupt::say_on_ctrl_c(format!(
        "\nInterrupted before the coordinator answered, so it is not known whether it was accepted: {}.",
        call.again()
    ))?;
    let mut trouble = Trouble::new(Patience { give_up_after: PATIENCE, ..Patience::default() });
    let mut is_in_doubt = false;
    loop {
        let error = match send(&call.key).await {
            Ok(reply) => return Ok(reply),
            Err(error) => error,
        };
        is_in_doubt |= error.is_in_doubt();
        if is_in_doubt && trouble.may_pass(&error) {
            trouble.rest(session, Some(&error)).await;
        } else if is_in_doubt && error.is_transient() {
            let hint = Some(call.again());
            let doing = format!("tell whether the coordinator did {}", call.doing);
            return Err(Failure::Call { doing, error: Box::new(error), hint });
        } else {
            return Err(session.failed(&call.doing)(error));
        }
    }
}
