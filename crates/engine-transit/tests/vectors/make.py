"""Makes vectors.json: keys in Vault's backup form, with ciphertexts, signatures and MACs that another implementation
(pyca/cryptography over OpenSSL, and the standard library's hmac) made of them. Run by hand; the result is committed.

Keys are derived from labels, so that a new run differs only in what is random by nature (RSA keys, ECDSA nonces, salts).
"""
import base64
import hashlib
import hmac
import json
import pathlib
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

TYPES = {"aes256-gcm96": 0, "ecdsa-p256": 1, "ed25519": 2, "rsa-2048": 3, "chacha20-poly1305": 5, "ecdsa-p384": 6,
         "ecdsa-p521": 7, "aes128-gcm96": 8, "hmac": 11}
PLAIN = b"the quick brown fox"
CONTEXT = b"some context"
NAMES = {"sha1": hashes.SHA1, "sha2-224": hashes.SHA224, "sha2-256": hashes.SHA256, "sha2-384": hashes.SHA384,
         "sha2-512": hashes.SHA512, "sha3-224": hashes.SHA3_224, "sha3-256": hashes.SHA3_256, "sha3-384": hashes.SHA3_384,
         "sha3-512": hashes.SHA3_512}
out = []


def b64(b):
    return base64.b64encode(b).decode()


def b64u(b):
    return base64.urlsafe_b64encode(b).rstrip(b"=").decode()


def seed(label, n):
    return hashlib.shake_256(label.encode()).digest(n)


def backup(name, kind, entry, **policy):
    whole = {"key": None, "hmac_key": b64(seed(name + "/hmac", 32)), "time": "2017-12-08T11:50:08.613837-05:00", "ec_x": None,
             "ec_y": None, "ec_d": None, "rsa_key": None, "public_key": "", "convergent_version": 0, "creation_time": 1512751808}
    whole.update(entry)
    zero = {"key": None, "hmac_key": None, "time": "0001-01-01T00:00:00Z", "ec_x": None, "ec_y": None, "ec_d": None,
            "rsa_key": None, "public_key": "", "creation_time": 0}
    p = {"name": name, "keys": {"1": whole}, "derived": False, "kdf": 0, "convergent_encryption": False, "exportable": True,
         "min_decryption_version": 1, "min_encryption_version": 0, "latest_version": 1, "archive_version": 1,
         "deletion_allowed": False, "convergent_version": 0, "type": TYPES[kind], "backup_info": None, "restore_info": None,
         "allow_plaintext_backup": True, "version_template": "", "storage_prefix": ""}
    p.update(policy)
    return b64(json.dumps({"policy": p, "archived_keys": {"keys": [zero, whole]}}).encode() + b"\n")


def key(name, kind, entry, checks, **policy):
    out.append({"name": name, "backup": backup(name, kind, entry, **policy), "checks": checks})


def check(path, body, want):
    return {"path": path, "body": body, "want": want}


def aead(kind, k):
    return ChaCha20Poly1305(k) if kind.startswith("cha") else AESGCM(k)


def size(kind):
    return 16 if "128" in kind else 32


def hkdf(k, n):
    return HKDF(hashes.SHA256(), n, None, CONTEXT).derive(k)


