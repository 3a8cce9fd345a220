//! What goes to a person: aligned tables, colours on a terminal only, control characters never.
//!
//! Colours are off when the stream is no terminal, when `NO_COLOR` is set to anything (no-color.org) and when `TERM` is `dumb`. Widths
//! are counted in characters; names of ALTO are ASCII. A pipe closed by its reader ends output without an error.
use std::{
    fmt::{self, Write as _},
    io::{self, BufWriter, IsTerminal, Write},
    process::ExitCode,
};

/// Width taken when the output is no terminal: what is piped looks the same everywhere, and fits the narrowest in use.
pub const PIPE_WIDTH: usize = 80;

/// Whether and how to colour one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    colours: bool,
}

impl Paint {
    /// As standard output bears it.
    pub fn stdout() -> Self {
        Self { colours: io::stdout().is_terminal() && environment_allows() }
    }
    /// As standard error bears it.
    pub fn stderr() -> Self {
        Self { colours: io::stderr().is_terminal() && environment_allows() }
    }
    /// No colours.
    pub const PLAIN: Self = Self { colours: false };

    /// Headings, winners.
    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }
    /// What may be skipped.
    pub fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }
    /// Failures.
    pub fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }
    /// Successes.
    pub fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }
    /// Warnings.
    pub fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }
    /// Names.
    pub fn cyan(self, text: &str) -> String {
        self.wrap("36", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.colours && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn environment_allows() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Columns of the terminal on standard output, [`PIPE_WIDTH`] when it is none.
pub fn width() -> usize {
    width_of_terminal().unwrap_or(PIPE_WIDTH)
}

/// The same; `None` when it is none.
pub fn width_of_terminal() -> Option<usize> {
    io::stdout().is_terminal().then(|| terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0).max(20)))
}

