"""The Kubernetes half of the main job, with our CLI and plain HTTP against a real kube-apiserver.

Needs the variables that `tests/kube/up.sh` prints. Pods do not run there, so tokens come from the TokenRequest API (what a pod
would have been given) and, where that refuses to make them, from `mint.sh`.
"""
import base64
import hashlib
import hmac
import json
import os
import subprocess
from pathlib import Path

import harness
from harness import Server, readable

POLICY = 'path "secret/data/production/app" {\n  capabilities = ["read"]\n}\n'
DAY = 24 * 3600
DENIED = "permission denied"
NAME = "service account name not authorized"
NAMESPACE = "namespace not authorized"
AUDIENCE = "invalid audience (aud) claim: audience claim does not match any expected audience"
EXPIRED = "invalid expiration time (exp) claim: token is expired"
EARLY = "invalid not before (nbf) claim: token not yet valid"


def run(*args, stdin=None):
    done = subprocess.run(args, capture_output=True, text=True, input=stdin, timeout=harness.PATIENCE_S, check=False)
    assert done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def kubectl(*args, stdin=None):
    return run(os.environ["KUBECTL"], *args, stdin=stdin)


def token(namespace, account, *extra):
    """A token as the kubelet would put it into a pod."""
    return kubectl("-n", namespace, "create", "token", account, *extra)


def mint(namespace, account, *claims):
    return run(os.environ["KUBE_MINT"], namespace, account, *claims)


def uid(namespace, account):
    return kubectl("-n", namespace, "get", "sa", account, "-o", "jsonpath={.metadata.uid}")


def encoded(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).decode().rstrip("=")


def claims_of(jwt):
    body = jwt.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


class Scene(Server):
    """A server with the method configured as an operator does it, by CLI."""

    def __enter__(self):
        self.start().init(5, 3)
        self.audit = self.dir / "audit.log"
        self.cli("audit", "enable", "file", f"file_path={self.audit}")
        self.cli("secrets", "enable", "-path=secret", "kv-v2")
        self.cli("kv", "put", "-mount=secret", "production/app", "password=s3cr3t-of-the-app")
        self.cli("kv", "put", "-mount=secret", "production/other", "password=not-for-the-app")
        policy = self.dir / "app-policy.hcl"
        policy.write_text(POLICY)
        self.cli("policy", "write", "app-policy", str(policy))
        enabled = self.cli("auth", "enable", "kubernetes")
        assert "Success! Enabled kubernetes auth method at: kubernetes/" in enabled, enabled
        self.configure()
        self.role("app-role", "bound_service_account_names=app-sa", "bound_service_account_namespaces=production",
                  "policies=app-policy", "ttl=24h")
        return self

    def configure(self, mount="kubernetes", host=None, ca=None, reviewer=None):
        self.cli("write", f"auth/{mount}/config", f"kubernetes_host={host or os.environ['KUBE_API']}",
                 f"kubernetes_ca_cert=@{ca or os.environ['KUBE_CA']}",
                 f"token_reviewer_jwt=@{reviewer or os.environ['KUBE_REVIEWER_JWT_FILE']}")

    def role(self, name, *pairs):
        self.cli("write", f"auth/kubernetes/role/{name}", *pairs)

    def login(self, jwt, role="app-role", mount="kubernetes", method="POST"):
        return self.ask(method, f"auth/{mount}/login", {"role": role, "jwt": jwt}, token="")

    def accessors(self):
        return set(self.ask("LIST", "auth/token/accessors").data["keys"])


def assert_denied(answer, status, text, case):
    assert answer.status == status, f"{case}: wanted {status} {text!r}, got {answer}"
    assert set(answer.json) == {"errors"} and answer.errors == [text], f"{case}: wanted {text!r}, got {answer}"


