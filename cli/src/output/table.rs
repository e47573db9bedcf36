//! Tables as kubectl prints them: no lines, three spaces between columns, the last one unpadded.

use std::fmt::{self, Write as _};

use super::print;
use crate::failure::Failure;

const GAP: usize = 3;

/// A table.
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<T: AsRef<str>>(head: &[T]) -> Self {
        let head = head.iter().map(|name| name.as_ref().to_ascii_uppercase()).collect();
        Self { head, rows: Vec::new() }
    }

    /// Adds a column at the right; rows are expected to have it.
    pub(crate) fn column(&mut self, name: &str) {
        self.head.push(name.to_owned());
    }

    /// Adds a row of as many cells as there are columns.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(crate) fn print(&self) -> Result<(), Failure> {
        print(&self.to_string())
    }

    fn width(&self, column: usize) -> usize {
        let cells = std::iter::once(&self.head).chain(&self.rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<usize> = (0..self.head.len()).map(|column| self.width(column)).collect();
        for row in std::iter::once(&self.head).chain(&self.rows) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                // A cell is one line, whatever an object says.
                let cell: String = cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                write!(line, "{cell:width$}{:GAP$}", "", width = *width)?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::Table;

    #[test]
    fn columns_are_aligned_and_cells_stay_on_their_line() {
        let mut table = Table::new(&["name", "AGE"]);
        table.row(vec!["\u{e9}t\u{e9}".to_owned(), "1\n2".to_owned()]);
        table.row(vec!["long-name".to_owned(), String::new()]);
        expect![[r#"
            NAME        AGE
            été         1 2
            long-name
        "#]]
        .assert_eq(&table.to_string());
    }
}
