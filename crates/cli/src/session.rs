//! What a command works with: its flags and arguments, a way to ask the server, and ways to answer the user.

use std::io::Write;
use std::time::Duration;

use api_types::duration::{self, Signed};
use client::{Config, Environment, Reply, Request, SecretReply};
use secret::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::command::{Command, Flags};
use crate::exit::{Doing, Failure, Fault, Outcome};
use crate::host::Host;
use crate::instead;
use crate::render::{self, Format};
use crate::token_store::{TokenStore, TokenStoreError};
use crate::transport::Transport;

/// One run of one command.
pub struct Session<'h, 'o> {
    /// The world.
    pub host: &'h mut Host<'o>,
    /// The arguments behind the flags.
    pub args: Vec<String>,
    /// How results are printed.
    pub format: Format,
    command: &'static Command,
    flags: Flags,
    transport: Option<Box<dyn Transport>>,
}

impl<'h, 'o> Session<'h, 'o> {
    pub(crate) fn new(
        host: &'h mut Host<'o>,
        command: &'static Command,
        flags: Flags,
        args: Vec<String>,
    ) -> Result<Self, Failure> {
        let name = flags.given("format").or_else(|| host.env.get("VAULT_FORMAT")).unwrap_or_default();
        let format = Format::named(name).ok_or_else(|| Failure::Local(format!("Invalid output format: {name}")))?;
        Ok(Self { host, args, format, command, flags, transport: None })
    }

    // ---- flags and arguments ----

