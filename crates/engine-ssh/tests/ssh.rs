//! The engine as the core sees it: the authority's key, roles, certificates, one-time passwords. The keys in `keys/` were made by
//! ssh-keygen for these tests and are used nowhere.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

use std::sync::Arc;

use api_types::Operation::{Delete, List, Read, Update};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use engine::testing::Harness;
use engine::{Engine, EngineError};
use engine_ssh::Ssh;
use serde_json::{Value, json};

const USER_KEY: &str = include_str!("keys/ed25519.pub");
const PAIRS: [(&str, &str, &str); 6] = [
    ("ed25519", include_str!("keys/ed25519"), include_str!("keys/ed25519.pub")),
    ("ecdsa", include_str!("keys/ecdsa"), include_str!("keys/ecdsa.pub")),
    ("ecdsa-384", include_str!("keys/ecdsa-384"), include_str!("keys/ecdsa-384.pub")),
    ("ecdsa-521", include_str!("keys/ecdsa-521"), include_str!("keys/ecdsa-521.pub")),
    ("rsa-openssh", include_str!("keys/rsa-openssh"), include_str!("keys/rsa-openssh.pub")),
    ("rsa-pkcs1", include_str!("keys/rsa-pkcs1"), include_str!("keys/rsa-pkcs1.pub")),
];

async fn scene() -> Harness<Ssh> {
    let mut h = Harness::new(Ssh::new());
    h.caller.display_name = "root".into();
    h.call(Update, "config/ca", json!({"key_type": "ed25519"})).await.unwrap();
    h
}

async fn role(h: &mut Harness<Ssh>, more: Value) {
    let mut data = json!({"key_type": "ca", "allow_user_certificates": true});
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    h.call(Update, "roles/r", data).await.unwrap();
}

/// A certificate taken apart.
#[derive(Debug)]
struct Read1<'a>(&'a [u8]);

impl<'a> Read1<'a> {
    fn string(&mut self) -> &'a [u8] {
        let (length, rest) = self.0.split_at(4);
        let (body, rest) = rest.split_at(u32::from_be_bytes(length.try_into().unwrap()) as usize);
        self.0 = rest;
        body
    }

    fn u64(&mut self) -> u64 {
        let (n, rest) = self.0.split_at(8);
        self.0 = rest;
        u64::from_be_bytes(n.try_into().unwrap())
    }

    fn list(&mut self) -> Vec<String> {
        let mut inner = Read1(self.string());
        let mut out = Vec::new();
        while !inner.0.is_empty() {
            out.push(String::from_utf8_lossy(inner.string()).into_owned());
        }
        out
    }
}

struct Seen {
    serial: u64,
    kind: u32,
    key_id: String,
    principals: Vec<String>,
    after: u64,
    before: u64,
    options: Vec<String>,
    extensions: Vec<String>,
}

/// Takes a certificate of an Ed25519 key apart and checks its signature.
fn see(line: &str) -> Seen {
    assert!(line.starts_with("ssh-ed25519-cert-v01@openssh.com ") && line.ends_with('\n'), "{line}");
    let blob = BASE64_STANDARD.decode(line.split(' ').nth(1).unwrap().trim()).unwrap();
    let mut r = Read1(&blob);
    assert_eq!(r.string(), b"ssh-ed25519-cert-v01@openssh.com");
    assert_eq!((r.string().len(), r.string().len()), (32, 32));
    let serial = r.u64();
    let (kind, rest) = r.0.split_at(4);
    r.0 = rest;
    let key_id = String::from_utf8(r.string().to_vec()).unwrap();
    let principals = r.list();
    let (after, before) = (r.u64(), r.u64());
    let (options, extensions) = (r.list(), r.list());
    assert_eq!(r.string(), b"");
    let signer = r.string();
    let (signed, _) = blob.split_at(blob.len() - r.0.len());
    check(signer, signed, r.string());
    assert!(r.0.is_empty());
    let kind = u32::from_be_bytes(kind.try_into().unwrap());
    Seen { serial, kind, key_id, principals, after, before, options, extensions }
}

