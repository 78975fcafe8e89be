"""RSA keys that sign tokens, with openssl: shared by scenarios, no scenario itself."""
import base64
import json
import subprocess
import tempfile
import time
from pathlib import Path


class Key:
    """An RSA key; openssl makes it and signs."""

    def __init__(self, name):
        self.name = name
        self.file = Path(tempfile.mkdtemp(prefix="strongroom-key-")) / "key.pem"
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.file)
        self.pem = openssl("pkey", "-in", self.file, "-pubout").decode()
        modulus = openssl("rsa", "-in", self.file, "-noout", "-modulus").decode().strip().split("=")[1]
        self.jwk = {"kty": "RSA", "kid": name, "use": "sig", "alg": "RS256", "n": b64(bytes.fromhex(modulus)), "e": "AQAB"}

    def sign(self, **claims):
        now = int(time.time())
        body = {"iss": "me", "sub": "alice", "aud": "strongroom", "iat": now, "exp": now + 600, "groups": ["dev"], **claims}
        text = ".".join(b64(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": self.name}, body))
        return f"{text}.{b64(openssl('dgst', '-sha256', '-sign', self.file, stdin=text.encode()))}"


def openssl(*args, stdin=None):
    return subprocess.run(["openssl", *map(str, args)], input=stdin, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
