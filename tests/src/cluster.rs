//! A real Redis Cluster of three masters on loopback, and the moving of a slot from one to another, step by step.

use std::time::Duration;

use futures_util::future::join_all;
use redis::{FromRedisValue, RedisResult, ToRedisArgs};

use crate::{ports::free_port, redis::RedisServer, snapshot::Snapshot, wait::eventually};

const MASTERS: usize = 3;
const SLOTS: usize = 16_384;

/// Three masters that share all slots.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<RedisServer>,
    ids: Vec<String>,
}

impl Cluster {
    /// Starts the masters and returns when all of them agree that the cluster is complete.
    pub async fn start() -> Self {
        let nodes = join_all((0..MASTERS).map(|_| start_node())).await;
        let mut cluster = Self { ids: Vec::new(), nodes };
        cluster.assign().await;
        cluster.agree().await;
        cluster
    }

    /// Its URL, `redis+cluster://host:port,host:port,host:port`.
    #[must_use]
    pub fn url(&self) -> String {
        let addresses: Vec<_> = self.nodes.iter().map(RedisServer::address).collect();
        format!("redis+cluster://{}", addresses.join(","))
    }

    /// The master with that number.
    #[must_use]
    pub fn node(&self, number: usize) -> &RedisServer {
        &self.nodes[number]
    }

    /// The same, to kill or freeze it.
    pub fn node_mut(&mut self, number: usize) -> &mut RedisServer {
        &mut self.nodes[number]
    }

    /// The slot of a key.
    pub async fn slot_of(&self, key: &str) -> u16 {
        self.ask(0, "CLUSTER", &["KEYSLOT", key]).await.unwrap()
    }

    /// The number of the master that serves a slot, by its own word.
    pub async fn owner_of(&self, slot: u16) -> usize {
        let mut owner = None;
        for number in 0..MASTERS {
            let nodes: String = self.ask(number, "CLUSTER", &["NODES"]).await.unwrap();
            if nodes.lines().any(|line| line.contains("myself") && serves(line, slot)) {
                owner = Some(number);
            }
        }
        owner.unwrap_or_else(|| panic!("nobody serves slot {slot}"))
    }

    /// Every key of all masters.
    pub async fn snapshot(&self) -> Snapshot {
        let mut all = Snapshot::default();
        for node in &self.nodes {
            all = all.and(node.snapshot().await);
        }
        all
    }

    /// Gives a master a replica, and waits until that keeps up.
    pub async fn add_replica(&mut self, of: usize) {
        let number = self.nodes.len();
        self.nodes.push(start_node().await);
        self.meet(number).await;
        let master = &self.ids[of];
        eventually(format!("node {number} to be a replica of master {of}"), async || {
            self.ask::<String>(number, "CLUSTER", &["REPLICATE", master]).await.ok()
        })
        .await;
        eventually(format!("the replica of master {of} to keep up"), async || {
            let info: String = self.ask(of, "INFO", &["replication"]).await.ok()?;
            info.contains("state=online").then_some(())
        })
        .await;
    }

    /// Sets how long a node may be silent before the others take it for down.
    pub async fn set_down_after(&self, silence: Duration) {
        for number in 0..self.nodes.len() {
            let ms = silence.as_millis().to_string();
            let () = self.ask(number, "CONFIG", &["SET", "cluster-node-timeout", &ms]).await.unwrap();
        }
    }

    /// Waits until a replica has taken over a slot, by its own word, and gives its number.
    pub async fn promoted(&self, slot: u16) -> usize {
        eventually(format!("a replica to serve slot {slot}"), async || {
            for number in MASTERS..self.nodes.len() {
                let nodes: String = self.ask(number, "CLUSTER", &["NODES"]).await.ok()?;
                if nodes.lines().any(|line| line.contains("myself") && line.contains("master") && serves(line, slot)) {
                    return Some(number);
                }
            }
            None
        })
        .await
    }

