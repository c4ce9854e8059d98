//! What the scripts of an audit answer.

use super::Finding;
use crate::{
    Pool, StoreError,
    reply::unknown_word,
    script::{Args, Script},
};

/// One slice, as its script tells of it.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Where the next slice begins; none if this was the last.
    pub(super) next: Option<String>,
    /// How many things were looked at.
    pub(super) checked: u64,
    /// What is wrong.
    pub(super) findings: Vec<Finding>,
    /// Classes that are to be looked at one by one.
    pub(super) classes: Vec<String>,
}

impl Page {
    /// Runs a script on a pool that is not opened for it, since that would write; none if there is no such pool.
    pub(super) async fn of(pool: &Pool, script: &Script, name: &str, args: &Args) -> Result<Option<Self>, StoreError> {
        let (word, mut reply) = pool.call_once(script, args).await?;
        match word.as_str() {
            "no_pool" => Ok(None),
            "audited" => {
                let (next, checked) = (reply.some_text()?, reply.parse()?);
                let findings = reply.list()?.rest(|r| {
                    r.list()
                        .and_then(|mut r| Ok(Finding { kind: r.text()?, id: r.lossy_text()?, wrong: r.lossy_text()? }))
                })?;
                let classes =
                    if reply.is_empty() { Vec::new() } else { reply.list()?.rest(crate::reply::Reply::text)? };
                Ok(Some(Self { next, checked, findings, classes }))
            }
            word => Err(unknown_word(name, word)),
        }
    }
}
