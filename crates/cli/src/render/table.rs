//! Columns: four spaces between them, `n/a` for an empty cell, no blanks at the end of a line.

/// Spaces between two columns.
const GLUE: &str = "    ";

/// Rows as aligned lines, without a newline at the end.
#[must_use]
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &Vec<String>, column: usize| match row.get(column).map(String::as_str) {
        None | Some("") => "n/a".to_owned(),
        Some(text) => text.to_owned(),
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter(|r| r.len() > column).map(|r| cell(r, column).chars().count()).max().unwrap_or(0))
        .collect();
    let mut lines = Vec::with_capacity(rows.len());
    for row in rows {
        let mut line = String::new();
        for (column, width) in widths.iter().enumerate().take(row.len()) {
            let text = cell(row, column);
            if column + 1 == row.len() {
                line.push_str(&text);
            } else {
                line.push_str(&format!("{text:<width$}{GLUE}"));
            }
        }
        lines.push(line);
    }
    lines.join("\n")
}

/// Rows below a header whose words are underlined with dashes.
#[must_use]
pub fn headed(titles: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut all: Vec<Vec<String>> =
        vec![titles.iter().map(|t| (*t).to_owned()).collect(), titles.iter().map(|t| "-".repeat(t.chars().count())).collect()];
    all.extend(rows);
    table(&all)
}

/// Pairs below `Key` and `Value`.
#[must_use]
pub fn key_values<K: Into<String>>(rows: Vec<(K, String)>) -> String {
    headed(&["Key", "Value"], rows.into_iter().map(|(k, v)| vec![k.into(), v]).collect())
}

/// A title between equal signs, about as wide as `width`: `======= Metadata =======`.
#[must_use]
pub fn header(title: &str, width: usize) -> String {
    let signs = match width.saturating_sub(title.chars().count() + 2) {
        0 => 4,
        n => n + n % 2,
    };
    let side = "=".repeat(signs / 2);
    format!("{side} {title} {side}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns() {
        let text = key_values(vec![("a", "1".to_owned()), ("longer", String::new()), ("ü", "x y".to_owned())]);
        assert_eq!(text, "Key       Value\n---       -----\na         1\nlonger    n/a\nü         x y");
        assert_eq!(headed(&["Keys"], vec![vec!["a/".to_owned()]]), "Keys\n----\na/");
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn headers_are_as_wide_as_vaults() {
        for (title, width, text) in [
            ("Metadata", 24, "======= Metadata ======="),
            ("Data", 12, "=== Data ==="),
            ("Data", 17, "====== Data ======"),
            ("Secret Path", 17, "== Secret Path =="),
            ("Secret Path", 25, "====== Secret Path ======"),
            ("Secret Path", 3, "== Secret Path =="),
            ("Metadata", 29, "========== Metadata =========="),
            ("Version 1", 22, "====== Version 1 ======"),
        ] {
            assert_eq!(header(title, width), text);
        }
    }
}
