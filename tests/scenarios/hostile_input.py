"""Bad input of every kind against the running server: bodies, fields, methods, paths, tokens, headers. Whatever comes, the answer
has a right status and the shape of an error, nothing sent stands in an error, a log or the audit file, and the server lives on.

What goes over every endpoint is in every_endpoint.py, what is wrong below HTTP in hostile_network.py, what is wrong on the disk in hostile_disk.py.
"""
import base64
import http.client
import json
import re
import socket

import harness
from harness import Server

MIB = 1 << 20
# Answers to anything wrong: the client's mistakes. 5xx would say that the server failed.
MISTAKES = {400, 403, 404, 405, 413, 415, 431}
LONG = "x" * 70_000


class Target(Server):
    """A server with something mounted; `survived` asserts that all that was sent did it no harm."""

    def __enter__(self):
        self.start().init(1, 1)
        self.audit = self.dir / "audit.log"
        for path, body in [
            ("sys/mounts/secret", {"type": "kv", "options": {"version": "2"}}),
            ("sys/mounts/kv", {"type": "kv"}),
            ("sys/auth/userpass", {"type": "userpass"}),
            ("sys/auth/kubernetes", {"type": "kubernetes"}),
            ("sys/mounts/totp", {"type": "totp"}),
            *((f"sys/auth/{kind}", {"type": kind}) for kind in ["cert", "jwt"]),
            ("sys/audit/file", {"type": "file", "options": {"file_path": str(self.audit), "write_timeout": "60s"}}),
            ("sys/policies/acl/x", {"policy": 'path "secret/data/x" { capabilities = ["read"] }'}),
            ("auth/userpass/users/x", {"password": "pw"}),
            ("auth/token/roles/x", {}),
            ("identity/entity", {"name": "x"}),
        ]:
            answer = self.ask("POST", path, body)
            assert answer.status in (200, 204), f"{path}: {answer}"
        for path in ["secret/data/x", "secret/data/kept"]:
            assert self.ask("POST", path, {"data": {"k": "before"}}).status == 200
        self.rss_before = self.rss()
        return self

    def rss(self, field="VmRSS"):
        status = open(f"/proc/{self.proc.pid}/status").read()
        return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) * 1024

    def survived(self, growth=64 * MIB):
        assert self.proc.poll() is None, f"the server is gone:\n{self.log_text()[-3000:]}"
        health = self.ask("GET", "sys/health")
        assert health.status == 200, f"{health}\n{self.log_text()[-2000:]}"
        assert self.ask("GET", "secret/data/kept").data["data"]["k"] == "before"
        log = self.log_text()
        assert "panicked" not in log, log[log.index("panicked") - 300:][:2000]
        grown = self.rss() - self.rss_before
        assert grown < growth, f"{grown >> 20} MiB more than before"


def shaped(answer, case):
    """An error is `{"errors": [text…]}`, with `data` or `warnings` at most beside it; where OAuth rules, RFC 6749's."""
    if answer.status < 400 or answer.status == 404 and answer.json and "request_id" in answer.json:
        return
    if not answer.raw:
        assert answer.status in (400, 405, 431), f"{case}: no body: {answer}"
        return
    if re.search(r"/oidc/callback\b", str(case)) and answer.headers.get("Content-Type") == "text/html; charset=utf-8":
        return  # a browser asks, and its user reads
    assert answer.headers.get("Content-Type") == "application/json", f"{case}: {answer.headers}"
    if re.search(r"identity/oidc/provider/\w+/(authorize|token|userinfo)\b", str(case)) and "error" in answer.json:
        assert {"error", "error_description"} <= answer.json.keys() <= {"error", "error_description", "state"}, f"{case}: {answer}"
        return
    assert isinstance(answer.errors, list) and all(isinstance(e, str) for e in answer.errors), f"{case}: {answer}"


def refused(answer, case, statuses=None):
    assert answer.status in (statuses or MISTAKES), f"{case}: {answer}"
    shaped(answer, case)


