//! Text to tokens, with comments and line ends kept for the formatter.

use crate::{ParseError, Position};

/// A token and the bytes it spans.
#[derive(Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) position: Position,
}

#[derive(Clone, PartialEq)]
pub(crate) enum TokenKind {
    Ident(String),
    Text(String),
    Heredoc(String),
    Number(String),
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Assign,
    Comment,
    Newline,
    End,
}

pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    line_start: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, line: 1, line_start: 0 }
    }

    /// The next token; comments and line ends are tokens here.
    pub(crate) fn next(&mut self) -> Result<Token, ParseError> {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r')) {
            self.at += 1;
        }
        let (start, position) = (self.at, self.position());
        let kind = match self.peek() {
            None => TokenKind::End,
            Some(b'\n') => {
                self.newline();
                TokenKind::Newline
            }
            Some(b'{') => self.single(TokenKind::LeftBrace),
            Some(b'}') => self.single(TokenKind::RightBrace),
            Some(b'[') => self.single(TokenKind::LeftBracket),
            Some(b']') => self.single(TokenKind::RightBracket),
            Some(b',') => self.single(TokenKind::Comma),
            Some(b'=') => self.single(TokenKind::Assign),
            Some(b'#' | b'/') => self.comment(position)?,
            Some(b'"') => self.quoted(position)?,
            Some(b'<') => self.heredoc(position)?,
            Some(b'-' | b'.' | b'0'..=b'9') => self.number(position)?,
            Some(_) => self.identifier(position)?,
        };
        Ok(Token { kind, start, end: self.at, position })
    }

    fn peek(&self) -> Option<u8> {
        self.ahead(0)
    }

    fn ahead(&self, n: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + n).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn position(&self) -> Position {
        Position { line: self.line, column: self.at - self.line_start + 1 }
    }

    fn single(&mut self, kind: TokenKind) -> TokenKind {
        self.at += 1;
        kind
    }

    fn newline(&mut self) {
        self.at += 1;
        self.line += 1;
        self.line_start = self.at;
    }

    fn comment(&mut self, position: Position) -> Result<TokenKind, ParseError> {
        if self.peek() == Some(b'#') || self.ahead(1) == Some(b'/') {
            while self.peek().is_some_and(|b| b != b'\n') {
                self.at += 1;
            }
            return Ok(TokenKind::Comment);
        }
        if self.ahead(1) != Some(b'*') {
            return Err(ParseError::at(position, "expected a comment after '/'"));
        }
        self.at += 2;
        loop {
            match self.peek() {
                None => return Err(ParseError::at(position, "comment not terminated")),
                Some(b'*') if self.ahead(1) == Some(b'/') => {
                    self.at += 2;
                    return Ok(TokenKind::Comment);
                }
                Some(b'\n') => self.newline(),
                Some(_) => self.at += 1,
            }
        }
    }

    fn quoted(&mut self, position: Position) -> Result<TokenKind, ParseError> {
        let unterminated = || ParseError::at(position, "string not terminated");
        self.at += 1;
        let mut out = String::new();
        // Inside `${…}` quotes and line ends are text, and nothing is unescaped.
        let mut braces = 0_usize;
        loop {
            let c = self.rest().chars().next().ok_or_else(unterminated)?;
            match c {
                '"' if braces == 0 => {
                    self.at += 1;
                    return Ok(TokenKind::Text(out));
                }
                '\n' if braces == 0 => return Err(unterminated()),
                '\0' => return Err(ParseError::at(self.position(), "unexpected null character")),
                '\n' => {
                    self.newline();
                    out.push('\n');
                    continue;
                }
                '\\' if braces == 0 => {
                    out.push(self.escape()?);
                    continue;
                }
                '$' if braces == 0 && self.ahead(1) == Some(b'{') => {
                    out.push_str("${");
                    self.at += 2;
                    braces = 1;
                    continue;
                }
                '{' if braces > 0 => braces += 1,
                '}' if braces > 0 => braces -= 1,
                _ => {}
            }
            out.push(c);
            self.at += c.len_utf8();
        }
    }

    fn escape(&mut self) -> Result<char, ParseError> {
        let wrong = ParseError::at(self.position(), "invalid escape in string");
        let c = self.ahead(1).ok_or_else(|| wrong.clone())?;
        self.at += 2;
        Ok(match c {
            b'a' => '\u{7}',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'v' => '\u{b}',
            b'\\' => '\\',
            b'"' => '"',
            b'0'..=b'7' => {
                self.at -= 1;
                return self.code(3, 8).ok_or(wrong);
            }
            b'x' => return self.code(2, 16).ok_or(wrong),
            b'u' => return self.code(4, 16).ok_or(wrong),
            b'U' => return self.code(8, 16).ok_or(wrong),
            _ => return Err(wrong),
        })
    }

    fn code(&mut self, digits: usize, radix: u32) -> Option<char> {
        let text = self.text.get(self.at..self.at.checked_add(digits)?)?;
        if !text.chars().all(|c| c.is_digit(radix)) {
            return None;
        }
        self.at += digits;
        u32::from_str_radix(text, radix).ok().and_then(char::from_u32)
    }

    fn heredoc(&mut self, position: Position) -> Result<TokenKind, ParseError> {
        let wrong = |message: &str| ParseError::at(position, message);
        let after = self.rest().strip_prefix("<<").ok_or_else(|| wrong("expected a heredoc after '<'"))?;
        let (indented, after) = after.strip_prefix('-').map_or((false, after), |a| (true, a));
        let (marker, _) = after.split_once('\n').ok_or_else(|| wrong("heredoc not terminated"))?;
        let marker = marker.trim_end_matches('\r');
        if marker.is_empty() || !marker.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.')) {
            return Err(wrong("heredoc needs a name"));
        }
        self.skip_line();
        let mut lines = Vec::new();
        loop {
            let rest = self.rest();
            if rest.is_empty() {
                return Err(wrong("heredoc not terminated"));
            }
            let (line, _) = rest.split_once('\n').unwrap_or((rest, ""));
            let line = line.trim_end_matches('\r');
            // HCL1 lets an indented mark close a plain heredoc too, and then keeps the mark's blanks as text.
            if line.trim_start() == marker {
                self.at += line.len();
                let indent = line.strip_suffix(marker).unwrap_or("");
                let text = if indented { unindent(&lines, indent) } else { unindent(&lines, "") + indent };
                return Ok(TokenKind::Heredoc(text));
            }
            lines.push(line);
            self.skip_line();
        }
    }

    fn skip_line(&mut self) {
        match self.rest().find('\n') {
            Some(n) => {
                self.at += n;
                self.newline();
            }
            None => self.at = self.text.len(),
        }
    }

    fn number(&mut self, position: Position) -> Result<TokenKind, ParseError> {
        let start = self.at;
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_') || b >= 0x80;
        while let Some(b) = self.peek() {
            let exponent_sign = matches!(b, b'+' | b'-')
                && (self.at == start || self.text.as_bytes().get(self.at - 1).is_some_and(|e| matches!(e, b'e' | b'E')));
            if !word(b) && !exponent_sign {
                break;
            }
            self.at += 1;
        }
        let text = self.text.get(start..self.at).unwrap_or("");
        decimal(text).map(TokenKind::Number).ok_or_else(|| ParseError::at(position, "malformed number"))
    }

    fn identifier(&mut self, position: Position) -> Result<TokenKind, ParseError> {
        let rest = self.rest();
        let first = rest.chars().next().unwrap_or(' ');
        if first == '\u{feff}' {
            return Err(ParseError::at(position, "unexpected byte order mark"));
        }
        if !first.is_alphabetic() && first != '_' {
            return Err(ParseError::at(position, "unexpected character"));
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-' | '.')).unwrap_or(rest.len());
        self.at += end;
        Ok(TokenKind::Ident(rest.get(..end).unwrap_or("").to_owned()))
    }
}

