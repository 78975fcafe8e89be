//! A world without a server: answers come from a script, and each request must be the one the script expects.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too; not every test uses all"
)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use cli::exit::Failure;
use cli::host::{Connect, Host, Output, Prompt};
use cli::transport::Transport;
use client::{Body, ClientError, Config, Environment, Reply, Request};
use secret::{SecretString, SeededEntropy};

/// One expected request and its answer.
struct Step {
    line: String,
    body: Option<serde_json::Value>,
    status: u16,
    answer: Vec<u8>,
}

#[derive(Default)]
struct Script {
    steps: RefCell<VecDeque<Step>>,
    configs: RefCell<Vec<Config>>,
    tokens: RefCell<Vec<Option<String>>>,
}

/// What a run gave.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
    /// Settings of the connection, if one was opened.
    pub config: Option<Config>,
    /// The token that each request carried.
    pub tokens: Vec<Option<String>>,
}

/// A world to run one command in.
pub struct World {
    script: Rc<Script>,
    env: Environment,
    stdin: String,
    hidden: VecDeque<String>,
    program: String,
    terminal: bool,
}

impl World {
    pub fn new() -> Self {
        let env = [("VAULT_TOKEN", "hvs.own"), ("VAULT_ADDR", "http://127.0.0.1:8200")].into_iter().collect();
        Self {
            script: Rc::default(),
            env,
            stdin: String::new(),
            hidden: VecDeque::new(),
            program: "vault".to_owned(),
            terminal: true,
        }
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.set(name, value);
        self
    }

    pub fn stdin(mut self, text: &str) -> Self {
        self.stdin = text.to_owned();
        self
    }

    pub fn types(mut self, text: &str) -> Self {
        self.hidden.push_back(text.to_owned());
        self
    }

    pub fn piped(mut self) -> Self {
        self.terminal = false;
        self
    }

    pub fn program(mut self, name: &str) -> Self {
        self.program = name.to_owned();
        self
    }

    /// Expects `PUT secret/data/x?version=2` without looking at the body.
    pub fn on(self, line: &str, status: u16, answer: &str) -> Self {
        let step = Step { line: line.to_owned(), body: None, status, answer: answer.into() };
        self.script.steps.borrow_mut().push_back(step);
        self
    }

    /// The same with an answer that is no text.
    pub fn on_bytes(self, line: &str, answer: &[u8]) -> Self {
        let step = Step { line: line.to_owned(), body: None, status: 200, answer: answer.into() };
        self.script.steps.borrow_mut().push_back(step);
        self
    }

    /// Expects a request with this JSON body.
    pub fn with(self, line: &str, body: &str, status: u16, answer: &str) -> Self {
        let body = serde_json::from_str(body).unwrap();
        let step = Step { line: line.to_owned(), body: Some(body), status, answer: answer.into() };
        self.script.steps.borrow_mut().push_back(step);
        self
    }

    /// The preflight of a versioned mount at `secret/`.
    pub fn kv2(self, path: &str) -> Self {
        let line = format!("GET sys/internal/ui/mounts/{path}");
        self.on(&line, 200, r#"{"data":{"path":"secret/","type":"kv","options":{"version":"2"}}}"#)
    }

    /// Runs a command given as words; the script must be used up.
    pub fn run(self, words: &str) -> Ran {
        let args: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        self.run_args(&args)
    }

    pub fn run_args(self, args: &[String]) -> Ran {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut connect = Scripted(Rc::clone(&self.script));
        let mut prompt = Typed(self.hidden);
        let entropy = SeededEntropy::new(7);
        let mut host = Host {
            program: self.program,
            env: self.env,
            output: Output { out: &mut out, err: &mut err },
            out_is_terminal: self.terminal,
            input: &mut self.stdin.as_bytes(),
            prompt: &mut prompt,
            connect: &mut connect,
            entropy: &entropy,
        };
        let code = cli::run_on(&mut host, args);
        let (out, err) = (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap());
        let left: Vec<String> = self.script.steps.borrow().iter().map(|s| s.line.clone()).collect();
        assert!(left.is_empty(), "not asked: {left:?}\nout: {out}\nerr: {err}");
        let config = self.script.configs.borrow().last().cloned();
        let tokens = self.script.tokens.borrow().clone();
        Ran { code, out, err, config, tokens }
    }
}

struct Scripted(Rc<Script>);

impl Connect for Scripted {
    fn connect(&mut self, config: Config) -> Result<Box<dyn Transport>, Failure> {
        self.0.configs.borrow_mut().push(config.clone());
        Ok(Box::new(ScriptedTransport(Rc::clone(&self.0), config)))
    }
}

struct ScriptedTransport(Rc<Script>, Config);

impl ScriptedTransport {
    fn next(&mut self, request: &Request) -> Reply {
        let path = request.path_and_query();
        let line = format!("{} {}", request.method.on_wire(), path.strip_prefix("/v1/").unwrap());
        let step = self.0.steps.borrow_mut().pop_front().unwrap_or_else(|| panic!("unexpected: {line}"));
        assert_eq!(line, step.line);
        if let Some(expected) = step.body {
            let sent = match &request.body {
                Body::Json(b) | Body::MergePatch(b) => serde_json::from_slice(b).unwrap(),
                Body::Empty | Body::File(_) => serde_json::Value::Null,
            };
            assert_eq!(sent, expected, "body of {line}");
        }
        let token = request.token.clone().unwrap_or_else(|| self.1.token.clone());
        self.0.tokens.borrow_mut().push(token.map(|t| t.expose().to_owned()));
        Reply {
            method: request.method.on_wire(),
            url: self.url(request),
            namespace: None,
            status: step.status,
            body: Bytes::from(step.answer),
        }
    }
}

impl Transport for ScriptedTransport {
    fn send(&mut self, request: &Request) -> Result<Reply, ClientError> {
        Ok(self.next(request))
    }

    fn stream(&mut self, request: &Request, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<(), ClientError> {
        let reply = self.next(request).check()?;
        Ok(sink(&reply.body)?)
    }

    fn url(&self, request: &Request) -> String {
        format!("{}{}", self.1.address, request.path_and_query())
    }

    fn pause(&mut self, _: Duration) {}
}

struct Typed(VecDeque<String>);

impl Prompt for Typed {
    fn hidden(&mut self, _: &str) -> io::Result<SecretString> {
        self.0.pop_front().map(SecretString::new).ok_or_else(|| io::Error::other("no terminal"))
    }
}