    /// The text of a flag, its default if it was not given.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.given(name).or_else(|| self.command.flag(name).map(|f| f.default)).unwrap_or_default()
    }

    /// The text of a flag that was given.
    #[must_use]
    pub fn given(&self, name: &str) -> Option<&str> {
        self.flags.given(name)
    }

    /// Whether a switch is on; its default if it was not given.
    #[must_use]
    pub fn on(&self, name: &str) -> bool {
        crate::flags::truth(self.text(name)).unwrap_or(false)
    }

    /// The number of a flag, its default if it was not given.
    #[must_use]
    pub fn int(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or(0)
    }

    /// The duration of a flag; zero if neither given nor defaulted.
    #[must_use]
    pub fn duration(&self, name: &str) -> Signed {
        duration::parse(self.text(name)).unwrap_or_default()
    }

    /// The duration of a flag as Go prints it: `0s` if not given.
    #[must_use]
    pub fn go_duration(&self, name: &str) -> String {
        match self.duration(name) {
            Signed(n) if n < 0 => format!("-{}", duration::go_string(Duration::from_nanos(n.unsigned_abs()))),
            positive => duration::go_string(positive.unsigned().unwrap_or_default()),
        }
    }

    /// All values of a repeatable flag.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<String> {
        self.flags.all(name).into_iter().map(str::to_owned).collect()
    }

    /// All pairs of a repeatable `key=value` flag.
    #[must_use]
    pub fn pairs(&self, name: &str) -> Vec<(String, String)> {
        self.flags.all(name).into_iter().filter_map(|p| p.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    /// Exactly `n` arguments.
    pub fn expect(&self, n: usize) -> Result<(), Failure> {
        self.expect_at_least(n)?;
        self.expect_at_most(n)
    }

    /// `n` arguments or more.
    pub fn expect_at_least(&self, n: usize) -> Result<(), Failure> {
        let got = self.args.len();
        if got < n { Err(Failure::Local(format!("Not enough arguments (expected {n}, got {got})"))) } else { Ok(()) }
    }

    /// `n` arguments or less.
    pub fn expect_at_most(&self, n: usize) -> Result<(), Failure> {
        let got = self.args.len();
        if got > n { Err(Failure::Local(format!("Too many arguments (expected {n}, got {got})"))) } else { Ok(()) }
    }

    /// The argument at `index`, empty if there are fewer.
    #[must_use]
    pub fn arg(&self, index: usize) -> String {
        self.args.get(index).cloned().unwrap_or_default()
    }

    /// The argument at `index` as a path, without slashes and blanks around it.
    #[must_use]
    pub fn path(&self, index: usize) -> String {
        sanitize(self.args.get(index).map(String::as_str).unwrap_or_default())
    }

    // ---- the server ----

    /// Sends a request and reads the whole answer, whatever its status.
    pub fn send(&mut self, request: &Request) -> Result<Reply, Fault> {
        self.divert(request)?;
        Ok(self.transport()?.send(request)?)
    }

    /// Like [`Session::send`], but never diverted by `-output-curl-string`, never wrapped: for look-ups on the way.
    pub fn look_up(&mut self, request: Request) -> Result<Reply, Fault> {
        Ok(self.transport()?.send(&request.without_wrapping())?.check()?)
    }

    /// [`Session::look_up`] for a secret; a 404 is `None`, unless it says more.
    pub fn look_up_secret(&mut self, request: Request) -> Result<Option<SecretReply>, Fault> {
        Ok(self.transport()?.send(&request.without_wrapping())?.secret()?)
    }

    /// Sends a request that must succeed.
    pub fn call(&mut self, request: &Request) -> Result<Reply, Fault> {
        Ok(self.send(request)?.check()?)
    }

    /// Sends a request whose answer is a `T`.
    pub fn json<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, Fault> {
        Ok(self.send(request)?.json()?)
    }

    /// Sends a request whose answer is a secret, or nothing.
    pub fn secret(&mut self, request: &Request) -> Result<Option<SecretReply>, Fault> {
        Ok(self.send(request)?.secret()?)
    }

    /// [`Session::secret`] for a request that changes something: a 404 is a failure even where it explains itself in warnings.
    pub fn change(&mut self, request: &Request, doing: &str) -> Result<Option<SecretReply>, Failure> {
        let reply = self.send(request).doing(doing)?;
        let told = if reply.status == 404 { reply.clone().secret().ok().flatten() } else { None };
        let Some(told) = told else { return reply.secret().map_err(Fault::from).doing(doing) };
        let failure = reply.check().map(drop).map_err(Fault::from).doing(doing);
        self.warnings(&told)?;
        failure.map(|()| None)
    }

    /// Sends a request and prints the answer as it comes.
    pub fn stream_out(&mut self, request: &Request, out: Option<&mut dyn Write>) -> Result<(), Fault> {
        self.divert(request)?;
        self.transport()?;
        let Some(transport) = self.transport.as_mut() else { return Ok(()) };
        let out: &mut dyn Write = match out {
            Some(out) => out,
            None => &mut *self.host.output.out,
        };
        let mut sink = |bytes: &[u8]| {
            out.write_all(bytes)?;
            out.flush()
        };
        Ok(transport.stream(request, &mut sink)?)
    }

    /// Waits between two polls.
    pub fn pause(&mut self, time: Duration) -> Result<(), Failure> {
        self.transport()?.pause(time);
        Ok(())
    }

    /// The server's address.
    pub fn address(&self) -> Result<String, Failure> {
        Ok(self.config()?.address)
    }

    /// The token to send: `VAULT_TOKEN`, else the token helper's.
    pub fn token(&self) -> Result<Option<SecretString>, Failure> {
        if let Some(token) = self.host.env.get("VAULT_TOKEN") {
            return Ok(Some(SecretString::from(token)));
        }
        match TokenStore::open(&self.host.env) {
            Ok(store) => store.get().map_err(|e| Failure::Server(format!("Error getting token: {e}"))),
            Err(TokenStoreError::NoHome) => Ok(None),
            Err(e) => Err(Failure::Server(format!("Error getting token helper: {e}"))),
        }
    }

    /// Keeps a token for the next commands.
    pub fn store_token(&self, token: &SecretString) -> Result<(), Failure> {
        let stored = TokenStore::open(&self.host.env).and_then(|store| store.store(token));
        stored.map_err(|e| Failure::Server(format!("Error storing token: {e}")))
    }

    fn divert(&mut self, request: &Request) -> Result<(), Failure> {
        if self.flags.on("output-policy") {
            return Err(Failure::Instead(instead::policy(request)));
        }
        if self.flags.on("output-curl-string") {
            let config = self.config()?;
            let token = request.token.as_ref().unwrap_or(&self.token()?).is_some();
            let mut headers = config.headers.clone();
            headers.extend(config.namespace.filter(|_| request.namespaced).map(|n| ("X-Vault-Namespace".to_owned(), n)));
            headers.extend(config.wrap_ttl.filter(|_| request.wrapped).map(|t| ("X-Vault-Wrap-Ttl".to_owned(), t)));
            let url = self.transport()?.url(request);
            return Err(Failure::Instead(instead::curl(request, &url, &self.host.program, token, &headers)));
        }
        Ok(())
    }

    fn transport(&mut self) -> Result<&mut Box<dyn Transport>, Failure> {
        let transport = match self.transport.take() {
            Some(transport) => transport,
            None => {
                let mut config = self.config()?;
                config.token = self.token()?;
                self.host.connect.connect(config)?
            }
        };
        Ok(self.transport.insert(transport))
    }

    /// The environment's settings, overridden by the flags.
    fn config(&self) -> Result<Config, Failure> {
        let server = |e: client::ConfigError| Failure::Server(e.to_string());
        let mut config = Config::from_environment(&self.host.env).map_err(server)?;
        let own = |name: &str| self.given(name).map(str::to_owned);
        let agent = self.given("agent-address").or_else(|| self.host.env.get("VAULT_AGENT_ADDR"));
        if let Some(address) = agent.or_else(|| self.given("address")) {
            config.address = address.to_owned();
        }
        for (slot, name) in [
            (&mut config.tls.ca_cert, "ca-cert"),
            (&mut config.tls.ca_path, "ca-path"),
            (&mut config.tls.client_cert, "client-cert"),
            (&mut config.tls.client_key, "client-key"),
            (&mut config.tls.server_name, "tls-server-name"),
            (&mut config.namespace, "namespace"),
            (&mut config.wrap_ttl, "wrap-ttl"),
        ] {
            if let Some(value) = own(name) {
                *slot = Some(value).filter(|v| !v.is_empty());
            }
        }
        if self.given("tls-skip-verify").is_some() {
            config.tls.skip_verify = self.on("tls-skip-verify");
        }
        if self.given("disable-redirects").is_some() {
            config.follow_redirect = !self.on("disable-redirects");
        }
        // Vault's library retries, its command line does not unless it is told to: people prefer the error at once.
        if self.host.env.get("VAULT_MAX_RETRIES").is_none() {
            config.max_retries = 0;
        }
        config.headers = self.headers(&self.host.env)?;
        Ok(config)
    }

    fn headers(&self, env: &Environment) -> Result<Vec<(String, String)>, Failure> {
        let mut out = Vec::new();
        let mut mfa = self.all("mfa");
        if mfa.is_empty() {
            mfa.extend(env.get("VAULT_MFA").map(str::to_owned));
        }
        out.extend(mfa.into_iter().map(|value| ("X-Vault-MFA".to_owned(), value)));
        if self.on("policy-override") {
            out.push(("X-Vault-Policy-Override".to_owned(), "true".to_owned()));
        }
        for (name, value) in self.pairs("header") {
            if name.trim().to_ascii_lowercase().starts_with("x-vault-") {
                return Err(Failure::Server(format!("Custom Headers cannot start with X-Vault-: {name}")));
            }
            out.push((name, value));
        }
        Ok(out)
    }

    // ---- the user ----

    /// A line on standard output.
    pub fn say(&mut self, line: &str) -> Result<(), Failure> {
        Ok(writeln!(self.host.output.out, "{line}")?)
    }

    /// A line on standard error.
    pub fn warn(&mut self, line: &str) -> Result<(), Failure> {
        Ok(writeln!(self.host.output.err, "{line}")?)
    }

    /// Asks for a secret on the terminal.
    pub fn ask_hidden(&mut self, question: &str) -> Result<SecretString, Failure> {
        if self.on("non-interactive") {
            return Err(Failure::Local("the -non-interactive flag forbids to ask on the terminal".to_owned()));
        }
        let answer = self.host.prompt.hidden(question)?;
        Ok(SecretString::from(answer.expose().trim()))
    }

    /// All of standard input.
    pub fn stdin(&mut self) -> Result<String, Failure> {
        let mut text = String::new();
        self.host.input.read_to_string(&mut text).map_err(|e| Failure::Local(format!("Failed to read from stdin: {e}")))?;
        Ok(text)
    }

    /// Prints `value` in the chosen format; `table` is its form for people.
    pub fn show<T: Serialize + ?Sized>(&mut self, value: &T, table: &str) -> Result<(), Failure> {
        let text = match self.format {
            Format::Table => table.to_owned(),
            Format::Json => render::json(value).map_err(|e| Failure::Local(e.to_string()))?,
            Format::Yaml => render::yaml(value).map_err(Failure::Local)?,
            Format::Pretty => return Err(Failure::Local("cannot use the pretty formatter for this type".to_owned())),
            Format::Raw => return Err(Failure::Local("the raw format is for commands that read one path".to_owned())),
        };
        self.say(&text)
    }

    /// Prints a secret in the chosen format, or the one field of it that `-field` names.
    pub fn show_secret(&mut self, secret: &SecretReply) -> Outcome {
        if let Some(name) = self.given("field").filter(|f| !f.is_empty()).map(str::to_owned) {
            let value = render::field(secret, &name);
            return self.show_field(&name, value);
        }
        if self.format == Format::Table {
            self.warnings(secret)?;
        }
        let rows = render::rows(secret);
        if self.format != Format::Table || !rows.is_empty() {
            self.show(secret, &render::key_values(rows))?;
        }
        Ok(0)
    }

    fn warnings(&mut self, secret: &SecretReply) -> Result<(), Failure> {
        if !secret.warnings().is_empty() {
            self.warn("WARNING! The following warnings were returned from Vault:\n")?;
        }
        for warning in secret.warnings() {
            self.warn(&format!("  * {warning}\n"))?;
        }
        Ok(())
    }

    /// Prints one value; without a newline unless a person looks, so that `$(…)` and pipes get exactly the value.
    pub fn show_field(&mut self, name: &str, value: Option<Value>) -> Outcome {
        let Some(value) = value else {
            return Err(Failure::Local(format!("Field {name:?} not present in secret")));
        };
        match self.format {
            Format::Json | Format::Yaml => self.show(&value, "")?,
            _ => self.show_raw(&render::go_value(&value))?,
        }
        Ok(0)
    }

    /// Prints text as [`Session::show_field`] does.
    pub fn show_raw(&mut self, text: &str) -> Result<(), Failure> {
        let end = if self.host.out_is_terminal { "\n" } else { "" };
        Ok(write!(self.host.output.out, "{text}{end}")?)
    }

    /// Prints the `keys` of a list answer; exit 2 if there are none.
    pub fn show_list(&mut self, secret: Option<&SecretReply>, path: &str) -> Outcome {
        let keys = secret.and_then(|s| s.get("keys")).and_then(Value::as_array).filter(|k| !k.is_empty());
        let Some(keys) = keys else {
            if self.format == Format::Table {
                return Err(Failure::Server(format!("No value found at {path}")));
            }
            self.show(&serde_json::json!({}), "")?;
            return Ok(2);
        };
        let rows = keys.iter().map(|k| vec![render::go_value(k)]).collect();
        self.show(keys, &render::headed(&["Keys"], rows))?;
        Ok(0)
    }
}

/// A path without slashes and blanks around it.
#[must_use]
pub fn sanitize(path: &str) -> String {
    path.trim().trim_matches('/').to_owned()
}

/// The same with one slash at the end.
#[must_use]
pub fn with_slash(path: &str) -> String {
    format!("{}/", sanitize(path))
}
