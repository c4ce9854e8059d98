//! Tables: aligned columns that never wrap.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{
    clean,
    style::{Style, Tone},
};

/// Spaces between two columns.
const GAP: usize = 2;
/// What a column that shrinks keeps at least.
const LEAST_WIDTH: usize = 8;

/// A column's heading and how its cells stand.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    heading: &'static str,
    right: bool,
    shrinks: bool,
    yields: Option<u8>,
}

impl Column {
    /// A column of text.
    #[must_use]
    pub const fn new(heading: &'static str) -> Self {
        Self { heading, right: false, shrinks: false, yields: None }
    }

    /// The same column, its cells to the right, for numbers.
    #[must_use]
    pub const fn right(mut self) -> Self {
        self.right = true;
        self
    }

    /// The same column, cut with `…` where the terminal is too narrow.
    #[must_use]
    pub const fn shrinks(mut self) -> Self {
        self.shrinks = true;
        self
    }

    /// The same column, left out where the terminal is too narrow for all that cannot shrink; that with the lowest rank
    /// goes first.
    #[must_use]
    pub const fn yields(mut self, rank: u8) -> Self {
        self.yields = Some(rank);
        self
    }
}

/// One cell.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell with a tone. Characters that steer a terminal are left out of the text.
    #[must_use]
    pub fn toned(text: &str, tone: Tone) -> Self {
        Self { text: clean(text), tone }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text.as_ref(), Tone::Plain)
    }
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; it has a cell for each column.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The table as lines, each with its line break.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        let (columns, widths) = self.layout(style.width, style.headers);
        let heading: Vec<Cell> = self.columns.iter().map(|c| Cell::toned(c.heading, Tone::Faint)).collect();
        let heading = style.headers.then_some(&heading);
        heading.into_iter().chain(&self.rows).map(|row| self.line(row, &columns, &widths, style)).collect()
    }

    /// The columns that there is room for, by their places, and how wide each is.
    fn layout(&self, limit: Option<usize>, headers: bool) -> (Vec<usize>, Vec<usize>) {
        let mut columns: Vec<usize> = (0..self.columns.len()).collect();
        loop {
            let (widths, excess) = self.widths(&columns, limit, headers);
            let next = columns.iter().filter_map(|&at| self.columns[at].yields.map(|rank| (rank, at))).min();
            match next {
                Some((_, least)) if excess > 0 => columns.retain(|&at| at != least),
                _ => return (columns, widths),
            }
        }
    }

    /// The width of each of these columns, that of its widest cell less what has to be cut, and how much they are too wide
    /// even so.
    fn widths(&self, columns: &[usize], limit: Option<usize>, headers: bool) -> (Vec<usize>, usize) {
        let widest = |&index: &usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.text.width());
            cells.chain(headers.then(|| self.columns[index].heading.width())).max().unwrap_or_default()
        };
        let mut widths: Vec<usize> = columns.iter().map(widest).collect();
        let total = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        let mut excess = limit.map_or(0, |limit| total.saturating_sub(limit));
        let shrinking = columns.iter().map(|&index| &self.columns[index]).enumerate().filter(|(_, c)| c.shrinks);
        for (place, column) in shrinking.collect::<Vec<_>>().into_iter().rev() {
            let least = LEAST_WIDTH.max(column.heading.width());
            let cut = excess.min(widths[place].saturating_sub(least));
            widths[place] -= cut;
            excess -= cut;
        }
        (widths, excess)
    }

    fn line(&self, row: &[Cell], columns: &[usize], widths: &[usize], style: Style) -> String {
        let mut line = String::new();
        for (&at, &width) in columns.iter().zip(widths) {
            let (Some(cell), column) = (row.get(at), &self.columns[at]) else { continue };
            let text = cut(&cell.text, width);
            let padding = " ".repeat(width.saturating_sub(text.width()));
            let painted = style.paint(&text, cell.tone);
            let (before, after) = if column.right { (padding, painted) } else { (painted, padding) };
            if !line.is_empty() {
                line += "  ";
            }
            line += &before;
            line += &after;
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}

/// The text, cut to `width` columns with `…` at its end.
#[must_use]
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or_default();
        if used > width {
            break;
        }
        kept.push(c);
    }
    kept + "…"
}

/// Names and values below each other, the values aligned; values that are empty are left out.
#[must_use]
pub fn pairs(pairs: &[(&str, Cell)], style: Style) -> String {
    let shown: Vec<_> = pairs.iter().filter(|(_, cell)| !cell.text.is_empty()).collect();
    let width = shown.iter().map(|(name, _)| name.width()).max().unwrap_or_default() + 1;
    let line = |(name, cell): &&(&str, Cell)| {
        let label = format!("{name}:{}", " ".repeat(width.saturating_sub(name.width() + 1)));
        format!("{}  {}\n", style.paint(&label, Tone::Faint), style.paint(&cell.text, cell.tone))
    };
    shown.iter().map(line).collect()
}
