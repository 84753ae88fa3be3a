//! Columns of text.

/// Rows under a heading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(heading: &[&'static str]) -> Self {
        Self { heading: heading.to_vec(), rows: Vec::new() }
    }

    /// Adds a row, which has as many cells as the heading.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let heading: Vec<String> = self.heading.iter().map(|cell| (*cell).to_owned()).collect();
        let rows: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(|cell| dashed(cell)).collect()).collect();
        let lines = || std::iter::once(&heading).chain(&rows);
        let mut widths = vec![0; heading.len()];
        for line in lines() {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for line in lines() {
            let mut text = String::new();
            for (cell, &width) in line.iter().zip(&widths) {
                text.push_str(&format!("{cell:width$}  "));
            }
            writeln!(out, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

/// An empty cell would look like a missing column.
fn dashed(cell: &str) -> String {
    if cell.is_empty() { "-".to_owned() } else { cell.replace(['\n', '\t'], " ") }
}

/// Bytes as people read them: three digits at least from a thousand on.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut value = count as f64;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A moment in UTC, to the second; nothing for 0.
pub(super) fn moment(unix_ms: u64) -> String {
    if unix_ms == 0 {
        return String::new();
    }
    let seconds = unix_ms / 1000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Year, month and day of so many days after 1970-01-01.
///
/// Source: the usual count of days in eras of 400 years that begin on the first of March.
const fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::{Table, bytes, moment};

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_empty_cells_show() {
        let mut table = Table::new(&["A", "NAME", "C"]);
        table.row(vec!["1".into(), "ünïcode".into(), String::new()]);
        table.row(vec!["1000".into(), "x".into(), "two\nlines".into()]);

        assert_eq!(table.to_string(), "A     NAME     C\n1     ünïcode  -\n1000  x        two lines\n");
    }

    #[test]
    fn sizes_and_moments_are_readable() {
        let sizes = [0, 1023, 1024, 1 << 30, u64::MAX].map(bytes);
        let moments = [0, 951_782_400_000, 1_795_852_799_999].map(moment);

        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.0 GiB", "16777216.0 TiB"]);
        assert_eq!(moments, ["", "2000-02-29T00:00:00Z", "2026-11-28T07:59:59Z"]);
    }
}