for kind in ("aes256-gcm96", "aes128-gcm96", "chacha20-poly1305"):
    n = size(kind)
    k, nonce = seed(kind, n), seed(kind + "/nonce", 12)
    plain = "vault:v1:" + b64(nonce + aead(kind, k).encrypt(nonce, PLAIN, b""))
    with_aad = "vault:v1:" + b64(nonce + aead(kind, k).encrypt(nonce, PLAIN, b"aad"))
    key("plain-" + kind, kind, {"key": b64(k)}, [
        check("decrypt", {"ciphertext": plain}, {"plaintext": b64(PLAIN)}),
        check("decrypt", {"ciphertext": with_aad, "associated_data": b64(b"aad")}, {"plaintext": b64(PLAIN)}),
        check("decrypt", {"ciphertext": plain.replace("v1", "v0")}, {"plaintext": b64(PLAIN)})])
    dk = hkdf(k, n)
    text = "vault:v1:" + b64(nonce + aead(kind, dk).encrypt(nonce, PLAIN, b""))
    key("derived-" + kind, kind, {"key": b64(k)}, [
        check("decrypt", {"ciphertext": text, "context": b64(CONTEXT)}, {"plaintext": b64(PLAIN)})], derived=True, kdf=1)
    both = hkdf(k, n + 32)
    nonce3 = hmac.digest(both[n:], PLAIN, "sha256")[:12]
    text = "vault:v1:" + b64(nonce3 + aead(kind, both[:n]).encrypt(nonce3, PLAIN, b""))
    body = {"context": b64(CONTEXT)}
    key("convergent3-" + kind, kind, {"key": b64(k), "convergent_version": 3}, [
        check("encrypt", body | {"plaintext": b64(PLAIN)}, {"ciphertext": text, "key_version": 1}),
        check("decrypt", body | {"ciphertext": text}, {"plaintext": b64(PLAIN)})],
        derived=True, kdf=1, convergent_encryption=True, convergent_version=-1)
    nonce2 = hmac.digest(CONTEXT, PLAIN, "sha256")[:12]
    text = "vault:v1:" + b64(nonce2 + aead(kind, dk).encrypt(nonce2, PLAIN, b""))
    key("convergent2-" + kind, kind, {"key": b64(k)}, [
        check("encrypt", body | {"plaintext": b64(PLAIN)}, {"ciphertext": text, "key_version": 1}),
        check("decrypt", body | {"ciphertext": text}, {"plaintext": b64(PLAIN)})],
        derived=True, kdf=1, convergent_encryption=True, convergent_version=2)
    text = "vault:v1:" + b64(aead(kind, dk).encrypt(nonce, PLAIN, b""))
    body["nonce"] = b64(nonce)
    key("convergent1-" + kind, kind, {"key": b64(k)}, [
        check("encrypt", body | {"plaintext": b64(PLAIN)}, {"ciphertext": text, "key_version": 1}),
        check("decrypt", body | {"ciphertext": text}, {"plaintext": b64(PLAIN)})],
        derived=True, kdf=1, convergent_encryption=True, convergent_version=1)

k, nonce = seed("legacy", 32), seed("legacy/nonce", 12)
old = hmac.digest(k, bytes(4) + CONTEXT + (256).to_bytes(4, "big"), "sha256")
text = "vault:v1:" + b64(nonce + AESGCM(old).encrypt(nonce, PLAIN, b""))
key("legacy-kdf", "aes256-gcm96", {"key": b64(k)}, [
    check("decrypt", {"ciphertext": text, "context": b64(CONTEXT)}, {"plaintext": b64(PLAIN)})], derived=True, kdf=0)

k = seed("mac", 64)
macs = [check("hmac/" + n, {"input": b64(PLAIN)},
              {"hmac": "vault:v1:" + b64(hmac.digest(k, PLAIN, n.replace("sha2-", "sha").replace("sha3-", "sha3_")))})
        for n in NAMES if n != "sha1"]
key("mac", "hmac", {"key": b64(k), "hmac_key": b64(k)}, macs, key_size=64)

for kind, curve in (("ecdsa-p256", ec.SECP256R1()), ("ecdsa-p384", ec.SECP384R1()), ("ecdsa-p521", ec.SECP521R1())):
    private = ec.derive_private_key(int.from_bytes(seed(kind, 31), "big"), curve)
    p = private.public_key().public_numbers()
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    checks = []
    for name, h in NAMES.items():
        s = private.sign(PLAIN, ec.ECDSA(h()))
        checks.append(check("verify/" + name, {"input": b64(PLAIN), "signature": "vault:v1:" + b64(s)}, {"valid": True}))
        n = (curve.key_size + 7) // 8
        fixed = b"".join(x.to_bytes(n, "big") for x in utils.decode_dss_signature(s))
        body = {"input": b64(PLAIN), "signature": "vault:v1:" + b64u(fixed), "marshaling_algorithm": "jws"}
        checks.append(check("verify/" + name, body, {"valid": True}))
        checks.append(check("verify/" + name, body | {"input": b64(b"other")}, {"valid": False}))
    entry = {"ec_x": p.x, "ec_y": p.y, "ec_d": private.private_numbers().private_value, "public_key": pem}
    key("sign-" + kind, kind, entry, checks)

raw = seed("ed25519", 32)
private = ed25519.Ed25519PrivateKey.from_private_bytes(raw)
public = private.public_key().public_bytes_raw()
signature = "vault:v1:" + b64(private.sign(PLAIN))
entry = {"key": b64(raw + public), "public_key": b64(public)}
key("sign-ed25519", "ed25519", entry, [
    check("sign", {"input": b64(PLAIN)}, {"signature": signature, "key_version": 1}),
    check("verify", {"input": b64(PLAIN), "signature": signature}, {"valid": True})])
