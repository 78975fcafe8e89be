//! Finding the other nodes (`auto_join`): the addresses of pods, asked of the Kubernetes API server of the pod this node runs in.
//!
//! The configuration is go-discover's: `provider=k8s namespace=… label_selector="…"`. So is the choice of pods: those that run and
//! are ready, or say nothing of being ready. Deliberately absent: other providers, kubeconfig files, and annotations that name
//! a port.

use std::path::PathBuf;
use std::time::Duration;

use outbound::{Credentials, Outbound, Payload, Question, Reach, Trust};
use secret::{Clock, SecretString, SystemClock};
use serde::Deserialize;
use tokio::io::AsyncReadExt;

/// Why nobody was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiscoverError {
    /// The configuration is no list of `key=value`.
    #[error("auto_join: {0}")]
    Syntax(String),
    /// A provider that is not built in.
    #[error("auto_join: unknown provider {0:?}: \"k8s\" is supported")]
    Provider(String),
    /// An option that the provider does not have.
    #[error("auto_join: the provider k8s has no option {0:?}")]
    Option(String),
    /// This program does not run in a pod, or the pod has no service account.
    #[error("auto_join: not in a pod with a service account: {0}")]
    NoPod(String),
    /// The API server did not answer, or not with a list of pods.
    #[error("auto_join: the Kubernetes API server: {0}")]
    Api(String),
}

/// Where a pod finds its API server and shows who it is.
#[derive(Debug, Clone)]
pub struct Pod {
    /// `https://host:port`.
    pub api: String,
    /// The service account's token.
    pub token: PathBuf,
    /// The API server's CA.
    pub ca: PathBuf,
}

/// Which pods are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Selection {
    namespace: String,
    label_selector: String,
    field_selector: String,
    host_network: bool,
}

/// The addresses (without port) that an `auto_join` text leads to; none is no error.
///
/// # Errors
/// [`DiscoverError`].
pub async fn discover(config: &str) -> Result<Vec<String>, DiscoverError> {
    let selection = Selection::parse(config)?;
    ask(&selection, &Pod::here()?).await
}

/// The same, with the API server of another pod.
///
/// # Errors
/// [`DiscoverError`].
pub async fn discover_from(pod: &Pod, config: &str) -> Result<Vec<String>, DiscoverError> {
    ask(&Selection::parse(config)?, pod).await
}

/// go-discover's default.
const DEFAULT_NAMESPACE: &str = "default";

/// Where the kubelet puts a pod's credentials.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A token or a bundle of certificates has a few KiB.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Pods in one answer. A selector that fits more is not one of a cluster's nodes.
const PODS_MAX: usize = 500;

/// Their description: a pod with many volumes and a long status has some 20 KiB.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A joining node asks again in a moment.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

impl Selection {
    fn parse(config: &str) -> Result<Self, DiscoverError> {
        let mut options = pairs(config)?;
        let mut take = |key: &str| options.iter().position(|(k, _)| k == key).map(|i| options.remove(i).1);
        match take("provider") {
            Some(provider) if provider == "k8s" => {}
            Some(provider) => return Err(DiscoverError::Provider(provider)),
            None => return Err(DiscoverError::Syntax("provider=… is missing".to_owned())),
        }
        let namespace = take("namespace").filter(|n| !n.is_empty()).unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        let host_network = match take("host_network").as_deref() {
            None | Some("") => false,
            Some(text) => boolean(text).ok_or_else(|| DiscoverError::Syntax(format!("host_network={text} is no truth value")))?,
        };
        let selection = Self {
            namespace,
            label_selector: take("label_selector").unwrap_or_default(),
            field_selector: take("field_selector").unwrap_or_default(),
            host_network,
        };
        match options.first() {
            Some((key, _)) => Err(DiscoverError::Option(key.clone())),
            None => Ok(selection),
        }
    }

    fn url(&self, api: &str) -> Result<String, DiscoverError> {
        let mut url = url::Url::parse(api).map_err(|e| DiscoverError::NoPod(format!("the address {api:?}: {e}")))?;
        let Ok(mut path) = url.path_segments_mut() else {
            return Err(DiscoverError::NoPod(format!("the address {api:?} has no path")));
        };
        path.pop_if_empty().extend(["api", "v1", "namespaces", &self.namespace, "pods"]);
        drop(path);
        let mut query = url.query_pairs_mut();
        for (name, value) in [("labelSelector", &self.label_selector), ("fieldSelector", &self.field_selector)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        query.append_pair("limit", &PODS_MAX.to_string());
        drop(query);
        Ok(url.into())
    }
}

impl Pod {
    /// The pod that this program runs in.
    ///
    /// # Errors
    /// [`DiscoverError::NoPod`]: the kubelet's variables are missing.
    pub fn here() -> Result<Self, DiscoverError> {
        let variable = |name: &str| {
            let value = std::env::var(name).ok().filter(|v| !v.is_empty());
            value.ok_or_else(|| DiscoverError::NoPod(format!("{name} is not set")))
        };
        let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let folder = PathBuf::from(SERVICE_ACCOUNT);
        Ok(Self { api: format!("https://{host}:{port}"), token: folder.join("token"), ca: folder.join("ca.crt") })
    }
}

#[derive(Deserialize)]
struct PodList {
    kind: String,
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default)]
    items: Option<Vec<Item>>,
}

