//! The signing keys: which one signs, which ones are believed, and how the world sees them.

mod jwk;
mod pem;

use std::{collections::HashMap, fmt, sync::Arc};

use aws_lc_rs::{
    rsa,
    signature::{ED25519, Ed25519KeyPair, KeyPair, ParsedPublicKey},
};
use serde::{Serialize, de::DeserializeOwned};

pub(crate) use self::{jwk::Jwk, pem::block as pem_block};
use super::{
    jws::{self, JwsError},
    signer::Signer,
    turnstile::Within,
};

/// Keys that can't be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// No block of PEM was found.
    #[error("it holds no PEM block; `titan coordinator keygen` prints what is needed")]
    Empty,
    /// A block is damaged.
    #[error("PEM block {0} is damaged: a line is missing or is not base64")]
    Damaged(usize),
    /// A block holds something else than an unencrypted private key.
    #[error(
        "PEM block {number} is {label:?}; write private keys as unencrypted PKCS#8 (`openssl pkcs8 -topk8 -nocrypt`)"
    )]
    Label {
        /// Which block, from 1.
        number: usize,
        /// What it says it is.
        label: String,
    },
    /// A block's key is of no kind that is used.
    #[error("PEM block {0} is neither an Ed25519 key nor an RSA key of 2048 to 8192 bits")]
    Kind(usize),
    /// Nothing can sign agents' tokens.
    #[error("it holds no Ed25519 key, which signs agents' tokens; `titan coordinator keygen` prints one")]
    NoEd25519,
}

/// All signing keys. The first Ed25519 key signs agents' credentials and tokens; the other ones are only believed, so
/// that keys can be replaced without a gap. The first RSA key signs tickets, which agents check by the published
/// halves. Cloning is cheap.
#[derive(Clone)]
pub struct KeyRing(Arc<Keys>);

struct Keys {
    signer: Ed25519KeyPair,
    signer_kid: String,
    tickets: Option<Arc<Signer>>,
    believed: HashMap<String, ParsedPublicKey>,
    jwks: Vec<Jwk>,
    signing_pem: String,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("signer_kid", &self.0.signer_kid).finish_non_exhaustive()
    }
}

impl KeyRing {
    /// Reads PEM blocks of private keys (PKCS#8).
    ///
    /// # Errors
    /// [`KeyError`] says which block is wrong and what to do.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let mut ring = Draft::default();
        for (index, block) in pem::private_keys(text)?.into_iter().enumerate() {
            ring.add(&block).ok_or(KeyError::Kind(index + 1))?;
        }
        let (signer, signer_kid) = ring.signer.ok_or(KeyError::NoEd25519)?;
        let signing_pem = ring.pems.join("");
        Ok(Self(Arc::new(Keys {
            signer,
            signer_kid,
            tickets: ring.tickets.map(|(key, kid)| Arc::new(Signer::new(key, kid))),
            believed: ring.believed,
            jwks: ring.jwks,
            signing_pem,
        })))
    }

    /// All public keys as a JWK set (RFC 7517).
    pub(crate) fn jwks(&self) -> &[Jwk] {
        &self.0.jwks
    }

    /// The public keys of the first key of each kind, as PEM.
    pub(crate) fn signing_pem(&self) -> &str {
        &self.0.signing_pem
    }

    pub(crate) fn sign<C: Serialize>(&self, typ: &str, claims: &C) -> Option<String> {
        jws::sign(&self.0.signer, &self.0.signer_kid, typ, claims)
    }

    /// Whether tickets can be signed.
    pub(crate) fn has_rsa(&self) -> bool {
        self.0.tickets.is_some()
    }

    /// Waits until it is worth while to prepare what [`Self::sign_rs256`] is to sign: with many on their way there, those who wait
    /// go together. None if there is no RSA key.
    pub(crate) async fn turn(&self) -> Option<Within> {
        Some(self.0.tickets.as_ref()?.turn().await)
    }

    /// Signs claims with RS256; none if there is no RSA key.
    pub(crate) async fn sign_rs256<C: Serialize>(&self, typ: &str, claims: &C) -> Option<String> {
        self.0.tickets.as_ref()?.sign(typ, claims).await
    }

    pub(crate) fn verify<C: DeserializeOwned>(&self, token: &str, typ: &str) -> Result<C, JwsError> {
        jws::verify(token, typ, |kid| self.0.believed.get(kid?))
    }
}

/// A ring in the making.
#[derive(Default)]
struct Draft {
    signer: Option<(Ed25519KeyPair, String)>,
    tickets: Option<(rsa::KeyPair, String)>,
    believed: HashMap<String, ParsedPublicKey>,
    jwks: Vec<Jwk>,
    pems: Vec<String>,
}

impl Draft {
    fn add(&mut self, pkcs8: &[u8]) -> Option<()> {
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8(pkcs8) {
            return self.add_ed25519(pair);
        }
        self.add_rsa(rsa::KeyPair::from_pkcs8(pkcs8).ok()?)
    }

    fn add_ed25519(&mut self, pair: Ed25519KeyPair) -> Option<()> {
        let public = pair.public_key().as_ref();
        let jwk = Jwk::ed25519(public);
        self.believed.insert(jwk.kid().to_owned(), ParsedPublicKey::new(&ED25519, public).ok()?);
        if self.signer.is_none() {
            self.pems.insert(0, pem::public_key(pair.public_key())?);
            self.signer = Some((pair, jwk.kid().to_owned()));
        }
        self.jwks.push(jwk);
        Some(())
    }

    fn add_rsa(&mut self, pair: rsa::KeyPair) -> Option<()> {
        let jwk = Jwk::rsa(pair.public_key())?;
        if self.tickets.is_none() {
            self.pems.push(pem::public_key(pair.public_key())?);
            self.tickets = Some((pair, jwk.kid().to_owned()));
        }
        self.jwks.push(jwk);
        Some(())
    }
}
