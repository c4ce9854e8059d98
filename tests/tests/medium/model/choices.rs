//! What the rules leave open: the order of things that happen at once, and ties. The model is run once for every way to
//! decide them, until one way agrees with what the store did.

/// Decisions already made, and how many ways each could have gone.
#[derive(Debug, Clone, Default)]
pub(super) struct Choices {
    tape: Vec<usize>,
    made: Vec<(usize, usize)>,
}

impl Choices {
    /// Begins a run that decides as the tape says, and by the first way where it ends.
    pub(super) fn of(tape: Vec<usize>) -> Self {
        Self { tape, made: Vec::new() }
    }

    /// One of `ways` ways.
    pub(super) fn choose(&mut self, ways: usize) -> usize {
        if ways < 2 {
            return 0;
        }
        let way = self.tape.get(self.made.len()).copied().unwrap_or(0);
        self.made.push((way, ways));
        way
    }

    /// The tape of the next way to decide; none after the last.
    pub(super) fn next_tape(&self) -> Option<Vec<usize>> {
        let turn = self.made.iter().rposition(|&(way, ways)| way + 1 < ways)?;
        let mut tape: Vec<usize> = self.made[..turn].iter().map(|&(way, _)| way).collect();
        tape.push(self.made[turn].0 + 1);
        Some(tape)
    }
}