/// Cuts the closing mark's indentation from every line, if all have it; else leaves them as they are.
fn unindent(lines: &[&str], indent: &str) -> String {
    let all = lines.iter().all(|l| l.starts_with(indent));
    let mut out = String::new();
    for line in lines {
        out.push_str(if all { line.strip_prefix(indent).unwrap_or(line) } else { line });
        out.push('\n');
    }
    out
}

/// HCL1 numbers: decimal, `0x` hexadecimal, leading-zero octal, and floats. `None` if it is none or leaves 64 bits.
fn decimal(text: &str) -> Option<String> {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |d| ("-", d));
    let lower = digits.to_ascii_lowercase();
    let whole = if let Some(hex) = lower.strip_prefix("0x") {
        Some(radix(hex, 16)?)
    } else if lower.len() > 1 && lower.starts_with('0') && lower.bytes().all(|b| b.is_ascii_digit()) {
        Some(radix(&lower, 8)?)
    } else if lower.bytes().all(|b| b.is_ascii_digit()) {
        Some(radix(&lower, 10)?)
    } else {
        None
    };
    if let Some(n) = whole {
        let n = if sign.is_empty() { i128::from(n) } else { -i128::from(n) };
        return i64::try_from(n).ok().map(|n| n.to_string());
    }
    let float: f64 = lower.parse().ok()?;
    let plain = lower.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && lower.bytes().all(|b| !b.is_ascii_alphabetic() || b == b'e');
    (plain && float.is_finite()).then(|| format!("{sign}{float}"))
}

fn radix(digits: &str, radix: u32) -> Option<u64> {
    digits.chars().all(|c| c.is_digit(radix)).then(|| u64::from_str_radix(digits, radix).ok()).flatten()
}
