//! `auto_join` against an API server: a stand-in here, a real one by hand (tests/kube/README.md).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::path::Path;
use std::process::Command;

use cluster::{DiscoverError, Pod, discover, discover_from};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Answers one request with these bytes and returns what was asked.
async fn stand_in(reply: String) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut asked).await.unwrap() > 0);
        }
        stream.write_all(reply.as_bytes()).await.unwrap();
        String::from_utf8(asked).unwrap()
    });
    (api, asked)
}

fn reply(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn pod(dir: &Path, api: String) -> Pod {
    std::fs::write(dir.join("token"), "the-token\n").unwrap();
    std::fs::write(dir.join("ca.crt"), "").unwrap();
    Pod { api, token: dir.join("token"), ca: dir.join("ca.crt") }
}

#[tokio::test]
async fn pods_are_asked_for_with_the_pods_own_token() {
    let dir = tempfile::tempdir().unwrap();
    let body = r#"{"kind":"PodList","items":[{"status":{"phase":"Running","podIP":"10.0.0.7"}}]}"#;
    let (api, asked) = stand_in(reply("200 OK", body)).await;
    let found = discover_from(&pod(dir.path(), api), r#"provider=k8s namespace=vault label_selector="a=b,c=d""#).await;
    assert_eq!(found.unwrap(), ["10.0.0.7"]);
    let asked = asked.await.unwrap();
    assert!(asked.starts_with("GET /api/v1/namespaces/vault/pods?labelSelector=a%3Db%2Cc%3Dd&limit=500 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.to_lowercase().contains("\r\nauthorization: bearer the-token\r\n"), "{asked}");
}

#[tokio::test]
async fn what_goes_wrong_is_said_without_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let (api, _asked) = stand_in(reply("403 Forbidden", r#"{"kind":"Status","message":"pods is forbidden"}"#)).await;
    let api_error = |text: &str| DiscoverError::Api(text.to_owned());
    let at = pod(dir.path(), api);
    assert_eq!(discover_from(&at, "provider=k8s").await.unwrap_err(), api_error("status 403: pods is forbidden"));
    let gone = discover_from(&pod(dir.path(), "http://127.0.0.1:1".to_owned()), "provider=k8s").await.unwrap_err();
    assert!(matches!(&gone, DiscoverError::Api(text) if !text.contains("the-token")), "{gone}");
    let nowhere = Pod { token: dir.path().join("none"), ..at };
    let error = discover_from(&nowhere, "provider=k8s").await.unwrap_err();
    assert!(error.to_string().contains("none: No such file or directory"), "{error}");
    assert_eq!(discover("provider=aws").await.unwrap_err(), DiscoverError::Provider("aws".to_owned()));
}

fn kubectl(arguments: &[&str]) -> String {
    let output = Command::new(std::env::var("KUBECTL").unwrap()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A pod that the rig has no kubelet for: it runs because we say so.
fn pretend(name: &str, label: &str, status: &str) {
    let _ = Command::new(std::env::var("KUBECTL").unwrap())
        .args(["-n", "discovery", "delete", "pod", name, "--force", "--grace-period=0", "--ignore-not-found"])
        .output();
    kubectl(&[
        "-n",
        "discovery",
        "run",
        name,
        "--image=x",
        "--labels",
        label,
        "--overrides",
        r#"{"spec":{"serviceAccountName":"finder"}}"#,
    ]);
    kubectl(&["-n", "discovery", "patch", "pod", name, "--subresource=status", "--type=merge", "-p", status]);
}

#[tokio::test]
#[ignore = "needs the rig of tests/kube"]
async fn a_real_api_server_names_the_pods_that_are_ready() {
    let dir = tempfile::tempdir().unwrap();
    for made in [
        vec!["create", "namespace", "discovery"],
        vec!["-n", "discovery", "create", "serviceaccount", "finder"],
        vec!["-n", "discovery", "create", "role", "finder", "--verb=get,list", "--resource=pods"],
        vec!["-n", "discovery", "create", "rolebinding", "finder", "--role=finder", "--serviceaccount=discovery:finder"],
        vec!["-n", "discovery", "create", "serviceaccount", "nobody"],
    ] {
        // There already, from a run before.
        let _ = Command::new(std::env::var("KUBECTL").unwrap()).args(made).output().unwrap();
    }
    let status = |ip: &str, phase: &str, ready: &str| {
        format!(
            r#"{{"status":{{"phase":"{phase}","podIP":"{ip}","podIPs":[{{"ip":"{ip}"}}],"conditions":[{{"type":"Ready","status":"{ready}"}}]}}}}"#
        )
    };
    pretend("vault-0", "app=vault", &status("10.1.0.1", "Running", "True"));
    pretend("vault-1", "app=vault", &status("10.1.0.2", "Running", "False"));
    pretend("vault-2", "app=vault", &status("10.1.0.3", "Pending", "True"));
    pretend("other-0", "app=other", &status("10.1.0.4", "Running", "True"));
    let write = |account: &str| {
        std::fs::write(dir.path().join("token"), kubectl(&["-n", "discovery", "create", "token", account])).unwrap()
    };
    let at = Pod {
        api: std::env::var("KUBE_API").unwrap(),
        token: dir.path().join("token"),
        ca: std::env::var("KUBE_CA").unwrap().into(),
    };
    write("finder");
    let ask = async |config: &str| discover_from(&at, config).await;
    assert_eq!(ask(r#"provider=k8s namespace=discovery label_selector="app=vault""#).await.unwrap(), ["10.1.0.1"]);
    assert_eq!(ask(r#"provider=k8s namespace=discovery label_selector="app in (nobody)""#).await.unwrap(), Vec::<String>::new());
    let mut all = ask("provider=k8s namespace=discovery").await.unwrap();
    all.sort();
    assert_eq!(all, ["10.1.0.1", "10.1.0.4"]);
    assert!(
        matches!(ask(r#"provider=k8s namespace=discovery label_selector="app=(""#).await, Err(DiscoverError::Api(text)) if text.contains("400"))
    );
    assert!(matches!(ask("provider=k8s").await, Err(DiscoverError::Api(text)) if text.contains("forbidden")));
    write("nobody");
    assert!(
        matches!(ask("provider=k8s namespace=discovery").await, Err(DiscoverError::Api(text)) if text.starts_with("status 403"))
    );
}
