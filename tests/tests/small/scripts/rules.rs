//! What no script may do.

use super::{
    code::Code,
    source::{parts, scripts},
};

/// Every file with Lua in it, by name, and whether it stands alone (uses no shared part).
fn all_code() -> Vec<(String, bool, Code)> {
    let scripts = scripts().into_iter().map(|s| (s.name, s.header.uses.is_empty(), s.code));
    scripts.chain(parts().into_iter().map(|p| (format!("lib/{}", p.name), false, p.code))).collect()
}

#[test]
fn no_script_looks_at_every_key_of_the_database_or_runs_another_script() {
    for (name, _, code) in all_code() {
        for banned in ["KEYS", "SCAN", "RANDOMKEY", "FLUSHALL", "FLUSHDB", "EVAL", "EVALSHA", "SELECT", "SORT"] {
            assert!(!code.commands().contains(banned), "{name} calls {banned}");
        }
    }
}

#[test]
fn no_script_rolls_dice_or_reads_a_clock_of_its_own() {
    for (name, _, code) in all_code() {
        for banned in ["random", "randomseed", "os", "loadstring", "setfenv"] {
            assert!(!code.uses_name(banned), "{name} uses {banned}");
        }
    }
}

/// Tests pass their own time, so a script that reads TIME without asking for it first could not be tested.
#[test]
fn the_time_of_redis_is_read_in_one_place() {
    for (name, _, code) in all_code() {
        assert!(name == "lib/clock" || !code.commands().contains("TIME"), "{name} reads TIME; use pool.now");
    }
}

/// Arguments have names in the script that takes them; a shared part that reads ARGV would depend on its caller's.
#[test]
fn no_shared_part_reads_the_arguments() {
    for part in parts() {
        assert!(!part.code.uses_name("ARGV"), "lib/{} reads ARGV", part.name);
    }
}