fn check(signer: &[u8], message: &[u8], signature: &[u8]) {
    let (mut key, mut signature) = (Read1(signer), Read1(signature));
    let kind = key.string();
    let how = signature.string();
    let bytes = signature.string();
    match kind {
        b"ssh-ed25519" => {
            assert_eq!(how, kind);
            UnparsedPublicKey::new(&ED25519, key.string()).verify(message, bytes).unwrap();
        }
        b"ssh-rsa" => {
            let (e, n) = (key.string(), key.string());
            let key = RsaPublicKeyComponents { n: n.strip_prefix(&[0]).unwrap_or(n), e };
            let params = if how == b"rsa-sha2-512" { &RSA_PKCS1_2048_8192_SHA512 } else { &RSA_PKCS1_2048_8192_SHA256 };
            key.verify(params, message, bytes).unwrap();
        }
        b"ecdsa-sha2-nistp256" => {
            key.string();
            let mut both = Read1(bytes);
            let mut fixed = Vec::new();
            for number in [both.string(), both.string()] {
                let bare: Vec<u8> = number.iter().copied().skip_while(|b| *b == 0).collect();
                fixed.extend(vec![0; 32 - bare.len()]);
                fixed.extend(bare);
            }
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.string()).verify(message, &fixed).unwrap();
        }
        other => assert!(other.starts_with(b"ecdsa-sha2-nistp") && !bytes.is_empty(), "{other:?}"),
    }
}

async fn sign(h: &mut Harness<Ssh>, more: Value) -> Result<Seen, String> {
    let mut data = json!({"public_key": USER_KEY});
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = h.data(Update, "sign/r", data).await.map_err(|e| e.to_string())?;
    let seen = see(answer.get("signed_key").and_then(Value::as_str).unwrap());
    assert_eq!(answer.get("serial_number"), Some(&json!(format!("{:x}", seen.serial))));
    Ok(seen)
}

#[tokio::test]
async fn a_certificate_holds_what_the_role_says() {
    let mut h = scene().await;
    role(
        &mut h,
        json!({"allowed_users": "ubuntu,admin", "default_user": "ubuntu", "ttl": "30m", "allowed_extensions": "permit-pty,x",
               "default_extensions": {"permit-pty": ""}, "default_critical_options": {"force-command": "/bin/true"}}),
    )
    .await;
    let now = u64::try_from(h.now.unix()).unwrap();
    let seen = sign(&mut h, json!({})).await.unwrap();
    assert_eq!((seen.kind, seen.principals.as_slice()), (1, ["ubuntu".to_owned()].as_slice()));
    assert_eq!((seen.after, seen.before), (now - 30, now + 1800));
    assert!(seen.key_id.starts_with("vault-root-") && seen.key_id.len() == 11 + 64, "{}", seen.key_id);
    assert_eq!(seen.options, ["force-command", "\0\0\0\x09/bin/true"]);
    assert_eq!(seen.extensions, ["permit-pty", ""]);
    let seen =
        sign(&mut h, json!({"valid_principals": "ubuntu, admin,,ubuntu", "ttl": "1h", "extensions": {"x": "1"}})).await.unwrap();
    assert_eq!((seen.principals.as_slice(), seen.before), (["admin".to_owned(), "ubuntu".to_owned()].as_slice(), now + 3600));
    assert_eq!(seen.extensions, ["x", "\0\0\0\x011"]);
    role(&mut h, json!({"allowed_users": "*", "key_id_format": "k-{{token_display_name}}-{{role_name}}-{{x}}"})).await;
    h.caller.display_name = "{{role_name}}".into();
    assert_eq!(sign(&mut h, json!({"valid_principals": "a"})).await.unwrap().key_id, "k-{{role_name}}-r-{{x}}");
}

