//! From text to an expression: words, quoted texts, brackets; then descent by precedence.

use regex::RegexBuilder;

use super::{Expression, FILTER_BYTES_MAX, Fact, FilterError, Test};

/// Nesting of parentheses and `not`.
const DEPTH_MAX: usize = 32;
/// Bytes of a compiled regular expression.
const PATTERN_BYTES_MAX: usize = 256 << 10;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    /// A bare word: selector, operator or unquoted value.
    Bare(String),
    /// In quotes or backquotes.
    Quoted(String),
    /// `(`, `)`, `[`, `]`, `,`, `==`, `!=`.
    Sign(&'static str),
}

pub(super) fn expression(text: &str) -> Result<Expression, FilterError> {
    if text.len() > FILTER_BYTES_MAX {
        return Err(FilterError::TooLong);
    }
    let mut parser = Parser { words: words(text)?, at: 0, end: text.len() };
    let found = parser.either(0)?;
    match parser.peek() {
        None => Ok(found),
        Some(_) => Err(parser.expected("the end, and, or")),
    }
}

const SIGNS: [&str; 7] = ["==", "!=", "(", ")", "[", "]", ","];

fn words(text: &str) -> Result<Vec<(usize, Word)>, FilterError> {
    let mut out = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let at = text.len() - rest.len();
        let Some(first) = rest.chars().next() else { return Ok(out) };
        if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            out.push((at, Word::Sign(sign)));
            rest = rest.split_at(sign.len()).1;
            continue;
        }
        if matches!(first, '"' | '`') {
            let (inside, after) = quoted(rest, first).ok_or(FilterError::Syntax { at, expected: "a closing quote" })?;
            out.push((at, Word::Quoted(inside)));
            rest = after;
            continue;
        }
        let bare = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | '.' | ':' | '~' | '*' | '+');
        let end = rest.find(|c| !bare(c)).unwrap_or(rest.len());
        if end == 0 {
            return Err(FilterError::Syntax { at, expected: "a selector, a value or an operator" });
        }
        let (word, after) = rest.split_at(end);
        out.push((at, Word::Bare(word.to_owned())));
        rest = after;
    }
}

/// A text in double quotes, with `\"` and `\\`, or in backquotes, as it is.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut inside = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Some((inside, text.split_at(at + quote.len_utf8()).1)),
            '\\' if quote == '"' => match chars.next()?.1 {
                'n' => inside.push('\n'),
                't' => inside.push('\t'),
                c @ ('"' | '\\') => inside.push(c),
                // In patterns a backslash is more often meant for the pattern.
                c => inside.extend(['\\', c]),
            },
            c => inside.push(c),
        }
    }
    None
}

struct Parser {
    words: Vec<(usize, Word)>,
    at: usize,
    end: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Word> {
        self.words.get(self.at).map(|(_, word)| word)
    }

    fn is_bare(&self, ahead: usize, text: &str) -> bool {
        matches!(self.words.get(self.at + ahead), Some((_, Word::Bare(word))) if word == text)
    }

    fn take(&mut self, text: &str) -> bool {
        let found = match self.peek() {
            Some(Word::Bare(word)) => word == text,
            Some(Word::Sign(sign)) => *sign == text,
            _ => false,
        };
        self.at += usize::from(found);
        found
    }

    fn expected(&self, expected: &'static str) -> FilterError {
        FilterError::Syntax { at: self.words.get(self.at).map_or(self.end, |(at, _)| *at), expected }
    }

    fn either(&mut self, depth: usize) -> Result<Expression, FilterError> {
        let mut left = self.both(depth)?;
        while self.take("or") {
            left = Expression::Or(Box::new(left), Box::new(self.both(depth)?));
        }
        Ok(left)
    }

    fn both(&mut self, depth: usize) -> Result<Expression, FilterError> {
        let mut left = self.one(depth)?;
        while self.take("and") {
            left = Expression::And(Box::new(left), Box::new(self.one(depth)?));
        }
        Ok(left)
    }

