//! The way of an answer: to a client that called directly; else to the coordinator, by upload as long as that goes, and
//! by reports where it does not.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::StatusCode;
use titan_api::work::HeldLease;
use tokio::sync::mpsc;

use super::upload::{Over, Upload};
use crate::{agent::Agent, outbox::Spool};

/// What a client that called directly gets.
#[derive(Debug)]
pub(crate) enum Piece {
    /// The backend refused the request with this status; its words follow.
    Refused(StatusCode),
    /// Bytes of the answer.
    Bytes(Bytes),
}

/// Where the bytes of one answer go.
pub(super) struct Way<'a> {
    agent: &'a Arc<Agent>,
    lease: &'a HeldLease,
    spool: &'a Spool,
    client: Option<mpsc::Sender<Piece>>,
    upload: Option<Upload>,
    /// Bytes of the answer so far.
    written: u64,
    /// Bytes that the coordinator has said it has.
    accepted: u64,
}

impl<'a> Way<'a> {
    /// A way to the client, if there is one, or by reports.
    pub(super) fn new(
        agent: &'a Arc<Agent>,
        lease: &'a HeldLease,
        spool: &'a Spool,
        client: Option<mpsc::Sender<Piece>>,
    ) -> Self {
        Self { agent, lease, spool, client, upload: None, written: 0, accepted: 0 }
    }

    /// Begins, by an upload if that is wanted and served: it tells by itself that the attempt has begun.
    pub(super) fn begin(&mut self, upload: bool) {
        if upload {
            self.upload();
        }
        if self.upload.is_none() {
            self.tell_start();
        }
    }

    /// Uploads from now on, where that is served.
    fn upload(&mut self) {
        if self.client.is_none() {
            self.upload = Upload::begin(self.agent, self.lease, self.written);
            // What an upload brings there is not reported as well.
            self.spool.hold_back(self.upload.is_some());
        }
    }

    /// Has it reported that the attempt has begun. Of one for a client that called directly the coordinator knows.
    fn tell_start(&self) {
        if self.client.is_none() {
            self.agent.outbox.started(&self.lease.lease_id);
        }
    }

    /// What follows are words of a refusal.
    pub(super) async fn refused(&self, status: StatusCode) {
        if let Some(client) = &self.client {
            // One that has gone ends the request by that.
            let _ = client.send(Piece::Refused(status)).await;
        }
    }

    /// Sends bytes of the answer; waits while too many are on their way.
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        if let Some(client) = &self.client {
            if !bytes.is_empty() {
                let _ = client.send(Piece::Bytes(Bytes::copy_from_slice(bytes))).await;
            }
            return;
        }
        self.written += bytes.len() as u64;
        let Some(upload) = &mut self.upload else {
            let told = || self.agent.outbox.output(&self.lease.lease_id);
            return self.spool.write(bytes, told).await;
        };
        self.spool.keep(bytes);
        if let Err(over) = upload.send(bytes).await {
            self.upload = None;
            self.go_on_after(over);
        } else if upload.is_due() {
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
        if accepted.is_none() {
            self.tell_start();
        }
        self.accepted = accepted.filter(|to| (self.accepted..=self.written).contains(to)).unwrap_or(self.accepted);
        self.spool.release(self.accepted);
        self.spool.hold_back(false);
        self.agent.outbox.output_from(&self.lease.lease_id, self.accepted);
    }
}
