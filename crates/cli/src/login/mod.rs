//! `login -method=oidc`: sends a browser to the provider and waits on this machine for its coming back.
//!
//! The server keeps what ties the two ends together. Here only answers to the state that was asked for are taken, so that another
//! page of the browser can neither log somebody else in nor end the waiting.

mod listener;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use api_types::Map;
use client::{Request, SecretReply};
use serde_json::{Value, json};
use url::Url;

use crate::exit::{Doing, Failure};
use crate::session::Session;
use listener::{CALLBACK_PATH, Callback, Listener};

/// How long a person may take.
const SIGN_IN_TIME_MAX: Duration = Duration::from_secs(120);

/// Characters of the nonce that ties the callback to this program.
const CLIENT_NONCE_CHARS: usize = 20;

/// The port that providers are told of, unless the user names another.
const PORT: u16 = 8250;

/// What the user said besides the mount.
struct Options {
    role: String,
    listen_address: String,
    port: u16,
    callback_method: String,
    callback_host: String,
    /// The listener's own unless given.
    callback_port: Option<u16>,
    skip_browser: bool,
    abort_on_error: bool,
}

/// Signs in through the mount's provider.
pub(crate) fn oidc(s: &mut Session<'_, '_>, mount: &str, data: &Map) -> Result<SecretReply, Failure> {
    let options = Options::read(data)?;
    let listener = Listener::bind(&options.listen_address, options.port).map_err(|e| {
        let (address, port) = (&options.listen_address, options.port);
        failure(&format!("no listener for the provider's answer at {address}:{port}: {e}"))
    })?;
    let port = options.callback_port.unwrap_or_else(|| listener.port());
    let redirect = format!("{}://{}:{port}{CALLBACK_PATH}", options.callback_method, options.callback_host);
    let nonce = s.host.entropy.base62(CLIENT_NONCE_CHARS).map_err(|e| failure(&e.to_string()))?;
    let address = provider_address(s, mount, &options, &redirect, &nonce)?;
    let state = address.query_pairs().find(|(k, _)| k == "state").map(|(_, v)| v.into_owned()).unwrap_or_default();
    send_browser(s, &options, &address)?;
    let until = Instant::now() + SIGN_IN_TIME_MAX;
    while let Some(callback) = listener.wait(until) {
        if state.is_empty() || callback.get("state") != state {
            callback.answer("400 Bad Request", "Not expected", "No sign-in with this state is under way here.");
            continue;
        }
        return finish(s, mount, callback, &nonce);
    }
    Err(failure("Timed out waiting for response from provider"))
}

impl Options {
    fn read(data: &Map) -> Result<Self, Failure> {
        let text = |name: &str| data.get(name).and_then(Value::as_str).filter(|t| !t.is_empty());
        let port = |name: &str| {
            let parse = |t: &str| t.parse::<u16>().map_err(|_| failure(&format!("{name} is no port: {t:?}")));
            text(name).map(parse).transpose()
        };
        let switch = |name: &str| match text(name) {
            None => Ok(false),
            Some(t) => crate::flags::truth(t).ok_or_else(|| failure(&format!("Failed to parse {name:?} into a boolean: {t:?}"))),
        };
        let callback_method = text("callbackmethod").unwrap_or("http");
        if !matches!(callback_method, "http" | "https") {
            return Err(failure("callbackmethod is neither http nor https"));
        }
        Ok(Self {
            role: text("role").unwrap_or_default().to_owned(),
            listen_address: text("listenaddress").unwrap_or("localhost").to_owned(),
            port: port("port")?.unwrap_or(PORT),
            callback_method: callback_method.to_owned(),
            callback_host: text("callbackhost").unwrap_or("localhost").to_owned(),
            callback_port: port("callbackport")?,
            skip_browser: switch("skip_browser")?,
            abort_on_error: switch("abort_on_error")?,
        })
    }
}

/// Asks the server where to sign in.
fn provider_address(
    s: &mut Session<'_, '_>,
    mount: &str,
    options: &Options,
    redirect: &str,
    nonce: &str,
) -> Result<Url, Failure> {
    let body = json!({ "role": options.role, "redirect_uri": redirect, "client_nonce": nonce });
    let request = Request::put(&format!("auth/{mount}/oidc/auth_url")).without_token().json(&body);
    let answer = s.look_up_secret(request).doing("authenticating")?;
    let data = answer.and_then(|a| a.data).unwrap_or_default();
    let text = data.get("auth_url").and_then(Value::as_str).unwrap_or_default();
    if text.is_empty() {
        let role = &options.role;
        return Err(failure(&format!(
            "Unable to authorize role {role:?} with redirect_uri {redirect:?}. Check Vault logs for more information."
        )));
    }
    // It is handed to another program, which may take more than web addresses.
    let url = Url::parse(text).ok().filter(|u| matches!(u.scheme(), "http" | "https"));
    url.ok_or_else(|| failure("the server's address of the provider is not a web address"))
}

