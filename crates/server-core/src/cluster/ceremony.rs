//! What a joining node and the cluster say to each other, sealed under the root key: who can read and write it can unseal.
//!
//! The challenge carries its own time, so whoever gives it out keeps nothing: ten thousand half-open joins are as cheap as one.
//! The statement holds everything that is to be believed of the node, so nobody in between can put another address under it.
//!
//! Deliberately absent: how it travels (`join`, `host`).

use std::time::Duration;

use barrier::{BareRoot, Barrier, BarrierError, Unsealed};
use cluster::ClusterKeys;
use secret::{Entropy, EntropyError, SecretBytes, Time};
use serde::{Deserialize, Serialize};

const CHALLENGE_CONTEXT: &str = "raft-challenge";
const STATEMENT_CONTEXT: &str = "raft-statement";
const KEYRING_CONTEXT: &str = "raft-keyring";

/// Bytes of a challenge, as many as Vault's: the time, then random ones.
const CHALLENGE_BYTES: usize = 16;
const RANDOM_BYTES: usize = 8;

/// How long a challenge may be answered. The node that judges may not be the one that gave it out, and their clocks may differ.
pub(crate) const CHALLENGE_LIFE: Duration = Duration::from_secs(300);

/// What only a node with the root key can read.
#[derive(Clone)]
pub(crate) struct Challenge(SecretBytes);

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Statement {
    /// The opened challenge, in hexadecimal.
    challenge: String,
    pub(crate) raft_id: u64,
    pub(crate) node_id: String,
    /// `host:port` of its cluster port.
    pub(crate) address: String,
    pub(crate) api_addr: String,
    pub(crate) non_voter: bool,
}

/// A node as the cluster knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Neighbour {
    pub(crate) raft_id: u64,
    pub(crate) node_id: String,
    pub(crate) address: String,
    pub(crate) api_addr: String,
    pub(crate) voter: bool,
}

/// What an admitted node is told.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Welcome {
    pub(crate) keys: ClusterKeys,
    pub(crate) neighbours: Vec<Neighbour>,
    /// Up to this entry of the log the node has to be before its own data are of use to it.
    pub(crate) upto: u64,
}

/// Why what was said is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Disbelief {
    /// Another root key, another place, or changed bytes.
    #[error("it was not made with this cluster's root key")]
    Foreign,
    /// The challenge is too old.
    #[error("its challenge has expired")]
    Expired,
    #[error("it is malformed")]
    Malformed,
}

impl Challenge {
    pub(crate) fn new(now: Time, entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut bytes = now.unix().to_be_bytes().to_vec();
        bytes.extend(entropy.bytes(RANDOM_BYTES)?);
        Ok(Self(SecretBytes::new(bytes)))
    }

    /// One that was made before.
    pub(crate) fn again(bytes: SecretBytes) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&self) -> &SecretBytes {
        &self.0
    }

    pub(crate) fn seal(&self, barrier: &Barrier<Unsealed>, entropy: &dyn Entropy) -> Result<Vec<u8>, BarrierError> {
        barrier.seal_under_root(CHALLENGE_CONTEXT, self.0.expose(), entropy)
    }

    /// Opens a sealed challenge; [`BarrierError::WrongKey`] if it is another cluster's.
    pub(crate) fn open(root: &impl Root, sealed: &[u8]) -> Result<Self, BarrierError> {
        root.open_it(CHALLENGE_CONTEXT, sealed).map(Self)
    }
}

/// Whoever has the root key: an open barrier, or a node without data.
pub(crate) trait Root {
    fn open_it(&self, context: &str, sealed: &[u8]) -> Result<SecretBytes, BarrierError>;
    fn seal_it(&self, context: &str, plaintext: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>, BarrierError>;
}

impl Root for BareRoot {
    fn open_it(&self, context: &str, sealed: &[u8]) -> Result<SecretBytes, BarrierError> {
        self.open(context, sealed)
    }

    fn seal_it(&self, context: &str, plaintext: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>, BarrierError> {
        self.seal(context, plaintext, entropy)
    }
}

impl Root for Barrier<Unsealed> {
    fn open_it(&self, context: &str, sealed: &[u8]) -> Result<SecretBytes, BarrierError> {
        self.open_under_root(context, sealed)
    }

    fn seal_it(&self, context: &str, plaintext: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>, BarrierError> {
        self.seal_under_root(context, plaintext, entropy)
    }
}

impl Statement {
    /// What `this` says in answer to a challenge.
    pub(crate) fn new(challenge: &Challenge, this: Neighbour, non_voter: bool) -> Self {
        let Neighbour { raft_id, node_id, address, api_addr, .. } = this;
        Self { challenge: hex::encode(challenge.0.expose()), raft_id, node_id, address, api_addr, non_voter }
    }

    pub(crate) fn seal(&self, root: &impl Root, entropy: &dyn Entropy) -> Result<Vec<u8>, BarrierError> {
        let plain = serde_json::to_vec(self).map_err(|e| BarrierError::Damaged("statement", e.to_string()))?;
        root.seal_it(STATEMENT_CONTEXT, &plain, entropy)
    }

