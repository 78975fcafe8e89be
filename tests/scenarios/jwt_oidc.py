"""Logins with signed tokens and through a real OpenID provider: static keys, a key set with a change of keys and an outage,
discovery, and the whole sign-in with `login -method=oidc`, whose browser is a loop over redirects."""
import contextlib
import html
import http.client
import http.cookiejar
import http.server
import json
import os
import re
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import harness
from jwt_oidc_keys import Key

PROVIDER = harness.ROOT / "tests" / "oidc" / "provider.mjs"


@contextlib.contextmanager
def site(pages):
    """Serves `pages` (path to object; a number is a status, a text a redirect) and lists what was asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            page = pages.get(self.path, 404)
            body = b"" if isinstance(page, (int, str)) else json.dumps(page).encode()
            self.send_response(page if isinstance(page, int) else 302 if isinstance(page, str) else 200)
            if isinstance(page, str):
                self.send_header("Location", page)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()


@contextlib.contextmanager
def strongroom(kind):
    with harness.Server() as server:
        server.start().init()
        ok(server.ask("POST", f"sys/auth/{kind}", {"type": kind}))
        ok(server.ask("POST", "sys/policies/acl/dev", {"policy": 'path "sys/mounts" { capabilities = ["read"] }'}))
        yield server


def ok(answer):
    assert answer.status in (200, 204), answer
    return answer


def role(server, mount="jwt", **fields):
    body = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": "strongroom", "token_policies": "dev", **fields}
    ok(server.ask("POST", f"auth/{mount}/role/r", body))


def login(server, jwt):
    return server.ask("POST", "auth/jwt/login", {"role": "r", "jwt": jwt}, token="")


def command(server, *args, env=None):
    home = tempfile.mkdtemp(prefix="strongroom-home-")
    full = {"PATH": os.environ["PATH"], "HOME": home, "VAULT_ADDR": server.addr, **(env or {})}
    return subprocess.Popen([harness.BINARY, *args], env=full, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_static_keys_and_external_groups():
    key, stranger = Key("k"), Key("k")
    with strongroom("jwt") as server:
        ok(server.ask("POST", "auth/jwt/config", {"jwt_validation_pubkeys": [key.pem], "bound_issuer": "me"}))
        role(server, token_policies="", groups_claim="groups")
        accessor = server.ask("GET", "sys/auth").json["data"]["jwt/"]["accessor"]
        group = ok(server.ask("POST", "identity/group", {"name": "dev", "type": "external", "policies": ["dev"]})).data["id"]
        ok(server.ask("POST", "identity/group-alias", {"name": "dev", "mount_accessor": accessor, "canonical_id": group}))
        for claims in ({"iss": "you"}, {"aud": "other"}, {"exp": int(time.time()) - 100}, {"sub": None}, {"groups": 7}):
            assert login(server, key.sign(**claims)).status == 400, claims
        assert login(server, stranger.sign()).status == 400
        run = command(server, "login", "-method=jwt", "-token-only", "role=r", f"jwt={key.sign()}")
        out, err = run.communicate(timeout=harness.PATIENCE_S)
        assert run.returncode == 0, err
        assert server.ask("GET", "sys/mounts", token=out.strip()).status == 200, "the group's policy holds"
        plain = login(server, key.sign(groups=["sales"])).json["auth"]["client_token"]
        assert server.ask("GET", "sys/mounts", token=plain).status == 403, "and no longer once the claim is gone"


def test_a_key_set_that_changes_and_goes_out():
    old, new = Key("old"), Key("new")
    pages = {"/jwks": {"keys": [old.jwk]}, "/away": "http://127.0.0.1:1/"}
    with site(pages) as (url, asked), strongroom("jwt") as server:
        for bad in ("/nothing", "/away"):
            answer = server.ask("POST", "auth/jwt/config", {"jwks_url": url + bad})
            assert answer.errors == [f"error checking jwks URL {url}{bad}"], answer
        ok(server.ask("POST", "auth/jwt/config", {"jwks_url": f"{url}/jwks"}))
        role(server)
        assert login(server, old.sign()).status == 200
        pages["/jwks"] = {"keys": [new.jwk]}
        assert login(server, new.sign()).status == 200, "an unknown key brings fresh ones"
        assert login(server, old.sign()).status == 400
        pages["/jwks"] = 503
        assert login(server, new.sign()).status == 200, "an outage costs nothing"
        before = len(asked)
        for _ in range(50):
            assert login(server, old.sign()).status == 400
        assert len(asked) - before <= 5, "a flood is not passed on"


def test_discovery():
    key = Key("k")
    pages = {"/jwks": {"keys": [key.jwk]}}
    with site(pages) as (url, _), strongroom("jwt") as server:
        document = {"issuer": url, "jwks_uri": f"{url}/jwks", "authorization_endpoint": f"{url}/a", "token_endpoint": f"{url}/t"}
        for bad in ({"issuer": "http://other"}, {"jwks_uri": "file:///etc/passwd"}):
            pages["/.well-known/openid-configuration"] = document | bad
            assert server.ask("POST", "auth/jwt/config", {"oidc_discovery_url": url}).status == 400, bad
        pages["/.well-known/openid-configuration"] = document
        ok(server.ask("POST", "auth/jwt/config", {"oidc_discovery_url": url}))
        role(server)
        assert login(server, key.sign()).status == 200
        assert login(server, Key("k").sign()).status == 400
        for target in ("http://169.254.169.254/", "http://[fe80::1]/"):
            assert server.ask("POST", "auth/jwt/config", {"oidc_discovery_url": target}).status == 400


@contextlib.contextmanager
def provider(port, redirect):
    run = subprocess.Popen(["node", PROVIDER, str(port), redirect], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert run.stdout.readline().strip() == "ready"
        yield f"http://127.0.0.1:{port}"
    finally:
        run.kill()
        run.wait()


class Browser:
    """Follows redirects with cookies and fills in the provider's two forms."""

    def __init__(self):
        self.open = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())).open

    def sign_in(self, address, name):
        page = self.open(address, timeout=harness.PATIENCE_S)
        for form in ({"prompt": "login", "login": name, "password": "x"}, {"prompt": "consent"}):
            action = html.unescape(re.search(r'action="([^"]+)"', page.read().decode()).group(1))
            target = urllib.parse.urljoin(page.url, action)
            try:
                page = self.open(target, urllib.parse.urlencode(form).encode(), timeout=harness.PATIENCE_S)
            except urllib.error.HTTPError as refused:
                page = refused
        return page.status, page.read().decode()