def test_a_pod_reads_exactly_its_secret():
    with Scene() as s:
        config = s.ask("GET", "auth/kubernetes/config")
        assert config.data["token_reviewer_jwt_set"] is True and "token_reviewer_jwt" not in config.data, config
        assert config.data["kubernetes_host"] == os.environ["KUBE_API"], config
        jwt = token("production", "app-sa")
        answer = s.login(jwt)
        assert answer.status == 200, answer
        auth = answer.json["auth"]
        who = {"role": "app-role", "service_account_name": "app-sa", "service_account_namespace": "production",
               "service_account_secret_name": "", "service_account_uid": uid("production", "app-sa")}
        assert auth["policies"] == ["app-policy", "default"] and auth["metadata"] == who, auth
        assert auth["lease_duration"] == DAY and auth["renewable"] and auth["orphan"] and auth["token_type"] == "service", auth
        app = auth["client_token"]
        assert s.cli("kv", "get", "-mount=secret", "-field=password", "production/app", token=app).strip() == "s3cr3t-of-the-app"
        for method, path, body in [
            ("GET", "secret/data/production/other", None),
            ("GET", "secret/metadata/production/app", None),
            ("LIST", "secret/metadata/production", None),
            ("PUT", "secret/data/production/app", {"data": {"a": "b"}}),
            ("DELETE", "secret/data/production/app", None),
            ("GET", "sys/mounts", None),
            ("GET", "auth/kubernetes/config", None),
            ("PUT", "auth/kubernetes/role/app-role", {"bound_service_account_names": "*"}),
        ]:
            assert s.ask(method, path, body, token=app).status == 403, (method, path)
        renewed = s.ask("PUT", "auth/token/renew-self", {"increment": 0}, token=app)
        assert renewed.status == 200 and renewed.json["auth"]["lease_duration"] == DAY, renewed
        looked_up = s.ask("GET", "auth/token/lookup-self", token=app)
        assert looked_up.data["path"] == "auth/kubernetes/login" and looked_up.data["display_name"] == "kubernetes-production-app-sa", looked_up
        # The CLI's own way to log in: the token by file, and by the client's PUT.
        (s.dir / "jwt").write_text(jwt + "\n")
        printed = s.cli("write", "-field=token", "auth/kubernetes/login", "role=app-role", f"jwt=@{s.dir}/jwt", token="")
        assert printed.strip().startswith("hvs."), "no token printed"


def test_one_account_is_one_entity():
    with Scene() as s:
        first, second = (s.login(token("production", "app-sa")).json["auth"] for _ in range(2))
        assert first["entity_id"] and first["entity_id"] == second["entity_id"], (first, second)
        assert first["client_token"] != second["client_token"] and first["accessor"] != second["accessor"]
        entity = s.ask("GET", f"identity/entity/id/{first['entity_id']}").data
        aliases = [(a["name"], a["mount_type"], a["metadata"]["service_account_name"]) for a in entity["aliases"]]
        assert aliases == [(uid("production", "app-sa"), "kubernetes", "app-sa")], entity
        # An account that is made again under its old name is somebody else.
        s.role("any", "bound_service_account_names=*", "bound_service_account_namespaces=production", "policies=app-policy")
        kubectl("-n", "production", "create", "sa", "reborn")
        before = s.login(token("production", "reborn"), "any").json["auth"]["entity_id"]
        kubectl("-n", "production", "delete", "sa", "reborn")
        kubectl("-n", "production", "create", "sa", "reborn")
        after = s.login(token("production", "reborn"), "any").json["auth"]["entity_id"]
        kubectl("-n", "production", "delete", "sa", "reborn")
        assert len({before, after, first["entity_id"]}) == 3, (before, after)
        # With names as aliases it is the same one.
        s.role("by-name", "bound_service_account_names=app-sa", "bound_service_account_namespaces=production,staging",
               "alias_name_source=serviceaccount_name")
        named = s.login(token("staging", "app-sa"), "by-name").json["auth"]["entity_id"]
        names = [a["name"] for a in s.ask("GET", f"identity/entity/id/{named}").data["aliases"]]
        assert names == ["staging/app-sa"], names


def forgeries(jwt):
    """Tokens that somebody without the cluster's key can make out of a good one, and plain nonsense."""
    head, body, signature = jwt.split(".")
    public = Path(os.environ["KUBE_SA_PUB"]).read_bytes()

    def keyed(alg, digest):
        signed = encoded({"alg": alg, "typ": "JWT"}) + "." + body
        return signed + "." + encoded(hmac.new(public, signed.encode(), digest).digest())

    other = claims_of(jwt)
    other["sub"] = "system:serviceaccount:production:vault-auth"
    return {
        "garbage": "not-a-jwt",
        "dots": "..",
        "three words": "a.b.c",
        "five parts": f"{jwt}.x.y",
        "a reference to another token": "hvs.CAESIJ",
        "no signature": f"{head}.{body}.",
        "another signature": f"{head}.{body}.{signature[:-8]}AAAAAAAA",
        "alg none": encoded({"alg": "none", "typ": "JWT"}) + "." + body + ".",
        "alg None": encoded({"alg": "None", "typ": "JWT"}) + "." + body + ".",
        "the public key as a shared one": keyed("HS256", hashlib.sha256),
        "the public key as a shared one, 512": keyed("HS512", hashlib.sha512),
        "other claims under the old signature": f"{head}.{encoded(other)}.{signature}",
        "a list for claims": f"{head}.{encoded([])}.{signature}",
        "a key of its own in the head": encoded({"alg": "RS256", "jku": "http://127.0.0.1:1/keys", "kid": "../../x"}) + "." + body + "." + signature,
        "a long word": "A" * 100_000,
        "not text of a JWT": "\u202e\u0000 é",
    }


