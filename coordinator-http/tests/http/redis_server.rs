//! A Redis server of the test's own.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use redis::AsyncCommands;

/// The server; it ends with the value.
pub(crate) struct RedisServer {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl RedisServer {
    pub(crate) async fn start() -> Self {
        // Somebody may take the port between its choice and its use.
        for _ in 0..10 {
            let dir = tempfile::tempdir().unwrap();
            let port = free_port();
            let mut server = Self { child: spawn(port, &dir, &[]), port, dir };
            if server.comes_up().await {
                return server;
            }
        }
        panic!("redis-server finds no port");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends the server as a power cut would, but for what the disk has.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Has the server hang, or go on.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Starts it again on the same port and data.
    pub(crate) async fn restart(&mut self) {
        self.restart_with(&[]).await;
    }

    /// The same with further options, written as on the command line of `redis-server`.
    pub(crate) async fn restart_with(&mut self, options: &[&str]) {
        self.child = spawn(self.port, &self.dir, options);
        assert!(self.comes_up().await, "redis-server does not come back on port {}", self.port);
    }

    /// Starts it again so that it takes its time to load what it holds, and returns while it does.
    pub(crate) async fn restart_slowly(&mut self) {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        // It looks at its connections with every 1,024th command that it loads.
        let mut many = redis::pipe();
        for number in 0..32 * 1_024 {
            many.cmd("SET").arg("filling").arg(number).ignore();
        }
        many.query_async::<()>(&mut connection).await.unwrap();
        self.kill();
        self.child = spawn(self.port, &self.dir, &["--key-load-delay", "300"]);
    }

    /// Has its attempts to save fail, after which it takes no writes, or succeed again.
    pub(crate) async fn cannot_save(&self, cannot: bool) {
        let in_the_way = self.dir.path().join("dump.rdb");
        if cannot {
            std::fs::create_dir(&in_the_way).unwrap();
            self.command(&["CONFIG", "SET", "save", "3600 1000000"]).await;
        } else {
            std::fs::remove_dir(&in_the_way).unwrap();
        }
        self.command(&["BGSAVE"]).await;
        let status = if cannot { "rdb_last_bgsave_status:err" } else { "rdb_last_bgsave_status:ok" };
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let give_up = Instant::now() + Duration::from_secs(20);
        loop {
            let info: String = redis::cmd("INFO").arg("persistence").query_async(&mut connection).await.unwrap();
            if info.contains(status) && info.contains("rdb_bgsave_in_progress:0") {
                return;
            }
            assert!(Instant::now() < give_up, "{info}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// All that it holds: the serialised value of every key, but of those that expire just now.
    pub(crate) async fn dump(&self) -> BTreeMap<String, Vec<u8>> {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let keys: Vec<String> = connection.keys("*").await.unwrap();
        let mut dump = BTreeMap::new();
        for key in keys {
            let value: Option<Vec<u8>> = redis::cmd("DUMP").arg(&key).query_async(&mut connection).await.unwrap();
            dump.extend(value.map(|value| (key, value)));
        }
        dump
    }

    /// Puts back what it held once, as after a failover to a replica that had no more.
    pub(crate) async fn restore(&self, dump: &BTreeMap<String, Vec<u8>>) {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut all = redis::pipe();
        all.atomic().cmd("FLUSHALL").ignore();
        for (key, value) in dump {
            all.cmd("RESTORE").arg(key).arg(0).arg(value).ignore();
        }
        all.query_async::<()>(&mut connection).await.unwrap();
    }

    /// Has the server do something.
    pub(crate) async fn command(&self, words: &[&str]) {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        redis::cmd(words[0]).arg(&words[1..]).query_async::<redis::Value>(&mut connection).await.unwrap();
    }

    /// How often a command has run, scripts' calls included.
    pub(crate) async fn calls(&self, command: &str) -> u64 {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let info: String = redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.unwrap();
        let beginning = format!("cmdstat_{command}:calls=");
        let line = info.lines().find_map(|line| line.strip_prefix(&beginning));
        line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
    }

    /// Waits until this very server answers; `false` if it ended instead.
    async fn comes_up(&mut self) -> bool {
        let client = redis::Client::open(self.url()).unwrap();
        let own = format!("process_id:{}\r", self.child.id());
        let give_up = Instant::now() + Duration::from_secs(20);
        while Instant::now() < give_up {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if let Ok(mut connection) = client.get_multiplexed_async_connection().await
                && redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
            {
                let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await.unwrap();
                return info.contains(&own);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, dir: &tempfile::TempDir, options: &[&str]) -> Child {
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--appendonly", "yes", "--appendfsync", "always"])
        .args(["--save", "", "--maxmemory-policy", "noeviction", "--dir"])
        .arg(dir.path())
        .args(options)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// A port that nobody had a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