@contextlib.contextmanager
def oidc():
    listen, port = harness.free_port(), harness.free_port()
    redirect = f"http://localhost:{listen}/oidc/callback"
    with provider(port, redirect) as issuer, strongroom("oidc") as server:
        ok(server.ask("POST", "auth/oidc/config", {
            "oidc_discovery_url": issuer, "oidc_client_id": "strongroom", "oidc_client_secret": "s+c/ret with blanks",
            "default_role": "people"}))
        ok(server.ask("POST", "auth/oidc/role/people", {
            "user_claim": "sub", "groups_claim": "groups", "oidc_scopes": "profile", "allowed_redirect_uris": redirect,
            "bound_claims": {"groups": ["ops"]}, "claim_mappings": {"mail": "email"}, "token_policies": "dev"}))
        yield server, listen, redirect


def begin(server, listen, *more):
    run = command(server, "login", "-method=oidc", *more, f"port={listen}", "skip_browser=true")
    for line in run.stderr:
        if line.strip().startswith("http"):
            return run, line.strip()
    raise AssertionError(f"no address: {run.communicate()}")


def test_the_whole_sign_in():
    with oidc() as (server, listen, redirect):
        run, address = begin(server, listen, "-format=json", "-no-store")
        # A page that does not know the state neither logs in nor ends the waiting.
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(f"{redirect}?state=st_x&code=y", timeout=harness.PATIENCE_S)
        status, page = Browser().sign_in(address, "alice")
        assert status == 200 and "Signed in" in page, page
        out, err = run.communicate(timeout=harness.PATIENCE_S)
        assert run.returncode == 0, err
        auth = json.loads(out)["auth"]
        assert auth["metadata"] == {"email": "alice@example.test", "role": "people"}, auth
        assert server.ask("GET", "sys/mounts", token=auth["client_token"]).status == 200
        run, address = begin(server, listen)
        status, _ = Browser().sign_in(address, "mallory")
        _, err = run.communicate(timeout=harness.PATIENCE_S)
        assert status == 400 and run.returncode == 2 and "claim \"groups\" does not match" in err, err


def test_half_open_sign_ins_do_not_hurt():
    with oidc() as (server, listen, redirect):
        run, address = begin(server, listen, "-token-only")
        conn = http.client.HTTPConnection("127.0.0.1", server.port, timeout=harness.PATIENCE_S)
        body = json.dumps({"role": "people", "redirect_uri": redirect})
        for _ in range(10_000):
            conn.request("PUT", "/v1/auth/oidc/oidc/auth_url", body)
            reply = conn.getresponse()
            reply.read()
            assert reply.status == 200
        conn.close()
        status, page = Browser().sign_in(address, "alice")
        out, err = run.communicate(timeout=harness.PATIENCE_S)
        assert status == 200 and run.returncode == 0, (page, err)
        assert server.ask("GET", "auth/token/lookup-self", token=out.strip()).data["display_name"] == "oidc-alice"


harness.main(globals())
