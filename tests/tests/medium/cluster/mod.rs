//! The store on a real Redis Cluster: every script, before, while and after the pool's slot moves, and when a master dies.

mod moving;
mod operations;
mod whole;
