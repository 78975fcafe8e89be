//! Where an HTTP/1.1 answer ends: enough of the protocol to count answers and read their status.
//! Absent on purpose: header values other than length, coding and `Connection`; pipelining; trailers' meaning.

use thiserror::Error;

use crate::limits::{HEADERS_MAX, RESPONSE_MAX_BYTES};

/// An answer that grows in a buffer of the caller's.
#[derive(Debug, Default)]
pub struct Reading {
    head: Option<Head>,
    /// Start of the next chunk's size line.
    chunk: usize,
}

/// A whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Where the body begins in the buffer.
    pub body_from: usize,
    /// The server will close the connection.
    pub closes: bool,
}

/// Why the bytes are no answer.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum AnswerError {
    /// Not HTTP/1.
    #[error("malformed answer head: {0}")]
    Head(httparse::Error),
    /// A length that is no number.
    #[error("malformed content length")]
    Length,
    /// A chunk size that is no number.
    #[error("malformed chunk")]
    Chunk,
    /// Longer than any answer of the bench.
    #[error("answer longer than {RESPONSE_MAX_BYTES} bytes")]
    TooLong,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    answer: Answer,
    coding: Coding,
}

#[derive(Debug, Clone, Copy)]
enum Coding {
    Length(usize),
    Chunked,
}

impl Reading {
    /// Looks at all bytes received so far; `None`: more are needed.
    pub fn advance(&mut self, received: &[u8]) -> Result<Option<Answer>, AnswerError> {
        if received.len() > RESPONSE_MAX_BYTES {
            return Err(AnswerError::TooLong);
        }
        let head = match self.head {
            Some(head) => head,
            None => {
                let Some(head) = parse_head(received)? else { return Ok(None) };
                self.chunk = head.answer.body_from;
                *self.head.insert(head)
            }
        };
        let whole = match head.coding {
            Coding::Length(length) => received.len().saturating_sub(head.answer.body_from) >= length,
            Coding::Chunked => self.last_chunk(received)?,
        };
        Ok(whole.then_some(head.answer))
    }

    /// Steps over whole chunks; true once the last one and its empty line are there.
    fn last_chunk(&mut self, received: &[u8]) -> Result<bool, AnswerError> {
        loop {
            let Some(rest) = received.get(self.chunk..) else { return Ok(false) };
            match httparse::parse_chunk_size(rest) {
                Ok(httparse::Status::Partial) => return Ok(false),
                Ok(httparse::Status::Complete((_, 0))) => return Ok(rest.windows(4).any(|four| four == b"\r\n\r\n")),
                Ok(httparse::Status::Complete((line, size))) => {
                    let size =
                        usize::try_from(size).ok().filter(|size| *size <= RESPONSE_MAX_BYTES).ok_or(AnswerError::TooLong)?;
                    // The chunk is followed by an empty line's CRLF.
                    self.chunk = self.chunk.saturating_add(line).saturating_add(size).saturating_add(2);
                }
                Err(_) => return Err(AnswerError::Chunk),
            }
        }
    }
}

fn parse_head(received: &[u8]) -> Result<Option<Head>, AnswerError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(body_from) = response.parse(received).map_err(AnswerError::Head)? else {
        return Ok(None);
    };
    let status = response.code.unwrap_or_default();
    let mut coding = Coding::Length(0);
    let mut closes = response.version == Some(0);
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(header.value).map_err(|_| AnswerError::Length)?;
            coding = Coding::Length(text.trim().parse().map_err(|_| AnswerError::Length)?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            coding = Coding::Chunked;
        } else if header.name.eq_ignore_ascii_case("connection") {
            closes = header.value.eq_ignore_ascii_case(b"close");
        }
    }
    if status == 204 || status == 304 {
        coding = Coding::Length(0);
    }
    Ok(Some(Head { answer: Answer { status, body_from, closes }, coding }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n";
    const EMPTY: &str = "HTTP/1.1 204 No Content\r\nCache-Control: no-store\r\n\r\n";
    const CLOSING: &str = "HTTP/1.1 503 Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

    #[test]
    fn every_kind_of_answer_ends_where_it_ends() {
        for (text, status, closes) in [(PLAIN, 200, false), (CHUNKED, 200, false), (EMPTY, 204, false), (CLOSING, 503, true)] {
            let answer = Reading::default().advance(text.as_bytes()).unwrap().unwrap();
            assert_eq!((answer.status, answer.closes), (status, closes), "{text}");
            assert_eq!(answer.body_from, text.find("\r\n\r\n").unwrap() + 4);
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for text in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff0\r\n",
        ] {
            assert!(Reading::default().advance(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_is_taken_for_whole_before_its_last_byte(which in 0_usize..4, cuts in proptest::collection::vec(0_usize..120, 0..6)) {
            let text = [PLAIN, CHUNKED, EMPTY, CLOSING][which].as_bytes();
            let mut reading = Reading::default();
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < text.len()).collect();
            cuts.sort_unstable();
            for cut in cuts {
                prop_assert_eq!(reading.advance(&text[..cut]).unwrap(), None);
            }
            prop_assert!(reading.advance(text).unwrap().is_some());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            let _either = Reading::default().advance(&bytes);
            whole.extend_from_slice(&bytes);
            let _either = Reading::default().advance(&whole);
        }
    }
}
