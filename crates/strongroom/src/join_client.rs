//! The way of a joining node to the API of another one.

use engine::BoxFuture;
use outbound::{Presented, Trust};
use server_core::{Leaders, Target, Told};

/// Longest answer that is read: the keyring and the nodes of a cluster.
const ANSWER_MAX_BYTES: usize = 1 << 20;
/// A standby leads to the leader; the next one may have become a standby meanwhile.
const REDIRECTS_MAX: usize = 3;

/// Port of discovered nodes, unless another one is configured.
const API_PORT: u16 = 8200;

/// Asks over HTTP.
pub struct JoinClient;

impl Leaders for JoinClient {
    fn put<'a>(&'a self, base: &'a str, target: &'a Target, path: &'a str, body: Vec<u8>) -> BoxFuture<'a, Result<Told, String>> {
        Box::pin(async move {
            let trust = Trust::named(&target.ca_cert);
            let presented = Presented {
                trust: &trust,
                certificate: &target.client_cert,
                key: &target.client_key,
                server_name: &target.tls_server_name,
            };
            let mut url = format!("{}/v1/{path}", base.trim_end_matches('/'));
            for _ in 0..=REDIRECTS_MAX {
                let (answer, leads_to) =
                    outbound::put(&url, &presented, body.clone(), ANSWER_MAX_BYTES).await.map_err(|e| e.0)?;
                let Some(next) = leads_to else {
                    return Ok(Told { ok: (200..300).contains(&answer.status), body: answer.body });
                };
                if url.starts_with("https:") && !next.starts_with("https:") {
                    return Err("the leader's address is not https".to_owned());
                }
                url = next;
            }
            Err("the nodes lead to each other in circles".to_owned())
        })
    }

    fn discover<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Vec<String>, String>> {
        Box::pin(async move {
            let hosts = cluster::discover(&target.auto_join).await.map_err(|e| e.to_string())?;
            let scheme = if target.auto_join_scheme.is_empty() { "https" } else { &target.auto_join_scheme };
            let port = if target.auto_join_port == 0 { API_PORT } else { target.auto_join_port };
            let url = |host: String| {
                if host.contains(':') { format!("{scheme}://[{host}]:{port}") } else { format!("{scheme}://{host}:{port}") }
            };
            Ok(hosts.into_iter().map(url).collect())
        })
    }
}