    /// Begins to move a slot to the master `to`: from now on its keys may be at either.
    pub async fn begin_move(&self, slot: u16, to: usize) -> SlotMove<'_> {
        let from = self.owner_of(slot).await;
        assert_ne!(from, to, "slot {slot} is there already");
        let text = slot.to_string();
        let () = self.ask(to, "CLUSTER", &["SETSLOT", &text, "IMPORTING", &self.ids[from]]).await.unwrap();
        let () = self.ask(from, "CLUSTER", &["SETSLOT", &text, "MIGRATING", &self.ids[to]]).await.unwrap();
        SlotMove { cluster: self, slot: text, from, to }
    }

    /// Runs a command on one master.
    async fn ask<T: FromRedisValue>(&self, number: usize, command: &str, args: &[impl ToRedisArgs]) -> RedisResult<T> {
        redis::cmd(command).arg(args).query_async(&mut self.nodes[number].connection().await).await
    }

    /// Gives each master a third of the slots, and introduces them to each other.
    async fn assign(&mut self) {
        for number in 0..MASTERS {
            let (first, last) = (SLOTS * number / MASTERS, SLOTS * (number + 1) / MASTERS - 1);
            let range = [first.to_string(), last.to_string()];
            let () = self.ask(number, "CLUSTER", &["ADDSLOTSRANGE", &range[0], &range[1]]).await.unwrap();
            let epoch = (number + 1).to_string();
            let () = self.ask(number, "CLUSTER", &["SET-CONFIG-EPOCH", &epoch]).await.unwrap();
            self.ids.push(self.ask(number, "CLUSTER", &["MYID"]).await.unwrap());
            if number > 0 {
                self.meet(number).await;
            }
        }
    }

    /// Introduces a master to the first one.
    async fn meet(&self, number: usize) {
        let bus_port: String = {
            let reply: Vec<String> = self.ask(0, "CONFIG", &["GET", "cluster-port"]).await.unwrap();
            reply[1].clone()
        };
        let port = self.nodes[0].port().to_string();
        let () = self.ask(number, "CLUSTER", &["MEET", "127.0.0.1", &port, &bus_port]).await.unwrap();
    }

    /// Waits until every master knows all others and that all slots are served.
    async fn agree(&self) {
        for number in 0..MASTERS {
            eventually(format!("master {number} to see the whole cluster"), async || {
                let info: String = self.ask(number, "CLUSTER", &["INFO"]).await.ok()?;
                let whole = ["cluster_state:ok", "cluster_slots_ok:16384", "cluster_known_nodes:3", "cluster_size:3"];
                whole.iter().all(|line| info.contains(line)).then_some(())
            })
            .await;
        }
    }
}

/// A slot on its way. Between two steps a test may do what it likes.
#[derive(Debug)]
pub struct SlotMove<'a> {
    cluster: &'a Cluster,
    slot: String,
    from: usize,
    to: usize,
}

impl SlotMove<'_> {
    /// Moves up to `count` keys; returns how many it moved.
    pub async fn move_keys(&self, count: usize) -> usize {
        let count = count.to_string();
        let keys: Vec<Vec<u8>> =
            self.cluster.ask(self.from, "CLUSTER", &["GETKEYSINSLOT", &self.slot, &count]).await.unwrap();
        if !keys.is_empty() {
            self.migrate(&keys).await;
        }
        keys.len()
    }

    /// Moves one key, wherever it stands in the order.
    pub async fn move_key(&self, key: &str) {
        self.migrate(&[key.as_bytes().to_vec()]).await;
    }

    /// Moves what is left and makes the new master the owner.
    pub async fn finish(self) {
        while self.move_keys(100).await > 0 {}
        let owner = &self.cluster.ids[self.to];
        let others = (0..MASTERS).filter(|&n| n != self.to && n != self.from);
        // The new owner first: it must know before the old one sends anybody there.
        for number in [self.to, self.from].into_iter().chain(others) {
            let () = self.cluster.ask(number, "CLUSTER", &["SETSLOT", &self.slot, "NODE", owner]).await.unwrap();
        }
    }

    async fn migrate(&self, keys: &[Vec<u8>]) {
        let target = self.cluster.node(self.to);
        let mut command = redis::cmd("MIGRATE");
        command.arg("127.0.0.1").arg(target.port()).arg("").arg(0).arg(5_000).arg("KEYS").arg(keys);
        let source = self.cluster.node(self.from);
        let reply: String = command.query_async(&mut source.connection().await).await.unwrap();
        assert!(reply == "OK" || reply == "NOKEY", "MIGRATE answered {reply}");
    }
}

async fn start_node() -> RedisServer {
    let bus_port = free_port().to_string();
    let timeout_ms = Duration::from_secs(15).as_millis().to_string();
    let options = ["--cluster-enabled", "yes", "--cluster-port", &bus_port, "--cluster-node-timeout", &timeout_ms];
    RedisServer::start_with(&options).await
}

/// Whether a line of CLUSTER NODES (`id address flags … 0-5460 7000 [5461->-id]`) names the slot as served.
fn serves(line: &str, slot: u16) -> bool {
    line.split(' ').skip(8).filter(|range| !range.starts_with('[')).any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
    })
}
