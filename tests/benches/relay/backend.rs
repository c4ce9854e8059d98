//! A backend with one model, which is as fast as it is told to be.

use std::time::Duration;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// What it serves and how.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) model: &'static str,
    /// Tokens of every answer, and the pause before each.
    pub(crate) tokens: usize,
    pub(crate) pause: Duration,
}

/// Starts one that speaks as OpenAI does, and gives its URL.
pub(crate) async fn start(plan: Plan) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(converse(stream, plan));
        }
    });
    url
}

/// Serves one connection until its peer is gone.
async fn converse(mut stream: TcpStream, plan: Plan) -> Option<()> {
    let mut read = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            more(&mut stream, &mut read).await?;
        };
        let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
        let whole = end + length.unwrap_or(0_usize);
        while read.len() < whole {
            more(&mut stream, &mut read).await?;
        }
        read.drain(..whole);
        if head.starts_with("get ") { models(&mut stream, plan).await? } else { answer(&mut stream, plan).await? }
    }
}

async fn more(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<()> {
    stream.read_buf(read).await.ok().filter(|count| *count > 0).map(drop)
}

async fn models(stream: &mut TcpStream, plan: Plan) -> Option<()> {
    let body = json!({"object": "list", "data": [{"id": plan.model, "object": "model"}]}).to_string();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.ok()
}

async fn answer(stream: &mut TcpStream, plan: Plan) -> Option<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.ok()?;
    for n in 0..plan.tokens {
        if !plan.pause.is_zero() {
            sleep(plan.pause).await;
        }
        let event = format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": format!("w{n} ")}}]}));
        stream.write_all(chunk(&event).as_bytes()).await.ok()?;
    }
    stream.write_all(format!("{}0\r\n\r\n", chunk("data: [DONE]\n\n")).as_bytes()).await.ok()
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}
