//! The local end of a browser's sign-in: a listener that takes one path, and answers the browser when the login is decided.
//!
//! Deliberately absent: keep-alive, TLS (the redirect stays on this machine), and everything else a web server does.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use url::Url;

/// Where the provider sends the browser back to.
pub(super) const CALLBACK_PATH: &str = "/oidc/callback";

/// A browser on this machine is fast; one that only opens a connection must not keep the others waiting.
const READ_TIME_MAX: Duration = Duration::from_secs(5);

/// Request line and head, with room for a code of a few KiB.
const HEAD_MAX_BYTES: u64 = 64 * 1024;

/// A form with an ID token.
const FORM_MAX_BYTES: u64 = 128 * 1024;

/// Connections that wait to be looked at.
const WAITING_MAX: usize = 16;

/// What came back, and the browser that waits for an answer.
pub(super) struct Callback {
    /// The parameters of the address, or of the form.
    pub(super) parameters: Vec<(String, String)>,
    /// Whether they came as a form.
    pub(super) is_post: bool,
    browser: TcpStream,
}

/// Listens on a thread of its own, for as long as the program runs.
pub(super) struct Listener {
    callbacks: Receiver<Callback>,
    port: u16,
}

impl Listener {
    /// Binds; port 0 is any.
    pub(super) fn bind(address: &str, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((address, port))?;
        let port = listener.local_addr()?.port();
        let (sender, callbacks) = sync_channel(WAITING_MAX);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sender = sender.clone();
                std::thread::spawn(move || take(stream, &sender));
            }
        });
        Ok(Self { callbacks, port })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The next callback, or `None` when the time is over.
    pub(super) fn wait(&self, until: Instant) -> Option<Callback> {
        self.callbacks.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
    }
}

impl Callback {
    /// The first parameter of a name, empty if there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).unwrap_or_default()
    }

    /// Answers the browser. It may be gone; that changes nothing.
    pub(super) fn answer(mut self, status: &str, title: &str, text: &str) {
        drop(respond(&mut self.browser, status, title, text));
    }
}

fn take(mut stream: TcpStream, sender: &SyncSender<Callback>) {
    let timed = stream.set_read_timeout(Some(READ_TIME_MAX)).and_then(|()| stream.set_write_timeout(Some(READ_TIME_MAX)));
    if timed.is_err() {
        return;
    }
    match read(&stream) {
        Some((parameters, is_post)) => drop(sender.try_send(Callback { parameters, is_post, browser: stream })),
        None => drop(respond(&mut stream, "404 Not Found", "Not found", "Nothing is here but the end of a sign-in.")),
    }
}

fn read(stream: &TcpStream) -> Option<(Vec<(String, String)>, bool)> {
    let mut reader = BufReader::new(stream.take(HEAD_MAX_BYTES));
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let (method, target) = (words.next()?, words.next()?);
    let is_post = match method {
        "GET" => false,
        "POST" => true,
        _ => return None,
    };
    let url = Url::parse("http://localhost").ok()?.join(target).ok().filter(|u| u.path() == CALLBACK_PATH)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        // A head without an end was cut off.
        if reader.read_line(&mut header).ok()? == 0 {
            return None;
        }
        let header = header.trim_end();
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse::<u64>().ok().filter(|n| *n <= FORM_MAX_BYTES)?;
        }
    }
    if !is_post {
        return Some((url.query_pairs().into_owned().collect(), false));
    }
    reader.get_mut().set_limit(length);
    let mut form = Vec::new();
    reader.take(length).read_to_end(&mut form).ok()?;
    Some((url::form_urlencoded::parse(&form).into_owned().collect(), true))
}

fn respond(stream: &mut TcpStream, status: &str, title: &str, text: &str) -> io::Result<()> {
    let safe = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let (title, text) = (safe(title), safe(text));
    let body = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\n<body><h1>{title}</h1>\
         <p>{text}</p></body></html>\n"
    );
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Content-Security-Policy: default-src 'none'\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    stream.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(port: u16, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    fn reply(mut stream: TcpStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn only_the_callback_is_taken_and_the_browser_waits_for_the_verdict() {
        let listener = Listener::bind("127.0.0.1", 0).unwrap();
        for other in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET /favicon.ico HTTP/1.1\r\n\r\n",
            "GET /oidc/callbackx?state=a HTTP/1.1\r\n\r\n",
            "DELETE /oidc/callback?state=a HTTP/1.1\r\n\r\n",
            "GET //evil.example/oidc/callbac HTTP/1.1\r\n\r\n",
            "POST /oidc/callback HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n",
            "nonsense\r\n\r\n",
        ] {
            assert!(reply(send(listener.port(), other)).starts_with("HTTP/1.1 404"), "{other}");
        }
        let browser = send(listener.port(), "GET /oidc/callback?state=st_1&code=a%2Bb HTTP/1.1\r\nHost: x\r\n\r\n");
        let callback = listener.wait(Instant::now() + Duration::from_secs(60)).unwrap();
        assert_eq!(
            (callback.get("state"), callback.get("code"), callback.get("none"), callback.is_post),
            ("st_1", "a+b", "", false)
        );
        callback.answer("200 OK", "Signed in", "<script>");
        let page = reply(browser);
        assert!(page.starts_with("HTTP/1.1 200 OK") && page.contains("&lt;script&gt;"), "{page}");
    }

    #[test]
    fn a_form_is_read_to_its_length() {
        let listener = Listener::bind("127.0.0.1", 0).unwrap();
        let form = "state=st_1&id_token=x.y.z&more=";
        let request = format!("POST /oidc/callback HTTP/1.1\r\ncontent-length: {}\r\n\r\n{form}", form.len());
        let _browser = send(listener.port(), &request);
        let callback = listener.wait(Instant::now() + Duration::from_secs(60)).unwrap();
        assert!(callback.is_post && callback.get("id_token") == "x.y.z" && callback.get("state") == "st_1");
        assert!(listener.wait(Instant::now()).is_none());
    }
}