fn send_browser(s: &mut Session<'_, '_>, options: &Options, address: &Url) -> Result<(), Failure> {
    if options.skip_browser {
        return s.warn(&format!(
            "Complete the login via your OIDC provider. Open the following link in your browser:\n\n    {address}\n\n\nWaiting for \
             OIDC authentication to complete...\n"
        ));
    }
    s.warn(&format!("Complete the login via your OIDC provider. Launching browser to:\n\n    {address}\n\n"))?;
    if let Err(error) = open(address) {
        if options.abort_on_error {
            return Err(failure(&format!("failed to launch the browser: {error}")));
        }
        s.warn(&format!(
            "Error attempting to automatically open browser: '{error}'.\nPlease visit the authorization URL manually."
        ))?;
    }
    s.warn("Waiting for OIDC authentication to complete...\n")
}

/// The desktop's own way to open an address.
fn open(address: &Url) -> std::io::Result<()> {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let quiet = || Stdio::null();
    Command::new(opener).arg(address.as_str()).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn().map(|_| ())
}

/// Hands what came back to the server, and tells the browser what became of it.
fn finish(s: &mut Session<'_, '_>, mount: &str, callback: Callback, nonce: &str) -> Result<SecretReply, Failure> {
    if !callback.get("error").is_empty() {
        let text = format!("the provider refused: {} {}", callback.get("error"), callback.get("error_description"));
        let text = text.trim_end().to_owned();
        callback.answer("400 Bad Request", "Vault login failed.", &text);
        return Err(failure(&text));
    }
    let answer = hand_over(s, mount, &callback, nonce);
    match answer {
        Ok(secret) => {
            callback.answer("200 OK", "Signed in via your OIDC provider", "You can now close this window and start using Vault.");
            Ok(secret)
        }
        Err(e) => {
            callback.answer("400 Bad Request", "Vault login failed.", "The reason is told where the login was started.");
            Err(e)
        }
    }
}

fn hand_over(s: &mut Session<'_, '_>, mount: &str, callback: &Callback, nonce: &str) -> Result<SecretReply, Failure> {
    let path = format!("auth/{mount}/oidc/callback");
    let (state, mut code) = (callback.get("state"), callback.get("code"));
    if callback.is_post {
        // A form is left at the server, and the login then asks for what was left.
        let form = json!({ "state": state, "code": code, "id_token": callback.get("id_token") });
        let left = s.look_up(Request::post(&path).without_token().json(&form));
        left.doing("authenticating")?;
        code = "no_code";
    }
    let request = Request::get(&path).param("state", state).param("code", code).param("client_nonce", nonce).without_token();
    let answer = s.secret(&request).doing("authenticating")?;
    answer.ok_or_else(|| failure("the server gave no token"))
}

fn failure(text: &str) -> Failure {
    Failure::Server(format!("Error authenticating: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Options, Failure> {
        Options::read(&pairs.iter().map(|(k, v)| ((*k).to_owned(), Value::from(*v))).collect())
    }

    #[test]
    fn options_have_vaults_defaults_and_odd_ones_are_refused() {
        let plain = read(&[]).unwrap();
        assert_eq!((plain.listen_address.as_str(), plain.port, plain.callback_host.as_str()), ("localhost", 8250, "localhost"));
        assert!(!plain.skip_browser && !plain.abort_on_error && plain.callback_port.is_none() && plain.callback_method == "http");
        let full = read(&[("port", "1"), ("callbackport", "2"), ("skip_browser", "true"), ("callbackmethod", "https")]).unwrap();
        assert_eq!(
            (full.port, full.callback_port, full.skip_browser, full.callback_method.as_str()),
            (1, Some(2), true, "https")
        );
        for bad in [
            [("port", "x")],
            [("port", "-1")],
            [("port", "65536")],
            [("callbackport", "x")],
            [("skip_browser", "perhaps")],
            [("abort_on_error", "x")],
            [("callbackmethod", "ftp")],
        ] {
            assert!(read(&bad).is_err(), "{bad:?}");
        }
    }
}