#[derive(Default, Deserialize)]
struct ListMeta {
    #[serde(rename = "continue", default)]
    more: String,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: String,
    #[serde(rename = "hostIP")]
    host_ip: String,
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    r#type: String,
    status: String,
}

impl Status {
    fn serves(&self) -> bool {
        self.phase == "Running" && self.conditions.iter().all(|c| c.r#type != "Ready" || c.status == "True")
    }
}

async fn ask(selection: &Selection, pod: &Pod) -> Result<Vec<String>, DiscoverError> {
    let token = SecretString::new(read(&pod.token).await?);
    let trust = Trust::Pem(read(&pod.ca).await?.into());
    let url = selection.url(&pod.api)?;
    let question = Question {
        url: &url,
        trust: &trust,
        credentials: Credentials::Bearer(&token),
        payload: Payload::None,
        answer_max_bytes: ANSWER_BYTES_MAX,
    };
    let outbound = Outbound::with_timeout(Reach::Anywhere, ASK_TIMEOUT);
    let answer = outbound.ask(question, SystemClock.now()).await.map_err(|e| DiscoverError::Api(e.to_string()))?;
    addresses(selection, answer.status, &answer.body)
}

fn addresses(selection: &Selection, status: u16, body: &[u8]) -> Result<Vec<String>, DiscoverError> {
    let list = match status {
        200 => serde_json::from_slice::<PodList>(body).map_err(|e| DiscoverError::Api(format!("no list of pods: {e}")))?,
        _ => return Err(DiscoverError::Api(format!("status {status}{}", message(body)))),
    };
    if list.kind != "PodList" {
        return Err(DiscoverError::Api("the answer is no list of pods".to_owned()));
    }
    if !list.metadata.more.is_empty() {
        return Err(DiscoverError::Api(format!("more than {PODS_MAX} pods fit: label_selector is too wide")));
    }
    let statuses = list.items.unwrap_or_default().into_iter().map(|item| item.status);
    let address = |s: Status| if selection.host_network { s.host_ip } else { s.pod_ip };
    Ok(statuses.filter(Status::serves).map(address).filter(|a| !a.is_empty()).collect())
}

/// The API server's own words, bounded.
fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => format!(": {}", refusal.message.chars().take(300).collect::<String>()),
        Err(_) => String::new(),
    }
}

async fn read(path: &PathBuf) -> Result<String, DiscoverError> {
    let failed = |e: std::io::Error| DiscoverError::NoPod(format!("{}: {e}", path.display()));
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).await.map_err(failed)?;
    Ok(text)
}

