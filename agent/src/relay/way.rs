//! The way of an answer to the coordinator: by upload as long as that goes, else by reports.

use std::sync::Arc;

use titan_api::work::HeldLease;

use super::upload::{Over, Upload};
use crate::{agent::Agent, outbox::Spool};

/// Where the bytes of one answer go.
pub(super) struct Way<'a> {
    agent: &'a Arc<Agent>,
    lease: &'a HeldLease,
    spool: &'a Spool,
    upload: Option<Upload>,
    /// Bytes of the answer so far.
    written: u64,
    /// Bytes that the coordinator has said it has.
    accepted: u64,
}

impl<'a> Way<'a> {
    /// A way by reports.
    pub(super) fn new(agent: &'a Arc<Agent>, lease: &'a HeldLease, spool: &'a Spool) -> Self {
        Self { agent, lease, spool, upload: None, written: 0, accepted: 0 }
    }

    /// Uploads from now on, where that is served.
    pub(super) fn upload(&mut self) {
        self.upload = Upload::begin(self.agent, self.lease, self.written);
    }

    /// Sends bytes of the answer; waits while too many are on their way.
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        let Some(upload) = &mut self.upload else {
            let told = || self.agent.outbox.output(&self.lease.lease_id);
            return self.spool.write(bytes, told).await;
        };
        self.spool.keep(bytes);
        if let Err(over) = upload.send(bytes).await {
            self.upload = None;
            self.go_on_after(over);
        } else if upload.is_full() {
            self.end_upload().await;
            if self.accepted == self.written {
                self.upload();
            }
        }
    }

    /// Nothing more comes: gives it all away before the end is told.
    pub(super) async fn end(&mut self) {
        self.end_upload().await;
    }

    async fn end_upload(&mut self) {
        if let Some(upload) = self.upload.take() {
            let over = upload.end().await;
            self.go_on_after(over);
        }
    }

    /// Whatever an upload has not brought there goes by reports.
    fn go_on_after(&mut self, Over(accepted): Over) {
        self.accepted = accepted.filter(|to| (self.accepted..=self.written).contains(to)).unwrap_or(self.accepted);
        self.spool.release(self.accepted);
        if self.accepted < self.written {
            self.agent.outbox.output_from(&self.lease.lease_id, self.accepted);
        }
    }
}