#[tokio::test]
async fn every_kind_of_authority_signs() {
    for (name, private, public) in PAIRS {
        let mut h = Harness::new(Ssh::new());
        let made = h.data(Update, "config/ca", json!({"private_key": private, "public_key": public})).await.unwrap();
        assert_eq!(made["public_key"], public, "{name}");
        for signer in ["default", "rsa-sha2-512"] {
            role(&mut h, json!({"allowed_users": "*", "algorithm_signer": signer})).await;
            assert!(sign(&mut h, json!({"valid_principals": "a"})).await.is_ok(), "{name}");
        }
        role(&mut h, json!({"allowed_users": "*", "algorithm_signer": "ssh-rsa"})).await;
        assert!(sign(&mut h, json!({"valid_principals": "a"})).await.err().unwrap().contains("SHA-1"), "{name}");
    }
    // Every kind of key is signed, and made keys can be taken over again.
    let mut h = scene().await;
    role(&mut h, json!({"allowed_users": "*"})).await;
    for (name, _, public) in PAIRS {
        let data = json!({"public_key": public, "valid_principals": "a"});
        let kind = public.split(' ').next().unwrap();
        let answer = h.data(Update, "sign/r", data).await.unwrap();
        assert!(answer["signed_key"].as_str().unwrap().starts_with(&format!("{kind}-cert-v01@openssh.com ")), "{name}");
    }
    for (kind, bits, label) in
        [("ec", 384, "EC PRIVATE KEY"), ("ed25519", 0, "OPENSSH PRIVATE KEY"), ("rsa", 2048, "RSA PRIVATE KEY")]
    {
        let data = json!({"key_type": kind, "key_bits": bits, "valid_principals": "a"});
        let issued = h.data(Update, "issue/r", data).await.unwrap();
        assert_eq!(issued["private_key_type"], kind);
        let pem = issued["private_key"].as_str().unwrap();
        assert!(pem.starts_with(&format!("-----BEGIN {label}-----\n")), "{kind}");
        let error = h.error(Update, "config/ca", json!({"private_key": pem, "public_key": USER_KEY})).await;
        assert_eq!(error, "public_key is not the public half of private_key", "{kind}: it is read");
    }
}

#[tokio::test]
async fn cve_class_r_no_certificate_for_everybody() {
    let mut h = scene().await;
    let empty = Some("empty valid principals not allowed by role".to_owned());
    for (rules, asked, want) in [
        (json!({}), json!({}), empty.clone()),
        (json!({"allowed_users": "*"}), json!({}), empty.clone()),
        (json!({"allowed_users": "*"}), json!({"valid_principals": ""}), empty.clone()),
        (json!({"allowed_users": "*"}), json!({"valid_principals": " , ,"}), empty.clone()),
        (json!({"allowed_users": "a", "default_user": "a"}), json!({"valid_principals": ""}), empty.clone()),
        (json!({"allowed_users": "a", "default_user": " "}), json!({}), empty.clone()),
        (
            json!({"allowed_users": "*"}),
            json!({"valid_principals": "*"}),
            Some("* is not a valid value for valid_principals".into()),
        ),
        (json!({}), json!({"valid_principals": "a"}), Some("role is not configured to allow any principals".into())),
        (
            json!({"allowed_users": "a"}),
            json!({"valid_principals": "a,root"}),
            Some("root is not a valid value for valid_principals".into()),
        ),
        (
            json!({"allowed_users": "a", "default_user": "x"}),
            json!({}),
            Some("x is not a valid value for valid_principals".into()),
        ),
        (
            json!({"allowed_users": "u-{{identity.entity.id}}", "allowed_users_template": true}),
            json!({"valid_principals": "u-"}),
            Some("u- is not a valid value for valid_principals".into()),
        ),
        (
            json!({"allowed_users": "{{identity.entity.name}}", "allowed_users_template": true}),
            json!({"valid_principals": "{{identity.entity.name}}"}),
            Some("{{identity.entity.name}} is not a valid value for valid_principals".into()),
        ),
    ] {
        role(&mut h, rules.clone()).await;
        assert_eq!(sign(&mut h, asked.clone()).await.err(), want, "{rules} {asked}");
        let mut issue = asked.clone();
        issue["key_type"] = json!("ed25519");
        assert_eq!(Some(h.error(Update, "issue/r", issue).await), want, "issue {rules} {asked}");
    }
    role(&mut h, json!({"allow_empty_principals": true})).await;
    assert_eq!(sign(&mut h, json!({})).await.unwrap().principals, Vec::<String>::new());
}

/// A caller whose entity, alias and group have names and metadata; `login` is the entity's metadata of that name.
fn known_as(h: &mut Harness<Ssh>, login: &str) {
    let pairs = |k: &str, v: &str| [(k.to_owned(), v.to_owned())].into();
    h.caller.identity = Arc::new(policy::Identity {
        id: "e-1".into(),
        name: "ada".into(),
        metadata: pairs("login", login),
        aliases: vec![policy::AliasFacts {
            mount_accessor: "auth_x_1".into(),
            id: "a-1".into(),
            name: "ada@corp".into(),
            metadata: pairs("host", "h1"),
            ..policy::AliasFacts::default()
        }],
        groups: vec![policy::GroupFacts { id: "g-1".into(), name: "ops".into(), metadata: pairs("unix", "wheel") }],
    });
}

