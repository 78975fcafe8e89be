//! The two pages a browser sees after a form post. Nothing of the request is on them but a state that was found among our own.

/// Hands the state to the window that opened this one, as Vault's UI expects it. The code stays here.
pub(crate) fn received(mount: &str, code: &str, state: &str) -> String {
    let message = serde_json::json!({ "source": "oidc-callback", "path": mount, "code": code, "state": state });
    let message = script_safe(&message.to_string());
    document(
        "Signed in",
        &format!(
            "<p>The provider has confirmed your sign-in. This window may be closed.</p>\n<script>\nif (window.opener) {{ \
             window.opener.postMessage({message}, window.location.origin); window.close(); }}\n</script>"
        ),
    )
}

/// Says that it failed.
pub(crate) fn failed(why: &str) -> String {
    document("Vault login failed.", &format!("<p>{}</p>", text(why)))
}

fn document(title: &str, body: &str) -> String {
    let title = text(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n\
         {body}\n</body>\n</html>\n"
    )
}

fn text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// JSON that cannot end the script it stands in.
fn script_safe(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_v_nothing_breaks_out_of_the_pages() {
        for evil in ["</script><script>alert(1)</script>", "<!--", "\"'&><"] {
            for page in [received(evil, evil, evil), failed(evil)] {
                assert!(!page.contains(evil), "{page}");
                assert!(page.matches("<script>").count() <= 1 && page.matches("</script>").count() <= 1, "{page}");
            }
        }
        assert!(!received("m", "c", "\u{2028}").contains('\u{2028}'), "a line end inside a script's text");
    }
}