/// Breaks text between words. The first line starts at column `head`, the others at `indent`.
pub fn wrap(text: &str, head: usize, indent: usize, width: usize) -> String {
    let mut out = String::new();
    let mut column = head;
    for (at, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if at > 0 && column + 1 + length > width {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if at > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

/// Text from elsewhere made harmless: control characters, which could drive the terminal, become `?`.
pub fn safe(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_bidi(c) { '?' } else { c }).collect()
}

/// Characters that reorder what surrounds them.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// Text cut to a width, with a mark where it was cut: between words when there are some, since half a prefix would be another one.
pub fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let cut: String = text.chars().take(width.saturating_sub(1)).collect();
    match cut.rsplit_once(' ') {
        Some((words, _)) if !words.is_empty() => format!("{words} …"),
        _ => format!("{cut}…"),
    }
}

/// A count for people: `1,234,567`.
pub fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 PID`, `40 PIDs`: the noun in the singular, its plural by an s.
pub fn counted(n: usize, noun: &str) -> String {
    format!("{} {noun}{}", count(n), if n == 1 { "" } else { "s" })
}

/// Which side a column's cells stand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table: a heading line, rows below, two spaces between columns, nothing after the last.
#[derive(Debug)]
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    cells: Vec<String>,
    tone: Tone,
}

/// How a row stands out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tone {
    /// It does not.
    #[default]
    Plain,
    /// The one looked for.
    Best,
    /// Of less interest.
    Faint,
}

impl Table {
    /// An empty table with these headings.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        Self { columns: columns.iter().map(|(title, align)| (safe(title), *align)).collect(), rows: Vec::new() }
    }

    /// Adds a row with a cell for every column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl AsRef<str>>) {
        self.row_in(Tone::Plain, cells);
    }

    /// The same, standing out.
    pub fn row_in(&mut self, tone: Tone, cells: impl IntoIterator<Item = impl AsRef<str>>) {
        let cells: Vec<_> = cells.into_iter().map(|cell| safe(cell.as_ref())).collect();
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(Row { cells, tone });
    }

    /// Width of the widest line.
    pub fn natural_width(&self) -> usize {
        self.widths().iter().sum::<usize>() + 2 * self.columns.len().saturating_sub(1)
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<_> = self.columns.iter().map(|(title, _)| title.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(&row.cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        widths
    }

    /// Writes it. On a terminal the last column is cut so that lines fit in `cut_at`.
    pub fn write(&self, out: &mut impl Write, paint: Paint, cut_at: Option<usize>) -> io::Result<()> {
        let mut widths = self.widths();
        if let (Some(max), Some((last, rest))) = (cut_at, widths.split_last_mut()) {
            let taken: usize = rest.iter().map(|width| width + 2).sum();
            // A column of a few characters says nothing: then rather let the terminal wrap.
            if max >= taken + 8 {
                *last = (*last).min(max - taken);
            }
        }
        let titles: Vec<_> = self.columns.iter().map(|(title, _)| title.as_str()).collect();
        writeln!(out, "{}", paint.dim(&self.line(&titles, &widths)))?;
        for row in &self.rows {
            let cells: Vec<_> = row.cells.iter().map(String::as_str).collect();
            let line = self.line(&cells, &widths);
            match row.tone {
                Tone::Plain => writeln!(out, "{line}")?,
                Tone::Best => writeln!(out, "{}", paint.bold(&paint.green(&line)))?,
                Tone::Faint => writeln!(out, "{}", paint.dim(&line))?,
            }
        }
        Ok(())
    }

    fn line(&self, cells: &[&str], widths: &[usize]) -> String {
        let mut line = String::new();
        for (at, ((cell, width), (_, align))) in cells.iter().zip(widths).zip(&self.columns).enumerate() {
            if at > 0 {
                line.push_str("  ");
            }
            let cell = fit(cell, *width);
            let _ = match align {
                Align::Left => write!(line, "{cell:<width$}"),
                Align::Right => write!(line, "{cell:>width$}"),
            };
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Whoever read our standard output went away. Told apart from a broken connection to a server, which is an `EPIPE` too.
#[derive(Debug)]
struct ReaderGone;

impl fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output was closed")
    }
}

impl std::error::Error for ReaderGone {}

/// Runs `write` on buffered standard output and flushes it.
pub fn print(write: impl FnOnce(&mut BufWriter<io::StdoutLock<'static>>) -> io::Result<()>) -> anyhow::Result<()> {
    let mut out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let done = write(&mut out).and_then(|()| out.flush());
    if done.is_err() {
        // What is left cannot be written; dropping the writer would try once more.
        let _ = out.into_parts();
    }
    done.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => anyhow::Error::new(ReaderGone),
        _ => anyhow::Error::new(error).context("standard output"),
    })
}

/// The same where nothing comes after it that a reader who had enough would end.
pub fn print_forgiving(write: impl FnOnce(&mut BufWriter<io::StdoutLock<'static>>) -> io::Result<()>) -> anyhow::Result<()> {
    match print(write) {
        Err(error) if error.is::<ReaderGone>() => Ok(()),
        result => result,
    }
}

/// A reader that had enough (`altocast get | head`) is no failure of ours.
pub fn forgive_closed_pipe(result: anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    match result {
        Err(error) if error.is::<ReaderGone>() => Ok(ExitCode::SUCCESS),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(table: &Table, paint: Paint, cut_at: Option<usize>) -> String {
        let mut out = Vec::new();
        table.write(&mut out, paint, cut_at).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_align() {
        let mut table = Table::new(&[("PID", Align::Left), ("PREFIXES", Align::Right), ("FIRST", Align::Left)]);
        table.row(["AT", "3", "192.0.2.0/24"]);
        table.row(["a-longer-name", "12345", ""]);
        assert_eq!(
            text(&table, Paint::PLAIN, None),
            "PID            PREFIXES  FIRST\nAT                    3  192.0.2.0/24\na-longer-name     12345\n"
        );
    }

    #[test]
    fn the_last_column_is_cut_to_the_terminal() {
        let mut table = Table::new(&[("A", Align::Left), ("B", Align::Left)]);
        table.row(["x", "0123456789abcdef"]);
        assert_eq!(text(&table, Paint::PLAIN, Some(13)), "A  B\nx  012345678…\n");
        assert_eq!(text(&table, Paint::PLAIN, Some(6)), "A  B\nx  0123456789abcdef\n", "too narrow to be worth cutting");
    }

    #[test]
    fn colour_only_when_allowed() {
        let mut table = Table::new(&[("A", Align::Left)]);
        table.row_in(Tone::Best, ["x"]);
        assert_eq!(text(&table, Paint::PLAIN, None), "A\nx\n");
        assert_eq!(text(&table, Paint { colours: true }, None), "\x1b[2mA\x1b[0m\n\x1b[1m\x1b[32mx\x1b[0m\x1b[0m\n");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let mut table = Table::new(&[("A", Align::Left)]);
        table.row(["\x1b]0;owned\x07\u{202e}"]);
        assert_eq!(text(&table, Paint::PLAIN, None), "A\n?]0;owned??\n");
    }

    #[test]
    fn wrapping_breaks_between_words() {
        assert_eq!(wrap("aa bb cc dd", 4, 2, 9), "aa bb\n  cc dd");
        assert_eq!(wrap("averylongword b", 4, 2, 9), "averylongword\n  b");
    }

    #[test]
    fn counts() {
        for (n, want) in [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")] {
            assert_eq!(count(n), want);
        }
        assert_eq!((counted(1, "PID"), counted(2, "PID")), ("1 PID".into(), "2 PIDs".into()));
    }

    #[test]
    fn a_closed_pipe_is_success_and_a_broken_connection_is_not() {
        assert!(forgive_closed_pipe(Err(anyhow::Error::new(ReaderGone).context("printing"))).is_ok());
        assert!(forgive_closed_pipe(Err(anyhow::Error::new(io::Error::from(io::ErrorKind::BrokenPipe)))).is_err());
    }
}
