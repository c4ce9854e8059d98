//! HTTP by hand, since what has to be sent is often wrong.

use std::{collections::BTreeMap, io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::Asked;

/// The connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gone {
    /// The caller has hung up.
    Caller,
    /// The backend does, by its script.
    Own,
}

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Self::Caller
    }
}

/// A connection to a caller.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, read: Vec::new() }
    }

    /// The next request with its method; an error if there is none.
    pub(crate) async fn request(&mut self) -> Result<(String, Asked), Gone> {
        let head = loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break self.read.drain(..end + 4).collect::<Vec<_>>();
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.lines();
        let mut first = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
        let (method, path) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
        let headers: BTreeMap<_, _> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        while self.read.len() < length {
            self.more().await?;
        }
        let body = self.read.drain(..length).collect::<Vec<_>>();
        Ok((method, Asked { path, headers, body: String::from_utf8_lossy(&body).into_owned() }))
    }

    async fn more(&mut self) -> Result<(), Gone> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(Gone::Caller),
            _ => Ok(()),
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// A head whose body comes in chunks.
    pub(crate) async fn head(&mut self, status: u16, kind: &str) -> Result<(), Gone> {
        let head = format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n");
        self.send(head.as_bytes()).await
    }

    /// One chunk; nothing for no bytes, since that would be the end.
    pub(crate) async fn chunk(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.send(&chunk).await
    }

    pub(crate) async fn end(&mut self) -> Result<(), Gone> {
        self.send(b"0\r\n\r\n").await
    }

    /// A whole answer.
    pub(crate) async fn whole(&mut self, status: u16, kind: &str, body: &str) -> Result<(), Gone> {
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}");
        self.send(head.as_bytes()).await
    }

    /// Does nothing for that long, unless the caller goes away.
    pub(crate) async fn pause(&mut self, pause: Duration) -> Result<(), Gone> {
        if pause.is_zero() {
            return Ok(());
        }
        match timeout(pause, self.more()).await {
            Ok(Err(gone)) => Err(gone),
            // Nobody sends before the answer is complete; whoever does is patient.
            Ok(Ok(())) => {
                sleep(pause).await;
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }

    /// Does nothing until the caller goes away.
    pub(crate) async fn silence(&mut self) -> Gone {
        loop {
            if let Err(gone) = self.more().await {
                return gone;
            }
        }
    }
}
