//! The main jobs with vaultrs, the Rust client.

use std::collections::HashMap;
use std::env::var;

use serde_json::json;
use vaultrs::api::transit::requests::EncryptDataRequestBuilder;
use vaultrs::client::{Client, VaultClient, VaultClientSettingsBuilder};
use vaultrs::error::ClientError;
use vaultrs::{kv2, sys, token, transit};

type Map = HashMap<String, serde_json::Value>;

fn client(token: &str) -> VaultClient {
    let settings = VaultClientSettingsBuilder::default().address(var("ADDR").unwrap()).token(token).build().unwrap();
    VaultClient::new(settings).unwrap()
}

fn status<T: std::fmt::Debug>(result: Result<T, ClientError>) -> u16 {
    match result {
        Err(ClientError::APIError { code, .. }) => code,
        // A 404 with data is no list of errors, so the layer below keeps it.
        Err(ClientError::RestClientError { source }) => {
            let text = format!("{source:?}");
            let code = text.split_once("code: ").and_then(|(_, rest)| rest.get(..3)?.parse().ok());
            code.unwrap_or_else(|| panic!("not refused: {text}"))
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap();
    let root = client(&var("TOKEN").unwrap());
    assert!(matches!(root.status().await.unwrap(), vaultrs::sys::ServerStatus::OK));
    assert!(!sys::health(&root).await.unwrap().sealed);

    sys::mount::enable(&root, "secret", "kv-v2", None).await.unwrap();
    assert!(sys::mount::list(&root).await.unwrap().contains_key("secret/"));
    let made = kv2::set(&root, "secret", "app/db", &json!({"user": "ann"})).await.unwrap();
    assert_eq!(made.version, 1);
    kv2::set(&root, "secret", "app/db", &json!({"user": "bob"})).await.unwrap();
    let now: Map = kv2::read(&root, "secret", "app/db").await.unwrap();
    let old: Map = kv2::read_version(&root, "secret", "app/db", 1).await.unwrap();
    assert_eq!((now["user"].as_str(), old["user"].as_str()), (Some("bob"), Some("ann")));
    assert_eq!(kv2::list(&root, "secret", "app").await.unwrap(), ["db"]);
    assert_eq!(kv2::read_metadata(&root, "secret", "app/db").await.unwrap().versions.len(), 2);
    kv2::delete_versions(&root, "secret", "app/db", vec![1]).await.unwrap();
    kv2::undelete_versions(&root, "secret", "app/db", vec![1]).await.unwrap();
    kv2::destroy_versions(&root, "secret", "app/db", vec![1]).await.unwrap();
    assert_eq!(status(kv2::read_version::<Map>(&root, "secret", "app/db", 1).await), 404);
    assert_eq!(status(kv2::read::<Map>(&root, "secret", "none").await), 404);

    sys::policy::set(&root, "app", "path \"secret/data/app/*\" { capabilities = [\"read\"] }").await.unwrap();
    assert!(sys::policy::list(&root).await.unwrap().policies.contains(&"app".to_owned()));
    assert!(sys::policy::read(&root, "app").await.unwrap().rules.contains("secret/data/app"));

    sys::auth::enable(&root, "approle", "approle", None).await.unwrap();
    let mut wanted = vaultrs::api::auth::approle::requests::SetAppRoleRequestBuilder::default();
    wanted.token_policies(vec!["app".to_owned()]).token_ttl("1h");
    vaultrs::auth::approle::role::set(&root, "approle", "job", Some(&mut wanted)).await.unwrap();
    let role = vaultrs::auth::approle::role::read_id(&root, "approle", "job").await.unwrap().role_id;
    let secret = vaultrs::auth::approle::role::secret::generate(&root, "approle", "job", None).await.unwrap().secret_id;
    let login = vaultrs::auth::approle::login(&client(""), "approle", &role, &secret).await.unwrap();
    assert_eq!(login.policies, ["app", "default"]);
    let app = client(&login.client_token);
    let seen: Map = kv2::read(&app, "secret", "app/db").await.unwrap();
    assert_eq!(seen["user"], "bob");
    assert_eq!(status(kv2::set(&app, "secret", "app/db", &json!({})).await), 403);
    assert_eq!(status(vaultrs::auth::approle::login(&client(""), "approle", &role, "wrong").await), 400);

    let own = token::lookup_self(&app).await.unwrap();
    assert!(own.renewable.unwrap_or_default() && own.ttl > 3000);
    token::renew_self(&app, Some("20m")).await.unwrap();
    token::revoke_self(&app).await.unwrap();
    assert_eq!(status(token::lookup_self(&app).await), 403);
    let child = token::new(&root, None).await.unwrap();
    token::revoke_accessor(&root, &child.accessor).await.unwrap();

    sys::mount::enable(&root, "transit", "transit", None).await.unwrap();
    transit::key::create(&root, "transit", "k", None).await.unwrap();
    let none: Option<&mut EncryptDataRequestBuilder> = None;
    let sealed = transit::data::encrypt(&root, "transit", "k", "aGVsbG8=", none).await.unwrap();
    assert!(sealed.ciphertext.starts_with("vault:v1:"));
    let opened = transit::data::decrypt(&root, "transit", "k", &sealed.ciphertext, None).await.unwrap();
    assert_eq!(opened.plaintext, "aGVsbG8=");
    println!("vaultrs: all as expected");
}