derived = ed25519.Ed25519PrivateKey.from_private_bytes(hkdf(raw + public, 32))
signature = "vault:v1:" + b64(derived.sign(PLAIN))
key("derived-ed25519", "ed25519", entry, [
    check("sign", {"input": b64(PLAIN), "context": b64(CONTEXT)},
          {"signature": signature, "key_version": 1, "public_key": b64(derived.public_key().public_bytes_raw())}),
    check("verify", {"input": b64(PLAIN), "context": b64(CONTEXT), "signature": signature}, {"valid": True}),
    check("verify", {"input": b64(PLAIN), "context": b64(b"other"), "signature": signature}, {"valid": False})],
    derived=True, kdf=1)

private = rsa.generate_private_key(65537, 2048)
public, r = private.public_key(), private.private_numbers()
entry = {"rsa_key": {"N": r.public_numbers.n, "E": 65537, "D": r.d, "Primes": [r.p, r.q],
                     "Precomputed": {"Dp": None, "Dq": None, "Qinv": None, "CRTValues": None}}}
checks = []
for name, h in NAMES.items():
    body = {"input": b64(PLAIN), "signature_algorithm": "pkcs1v15"}
    s = "vault:v1:" + b64(private.sign(PLAIN, padding.PKCS1v15(), h()))
    checks.append(check("verify/" + name, body | {"signature": s}, {"valid": True}))
    checks.append(check("verify/" + name, body | {"signature": s, "input": b64(b"other")}, {"valid": False}))
    checks.append(check("sign/" + name, body, {"signature": s, "key_version": 1}))
    digest = hashlib.new(name.replace("sha2-", "sha").replace("sha3-", "sha3_"), PLAIN).digest()
    checks.append(check("sign/" + name, body | {"input": b64(digest), "prehashed": True}, {"signature": s, "key_version": 1}))
    for salt, word in ((padding.PSS.MAX_LENGTH, "auto"), (h().digest_size, "hash"), (17, "17")):
        s = "vault:v1:" + b64(private.sign(PLAIN, padding.PSS(padding.MGF1(h()), salt), h()))
        body = {"input": b64(PLAIN), "signature": s}
        checks.append(check("verify/" + name, body, {"valid": True}))
        checks.append(check("verify/" + name, body | {"salt_length": word}, {"valid": True}))
        checks.append(check("verify/" + name, body | {"salt_length": "18"}, {"valid": False}))
        checks.append(check("verify/" + name, body | {"input": b64(b"other")}, {"valid": False}))
oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
checks.append(check("decrypt", {"ciphertext": "vault:v1:" + b64(public.encrypt(PLAIN, oaep))}, {"plaintext": b64(PLAIN)}))
checks.append(check("decrypt", {"ciphertext": "vault:v1:" + b64(public.encrypt(PLAIN, padding.PKCS1v15())),
                                "padding_scheme": "pkcs1v15"}, {"plaintext": b64(PLAIN)}))
digest = hashlib.sha256(PLAIN).digest()
em = b"\x00\x01" + b"\xff" * (256 - 3 - 32) + b"\x00" + digest
bare = pow(int.from_bytes(em, "big"), r.d, r.public_numbers.n).to_bytes(256, "big")
body = {"input": b64(digest), "prehashed": True, "signature_algorithm": "pkcs1v15"}
checks.append(check("sign/none", body, {"signature": "vault:v1:" + b64(bare), "key_version": 1}))
checks.append(check("verify/none", body | {"signature": "vault:v1:" + b64(bare)}, {"valid": True}))
key("rsa", "rsa-2048", entry, checks)

# A chain for sign-ecdsa-p256: its certificate, and the authority's.
def certificate(subject, issuer, public, signer, ca):
    name = lambda n: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n)])
    builder = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer)).public_key(public)
    builder = builder.serial_number(int.from_bytes(seed(subject, 8), "big")).not_valid_before(datetime(2024, 1, 1))
    builder = builder.not_valid_after(datetime(2044, 1, 1))
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, None), True)
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM).decode().strip()


authority = ec.derive_private_key(int.from_bytes(seed("authority", 31), "big"), ec.SECP256R1())
subject = ec.derive_private_key(int.from_bytes(seed("ecdsa-p256", 31), "big"), ec.SECP256R1()).public_key()
chain = [certificate("leaf", "authority", subject, authority, False),
         certificate("authority", "authority", authority.public_key(), authority, True)]
pathlib.Path(__file__).with_name("chain.pem").write_text("\n".join(chain) + "\n")

text = json.dumps(out, indent=0, sort_keys=True)
pathlib.Path(__file__).with_name("vectors.json").write_text(text + "\n")
print(len(out), "keys,", sum(len(k["checks"]) for k in out), "checks")
