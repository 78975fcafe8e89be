//! The seal against a scripted KMS and STS on loopback, and signatures against those of botocore.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secret::{ManualClock, SecretBytes, SecretString, SystemEntropy, Time};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::credentials::Keys;
use super::{AwsKmsConfig, AwsKmsSeal, Failure, refusal, sign};
use crate::{Blob, SealFault, SealWrapper};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const ARN: &str = "arn:aws:kms:eu-central-1:1:key/k1";
const DESCRIBED: &str = r#"{"KeyMetadata":{"Arn":"arn:aws:kms:eu-central-1:1:key/k1"}}"#;
const OPENED: &str = r#"{"Plaintext":"BwcH","KeyId":"arn:aws:kms:eu-central-1:1:key/k1"}"#;

/// Gives the answers in turn and keeps what was asked: head and body of each request.
struct Scripted {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    async fn new(answers: &[(u16, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        let mut answers: VecDeque<_> = answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
        tokio::spawn(async move {
            while let Some((status, body)) = answers.pop_front() {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !whole(&request) {
                    assert!(stream.read_buf(&mut request).await.unwrap() > 0, "the request ended early");
                }
                kept.lock().unwrap().push(String::from_utf8(request).unwrap());
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
                stream.write_all(head.as_bytes()).await.unwrap();
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    body.len() >= length
}

fn stanza(endpoint: &str) -> AwsKmsConfig {
    AwsKmsConfig {
        region: "eu-central-1".into(),
        access_key: SecretString::from("AKIDEXAMPLE"),
        secret_key: SecretString::from(SECRET),
        session_token: SecretString::default(),
        kms_key_id: "alias/unseal".into(),
        endpoint: endpoint.into(),
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Time::parse_rfc3339("2026-11-24T12:00:00Z").unwrap()))
}

fn seal(config: AwsKmsConfig) -> AwsKmsSeal {
    AwsKmsSeal::new(config, &|_| None, clock()).unwrap()
}

fn blob(key_id: &str) -> Blob {
    Blob { seal: "awskms".into(), key_id: key_id.into(), ciphertext: vec![1, 2, 3] }
}

#[test]
fn signatures_are_those_of_botocore() {
    let now = Time::parse_rfc3339("2026-11-24T12:00:00Z").unwrap();
    for (token, names, signature) in [
        ("", "content-type;host;x-amz-date;x-amz-target", "3da5f27d39f34593a1481ff963102c5c5e7b2dad14cf992c1b742a4836bf3ccc"),
        (
            "a-session-token",
            "content-type;host;x-amz-date;x-amz-security-token;x-amz-target",
            "6ae55041df97621832a78e7e42106fe66694e57527a2e9df8091a04e9694cec4",
        ),
    ] {
        let keys = Keys::new(SecretString::from("AKIDEXAMPLE"), SecretString::from(SECRET), SecretString::from(token));
        let url = "https://kms.eu-central-1.amazonaws.com/";
        let made = sign::headers(&keys, "eu-central-1", url, "DescribeKey", br#"{"KeyId":"alias/unseal"}"#, now).unwrap();
        let value = |name: &str| made.iter().find(|(n, _)| n == name).map(|(_, v)| v.expose().to_owned());
        let scope = "AKIDEXAMPLE/20261124/eu-central-1/kms/aws4_request";
        let wanted = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={signature}");
        assert_eq!(value("authorization"), Some(wanted));
        assert_eq!(value("x-amz-date").as_deref(), Some("20261124T120000Z"));
        assert_eq!(value("x-amz-target").as_deref(), Some("TrentService.DescribeKey"));
        assert_eq!(value("x-amz-security-token").unwrap_or_default(), token);
    }
}

#[tokio::test]
async fn wraps_with_the_configured_key_and_opens_with_the_one_that_wrapped() {
    let encrypted = format!(r#"{{"KeyId":"{ARN}","CiphertextBlob":"AQID"}}"#);
    let kms = Scripted::new(&[(200, &encrypted), (200, DESCRIBED), (200, OPENED)]).await;
    let seal = seal(stanza(&kms.url));
    let made = seal.wrap(&SecretBytes::new(vec![7; 3]), &SystemEntropy).await.unwrap();
    assert_eq!(made, blob(ARN));
    assert!(seal.is_current(&made) && !seal.is_current(&blob("arn:aws:kms:eu-central-1:1:key/k0")));
    let old = blob("arn:aws:kms:eu-central-1:1:key/k0");
    for (made_with, opener) in [(ARN, ARN), ("k0", "k0"), ("arn:aws:kms:us-west-2:1:key/mrk-1", "alias/unseal")] {
        assert_eq!(seal.opener(&blob(made_with)), opener);
    }
    assert!(seal.open(&old).await.unwrap().ct_eq(&[7, 7, 7]));
    assert!(!seal.is_current(&old), "the root key goes under the configured key");
    let asked = kms.asked();
    for (request, action, key) in
        [(&asked[0], "Encrypt", "alias/unseal"), (&asked[1], "DescribeKey", "alias/unseal"), (&asked[2], "Decrypt", "key/k0")]
    {
        let head = request.to_lowercase();
        assert!(head.contains(&format!("x-amz-target: trentservice.{}", action.to_lowercase())), "{request}");
        assert_eq!(head.matches("content-type: application/x-amz-json-1.1").count(), 1, "{request}");
        assert!(
            head.contains("authorization: aws4-hmac-sha256") && request.contains(key) && !request.contains(SECRET),
            "{request}"
        );
    }
}

#[tokio::test]
async fn faults_say_whether_waiting_helps() {
    let error = |code: &str| format!(r#"{{"__type":"com.amazonaws.kms#{code}","message":"words about {code}"}}"#);
    for (status, code, kind) in [
        (400, "NotFoundException", "refused"),
        (400, "DisabledException", "refused"),
        (400, "UnrecognizedClientException", "refused"),
        (400, "ThrottlingException", "away"),
        (400, "ExpiredTokenException", "away"),
        (500, "KMSInternalException", "away"),
        (503, "", "away"),
        (429, "", "away"),
        (400, "InvalidCiphertextException", "foreign"),
        (400, "IncorrectKeyException", "foreign"),
    ] {
        for answers in [vec![(status, error(code))], vec![(200, DESCRIBED.to_owned()), (status, error(code))]] {
            let answers: Vec<_> = answers.iter().map(|(status, body)| (*status, body.as_str())).collect();
            let kms = Scripted::new(&answers).await;
            let fault = seal(stanza(&kms.url)).open(&blob(ARN)).await.unwrap_err();
            let seen = match &fault {
                SealFault::Away { .. } => "away",
                SealFault::Refused { .. } => "refused",
                SealFault::Foreign(..) => "foreign",
            };
            assert_eq!(seen, kind, "{fault}");
            assert!(fault.to_string().contains(code), "{fault}");
        }
    }
    for useless in ["", "{}", "[]", r#"{"Plaintext":"%"}"#, r#"{"Plaintext":7}"#] {
        let kms = Scripted::new(&[(200, DESCRIBED), (200, useless)]).await;
        assert!(matches!(seal(stanza(&kms.url)).open(&blob(ARN)).await, Err(SealFault::Away { .. })), "{useless}");
    }
    let nobody = seal(stanza("http://127.0.0.1:1"));
    assert!(matches!(nobody.open(&blob(ARN)).await, Err(SealFault::Away { .. })));
    let other = Blob { seal: "static".into(), ..blob(ARN) };
    assert!(matches!(nobody.open(&other).await, Err(SealFault::Foreign(..))));
}

#[tokio::test]
async fn a_policy_without_describe_key_opens_all_the_same() {
    let denied = r#"{"__type":"AccessDeniedException","Message":"not authorised to perform kms:DescribeKey"}"#;
    let kms = Scripted::new(&[(400, denied), (200, OPENED)]).await;
    let seal = seal(stanza(&kms.url));
    assert!(seal.open(&blob(ARN)).await.is_ok() && seal.is_current(&blob(ARN)));
    let kms = Scripted::new(&[(400, denied), (400, denied)]).await;
    assert!(matches!(self::seal(stanza(&kms.url)).open(&blob(ARN)).await, Err(SealFault::Refused { .. })));
}

#[tokio::test]
async fn a_role_is_taken_with_the_workloads_token_and_again_before_it_ends() {
    let taken = |id: &str, end: &str| {
        format!(
            "<AssumeRoleWithWebIdentityResponse><Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>sk</SecretAccessKey>\
             <SessionToken>st</SessionToken><Expiration>{end}</Expiration></Credentials></AssumeRoleWithWebIdentityResponse>"
        )
    };
    let (first, second) = (taken("ROLE1", "2026-11-24T13:00:00Z"), taken("ROLE2", "2026-11-24T14:00:00Z"));
    let sts = Scripted::new(&[(200, &first), (200, &second), (403, "<E><Code>InvalidIdentityToken</Code></E>")]).await;
    let kms = Scripted::new(&[(200, DESCRIBED); 3]).await;
    let dir = tempfile::tempdir().unwrap();
    let token_file = dir.path().join("token");
    std::fs::write(&token_file, "web.identity.token\n").unwrap();
    let variable = |name: &str| match name {
        "AWS_WEB_IDENTITY_TOKEN_FILE" => Some(token_file.display().to_string()),
        "AWS_ROLE_ARN" => Some("arn:aws:iam::1:role/strongroom".to_owned()),
        "AWS_ENDPOINT_URL_STS" => Some(sts.url.clone()),
        _ => None,
    };
    let clock = clock();
    let config = AwsKmsConfig { access_key: SecretString::default(), secret_key: SecretString::default(), ..stanza(&kms.url) };
    let seal = AwsKmsSeal::new(config, &variable, clock.clone()).unwrap();
    seal.look_up_key().await.unwrap();
    clock.advance(Duration::from_secs(54 * 60));
    seal.look_up_key().await.unwrap();
    clock.advance(Duration::from_secs(2 * 60));
    seal.look_up_key().await.unwrap();
    assert!(
        sts.asked()[0].contains("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fstrongroom")
            && sts.asked()[0].ends_with("web.identity.token")
    );
    let signers: Vec<_> = kms.asked().iter().map(|r| if r.contains("Credential=ROLE1/") { 1 } else { 2 }).collect();
    assert_eq!((sts.asked().len(), signers), (2, vec![1, 1, 2]));
    assert!(kms.asked().iter().all(|r| r.contains("x-amz-security-token: st\r\n")));
    clock.advance(Duration::from_secs(65 * 60));
    let fault = seal.look_up_key().await.unwrap_err();
    assert!(matches!(&fault, SealFault::Refused { why, .. } if why.contains("InvalidIdentityToken")), "{fault}");
}

/// A seal without keys of its own, whose environment is this.
fn seal_of(kms: &Scripted, set: Vec<(&'static str, String)>, clock: Arc<ManualClock>) -> AwsKmsSeal {
    let config = AwsKmsConfig { access_key: SecretString::default(), secret_key: SecretString::default(), ..stanza(&kms.url) };
    let variable = move |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone());
    AwsKmsSeal::new(config, &variable, clock).unwrap()
}

fn given(id: &str, end: &str) -> String {
    format!(r#"{{"Code":"Success","AccessKeyId":"{id}","SecretAccessKey":"sk","Token":"st","Expiration":"{end}"}}"#)
}

#[tokio::test]
async fn a_containers_agent_gives_keys_and_is_shown_the_token_of_the_moment() {
    let (first, second) = (given("POD1", "2026-11-24T13:00:00Z"), given("POD2", "2026-11-24T14:00:00Z"));
    let agent = Scripted::new(&[(200, &first), (200, &second)]).await;
    let kms = Scripted::new(&[(200, DESCRIBED); 3]).await;
    let dir = tempfile::tempdir().unwrap();
    let token_file = dir.path().join("token");
    std::fs::write(&token_file, "pod-token-1\n").unwrap();
    let clock = clock();
    let set = vec![
        ("HOME", dir.path().display().to_string()),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}v1/credentials", agent.url)),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token_file.display().to_string()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "not this one".to_owned()),
    ];
    let seal = seal_of(&kms, set, clock.clone());
    seal.look_up_key().await.unwrap();
    seal.look_up_key().await.unwrap();
    std::fs::write(&token_file, "pod-token-2").unwrap();
    clock.advance(Duration::from_secs(56 * 60));
    seal.look_up_key().await.unwrap();
    let asked = agent.asked();
    assert_eq!(asked.len(), 2);
    for (request, token) in asked.iter().zip(["pod-token-1", "pod-token-2"]) {
        assert!(
            request.starts_with("GET /v1/credentials ") && request.contains(&format!("authorization: {token}\r\n")),
            "{request}"
        );
    }
    let signers: Vec<_> = kms.asked().iter().map(|r| if r.contains("Credential=POD1/") { 1 } else { 2 }).collect();
    assert_eq!(signers, [1, 1, 2]);
}

#[tokio::test]
async fn an_instance_is_asked_with_a_session_and_its_keys_serve_to_their_end() {
    let keys = given("EC2", "2026-11-24T13:00:00Z");
    let metadata =
        Scripted::new(&[(200, "session-1"), (200, "unseal-role\n"), (200, &keys), (401, ""), (200, "session-2"), (200, "../x")])
            .await;
    let kms = Scripted::new(&[(200, DESCRIBED); 2]).await;
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let set = vec![("HOME", dir.path().display().to_string()), ("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url.clone())];
    let seal = seal_of(&kms, set, clock.clone());
    seal.look_up_key().await.unwrap();
    let asked = metadata.asked();
    assert!(asked[0].starts_with("PUT /latest/api/token ") && asked[0].contains("x-aws-ec2-metadata-token-ttl-seconds: 21600"));
    for (request, path) in asked[1..].iter().zip(["", "unseal-role"]) {
        let line = format!("GET /latest/meta-data/iam/security-credentials/{path} ");
        assert!(request.starts_with(&line) && request.contains("x-aws-ec2-metadata-token: session-1"), "{request}");
    }
    assert!(kms.asked()[0].contains("Credential=EC2/") && kms.asked()[0].contains("x-amz-security-token: st\r\n"));
    clock.advance(Duration::from_secs(57 * 60));
    seal.look_up_key().await.unwrap();
    assert_eq!((metadata.asked().len(), kms.asked().len()), (4, 2), "refused, but the old keys are still good");
    clock.advance(Duration::from_secs(4 * 60));
    let fault = seal.look_up_key().await.unwrap_err().to_string();
    assert!(fault.contains("EC2's instance metadata: it names no role"), "{fault}");
    assert!(!fault.contains("session-2"), "{fault}");
}

#[tokio::test]
async fn the_sources_are_tried_in_the_order_of_awss_tools() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().display().to_string();
    let kms = Scripted::new(&[]).await;
    let asked_first = |set: Vec<(&'static str, String)>| {
        let set = [vec![("HOME", home.clone())], set].concat();
        match seal_of(&kms, set, clock()).source {
            super::credentials::Source::Fixed(_) => "fixed",
            super::credentials::Source::File { .. } => "file",
            super::credentials::Source::Given(_) => "given",
        }
    };
    let agent = || ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x".to_owned());
    let keys = || [("AWS_ACCESS_KEY_ID", "AK".to_owned()), ("AWS_SECRET_ACCESS_KEY", "SK".to_owned())];
    assert_eq!(asked_first(vec![]), "given", "the instance");
    assert_eq!(asked_first(vec![("AWS_EC2_METADATA_DISABLED", "true".into())]), "file", "which says what is missing");
    assert_eq!(asked_first(vec![agent()]), "given");
    assert_eq!(asked_first(vec![agent(), ("AWS_PROFILE", "x".into())]), "file");
    assert_eq!(asked_first([keys().to_vec(), vec![agent()]].concat()), "fixed");
    std::fs::create_dir(dir.path().join(".aws")).unwrap();
    std::fs::write(dir.path().join(".aws/credentials"), "").unwrap();
    assert_eq!(asked_first(vec![agent()]), "file");
}

#[test]
fn mistakes_of_the_stanza_are_named() {
    let none = SecretString::default;
    let good = || stanza("https://kms.example/");
    let refused = |config: AwsKmsConfig| AwsKmsSeal::new(config, &|_| None, clock()).err().unwrap();
    for (config, part) in [
        (AwsKmsConfig { kms_key_id: String::new(), ..good() }, "kms_key_id is missing"),
        (AwsKmsConfig { region: "x.evil/".into(), ..good() }, "no region"),
        (AwsKmsConfig { access_key: none(), ..good() }, "must be given together"),
        (AwsKmsConfig { secret_key: none(), ..good() }, "must be given together"),
        (stanza("ftp://kms/"), "http or https"),
        (stanza("kms"), "endpoint: "),
        (stanza("https://kms/?a=b"), "without query"),
        (stanza("https://user:hunter2@kms/"), "must not hold a user"),
    ] {
        let text = refused(config);
        assert!(text.contains(part) && !text.contains("hunter2") && !text.contains(SECRET), "{text}");
    }
}

#[tokio::test]
async fn the_environment_fills_what_the_stanza_leaves_out() {
    let made = |config: AwsKmsConfig, set: &'static [(&str, &str)]| {
        let variable = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        AwsKmsSeal::new(config, &variable, clock())
    };
    let empty = AwsKmsConfig::default;
    let keys = &[("VAULT_AWSKMS_SEAL_KEY_ID", "env"), ("AWS_REGION", "eu-west-1"), ("AWS_DEFAULT_REGION", "no")];
    let seal = made(empty(), keys).unwrap();
    assert_eq!((seal.key.as_str(), seal.endpoint.as_str()), ("env", "https://kms.eu-west-1.amazonaws.com/"));
    let seal = made(stanza("https://kms.example"), keys).unwrap();
    assert_eq!(
        (seal.key.as_str(), seal.region.as_str(), seal.endpoint.as_str()),
        ("env", "eu-central-1", "https://kms.example/")
    );
    let china = AwsKmsConfig { region: "cn-north-1".into(), ..stanza("") };
    assert_eq!(made(china, &[]).unwrap().endpoint, "https://kms.cn-north-1.amazonaws.com.cn/");
    let half = made(empty(), &[("VAULT_AWSKMS_SEAL_KEY_ID", "k"), ("AWS_ACCESS_KEY_ID", "AK")]).err().unwrap();
    assert!(half.contains("must be set together"), "{half}");
    let absent = made(empty(), &[("VAULT_AWSKMS_SEAL_KEY_ID", "k"), ("AWS_SHARED_CREDENTIALS_FILE", "/nowhere/credentials")]);
    let fault = absent.unwrap().open(&blob(ARN)).await.unwrap_err().to_string();
    assert!(fault.contains("no AWS credentials are configured") && fault.contains("/nowhere/credentials"), "{fault}");
}

#[test]
fn secrets_do_not_print() {
    let shown = format!("{:?}", AwsKmsConfig { session_token: SecretString::from("hunter2"), ..stanza("") });
    assert!(!shown.contains(SECRET) && !shown.contains("hunter2") && !shown.contains("AKIDEXAMPLE"), "{shown}");
    // AWS quotes signed headers when a signature is wrong.
    for code in ["InvalidSignatureException", "SignatureDoesNotMatch"] {
        let said = serde_json::json!({ "__type": code, "message": "canonical: x-amz-security-token:hunter2" });
        let Failure::Said { message, code: named, .. } = refusal("Decrypt", 403, &said) else { panic!("no refusal") };
        assert_eq!((message.as_str(), named), ("", format!("Decrypt: {code}")));
    }
}