    /// Believes a sealed statement. Constant work until the root key is proved.
    pub(crate) fn believe(root: &impl Root, sealed: &[u8], now: Time) -> Result<Self, Disbelief> {
        let plain = root.open_it(STATEMENT_CONTEXT, sealed).map_err(|_| Disbelief::Foreign)?;
        let said: Self = serde_json::from_slice(plain.expose()).map_err(|_| Disbelief::Malformed)?;
        let challenge = hex::decode(&said.challenge).ok().filter(|c| c.len() == CHALLENGE_BYTES).ok_or(Disbelief::Malformed)?;
        let seconds = challenge.first_chunk().map(|b| i64::from_be_bytes(*b)).ok_or(Disbelief::Malformed)?;
        let made = Time::from_unix(seconds);
        if now.since(made).max(made.since(now)) > CHALLENGE_LIFE {
            return Err(Disbelief::Expired);
        }
        if said.node_id.is_empty() || said.address.is_empty() {
            return Err(Disbelief::Malformed);
        }
        Ok(said)
    }
}

impl Welcome {
    pub(crate) fn seal(&self, barrier: &Barrier<Unsealed>, entropy: &dyn Entropy) -> Result<Vec<u8>, BarrierError> {
        let plain = serde_json::to_vec(self).map_err(|_| BarrierError::Damaged("core/raft/tls", "not JSON".into()))?;
        barrier.seal_under_root(KEYRING_CONTEXT, SecretBytes::new(plain).expose(), entropy)
    }

    pub(crate) fn open(root: &impl Root, sealed: &[u8]) -> Result<Self, Disbelief> {
        let plain = root.open_it(KEYRING_CONTEXT, sealed).map_err(|_| Disbelief::Foreign)?;
        // The parser's error could show bytes of a key.
        serde_json::from_slice(plain.expose()).map_err(|_| Disbelief::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use secret::{SeededEntropy, SystemEntropy};

    use super::*;

    fn root(byte: u8) -> BareRoot {
        BareRoot::new(SecretBytes::new(vec![byte; 32])).unwrap()
    }

    fn this() -> Neighbour {
        Neighbour { raft_id: 7, node_id: "b".into(), address: "b:8201".into(), api_addr: "http://b:8200".into(), voter: false }
    }

    fn said(now: Time) -> Statement {
        Statement::new(&Challenge::new(now, &SystemEntropy).unwrap(), this(), true)
    }

    #[test]
    fn a_statement_is_believed_with_all_it_says() {
        let now = Time::from_unix(1_000_000);
        let sealed = said(now).seal(&root(1), &SystemEntropy).unwrap();
        let believed = Statement::believe(&root(1), &sealed, now.plus(Duration::from_secs(20))).unwrap();
        assert_eq!((believed.raft_id, believed.node_id.as_str(), believed.non_voter), (7, "b", true));
        assert_eq!((believed.address.as_str(), believed.api_addr.as_str()), ("b:8201", "http://b:8200"));
    }

    #[test]
    fn foreign_changed_old_and_early_statements_are_not_believed() {
        let now = Time::from_unix(1_000_000);
        let (life, second) = (CHALLENGE_LIFE, Duration::from_secs(1));
        let sealed = said(now).seal(&root(1), &SystemEntropy).unwrap();
        assert_eq!(Statement::believe(&root(2), &sealed, now), Err(Disbelief::Foreign));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(Statement::believe(&root(1), &changed, now), Err(Disbelief::Foreign), "byte {at}");
        }
        assert_eq!(Statement::believe(&root(1), &[], now), Err(Disbelief::Foreign));
        assert_eq!(Statement::believe(&root(1), &sealed, now.plus(life + second)), Err(Disbelief::Expired));
        assert_eq!(Statement::believe(&root(1), &sealed, now.minus(life + second)), Err(Disbelief::Expired));
        assert!(Statement::believe(&root(1), &sealed, now.plus(life)).is_ok());
        // A challenge is no statement, even under the right key.
        let challenge = root(1).seal(CHALLENGE_CONTEXT, &[0; 16], &SystemEntropy).unwrap();
        assert_eq!(Statement::believe(&root(1), &challenge, now), Err(Disbelief::Foreign));
        let nobody = Statement { node_id: String::new(), ..said(now) }.seal(&root(1), &SystemEntropy).unwrap();
        assert_eq!(Statement::believe(&root(1), &nobody, now), Err(Disbelief::Malformed));
        let short = Statement { challenge: "00".into(), ..said(now) }.seal(&root(1), &SystemEntropy).unwrap();
        assert_eq!(Statement::believe(&root(1), &short, now), Err(Disbelief::Malformed));
    }

    #[test]
    fn a_welcome_opens_with_the_root_key_only() {
        let now = Time::from_unix(1_000_000);
        let keys = ClusterKeys::first(now, &SeededEntropy::new(1)).unwrap();
        let plain = serde_json::to_vec(&Welcome { keys, neighbours: vec![this()], upto: 9 }).unwrap();
        let sealed = root(1).seal(KEYRING_CONTEXT, &plain, &SystemEntropy).unwrap();
        assert_eq!(Welcome::open(&root(1), &sealed).unwrap().neighbours, [this()]);
        assert_eq!(Welcome::open(&root(2), &sealed).err(), Some(Disbelief::Foreign));
    }
}
