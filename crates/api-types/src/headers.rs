//! Header names, in lower case as HTTP/2 wants them.

/// The client's token.
pub const TOKEN: &str = "x-vault-token";
/// `Authorization: Bearer <token>`, the second way to send a token.
pub const AUTHORIZATION: &str = "authorization";
/// Accepted and echoed; everything lives in the root namespace.
pub const NAMESPACE: &str = "x-vault-namespace";
/// Asks for response wrapping for this long.
pub const WRAP_TTL: &str = "x-vault-wrap-ttl";
/// Asks for a JWT as the wrapping token.
pub const WRAP_FORMAT: &str = "x-vault-wrap-format";
/// `method[:value]`, repeatable.
pub const MFA: &str = "x-vault-mfa";
/// A standby must answer 307 rather than forward.
pub const NO_REQUEST_FORWARDING: &str = "x-vault-no-request-forwarding";
/// Every official client sends `true`; never required by the server.
pub const REQUEST: &str = "x-vault-request";
/// Enterprise header; refused in Vault's words.
pub const FORWARD: &str = "x-vault-forward";
/// Overrides soft-mandatory policies; only recorded in audit lines.
pub const POLICY_OVERRIDE: &str = "x-vault-policy-override";
