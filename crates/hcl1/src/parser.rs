//! Tokens to a tree, by HCL1's grammar.

use std::collections::HashSet;

use crate::lexer::{Lexer, Token, TokenKind};
use crate::{Item, Key, Kind, NESTING_LIMIT_LEVELS, Node, Object, Options, ParseError};

/// Parses an HCL1 document.
pub(crate) fn document(text: &str, options: Options) -> Result<Object, ParseError> {
    let mut lexer = Lexer::new(text);
    let ahead = significant(&mut lexer)?;
    let mut parser = Parser { lexer, ahead, options };
    let object = parser.items(0)?;
    match parser.ahead.kind {
        TokenKind::End => Ok(object),
        _ => Err(ParseError::at(parser.ahead.position, "unexpected '}'")),
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    ahead: Token,
    options: Options,
}

impl Parser<'_> {
    fn take(&mut self) -> Result<Token, ParseError> {
        let next = significant(&mut self.lexer)?;
        Ok(std::mem::replace(&mut self.ahead, next))
    }

    /// Items up to a `}` or the end, which stays ahead.
    fn items(&mut self, depth: usize) -> Result<Object, ParseError> {
        let mut object = Object::default();
        let mut assigned = HashSet::new();
        while !matches!(self.ahead.kind, TokenKind::RightBrace | TokenKind::End) {
            let item = self.item(depth)?;
            if item.assigned && !self.options.allow_duplicate_attributes {
                once(&item, &mut assigned)?;
            }
            object.items.push(item);
            if self.ahead.kind == TokenKind::Comma {
                self.take()?;
            }
        }
        Ok(object)
    }

    fn item(&mut self, depth: usize) -> Result<Item, ParseError> {
        let mut keys = Vec::with_capacity(2);
        loop {
            let token = self.take()?;
            match token.kind {
                TokenKind::Ident(text) | TokenKind::Text(text) => keys.push(Key { text, position: token.position }),
                TokenKind::Assign if keys.len() == 1 => {
                    let value = self.value(depth)?;
                    return Ok(Item { keys, value, assigned: true });
                }
                TokenKind::Assign if keys.len() > 1 => {
                    return Err(ParseError::at(token.position, "expected '{' after labels, found '='"));
                }
                TokenKind::LeftBrace if !keys.is_empty() => {
                    let body = self.body(&token, depth)?;
                    return Ok(Item {
                        keys,
                        value: Node { kind: Kind::Object(body), position: token.position },
                        assigned: false,
                    });
                }
                _ if keys.is_empty() => return Err(ParseError::at(token.position, "expected a key")),
                _ => return Err(ParseError::at(token.position, "expected '=' or '{' after a key")),
            }
        }
    }

    fn body(&mut self, open: &Token, depth: usize) -> Result<Object, ParseError> {
        let depth = deeper(depth, open)?;
        let object = self.items(depth)?;
        let close = self.take()?;
        match close.kind {
            TokenKind::RightBrace => Ok(object),
            _ => Err(ParseError::at(open.position, "object not closed: expected '}'")),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, ParseError> {
        let token = self.take()?;
        let kind = match &token.kind {
            TokenKind::Text(text) | TokenKind::Heredoc(text) => Kind::Text(text.clone()),
            TokenKind::Number(text) => Kind::Number(text.clone()),
            TokenKind::Ident(word) if word == "true" => Kind::Bool(true),
            TokenKind::Ident(word) if word == "false" => Kind::Bool(false),
            TokenKind::LeftBracket => Kind::List(self.list(&token, depth)?),
            TokenKind::LeftBrace => Kind::Object(self.body(&token, depth)?),
            _ => return Err(ParseError::at(token.position, "expected a string, number, bool, list or object")),
        };
        Ok(Node { kind, position: token.position })
    }

    fn list(&mut self, open: &Token, depth: usize) -> Result<Vec<Node>, ParseError> {
        let depth = deeper(depth, open)?;
        let mut nodes = Vec::new();
        loop {
            if self.ahead.kind == TokenKind::RightBracket {
                self.take()?;
                return Ok(nodes);
            }
            nodes.push(self.value(depth)?);
            match self.ahead.kind {
                TokenKind::Comma => {
                    self.take()?;
                }
                TokenKind::RightBracket => {}
                TokenKind::End => return Err(ParseError::at(open.position, "list not closed: expected ']'")),
                _ => return Err(ParseError::at(self.ahead.position, "expected ',' or ']' in a list")),
            }
        }
    }
}

fn significant(lexer: &mut Lexer<'_>) -> Result<Token, ParseError> {
    loop {
        let token = lexer.next()?;
        if !matches!(token.kind, TokenKind::Comment | TokenKind::Newline) {
            return Ok(token);
        }
    }
}

fn deeper(depth: usize, open: &Token) -> Result<usize, ParseError> {
    if depth >= NESTING_LIMIT_LEVELS {
        return Err(ParseError::at(open.position, "nested too deeply"));
    }
    Ok(depth + 1)
}

/// Refuses the second attribute of one name.
pub(crate) fn once(item: &Item, seen: &mut HashSet<String>) -> Result<(), ParseError> {
    match item.key() {
        Some(key) if !seen.insert(key.text.clone()) => {
            Err(ParseError::at(key.position, format!("the attribute {:?} was already set; each can only be set once,", key.text)))
        }
        _ => Ok(()),
    }
}