/// Go's `strconv.ParseBool`.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// `key=value key="value with blanks"`; inside quotes a backslash keeps the next character as it is.
fn pairs(config: &str) -> Result<Vec<(String, String)>, DiscoverError> {
    let syntax = |text: String| DiscoverError::Syntax(text);
    let mut found: Vec<(String, String)> = Vec::new();
    let mut rest = config.trim_start();
    while !rest.is_empty() {
        let Some((key, after)) = rest.split_once('=') else { return Err(syntax(format!("{:?} has no value", rest.trim_end()))) };
        let key = key.trim_end();
        if key.is_empty() || key.contains(|c: char| c.is_whitespace() || c == '"') {
            return Err(syntax(format!("{key:?} is no name of an option")));
        }
        if found.iter().any(|(k, _)| k == key) {
            return Err(syntax(format!("{key} is there twice")));
        }
        let (value, after) =
            value(after.trim_start()).ok_or_else(|| syntax(format!("the value of {key} has no closing quote")))?;
        if after.starts_with(|c: char| !c.is_whitespace()) {
            return Err(syntax(format!("after the value of {key} there must be a blank")));
        }
        found.push((key.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(found)
}

/// A value and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(text.len());
        return text.split_at_checked(end).map(|(value, rest)| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(characters.next()?),
            c => value.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(namespace: &str, label: &str, field: &str, host_network: bool) -> Selection {
        Selection {
            namespace: namespace.to_owned(),
            label_selector: label.to_owned(),
            field_selector: field.to_owned(),
            host_network,
        }
    }

    #[test]
    fn options_are_read_as_go_discover_reads_them() {
        let labels = "app.kubernetes.io/name=vault,component=server";
        for (text, want) in [
            ("provider=k8s", selection("default", "", "", false)),
            (&format!(r#"provider=k8s namespace=vault label_selector="{labels}""#), selection("vault", labels, "", false)),
            (&format!("  label_selector={labels}\n provider=k8s\t"), selection("default", labels, "", false)),
            (r#"provider="k8s" namespace="" host_network=true"#, selection("default", "", "", true)),
            (
                r#"provider=k8s label_selector="a in (b, \"c\\\")" field_selector=x"#,
                selection("default", r#"a in (b, "c\")"#, "x", false),
            ),
            ("provider = k8s namespace = v", selection("v", "", "", false)),
            ("provider=k8s host_network=0", selection("default", "", "", false)),
        ] {
            assert_eq!(Selection::parse(text).unwrap(), want, "{text}");
        }
        for (text, want) in [
            ("", "auto_join: provider=… is missing"),
            ("namespace=a", "auto_join: provider=… is missing"),
            ("provider=aws tag_key=a", "auto_join: unknown provider \"aws\": \"k8s\" is supported"),
            ("provider=", "auto_join: unknown provider \"\": \"k8s\" is supported"),
            ("provider=k8s lable_selector=a", "auto_join: the provider k8s has no option \"lable_selector\""),
            ("provider=k8s kubeconfig=/a", "auto_join: the provider k8s has no option \"kubeconfig\""),
            ("provider=k8s namespace", "auto_join: \"namespace\" has no value"),
            ("provider=k8s a b=c", "auto_join: \"a b\" is no name of an option"),
            ("provider=k8s =c", "auto_join: \"\" is no name of an option"),
            ("provider=k8s namespace=a namespace=b", "auto_join: namespace is there twice"),
            (r#"provider=k8s namespace="a"#, "auto_join: the value of namespace has no closing quote"),
            (r#"provider=k8s namespace="a\"#, "auto_join: the value of namespace has no closing quote"),
            (r#"provider=k8s namespace="a"b=c"#, "auto_join: after the value of namespace there must be a blank"),
            (r#"provider=k8s namespace=a"b""#, "auto_join: after the value of namespace there must be a blank"),
            ("provider=k8s host_network=maybe", "auto_join: host_network=maybe is no truth value"),
        ] {
            assert_eq!(Selection::parse(text).unwrap_err().to_string(), want, "{text}");
        }
    }

    #[test]
    fn values_cannot_leave_their_place_in_the_url() {
        let url = selection("../../secrets?x=", "a=b&limit=1", "#", false).url("https://[fd00::1]:443").unwrap();
        assert_eq!(
            url,
            "https://[fd00::1]:443/api/v1/namespaces/..%2F..%2Fsecrets%3Fx=/pods?labelSelector=a%3Db%26limit%3D1&fieldSelector=%23&limit=500"
                .replace(":443", "")
        );
        assert!(selection("a", "", "", false).url("no url").is_err());
    }

    fn listed(status: u16, body: &str, host_network: bool) -> Result<Vec<String>, String> {
        addresses(&selection("a", "", "", host_network), status, body.as_bytes()).map_err(|e| e.to_string())
    }

    #[test]
    fn pods_that_run_and_are_ready_are_found() {
        let ready =
            |s: &str| format!(r#""conditions":[{{"type":"Initialized","status":"True"}},{{"type":"Ready","status":"{s}"}}]"#);
        let body = format!(
            r#"{{"kind":"PodList","metadata":{{"resourceVersion":"1"}},"items":[
              {{"status":{{"phase":"Running","podIP":"10.0.0.1","hostIP":"192.0.2.1",{}}}}},
              {{"status":{{"phase":"Running","podIP":"10.0.0.2","hostIP":"192.0.2.2",{}}}}},
              {{"status":{{"phase":"Running","podIP":"10.0.0.3","hostIP":"192.0.2.3"}}}},
              {{"status":{{"phase":"Pending","podIP":"10.0.0.4","hostIP":"192.0.2.4"}}}},
              {{"status":{{"phase":"Running"}}}},
              {{"metadata":{{"name":"x"}}}}]}}"#,
            ready("True"),
            ready("False"),
        );
        assert_eq!(listed(200, &body, false).unwrap(), ["10.0.0.1", "10.0.0.3"]);
        assert_eq!(listed(200, &body, true).unwrap(), ["192.0.2.1", "192.0.2.3"]);
        assert_eq!(listed(200, r#"{"kind":"PodList","items":null}"#, false).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn other_answers_are_errors_in_the_api_servers_words() {
        for (status, body, want) in [
            (403, r#"{"kind":"Status","message":"pods is forbidden"}"#, "status 403: pods is forbidden"),
            (401, "", "status 401"),
            (302, "<html>", "status 302"),
            (200, r#"{"kind":"Status"}"#, "the answer is no list of pods"),
            (200, r#"{"kind":"PodList","metadata":{"continue":"abc"},"items":[]}"#, "more than 500 pods fit"),
            (200, "", "no list of pods: EOF"),
            (200, "[]", "no list of pods: "),
            (200, r#"{"kind":"PodList","items":[{"status":{"podIP":7}}]}"#, "no list of pods: "),
        ] {
            let text = listed(status, body, false).unwrap_err();
            assert!(text.starts_with(&format!("auto_join: the Kubernetes API server: {want}")), "{text}");
        }
    }
}