def test_who_is_refused_and_how():
    with Scene() as s:
        s.role("audience", "bound_service_account_names=app-sa", "bound_service_account_namespaces=production", "audience=vault")
        s.role("any", "bound_service_account_names=*", "bound_service_account_namespaces=production")
        s.role("far", "bound_service_account_names=app-sa", "bound_service_account_namespaces=production", "token_bound_cidrs=10.9.0.0/16")
        good = token("production", "app-sa")
        before = s.accessors()
        hour_ago = ["iat=-7200", "nbf=-7200", "exp=-3600"]
        for case, jwt, role, text in [
            ("another account", token("production", "other-sa"), "app-role", NAME),
            ("another namespace", token("staging", "app-sa"), "app-role", NAMESPACE),
            ("the account of the reviewer", token("vault", "vault-auth"), "app-role", NAME),
            ("the role's audience is not the token's", good, "audience", AUDIENCE),
            ("another audience than the role's", token("production", "app-sa", "--audience=elsewhere"), "audience", AUDIENCE),
            ("expired", mint("production", "app-sa", *hour_ago), "app-role", EXPIRED),
            ("not yet valid", mint("production", "app-sa", "nbf=1800", "exp=3600"), "app-role", EARLY),
            ("signed with another key", mint("production", "app-sa", "key=new"), "app-role", DENIED),
            ("of another issuer", mint("production", "app-sa", "iss=https://elsewhere.example"), "app-role", DENIED),
            ("with the id of another account", mint("production", "app-sa", "uid=" + uid("production", "other-sa")), "app-role", DENIED),
            ("an address the role is not bound to", good, "far", DENIED),
            *[(case, jwt, "app-role", DENIED) for case, jwt in forgeries(good).items()],
        ]:
            assert_denied(s.login(jwt, role), 403, text, case)
        for case, body, text in [
            ("no role", {"jwt": good}, "missing role"),
            ("no jwt", {"role": "app-role"}, "missing jwt"),
            ("empty", {}, "missing role"),
            ("unknown role", {"role": "nobody", "jwt": good}, 'invalid role name "nobody"'),
            ("a role that is a path", {"role": "../config", "jwt": good}, 'invalid role name "../config"'),
        ]:
            assert_denied(s.ask("PUT", "auth/kubernetes/login", body, token=""), 400, text, case)
        for case, body in [("a list for jwt", {"role": "app-role", "jwt": [good]}), ("an object for role", {"role": {}, "jwt": good})]:
            answer = s.ask("PUT", "auth/kubernetes/login", body, token="")
            assert answer.status == 400 and answer.errors, f"{case}: {answer}"
        assert s.accessors() == before, "a refused login left a token"
        assert s.login(token("production", "app-sa", "--audience=vault"), "audience").status == 200
        audit_tells(s, good)


def audit_tells(s, jwt):
    """Refused logins are in the audit file, and nothing in any file of the server is a token in plain."""
    lines = [json.loads(line) for line in s.audit.read_text().splitlines()]
    refused = [e for e in lines if e["type"] == "response" and e["request"]["path"] == "auth/kubernetes/login" and e.get("error")]
    texts = " ".join(e["error"] for e in refused)
    for text in [NAME, NAMESPACE, AUDIENCE, EXPIRED, DENIED, "missing jwt"]:
        assert text in texts, f"no refusal with {text!r} in the audit file"
    assert all(e["request"]["data"]["jwt"].startswith("hmac-sha256:") for e in refused if isinstance(e["request"].get("data", {}).get("jwt"), str))
    reviewer = Path(os.environ["KUBE_REVIEWER_JWT_FILE"]).read_text().strip()
    needles = {jwt, jwt.split(".")[2], reviewer, reviewer.split(".")[2], s.token, "s3cr3t-of-the-app"}
    for folder in [s.dir / "data", *([s.audit, s.dir / "server.log"])]:
        found = {n for n in needles if n.encode() in folder.read_bytes()} if folder.is_file() else readable(folder, needles)
        assert not found, f"readable in {folder}: {len(found)} of them, the first begins {min(found)[:8]}"


