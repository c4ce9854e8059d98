//! What no script may do.

use super::{
    code::{Code, Token},
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

/// What was submitted is packed once for all of a job's life, so that a change of it would not be written.
#[test]
fn no_script_changes_what_was_submitted() {
    let job = parts().into_iter().find(|part| part.name == "job").unwrap().code;
    let packs = job.tokens.iter().skip_while(|token| **token != Token::Name("pack_submitted".to_owned()));
    let packs: Vec<_> = packs.take_while(|token| **token != Token::Name("end".to_owned())).collect();
    let submitted: Vec<_> = packs
        .windows(3)
        .filter_map(|window| match window {
            [Token::Name(record), Token::Sign('.'), Token::Name(field)] if record == "j" => Some(field),
            _ => None,
        })
        .collect();
    assert!(submitted.len() > 10, "what was submitted is not packed where it was");
    for (name, _, code) in all_code() {
        let puts = code.tokens.windows(5).filter_map(|window| match window {
            [Token::Name(put), Token::Sign('('), Token::Name(_), Token::Sign(','), field] if put == "put" => {
                Some(field)
            }
            _ => None,
        });
        for field in puts {
            match field {
                Token::Text(field) => assert!(!submitted.contains(&field), "{name} changes {field} of a job"),
                // One of a list: none of the texts in that file may be such a field.
                _ => assert!(
                    !code.tokens.iter().any(|t| matches!(t, Token::Text(text) if submitted.contains(&text))),
                    "{name}"
                ),
            }
        }
    }
}