def test_bodies_that_are_no_data():
    deep = 100_000
    cases = {
        "not JSON": b"hunter2",
        "half an object": b'{"a": ',
        "half a string": b'{"a": "b',
        "half an escape": b'{"a": "\\',
        "two values": b'{"a": "b"} {"c": "d"}',
        "a comma too many": b'{"a": "b",}',
        "a list": b'[{"a": "b"}]',
        "a text": b'"a"',
        "a number": b"17",
        "not a number": b'{"a": NaN}',
        "a long number": b'{"a": ' + b"9" * 100 + b"}",
        "a huge exponent": b'{"a": 1e' + b"9" * 100 + b"}",
        "invalid UTF-8 in a value": b'{"a": "\xff\xfe"}',
        "invalid UTF-8 in a key": b'{"\xc3\x28": "b"}',
        "an overlong form": b'{"a": "\xc0\xaf"}',
        "half a surrogate": b'{"a": "\\ud800"}',
        "a byte order mark": b'\xef\xbb\xbf{"a": "b"}',
        "UTF-16": '{"a": "b"}'.encode("utf-16"),
        "a raw newline in a string": b'{"a": "b\nc"}',
        "a NUL": b'{"a": "b"}\x00',
        "deep lists": b'{"a": ' + b"[" * deep + b"]" * deep + b"}",
        "deep objects": b'{"a":' * deep + b"1" + b"}" * deep,
        "deep and unclosed": b"[" * MIB,
        "one key twice": b'{"data": {"a": "1", "a": "2"}}',
        "many entries": json.dumps({"data": {str(i): 1 for i in range(20_000)}}).encode(),
        "many elements": json.dumps({"data": {"a": [1] * 20_000}}).encode(),
        "many values": json.dumps({"data": [[1] * 9_000] * 60}).encode(),
        "a long text": json.dumps({"data": {"a": "x" * (MIB + 1)}}).encode(),
        "a long key": json.dumps({"data": {"x" * (MIB + 1): "a"}}).encode(),
    }
    with Target() as s:
        for case, body in cases.items():
            for method, path in [("POST", "secret/data/x"), ("PUT", "kv/x"), ("PATCH", "secret/data/x"), ("PUT", "auth/userpass/login/x"),
                                 ("PUT", "sys/unseal"), ("PUT", "sys/wrapping/unwrap")]:
                refused(s.ask(method, path, body), f"{case} to {method} {path}", {400, 413})
        # The same, said to be something else: what looks like JSON is taken as JSON, and PATCH insists on its type.
        for media, statuses in [("application/x-www-form-urlencoded", {400, 404}), ("text/plain", {400}), ("a/b; c=\u00e9", {400}), ("", {400})]:
            refused(s.ask("POST", "secret/data/x", b"hunter2", headers={"Content-Type": media.encode("latin-1")}), media, statuses)
        for media, status in [("application/json", 415), ("text/plain", 415), ("/", 415)]:
            refused(s.ask("PATCH", "secret/data/x", b"{}", headers={"Content-Type": media}), media, {status})
        s.survived()