def test_an_account_that_is_gone():
    with Scene() as s:
        s.role("any", "bound_service_account_names=*", "bound_service_account_namespaces=production", "policies=app-policy")
        kubectl("-n", "production", "create", "sa", "leaver")
        jwt = token("production", "leaver")
        kubectl("-n", "production", "delete", "sa", "leaver")
        # The API server hears of a deletion a moment later and may keep an answer for 10 s.
        s.wait_for(lambda: s.login(jwt, "any").status == 403, "a refusal of the deleted account")
        assert_denied(s.login(jwt, "any"), 403, DENIED, "deleted")
        kubectl("-n", "production", "create", "sa", "leaver")
        assert_denied(s.login(jwt, "any"), 403, DENIED, "made again with another id")
        kubectl("-n", "production", "delete", "sa", "leaver")


def test_a_token_of_a_secret():
    with Scene() as s:
        answer = s.login(mint("production", "app-sa", "legacy=1"))
        assert answer.status == 200 and answer.json["auth"]["metadata"]["service_account_secret_name"] == "app-sa-token", answer
        kubectl("-n", "production", "delete", "secret", "app-sa-token")


def test_an_api_server_that_does_not_help():
    with Scene() as s:
        jwt = token("production", "app-sa")
        (s.dir / "no-review.jwt").write_text(token("vault", "no-review"))
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "/dev/null",
            "-subj", "/CN=somebody else", "-days", "3", "-out", str(s.dir / "other-ca.crt"))
        for mount, change in [
            ("nobody-listens", {"host": "https://127.0.0.1:1"}),
            ("of-another-ca", {"ca": s.dir / "other-ca.crt"}),
            ("may-not-review", {"reviewer": s.dir / "no-review.jwt"}),
        ]:
            s.cli("auth", "enable", f"-path={mount}", "kubernetes")
            s.configure(mount, **change)
            s.cli("write", f"auth/{mount}/role/app-role", "bound_service_account_names=app-sa", "bound_service_account_namespaces=production")
            assert_denied(s.login(jwt, mount=mount), 403, DENIED, mount)
        s.cli("auth", "enable", "-path=unconfigured", "kubernetes")
        s.cli("write", "auth/unconfigured/role/app-role", "bound_service_account_names=app-sa", "bound_service_account_namespaces=production")
        assert_denied(s.login(jwt, mount="unconfigured"), 500, "could not load backend configuration", "no configuration")
        assert s.login(jwt).status == 200
        assert jwt not in s.log_text() and jwt.split(".")[2] not in s.log_text()


def test_mistakes_in_configuration_and_roles():
    with Scene() as s:
        for path, body, text in [
            ("config", {}, "no host provided"),
            ("config", {"kubernetes_host": os.environ["KUBE_API"], "kubernetes_ca_cert": "no PEM"},
             "The provided CA PEM data contains no valid certificates"),
            ("role/r", {"bound_service_account_namespaces": "production"}, '"bound_service_account_names" can not be empty'),
            ("role/r", {"bound_service_account_names": "a"},
             '"bound_service_account_namespaces" can not be empty if "bound_service_account_namespace_selector" is not set'),
            ("role/r", {"bound_service_account_names": "*,a", "bound_service_account_namespaces": "b"}, 'can not mix "*" with values'),
            ("role/r", {"bound_service_account_names": "a", "bound_service_account_namespaces": "b", "alias_name_source": "x"},
             "invalid alias_name_source, must be one of: serviceaccount_uid, serviceaccount_name"),
        ]:
            answer = s.ask("PUT", f"auth/kubernetes/{path}", body)
            assert answer.status == 400 and answer.errors == [text], f"{body}: {answer}"
        # A refused write changed nothing.
        assert s.login(token("production", "app-sa")).status == 200
        assert s.ask("GET", "auth/kubernetes/role/r").status == 404


def test_after_kill_9_and_at_the_end_of_a_mount():
    with Scene() as s:
        jwt = token("production", "app-sa")
        first = s.login(jwt).json["auth"]
        s.kill()
        s.start()
        sealed = s.login(jwt)
        assert sealed.status == 503 and sealed.errors == ["Vault is sealed"], sealed
        s.unseal()
        path = "secret/data/production/app"
        assert s.ask("GET", path, token=first["client_token"]).data["data"]["password"] == "s3cr3t-of-the-app"
        second = s.login(jwt).json["auth"]
        assert second["entity_id"] == first["entity_id"], "another entity after a restart"
        # Renewal reads the role anew and does not go by without it.
        s.ask("DELETE", "auth/kubernetes/role/app-role")
        renewal = s.ask("PUT", "auth/token/renew-self", {}, token=second["client_token"])
        assert renewal.status >= 400 and "role app-role does not exist during renewal" in renewal.errors[0], renewal
        assert_denied(s.login(jwt), 400, 'invalid role name "app-role"', "a deleted role")
        s.cli("auth", "disable", "kubernetes/")
        for auth in [first, second]:
            assert s.ask("GET", path, token=auth["client_token"]).status == 403


harness.main(globals())
