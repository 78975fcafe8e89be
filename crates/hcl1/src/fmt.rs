//! Canonical formatting for `policy fmt`. It works on tokens, so comments and line breaks stay; only blanks change:
//! two spaces for each level, one space between tokens, one item on a line, `=` aligned in neighbouring attributes, no double
//! empty lines.
//!
//! Deliberately absent: JSON. Its files have their own formatters.

use crate::lexer::{Lexer, Token, TokenKind};
use crate::{ParseError, Position, is_json, parser};

/// Formats HCL1 text. Fails, like [`crate::parse`], on what is not HCL1; formatting twice changes nothing.
pub fn fmt(text: &str) -> Result<String, ParseError> {
    if is_json(text) {
        return Err(ParseError::at(Position { line: 1, column: 1 }, "json documents are not formatted"));
    }
    parser::document(text, crate::Options { allow_duplicate_attributes: true })?;
    let mut lines = lines(text)?;
    align(&mut lines);
    Ok(print(&lines))
}

/// One output line.
struct Line {
    indent: usize,
    /// What stands before `=` in an attribute that starts and ends in this line; else empty.
    key: String,
    /// All of the line, or what follows `key`.
    text: String,
    /// Blanks put between `key` and `text`.
    padding: usize,
    /// Ends with the beginning of an object or list.
    opens: bool,
}

fn lines(text: &str) -> Result<Vec<Line>, ParseError> {
    let mut depth = 0;
    Ok(break_lines(text)?.iter().map(|tokens| line(text, tokens, &mut depth)).collect())
}

/// Cuts tokens into lines: where the text does, and between the items of an object that share a line. The commas between
/// items go. Lists stay as they are, with the objects in them.
fn break_lines(text: &str) -> Result<Vec<Vec<Token>>, ParseError> {
    let mut lexer = Lexer::new(text);
    let mut out = Breaker::default();
    loop {
        let token = lexer.next()?;
        match token.kind {
            TokenKind::End => {
                out.flush();
                return Ok(out.lines);
            }
            TokenKind::Newline => out.end_line(),
            TokenKind::Comment => out.line.push(token),
            _ => out.push(token),
        }
    }
}

#[derive(Default)]
struct Breaker {
    lines: Vec<Vec<Token>>,
    line: Vec<Token>,
    /// How many lists are open.
    lists: usize,
    /// The value of an attribute comes next.
    assigning: bool,
    /// An item is complete; the next token belongs to another one.
    complete: bool,
}

impl Breaker {
    fn push(&mut self, token: Token) {
        let opened = self.line.last().is_some_and(|t| t.kind == TokenKind::LeftBrace);
        if self.lists == 0 {
            match token.kind {
                TokenKind::Comma => return,
                TokenKind::RightBrace if opened => {}
                TokenKind::RightBrace => self.flush(),
                _ if self.complete || opened => self.flush(),
                _ => {}
            }
            self.complete = false;
        }
        match token.kind {
            TokenKind::LeftBracket => self.lists += 1,
            TokenKind::RightBracket => self.lists = self.lists.saturating_sub(1),
            _ => {}
        }
        if self.lists == 0 {
            let value = self.assigning && token.kind != TokenKind::LeftBrace;
            self.complete = value || closes(&token.kind);
            self.assigning = token.kind == TokenKind::Assign;
        }
        self.line.push(token);
    }

    /// Ends a line that has something.
    fn flush(&mut self) {
        if !self.line.is_empty() {
            self.end_line();
        }
    }

    /// Ends a line; an empty one is kept.
    fn end_line(&mut self) {
        self.lines.push(std::mem::take(&mut self.line));
    }
}

fn line(text: &str, tokens: &[Token], depth: &mut usize) -> Line {
    let closers = tokens.iter().take_while(|t| closes(&t.kind)).count();
    let indent = depth.saturating_sub(closers);
    let (mut opened, mut closed) = (0_usize, 0_usize);
    for token in tokens {
        opened += usize::from(opens(&token.kind));
        closed += usize::from(closes(&token.kind));
    }
    *depth = (*depth + opened).saturating_sub(closed);
    // A heredoc or an unfinished list ends elsewhere: aligning it would tie lines together that do not belong together.
    let assigns = tokens.get(1).is_some_and(|t| t.kind == TokenKind::Assign);
    let attribute = assigns && opened == closed && !tokens.iter().any(|t| spans_lines(text, t));
    let (key, rest) = if attribute { tokens.split_at(1) } else { tokens.split_at(0) };
    Line {
        indent,
        key: join(text, key),
        text: join(text, rest),
        padding: 1,
        opens: tokens.last().is_some_and(|t| opens(&t.kind)),
    }
}

fn join(text: &str, tokens: &[Token]) -> String {
    let mut out = String::new();
    let mut before: Option<&TokenKind> = None;
    for token in tokens {
        if let Some(before) = before
            && !tight(before, &token.kind)
        {
            out.push(' ');
        }
        let source = text.get(token.start..token.end).unwrap_or("");
        out.push_str(if token.kind == TokenKind::Comment { source.trim_end() } else { source });
        before = Some(&token.kind);
    }
    out
}

/// Whether no blank goes between two tokens.
fn tight(before: &TokenKind, after: &TokenKind) -> bool {
    match (before, after) {
        (TokenKind::LeftBrace, TokenKind::RightBrace) => true,
        (_, TokenKind::Comma) => true,
        (TokenKind::LeftBracket, after) => *after != TokenKind::Comment,
        (before, TokenKind::RightBracket) => *before != TokenKind::Comment,
        _ => false,
    }
}

/// Attributes in neighbouring lines of one level get their `=` in one column.
fn align(lines: &mut [Line]) {
    let mut start = 0;
    while start < lines.len() {
        let indent = lines.get(start).map_or(0, |l| l.indent);
        let run = lines.iter().skip(start).take_while(|l| !l.key.is_empty() && l.indent == indent).count();
        let width = lines.iter().skip(start).take(run).map(|l| l.key.chars().count()).max().unwrap_or(0);
        for line in lines.iter_mut().skip(start).take(run) {
            line.padding = width - line.key.chars().count() + 1;
        }
        start += run.max(1);
    }
}

fn print(lines: &[Line]) -> String {
    let mut out = String::new();
    let (mut blanks, mut after_open) = (0, true);
    for line in lines {
        if line.key.is_empty() && line.text.is_empty() {
            blanks += 1;
            continue;
        }
        let closing = line.text.starts_with(['}', ']']);
        let block_ended = line.indent == 0 && out.ends_with("\n}\n");
        if !closing && !after_open && (blanks > 0 || block_ended) {
            out.push('\n');
        }
        (blanks, after_open) = (0, line.opens);
        out.extend(std::iter::repeat_n("  ", line.indent));
        out.push_str(&line.key);
        if !line.key.is_empty() {
            out.extend(std::iter::repeat_n(' ', line.padding));
        }
        out.push_str(&line.text);
        out.push('\n');
    }
    out
}

fn opens(kind: &TokenKind) -> bool {
    matches!(kind, TokenKind::LeftBrace | TokenKind::LeftBracket)
}

fn closes(kind: &TokenKind) -> bool {
    matches!(kind, TokenKind::RightBrace | TokenKind::RightBracket)
}

fn spans_lines(text: &str, token: &Token) -> bool {
    text.get(token.start..token.end).is_some_and(|t| t.contains('\n'))
}
