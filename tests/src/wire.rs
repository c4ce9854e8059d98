//! A client of HTTP for benches: one connection, one request at a time, and hardly any work of its own, so that what is
//! measured is the other end.

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A connection to a coordinator, with a bearer.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    address: String,
    rest_of_head: String,
    read: Vec<u8>,
}

impl Wire {
    /// Connects to `address`, such as `127.0.0.1:8080`.
    pub async fn connect(address: &str, bearer: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (address, rest_of_head, read) = (address.to_owned(), String::new(), Vec::new());
        let mut wire = Self { stream, address, rest_of_head, read };
        wire.bearer(bearer);
        wire
    }

    /// Calls with this bearer from now on.
    pub fn bearer(&mut self, bearer: &str) {
        self.rest_of_head =
            format!("host: {}\r\nauthorization: Bearer {bearer}\r\ncontent-type: application/json\r\n", self.address);
    }

    /// `POST path`: the reply, of a call that succeeds.
    pub async fn post<R: DeserializeOwned>(&mut self, path: &str, body: &impl Serialize) -> R {
        let body = serde_json::to_vec(body).unwrap();
        let head = format!("POST {path} HTTP/1.1\r\n{}content-length: {}\r\n\r\n", self.rest_of_head, body.len());
        self.call(&[head.as_bytes(), &body].concat()).await
    }

    /// `GET path`: the same.
    pub async fn get<R: DeserializeOwned>(&mut self, path: &str) -> R {
        let head = format!("GET {path} HTTP/1.1\r\n{}\r\n", self.rest_of_head);
        self.call(head.as_bytes()).await
    }

    async fn call<R: DeserializeOwned>(&mut self, request: &[u8]) -> R {
        self.stream.write_all(request).await.unwrap();
        let (head, reply) = self.reply().await;
        assert!(head.starts_with("HTTP/1.1 2"), "{head}{}", String::from_utf8_lossy(&reply));
        serde_json::from_slice(&reply).unwrap()
    }

    /// The head of the next reply, and its body.
    async fn reply(&mut self) -> (String, Vec<u8>) {
        self.read.clear();
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await;
        };
        let head = String::from_utf8_lossy(&self.read[..end]).to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let length = length.expect("a reply that says its length").parse::<usize>().unwrap();
        while self.read.len() < end + length {
            self.more().await;
        }
        (String::from_utf8_lossy(&self.read[..end]).into_owned(), self.read[end..end + length].to_vec())
    }

    async fn more(&mut self) {
        assert!(self.stream.read_buf(&mut self.read).await.unwrap() > 0, "the connection was closed");
    }
}