#[tokio::test]
async fn templates_are_filled_with_the_callers_identity() {
    let mut h = scene().await;
    for (template, principal) in [
        ("u-{{identity.entity.id}}", "u-e-1"),
        ("{{identity.entity.name}}", "ada"),
        ("{{ identity.entity.metadata.login }}", "al"),
        ("{{identity.entity.aliases.auth_x_1.name}}", "ada@corp"),
        ("{{identity.entity.aliases.auth_x_1.metadata.host}}-x", "h1-x"),
        ("{{identity.groups.names.ops.metadata.unix}}", "wheel"),
        ("{{identity.groups.ids.g-1.name}}", "ops"),
    ] {
        known_as(&mut h, "al");
        let rules = json!({"allowed_users": format!("fixed,{template}"), "allowed_users_template": true});
        role(&mut h, rules.clone()).await;
        for (asked, good) in [(principal, true), ("fixed", true), ("root", false), (template, false)] {
            assert_eq!(sign(&mut h, json!({"valid_principals": asked})).await.is_ok(), good, "{template} {asked}");
        }
        let default = json!({"default_user": template, "default_user_template": true, "allowed_users": "*"});
        role(&mut h, default).await;
        assert_eq!(sign(&mut h, json!({})).await.unwrap().principals, [principal], "{template}");
        h.caller.identity = Arc::default();
        assert!(sign(&mut h, json!({})).await.is_err(), "{template}: a caller without entity has no user");
        role(&mut h, rules).await;
        assert!(sign(&mut h, json!({"valid_principals": principal})).await.is_err(), "{template}: and is allowed none");
    }
}

#[tokio::test]
async fn cve_class_b_a_templates_value_never_widens_the_role() {
    let mut h = scene().await;
    for value in ["*", "root,admin", "root\n", "", " "] {
        known_as(&mut h, value);
        role(&mut h, json!({"allowed_users": "{{identity.entity.metadata.login}}", "allowed_users_template": true})).await;
        for asked in ["root", "admin", "*", value] {
            assert!(sign(&mut h, json!({"valid_principals": asked})).await.is_err(), "{value:?} {asked:?}");
        }
        let rules = json!({"default_user": "{{identity.entity.metadata.login}}", "default_user_template": true,
            "allowed_users": "root,admin"});
        role(&mut h, rules).await;
        assert!(sign(&mut h, json!({})).await.is_err(), "{value:?} as default user");
    }
    known_as(&mut h, "al");
    for broken in ["{{identity.entity.metadata.login", "{{}}", "{{identity.entity.metadata.absent}}", "{{request.path}}"] {
        role(&mut h, json!({"allowed_users": broken, "allowed_users_template": true})).await;
        assert!(sign(&mut h, json!({"valid_principals": "al"})).await.is_err(), "{broken}");
    }
}

#[tokio::test]
async fn hosts_are_matched_by_domain() {
    let mut h = scene().await;
    for (flags, name, good) in [
        (json!({"allow_subdomains": true}), "a.example.test", true),
        (json!({"allow_subdomains": true}), "a.b.example.test", true),
        (json!({"allow_subdomains": true}), "example.test", false),
        (json!({"allow_subdomains": true}), ".example.test", false),
        (json!({"allow_subdomains": true}), "xexample.test", false),
        (json!({"allow_bare_domains": true}), "example.test", true),
        (json!({"allow_bare_domains": true}), "a.example.test", false),
        (json!({}), "example.test", false),
    ] {
        let mut rules = json!({"allow_host_certificates": true, "allowed_domains": "example.test", "allowed_users": "*"});
        rules.as_object_mut().unwrap().extend(flags.as_object().unwrap().clone());
        role(&mut h, rules).await;
        let got = sign(&mut h, json!({"cert_type": "host", "valid_principals": name})).await;
        assert_eq!(got.map(|s| s.kind).ok(), good.then_some(2), "{flags} {name}");
    }
}