    fn one(&mut self, depth: usize) -> Result<Expression, FilterError> {
        if depth >= DEPTH_MAX {
            return Err(FilterError::TooDeep);
        }
        if self.take("not") {
            return Ok(Expression::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.take("(") {
            let inside = self.either(depth + 1)?;
            return if self.take(")") { Ok(inside) } else { Err(self.expected("a closing parenthesis")) };
        }
        self.test()
    }

    /// `selector operator value`, or `value in selector`.
    fn test(&mut self) -> Result<Expression, FilterError> {
        let Some(first) = self.peek().cloned() else { return Err(self.expected("a selector")) };
        let (name, quoted) = match first {
            Word::Bare(name) => (name, false),
            Word::Quoted(text) => (text, true),
            Word::Sign(_) => return Err(self.expected("a selector")),
        };
        let selector = if quoted { name.strip_prefix('/').and_then(Fact::named) } else { Fact::named(&name) };
        self.at += 1;
        let negated = self.is_bare(0, "not") && ["in", "contains", "matches"].iter().any(|op| self.is_bare(1, op));
        self.at += usize::from(negated);
        let found = if self.take("in") {
            self.inside(name, selector)?
        } else {
            let fact = selector.ok_or(FilterError::Selector(name))?;
            self.operator(fact)?
        };
        Ok(if negated { Expression::Not(Box::new(found)) } else { found })
    }

    fn operator(&mut self, fact: Fact) -> Result<Expression, FilterError> {
        let not = |test| Expression::Not(Box::new(Expression::Test(fact, test)));
        if self.take("==") {
            return Ok(Expression::Test(fact, Test::Equals(self.value()?)));
        }
        if self.take("!=") {
            return Ok(not(Test::Equals(self.value()?)));
        }
        if self.take("contains") {
            return Ok(Expression::Test(fact, Test::Holds(self.value()?)));
        }
        if self.take("matches") {
            let pattern = self.value()?;
            let compiled = RegexBuilder::new(&pattern).size_limit(PATTERN_BYTES_MAX).build();
            return Ok(Expression::Test(fact, Test::Matches(compiled.map_err(|_| FilterError::Pattern(pattern))?)));
        }
        if self.take("is") {
            let negated = self.take("not");
            if !self.take("empty") {
                return Err(self.expected("empty, not empty"));
            }
            return Ok(if negated { not(Test::Empty) } else { Expression::Test(fact, Test::Empty) });
        }
        Err(self.expected("==, !=, in, not in, contains, not contains, matches, not matches, is empty, is not empty"))
    }

    /// Behind `in`: a selector whose text holds the value before it, or a list that holds the selector before it.
    fn inside(&mut self, before: String, selector: Option<Fact>) -> Result<Expression, FilterError> {
        if self.take("[") {
            let fact = selector.ok_or(FilterError::Selector(before))?;
            let mut texts = vec![self.value()?];
            while self.take(",") {
                texts.push(self.value()?);
            }
            return if self.take("]") {
                Ok(Expression::Test(fact, Test::OneOf(texts)))
            } else {
                Err(self.expected("a comma or a closing bracket"))
            };
        }
        let holder = match self.peek() {
            Some(Word::Bare(name)) => Fact::named(name).ok_or_else(|| FilterError::Selector(name.clone())),
            Some(Word::Quoted(text)) => {
                text.strip_prefix('/').and_then(Fact::named).ok_or_else(|| FilterError::Selector(text.clone()))
            }
            _ => Err(self.expected("a selector or a list")),
        }?;
        self.at += 1;
        Ok(Expression::Test(holder, Test::Holds(before)))
    }

    fn value(&mut self) -> Result<String, FilterError> {
        let value = match self.peek() {
            Some(Word::Quoted(text) | Word::Bare(text)) => text.clone(),
            _ => return Err(self.expected("a value")),
        };
        self.at += 1;
        Ok(value)
    }
}
