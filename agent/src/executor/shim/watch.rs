//! The shim's one loop: output, orders, ended processes, clocks.

mod state;

use std::time::Duration;

use tokio::{
    io::AsyncReadExt,
    signal::unix::{Signal, SignalKind, signal},
};

use super::{
    commands::{Command, Commands},
    launch::{self, Program},
    log::Log,
    pipes::{self, Output, Read, Signs},
};
use crate::executor::{
    exit::{EndedBy, Exit},
    folder::Folder,
    process::{Journal, ProcessName},
    spec::Spec,
};
use crate::reexec::Reexec;
use state::State;

/// Seconds for which the last output waits for room on a full disk: less than the agent waits for the end of a shim.
const LAST_TRIES: u32 = 2;

/// Runs the program and gives how it ended, once nothing of it runs any more.
pub(super) async fn watch(folder: &Folder, spec: &Spec, mut journal: Journal, reexec: &Reexec) -> anyhow::Result<Exit> {
    let (mut commands, signs) = (Commands::open(folder)?, Signs::open(folder)?);
    // Before the program starts, or its end could be missed.
    let mut listening = Listening::new()?;
    let log = Log::create(folder)?;
    let Some(deadline_ms) = commands.first_deadline().await else {
        return Ok(Exit::not_started("the agent ended before the program began".to_owned()));
    };
    let program = match launch::start(folder, reexec) {
        Ok(program) => program,
        Err(why) => return Ok(Exit::not_started(why)),
    };
    journal.main = ProcessName::of(program.main);
    journal.write(folder)?;
    let state = State::new(spec, program.main, deadline_ms);
    let buffer = pipes::buffer();
    let mut watch = Watch { program, log, signs, state, buffer, starting: true, start_error: Vec::new() };
    watch.until_gone(&mut commands, &mut listening).await;
    Ok(watch.finish(spec))
}

/// Signals that concern the shim.
struct Listening {
    child: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Listening {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            child: signal(SignalKind::child())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

struct Watch {
    program: Program,
    log: Log,
    signs: Signs,
    state: State,
    buffer: Vec<u8>,
    /// Whether it is not known yet that the program runs, or why it does not.
    starting: bool,
    start_error: Vec<u8>,
}

impl Watch {
    async fn until_gone(&mut self, commands: &mut Commands, listening: &mut Listening) {
        while !self.state.is_over() {
            let reads = self.log.has_room();
            let (stdout, stderr) = (&self.program.stdout, &self.program.stderr);
            // In this order: a quick program has written something before anybody learned that it runs, and its start must
            // be told before its output. Output comes last, so that whoever writes without end holds nothing else up.
            tokio::select! {
                biased;
                command = commands.next() => self.obey(command),
                _ = listening.terminate.recv() => self.state.end(EndedBy::Signal, None),
                _ = listening.interrupt.recv() => self.state.end(EndedBy::Signal, None),
                _ = listening.child.recv() => self.state.reap(),
                said = self.program.status.read_buf(&mut self.start_error), if self.starting => {
                    self.heard_of_start(matches!(said, Ok(n) if n > 0));
                }
                () = tokio::time::sleep(self.state.pause()) => self.state.reap(),
                () = stdout.readable(), if reads && stdout.is_open() => { self.read(Output::read_into); }
                () = stderr.readable(), if reads && stderr.is_open() => { self.read(Output::read_into); }
            }
            self.log.retry();
            self.tell_growth();
            self.state.heed_clocks();
        }
    }

    /// Something came through the status pipe, or it was closed.
    fn heard_of_start(&mut self, more: bool) {
        self.starting = more;
        if !more && self.start_error.is_empty() {
            self.signs.give(b's');
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Deadline(at_ms) => self.state.extend(at_ms),
            Command::Stop(grace_ms) => self.state.end(EndedBy::Agent, Some(grace_ms)),
            Command::Kill => self.state.end(EndedBy::Agent, Some(0)),
            Command::Tell => {
                self.heard_of_start(self.starting);
                self.signs.give(b'o');
            }
        }
    }

    /// Takes what both streams hold; tells whether that was anything.
    fn read(&mut self, how: impl Fn(&mut Output, &mut Log, &mut [u8]) -> Read) -> bool {
        let mut some = false;
        for output in [&mut self.program.stdout, &mut self.program.stderr] {
            if self.log.has_room() && how(output, &mut self.log, &mut self.buffer) == Read::Some {
                some = true;
            }
        }
        self.tell_growth();
        some
    }

    fn tell_growth(&mut self) {
        if self.log.has_grown() {
            self.signs.give(b'o');
        }
    }

    /// Takes what nobody adds to any more. Whoever ended the program waits for it, not for room on the disk.
    fn read_last(&mut self) {
        let tries = if self.state.exit().ended_by == EndedBy::Itself { LAST_TRIES } else { 0 };
        for _ in 0..tries {
            while self.read(Output::read_last_into) {}
            if self.log.has_room() {
                return;
            }
            std::thread::sleep(Duration::from_secs(1));
            self.log.retry();
        }
        while self.read(Output::read_last_into) {}
        if !self.log.has_room() {
            self.log.give_up();
            while self.read(Output::read_last_into) {}
        }
    }

    /// Nobody can write any more: takes what is left, and gives how it ended.
    fn finish(mut self, spec: &Spec) -> Exit {
        // A quick program may be gone before anybody looked.
        while self.starting {
            let said = pipes::read_now(&self.program.status, &mut self.buffer).unwrap_or(0);
            self.start_error.extend_from_slice(&self.buffer[..said]);
            self.heard_of_start(said > 0);
        }
        self.read_last();
        let exit = self.state.exit();
        let not_kept = self.log.close();
        if self.start_error.is_empty() {
            exit.explained(spec).with_note(not_kept)
        } else {
            Exit::not_started(String::from_utf8_lossy(&self.start_error).into_owned())
        }
    }
}