#[tokio::test]
async fn requests_are_refused_in_vaults_words() {
    let mut h = scene().await;
    role(
        &mut h,
        json!({"allowed_users": "a", "default_user": "a", "max_ttl": "1h", "allowed_extensions": "permit-pty",
                        "allowed_critical_options": "force-command", "allowed_user_key_lengths": {"ed25519": 0, "rsa": [4096]}}),
    )
    .await;
    for (data, text) in [
        (json!({"public_key": ""}), "missing public_key"),
        (json!({"public_key": "x"}), "failed to parse public_key as SSH key: illegal base64 data at input byte 0"),
        (json!({"public_key": "ssh-ed25519 AAAA"}), "failed to parse public_key as SSH key: ssh: short read"),
        (
            json!({"public_key": "ssh-dss AAAAB3NzaC1kc3M="}),
            "failed to parse public_key as SSH key: ssh: unknown key algorithm: ssh-dss",
        ),
        (json!({"public_key": PAIRS[1].2}), "public_key failed to meet the key requirements: key of type ec is not allowed"),
        (json!({"public_key": PAIRS[4].2}), "public_key failed to meet the key requirements: key is of an invalid size: 2048"),
        (json!({"cert_type": "host"}), "cert_type 'host' is not allowed by role"),
        (json!({"cert_type": "x"}), "cert_type must be either 'user' or 'host'"),
        (json!({"key_id": "foo"}), "setting key_id is not allowed by role"),
        (json!({"ttl": "2h"}), "ttl is larger than maximum allowed 3600"),
        (json!({"extensions": {"permit-pty": "", "x": ""}}), "extensions [x] are not on allowed list"),
        (json!({"critical_options": {"source-address": "1"}}), "critical options not on allowed list: [source-address]"),
    ] {
        assert_eq!(sign(&mut h, data.clone()).await.err().as_deref(), Some(text), "{data}");
    }
    assert_eq!(h.error(Update, "sign/none", json!({"public_key": USER_KEY})).await, "Unknown role: none");
    assert_eq!(h.error(Update, "issue/none", json!({})).await, "unknown role: none");
    let ca = "keys are already configured; delete them before reconfiguring";
    assert_eq!(h.error(Update, "config/ca", json!({})).await, ca);
    h.call(Delete, "config/ca", json!({})).await.unwrap();
    assert_eq!(sign(&mut h, json!({})).await.err().as_deref(), Some("failed to read CA private key"));
    let both = "if generate_signing_key is false, either both public_key and private_key or a managed key must be provided";
    for (data, text) in [
        (json!({"generate_signing_key": false}), both),
        (json!({"private_key": "x", "generate_signing_key": false}), both),
        (json!({"private_key": "x", "public_key": "y"}), "Unable to parse private_key as an SSH private key: ssh: no key found"),
        (
            json!({"private_key": PAIRS[0].1, "public_key": "y"}),
            "Unable to parse public_key as an SSH public key: illegal base64 data at input byte 0",
        ),
        (
            json!({"private_key": include_str!("keys/encrypted"), "public_key": USER_KEY}),
            "Unable to parse private_key as an SSH private key: ssh: this private key is passphrase protected",
        ),
        (json!({"private_key": PAIRS[0].1, "public_key": PAIRS[1].2}), "public_key is not the public half of private_key"),
        (json!({"key_type": "dsa"}), "unknown ssh key pair algorithm: dsa"),
        (json!({"key_type": "ec", "key_bits": 100}), "unknown ECDSA key pair algorithm and bits: ec / 100"),
        (json!({"key_type": "rsa", "key_bits": 1024}), "refusing to generate weak rsa key: 1024 bits < 2048 bits"),
    ] {
        assert_eq!(h.error(Update, "config/ca", data.clone()).await, text, "{data}");
    }
    assert_eq!(h.error(Read, "config/ca", json!({})).await, "keys haven't been configured yet");
    assert!(h.call(Read, "public_key", json!({})).await.unwrap().is_none());
    for (data, text) in [
        (json!({}), "missing key type"),
        (json!({"key_type": "dynamic"}), "dynamic key type roles are no longer supported"),
        (json!({"key_type": "foo"}), "invalid key type"),
        (json!({"key_type": "otp"}), "missing default user"),
        (
            json!({"key_type": "otp", "default_user": "u", "cidr_list": "x"}),
            "failed to validate cidr_list: invalid CIDR address: x",
        ),
        (json!({"key_type": "otp", "default_user": "u", "port": 70000}), "port must be between 1 and 65535"),
        (
            json!({"key_type": "ca", "allow_user_certificates": true, "algorithm_signer": "md5"}),
            "unknown algorithm signer \"md5\"",
        ),
    ] {
        assert_eq!(h.error(Update, "roles/x", data.clone()).await, text, "{data}");
    }
    assert!(matches!(h.call(Read, "roles/-x", json!({})).await, Err(EngineError::UnsupportedPath)));
}

