//! A coordinator that says what a test tells it to, and the `titan` binary run against it.

pub(crate) mod samples;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
};

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// For example `GET /api/v1/jobs`.
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    /// The value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// What to answer.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// A whole reply: status line's rest, more headers, body.
    Whole(String, Vec<(String, String)>, String),
    /// A chunked event stream in these parts; `true`: it ends in order, `false`: the connection breaks.
    Stream(Vec<Vec<u8>>, bool),
    /// The parts, and then the connection stays open without a word.
    Silence(Vec<Vec<u8>>),
    /// Nothing: the connection is closed.
    Hangup,
}

/// A reply with a JSON body.
pub(crate) fn json(status: u16, body: impl Into<String>) -> Answer {
    Answer::Whole(status.to_string(), vec![("content-type".into(), "application/json".into())], body.into())
}

/// A problem document.
pub(crate) fn problem(kind: titan_api::problem::ProblemType, detail: &str) -> Answer {
    let mut problem = titan_api::problem::Problem::new(kind).with_detail(detail);
    problem.request_id = Some("req-7".to_owned());
    json(problem.status, serde_json::to_string(&problem).unwrap())
}

/// An event with output; if that is complete, the end of the stream too.
pub(crate) fn event(id: &str, output: &titan_api::output::Output) -> Vec<u8> {
    let event = format!("id: {id}\nevent: output\ndata: {}\n\n", serde_json::to_string(output).unwrap());
    let end = format!("id: {id}\nevent: end\ndata: {{\"state\":\"completed\",\"attempt\":{}}}\n\n", output.attempt);
    if output.complete { event + &end } else { event }.into_bytes()
}

/// The scripted coordinator.
pub(crate) struct Server {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers each request, on a connection of its own, as `script` says; it gets the number of the request, from 0.
    pub(crate) fn start(script: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (record, script) = (Arc::clone(&seen), Arc::new(script));
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (record, script) = (Arc::clone(&record), Arc::clone(&script));
                std::thread::spawn(move || serve(connection, &record, script.as_ref()));
            }
        });
        Self { url, seen }
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(
    connection: TcpStream,
    seen: &Mutex<Vec<Request>>,
    script: &(dyn Fn(usize, &Request) -> Answer + Send + Sync),
) {
    let Some(request) = read_request(&connection) else { return };
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        seen.len() - 1
    };
    // The client may be gone already; that is its business.
    let _ = answer(connection, script(number, &request));
}

fn read_request(connection: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(connection);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let line = lines.remove(0).replace(" HTTP/1.1", "");
    let split = |line: &String| line.split_once(": ").map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()));
    let headers: Vec<_> = lines.iter().filter_map(split).collect();
    let length = headers.iter().find(|(n, _)| n == "content-length").map_or(0, |(_, v)| v.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { line, headers, body: String::from_utf8(body).unwrap() })
}

fn answer(mut connection: TcpStream, answer: Answer) -> std::io::Result<()> {
    const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: asked-1\r\n\
                          transfer-encoding: chunked\r\n\r\n";
    let chunk = |part: &Vec<u8>| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
    match answer {
        Answer::Hangup => Ok(()),
        Answer::Whole(status, headers, body) => {
            let headers: String = headers.iter().flat_map(|(n, v)| [n, ": ", v, "\r\n"]).collect();
            let length = body.len();
            write!(
                connection,
                "HTTP/1.1 {status} Word\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
        }
        Answer::Stream(parts, in_order) => {
            connection.write_all(STREAM.as_bytes())?;
            parts.iter().try_for_each(|part| connection.write_all(&chunk(part)))?;
            if in_order { connection.write_all(b"0\r\n\r\n") } else { Ok(()) }
        }
        Answer::Silence(parts) => {
            connection.write_all(STREAM.as_bytes())?;
            parts.iter().try_for_each(|part| connection.write_all(&chunk(part)))?;
            // Until the client goes.
            connection.read(&mut [0]).map(drop)
        }
    }
}

/// The `titan` binary, in an environment without any setting and with a home of its own.
pub(crate) struct Titan {
    pub(crate) home: tempfile::TempDir,
}

impl Titan {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    /// A command against a server, with the key `key-1`.
    pub(crate) fn at(&self, server: &Server, arguments: &[&str]) -> Command {
        let mut command = self.bare(arguments);
        command.env("TITAN_URL", &server.url).env("TITAN_API_KEY", "key-1");
        command
    }

    /// A command that is told nothing.
    pub(crate) fn bare(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_titan"));
        command.args(arguments).env_clear().env("HOME", self.home.path()).stdin(Stdio::null());
        command
    }
}

/// Exit code, standard output and standard error of a command that has ended.
pub(crate) fn ran(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Runs a command against a server that gives the same answer to everything.
pub(crate) fn titan_with(answer: Answer, arguments: &[&str]) -> (i32, String, String) {
    let server = Server::start(move |_, _| answer.clone());
    ran(Titan::new().at(&server, arguments).output().unwrap())
}
