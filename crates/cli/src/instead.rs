//! What `-output-curl-string` and `-output-policy` print instead of sending. Pure.

use api_types::Operation;
use client::{Body, Method, Request};

/// The cURL command that does what the request does. The token is asked for, never printed.
pub(crate) fn curl(request: &Request, url: &str, program: &str, token: bool, headers: &[(String, String)]) -> String {
    let mut out = "curl ".to_owned();
    if request.method.on_wire() != "GET" {
        out.push_str(&format!("-X {} ", request.method.on_wire()));
    }
    out.push_str("-H \"X-Vault-Request: true\" ");
    if token {
        out.push_str(&format!("-H \"X-Vault-Token: $({program} print token)\" "));
    }
    for (name, value) in headers.iter().chain(&request.headers) {
        out.push_str(&format!("-H {} ", quote(&format!("{name}: {value}"))));
    }
    match &request.body {
        Body::Empty => {}
        Body::Json(bytes) => out.push_str(&format!("-d {} ", quote(&String::from_utf8_lossy(bytes)))),
        Body::MergePatch(bytes) => {
            out.push_str("-H \"Content-Type: application/merge-patch+json\" ");
            out.push_str(&format!("-d {} ", quote(&String::from_utf8_lossy(bytes))));
        }
        Body::File(path) => out.push_str(&format!("--data-binary {} ", quote(&format!("@{}", path.display())))),
    }
    out.push_str(&if url.contains(['&', '?', '$', '\'', ' ']) { quote(url) } else { url.to_owned() });
    out
}

/// Quotes for a POSIX shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\"'\"'"))
}

/// A policy that allows the request.
pub(crate) fn policy(request: &Request) -> String {
    let mut capabilities: Vec<&str> = match request.method {
        Method::Get | Method::Head => vec!["read"],
        Method::List => vec!["list"],
        Method::Put | Method::Post => vec!["create", "update"],
        Method::Patch => vec!["patch"],
        Method::Delete => vec!["delete"],
    };
    if needs_sudo(&request.path) {
        capabilities.push("sudo");
        capabilities.sort_unstable();
    }
    let list: Vec<String> = capabilities.iter().map(|c| format!("{c:?}")).collect();
    format!("path {:?} {{\n  capabilities = [{}]\n}}", request.path, list.join(", "))
}

/// Whether the server asks for `sudo` on a path, by its own table.
fn needs_sudo(path: &str) -> bool {
    let below = [("sys/", "system"), ("auth/token/", "token")];
    // The table is the same for every operation.
    below.iter().any(|(mount, kind)| {
        path.strip_prefix(mount).is_some_and(|rest| policy::paths::needs_sudo(kind, rest, Operation::Update))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curl_commands() {
        let r = Request::put("secret/data/x").json(&serde_json::json!({"a": "it's"}));
        assert_eq!(
            curl(&r, "http://h/v1/secret/data/x", "vault", true, &[]),
            r#"curl -X PUT -H "X-Vault-Request: true" -H "X-Vault-Token: $(vault print token)" -d '{"a":"it'"'"'s"}' http://h/v1/secret/data/x"#
        );
        assert_eq!(
            curl(&Request::list("a"), "http://h/v1/a?list=true", "vault", false, &[("A".to_owned(), "$b".to_owned())]),
            r#"curl -H "X-Vault-Request: true" -H 'A: $b' 'http://h/v1/a?list=true'"#
        );
    }

    #[test]
    fn policies() {
        for (request, words) in [
            (Request::get("secret/data/x"), "path \"secret/data/x\" {\n  capabilities = [\"read\"]\n}"),
            (Request::list("secret/metadata"), "path \"secret/metadata\" {\n  capabilities = [\"list\"]\n}"),
            (Request::put("sys/seal"), "path \"sys/seal\" {\n  capabilities = [\"create\", \"sudo\", \"update\"]\n}"),
            (Request::delete("sys/auth/x"), "path \"sys/auth/x\" {\n  capabilities = [\"delete\", \"sudo\"]\n}"),
            (Request::post("sys/mounts/x"), "path \"sys/mounts/x\" {\n  capabilities = [\"create\", \"update\"]\n}"),
            (Request::patch("a"), "path \"a\" {\n  capabilities = [\"patch\"]\n}"),
        ] {
            assert_eq!(policy(&request), words);
        }
    }
}