#[tokio::test]
async fn a_password_is_good_once_and_no_longer_than_its_lease() {
    let mut h = scene().await;
    let role = json!({"key_type": "otp", "default_user": "ubuntu", "allowed_users": "adm", "cidr_list": "10.0.0.0/8", "exclude_cidr_list": "10.1.0.0/16"});
    h.call(Update, "roles/o", role).await.unwrap();
    let shown = h.data(Read, "roles/o", json!({})).await.unwrap();
    assert_eq!((&shown["port"], &shown["key_type"]), (&json!(22), &json!("otp")));
    let outside = "Error validating IP: IP does not belong to role";
    for (data, text) in [
        (json!({}), "Missing ip"),
        (json!({"ip": "x"}), "Invalid IP \"x\""),
        (json!({"ip": "1.1.1.1"}), outside),
        (json!({"ip": "10.1.1.1"}), outside),
        (json!({"ip": "10.0.0.1", "username": "root"}), "Username is not present is allowed users list"),
    ] {
        assert_eq!(h.error(Update, "creds/o", data.clone()).await, text, "{data}");
    }
    let answer = h.call(Update, "creds/o", json!({"ip": "10.0.0.1", "username": "adm"})).await.unwrap().unwrap();
    let lease = answer.secret.unwrap();
    assert!(lease.register && !lease.renewable);
    let otp = answer.data.unwrap().to_map()["key"].as_str().unwrap().to_owned();
    assert!(!serde_json::to_string(&lease.internal).unwrap().contains(&otp), "the lease does not hold the password");
    let used = h.data(Update, "verify", json!({"otp": otp})).await.unwrap();
    assert_eq!(Value::Object(used), json!({"ip": "10.0.0.1", "username": "adm", "role_name": "o"}));
    for wrong in [otp.as_str(), "", "x"] {
        assert_eq!(h.error(Update, "verify", json!({"otp": wrong})).await, "OTP not found");
    }
    let echo = h.data(Update, "verify", json!({"otp": "verify-echo-request"})).await.unwrap();
    assert_eq!(echo["message"], "verify-echo-response");
    let answer = h.call(Update, "creds/o", json!({"ip": "10.0.0.1"})).await.unwrap().unwrap();
    let otp = answer.data.unwrap().to_map()["key"].clone();
    let (request, internal) = (engine::Request::new(Update, ""), answer.secret.unwrap().internal);
    struct Nothing;
    impl engine::System for Nothing {
        fn mount_by_accessor(&self, _: &str) -> Option<std::sync::Arc<engine::Mount>> {
            None
        }
    }
    let mut call = engine::Call {
        operation: Update,
        request: &request,
        path: "",
        fields: engine::Fields::default(),
        view: storage::View::new(&mut h.txn, ""),
        mount: &h.mount,
        caller: &h.caller,
        now: h.now,
        entropy: &h.entropy,
        system: &Nothing,
    };
    Engine::revoke_secret(&h.engine, &mut call, &internal).await.unwrap();
    assert_eq!(h.error(Update, "verify", json!({"otp": otp})).await, "OTP not found", "its lease has ended");
    assert_eq!(h.data(Update, "lookup", json!({"ip": "10.0.0.1"})).await.unwrap()["roles"], json!(["o"]));
    assert_eq!(h.data(Update, "lookup", json!({"ip": "9.9.9.9"})).await.unwrap()["roles"], Value::Null);
    h.call(Update, "config/zeroaddress", json!({"roles": "o"})).await.unwrap();
    assert!(h.call(Update, "creds/o", json!({"ip": "1.1.1.1"})).await.is_ok());
    assert_eq!(h.error(Update, "config/zeroaddress", json!({"roles": "none"})).await, "Role \"none\" does not exist");
    let listed = h.data(List, "roles", json!({})).await.unwrap();
    assert_eq!(Value::Object(listed), json!({"keys": ["o"], "key_info": {"o": {"key_type": "otp"}}}));
}