def chunked(s, path, megabytes, token):
    """Sends a body without saying how long it is; answers the status line."""
    with socket.create_connection(("127.0.0.1", s.port), timeout=harness.PATIENCE_S) as conn:
        conn.sendall(f"POST /v1/{path} HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {token}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"100000\r\n" + b" " * MIB + b"\r\n"
        try:
            for _ in range(megabytes):
                conn.sendall(chunk)
            conn.sendall(b"0\r\n\r\n")
        except OSError:
            pass  # the server has answered and closed
        try:
            return conn.recv(4096).split(b"\r\n")[0]
        except ConnectionResetError:
            return b"reset"


def test_bodies_that_are_too_large():
    with Target() as s:
        for path in ["secret/data/x", "auth/userpass/login/x", "sys/unseal", "sys/init", "nowhere/x"]:
            for token in [s.token, ""]:
                with socket.create_connection(("127.0.0.1", s.port), timeout=harness.PATIENCE_S) as conn:
                    # Declared only: the answer comes before a byte of it.
                    conn.sendall(f"POST /v1/{path} HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {token}\r\nContent-Length: 41943040\r\n\r\n".encode())
                    assert conn.recv(4096).startswith(b"HTTP/1.1 413 "), path
                assert chunked(s, path, 34, token) in (b"HTTP/1.1 413 Payload Too Large", b"reset"), path
        # Ten bodies of 32 MiB, one after the other: the allocator may keep the room of the last few, not of all.
        s.survived(growth=128 * MIB)
        assert s.rss("VmHWM") < s.rss_before + 160 * MIB, "oversize bodies pile up"
        # 32 MiB of blanks are within the bound and no JSON.
        assert chunked(s, "secret/data/x", 31, s.token).startswith(b"HTTP/1.1 400 ")


class Steady:
    """One kept connection, for thousands of requests."""

    def __init__(self, s):
        self.server = s
        self.conn = http.client.HTTPConnection("127.0.0.1", s.port, timeout=harness.PATIENCE_S)

    def ask(self, method, path, body, token):
        head = {"X-Vault-Token": token} if token else {}
        if method == "PATCH":
            head["Content-Type"] = "application/merge-patch+json"
        try:
            self.conn.request(method, f"/v1/{path}", body, head)
            reply = self.conn.getresponse()
        except (ConnectionError, http.client.RemoteDisconnected):
            # The server closes a connection on which it did not read a body to its end.
            self.conn.close()
            self.conn.request(method, f"/v1/{path}", body, head)
            reply = self.conn.getresponse()
        return harness.Answer(reply.status, reply.read(), reply.headers)


def test_tokens_that_are_none():
    with Target() as s:
        made = s.ask("POST", "auth/token/create", {"policies": ["x"]}).json["auth"]["client_token"]
        batch = s.ask("POST", "auth/token/create", {"policies": ["x"], "type": "batch"}).json["auth"]["client_token"]
        wrapped = s.ask("GET", "secret/data/x", headers={"X-Vault-Wrap-TTL": "60"}).json["wrap_info"]["token"]
        accessor = s.ask("POST", "auth/token/lookup", {"token": made}).data["accessor"]
        assert s.ask("GET", "secret/data/x", token=made).status == s.ask("GET", "secret/data/x", token=batch).status == 200
        flipped = [batch[:i] + ("A" if batch[i] != "A" else "B") + batch[i + 1:] for i in range(4, len(batch), 9)]
        bad = [
            "x", "root", "null", "hvs.", "hvb.", "hvr.x", "s.", "b.", "..", "/", "%00", "*", "hvs." + "A" * 24, "hvs.CAES" + "A" * 87,
            "hvb." + "A" * 8000, "hvb.!!!!", "hvb.AAAA", "hvb." + base64.urlsafe_b64encode(bytes(range(256))).decode(), "A" * 30_000,
            made[:-1], made + "A", made.upper(), made.swapcase(), made[4:], "hvb." + made[4:], batch[:-1], batch + "A", "hvs." + batch[4:],
            accessor, "x\ty", "\u00e9\u00ff", "' OR 1=1 --", made + "," + made, *flipped,
        ]
        for token in bad:
            for head in [{"X-Vault-Token": token.encode("latin-1")}, {"Authorization": b"Bearer " + token.encode("latin-1")}]:
                refused(s.ask("GET", "secret/data/x", token="", headers=head), f"{token[:40]!r} in {head.keys()}", {403})
                refused(s.ask("POST", "auth/token/lookup-self", {}, token="", headers=head), f"{token[:40]!r}", {403})
        for body in [{"token": t} for t in bad if t.isascii()]:
            for path in ["auth/token/lookup", "auth/token/renew", "sys/wrapping/lookup", "sys/wrapping/unwrap", "sys/capabilities"]:
                if path.startswith("sys/capabilities"):
                    body = {**body, "path": "x"}
                refused(s.ask("POST", path, body), f"{path} {str(body)[:60]}", {400, 403, 404})
        # A wrapping token opens what it wraps and nothing else; trying it elsewhere uses it up.
        refused(s.ask("GET", "secret/data/x", token=wrapped), "a wrapping token as a client's", {403})
        refused(s.ask("POST", "sys/wrapping/unwrap", {"token": wrapped}), "a used wrapping token", {400})
        s.survived()


def test_headers_that_make_no_sense():
    with Target() as s:
        for ttl in ["-1", "-5s", "abc", "1e9", "5x", "9" * 30, "1h-", "NaN", "0x10", "1 h", "9999999999999h", "\u00b2"]:
            refused(s.ask("GET", "secret/data/x", headers={"X-Vault-Wrap-TTL": ttl.encode("latin-1")}), f"wrap TTL {ttl}", {400})
        negative = s.ask("GET", "secret/data/x", headers={"X-Vault-Wrap-TTL": "-5s"})
        assert negative.errors == ["error parsing X-Vault-Wrap-TTL header: requested wrap ttl cannot be negative"], negative
        # No TTL at all, and one that is cut to what the server allows.
        assert s.ask("GET", "secret/data/x", headers={"X-Vault-Wrap-TTL": "0"}).data["data"]["k"] == "before"
        for head in [
            {"X-Vault-MFA": ":"}, {"X-Vault-MFA": "name:"}, {"X-Vault-Forward": "active-node"},
            {"Content-Length": "-1"}, {"Content-Length": "1e3"}, {"Content-Length": "9" * 30}, {"Transfer-Encoding": "gzip, identity"},
        ]:
            refused(s.ask("GET", "secret/data/x", headers=head), head, {400, 413, 501})
        for head in [
            {"X-Vault-Namespace": "../../x"}, {"X-Vault-Wrap-Format": "\u00ff" * 100}, {"X-Vault-Policy-Override": "perhaps"},
            {"X-Vault-Index": "!!"}, {"X-Vault-Inconsistent": "x"}, {"Accept": "*" * 1000}, {"X-Forwarded-For": "1.2.3.4, ::1, x"},
            {"Host": "evil.example"}, {"Expect": "200-maybe"}, {"Origin": "http://evil.example"}, {"Range": "bytes=5-1"},
        ]:
            answer = s.ask("GET", "secret/data/x", headers={k: v.encode("latin-1") for k, v in head.items()})
            assert answer.status < 500 and answer.status != 404, f"{head}: {answer}"
        for query in ["list=perhaps", "list=true&list=false", "version=x", "version=-1", "version=99999999999999999999", "version[]=1", "%zz=1",
                      "version=1&version=2", "&&&==&", "a=" + "x" * 6000, "help="]:
            answer = s.ask("GET", f"secret/data/x?{query}")
            assert answer.status < 500, f"{query[:60]}: {answer}"
            shaped(answer, query[:60])
        s.survived()


def test_paths_that_lead_nowhere():
    relative = "relative paths not supported"
    with Target() as s:
        for path, status, words in [
            ("secret/data/%00", 400, None), ("secret/data/a%0Ab", 400, None), ("secret/data/a%7Fb", 400, None), ("secret/data/%FF", 400, None),
            ("secret/data/%C3%28", 400, None), ("secret/data/%E2%80%AEx", 400, None), ("secret/data/%ED%A0%80", 400, None),
            ("secret/data/%F4%90%80%80", 400, None), ("x" * 9000, 400, None),
            ("secret/data/a/%2e%2e/b", 400, relative), ("secret/data/a..b", 400, relative), ("kv/%2e%2e", 400, relative),
            ("cubbyhole/%2e%2e/x", 400, relative), ("secret/metadata/%2e%2e/%2e%2e/sys", 400, relative), ("kv/a%2f%2e%2e%2fb", 400, relative),
            ("kv/a/", 400, "cannot write to a path ending in '/'"),
            ("kv/" + "a/" * 300 + "b", 400, "the path has too many segments"), ("secret/data/" + "a/" * 3900 + "b", 400, "too many segments"),
            ("cubbyhole/" + "a/" * 3900 + "b", 400, "too many segments"),
            ("auth/userpass/users/" + "a/" * 300 + "b", 404, None),
            ("nowhere/x", 404, "no handler for route"), ("sys/nothing", 404, "unsupported path"), ("auth/nowhere/login", 404, "no handler for route"),
        ]:
            answer = s.ask("POST", path, {"data": {"a": "b"}})
            refused(answer, path[:60], {status})
            assert words is None or words in answer.errors[0], f"{path[:60]}: {answer}"
            assert s.ask("GET", path).status in (400, 404), path[:60]
        # The path is cleaned before anything looks at it, so no rule can be walked around.
        for path, clean in [("secret//data/x", "/v1/secret/data/x"), ("secret/./data/x", "/v1/secret/data/x"), ("a/../sys/mounts", "/v1/sys/mounts"),
                            ("../../../etc/passwd", "/etc/passwd"), ("secret/data/../../sys/raw/x", "/v1/sys/raw/x")]:
            for method in ["GET", "POST", "DELETE", "LIST"]:
                answer = s.ask(method, path)
                assert (answer.status, answer.headers.get("Location")) == (307, clean), f"{method} {path}: {answer}"
        # Names anybody may have.
        for name in ["%20", "%C3%A4", "a%2Fb", "%F0%9F%94%91", "%25", "a%3Fb", "%22%27%3C%3E", "CON", "x" * 4000]:
            assert s.ask("POST", f"kv/{name}", {"v": name}).status == 204, name
            assert s.ask("GET", f"kv/{name}").data["v"] == name
        s.survived()


def test_many_names_cost_little_memory():
    """Names come from anybody (logins of users that are not there), and are kept sealed for a while: bounded by bytes."""
    with Target() as s:
        line = Steady(s)
        for i in range(4000):
            if i < 40:  # each costs the work of a password hash
                path = f"auth/userpass/login/{i:06}{'u' * 3900}"
                assert line.ask("PUT", path, b'{"password": "x"}', "").status == 400
            assert line.ask("GET", f"kv/{i:06}{'n' * 7000}", None, s.token).status == 404
        s.survived(growth=48 * MIB)


if __name__ == "__main__":
    harness.main(globals())
