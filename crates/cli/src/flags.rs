//! Flags as data: the parser and the help text come from the same definition.

use api_types::duration;

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing, or `=true` / `=false`.
    Bool,
    /// Text; the last one counts.
    Text,
    /// A whole number.
    Int,
    /// A duration as Vault reads it: `30s`, `1h`, `2d`, plain seconds.
    Duration,
    /// Text, repeatable.
    List,
    /// `key=value`, repeatable.
    Map,
}

/// One flag.
#[derive(Debug)]
pub struct Flag {
    /// Without dashes.
    pub name: &'static str,
    /// Another name for it, or empty.
    pub alias: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Value when it is not given, or empty.
    pub default: &'static str,
    /// Environment variable that gives the value when the flag does not, or empty.
    pub env: &'static str,
    /// One or two sentences.
    pub help: &'static str,
}

impl Flag {
    const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, alias: "", kind, default: "", env: "", help }
    }

    /// With an environment variable.
    #[must_use]
    pub const fn env(mut self, env: &'static str) -> Self {
        self.env = env;
        self
    }

    /// With a value for when it is not given.
    #[must_use]
    pub const fn or(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    /// With another name.
    #[must_use]
    pub const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = alias;
        self
    }

    /// Checks a value; the error is in Go's words, to stand behind `invalid value "x" for flag -name: `.
    pub fn check(&self, value: &str) -> Result<(), String> {
        match self.kind {
            Kind::Bool => truth(value).map(drop).ok_or_else(|| "parse error".to_owned()),
            Kind::Int => {
                value.parse::<i64>().map(drop).map_err(|_| format!("strconv.ParseInt: parsing {value:?}: invalid syntax"))
            }
            Kind::Duration if value == "system" => Ok(()),
            Kind::Duration => duration::parse(value).map(drop).map_err(|e| e.to_string()),
            Kind::Map if !value.contains('=') => Err(format!("missing = in KV pair: {value:?}")),
            Kind::Map | Kind::List | Kind::Text => Ok(()),
        }
    }
}

/// A switch.
#[must_use]
pub const fn switch(name: &'static str, help: &'static str) -> Flag {
    Flag::new(name, Kind::Bool, help)
}

/// A text.
#[must_use]
pub const fn text(name: &'static str, help: &'static str) -> Flag {
    Flag::new(name, Kind::Text, help)
}

/// A whole number.
#[must_use]
pub const fn int(name: &'static str, help: &'static str) -> Flag {
    Flag::new(name, Kind::Int, help)
}

/// A duration.
#[must_use]
pub const fn period(name: &'static str, help: &'static str) -> Flag {
    Flag::new(name, Kind::Duration, help)
}

/// Texts.
#[must_use]
pub const fn list(name: &'static str, help: &'static str) -> Flag {
    Flag::new(name, Kind::List, help)
}

/// Pairs.
#[must_use]
pub const fn map(name: &'static str, help: &'static str) -> Flag {
    Flag::new(name, Kind::Map, help)
}

/// Flags under one heading of the help text.
#[derive(Debug)]
pub struct FlagSet {
    /// Heading, without the colon.
    pub title: &'static str,
    /// The flags.
    pub flags: &'static [Flag],
}

/// Go's `strconv.ParseBool`.
#[must_use]
pub fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Flags of every command that talks to a server.
pub static HTTP: FlagSet = FlagSet {
    title: "HTTP Options",
    flags: &[
        text("address", "Address of the server.").or(client::DEFAULT_ADDRESS).env("VAULT_ADDR"),
        text("agent-address", "Address of an agent that stands before the server.").env("VAULT_AGENT_ADDR"),
        text(
            "ca-cert",
            "Path of one PEM file with the CA certificates that the server's certificate is checked against. Wins over -ca-path.",
        )
        .env("VAULT_CACERT"),
        text("ca-path", "Path of a directory of PEM files with CA certificates.").env("VAULT_CAPATH"),
        text("client-cert", "Path of a PEM certificate for TLS client authentication. Needs -client-key.")
            .env("VAULT_CLIENT_CERT"),
        text("client-key", "Path of the PEM key that belongs to -client-cert.").env("VAULT_CLIENT_KEY"),
        switch("disable-redirects", "Do not follow a redirect of the server.").env("VAULT_DISABLE_REDIRECTS"),
        map("header", "A \"key=value\" header for every request. May be given more than once; may not start with X-Vault-."),
        list("mfa", "Credentials for the X-Vault-MFA header. May be given more than once.").env("VAULT_MFA"),
        text("namespace", "The namespace of the command. Accepted and sent; the server keeps one namespace, the root.")
            .alias("ns")
            .env("VAULT_NAMESPACE"),
        switch("non-interactive", "Never ask on the terminal; fail instead."),
        switch("output-curl-string", "Print the equivalent cURL command and send nothing."),
        switch("output-policy", "Print an example policy that allows this command, and send nothing."),
        switch("policy-override", "Override a soft-mandatory policy."),
        text("tls-server-name", "Name that the server's certificate must carry, if it is not the address's host.")
            .env("VAULT_TLS_SERVER_NAME"),
        switch("tls-skip-verify", "Accept any certificate. Everything that is sent and received can then be read by others.")
            .env("VAULT_SKIP_VERIFY"),
        text("unlock-key", "Key to unlock a namespace's API lock."),
        period("wrap-ttl", "Wrap the answer in a cubbyhole token of this lifetime; read it with the \"unwrap\" command.")
            .env("VAULT_WRAP_TTL"),
    ],
};

/// `-format`.
pub static FORMAT: FlagSet = FlagSet { title: "Output Options", flags: &[FORMAT_FLAG] };

/// `-field` and `-format`.
pub static FIELD_FORMAT: FlagSet = FlagSet {
    title: "Output Options",
    flags: &[
        text(
            "field",
            "Print only this field, without a newline when the output is not a terminal. Wins over other output options.",
        ),
        FORMAT_FLAG,
    ],
};

const FORMAT_FLAG: Flag =
    text("format", "How to print: \"table\", \"json\", \"yaml\", \"pretty\" or \"raw\".").or("table").env("VAULT_FORMAT");
