"""What the edge does before and beside the core: rate limits, origins, configured headers, the log over HTTP, listings of many names.

Rules and figures have their tests in the rooms; here is what a client sees, also right after a restart.
"""
import http.client
import json
import socket

import harness
from harness import Server


def limited(s, count, path="kv/x", method="GET"):
    return [s.ask(method, path).status for _ in range(count)].count(429)


def test_rate_limits_hold_before_the_body_is_read_and_after_a_restart():
    with Server() as s:
        s.start().init(1, 1)
        s.ask("POST", "sys/mounts/kv", {"type": "kv"})
        s.ask("POST", "sys/quotas/config", {"enable_rate_limit_response_headers": True})
        assert s.ask("POST", "sys/quotas/rate-limit/kv", {"rate": 5, "interval": "1h", "path": "kv"}).status == 204
        first = s.ask("GET", "kv/x")
        assert first.status == 404 and first.headers["X-RateLimit-Limit"] == "5", first.headers
        assert first.headers["X-RateLimit-Remaining"] == "4" and 3000 < int(first.headers["X-RateLimit-Reset"]) <= 3600
        assert "Retry-After" not in first.headers
        assert limited(s, 10) == 6
        over = s.ask("GET", "kv/x")
        assert over.errors == ['request path "kv/x": rate limit quota exceeded'] and int(over.headers["Retry-After"]) > 3000
        # CVE class N: a bad, a deep and an unfinished body are refused by the limit, not by the parser, and not waited for.
        for body in [b"hunter2", b"[" * 200_000]:
            assert s.ask("POST", "kv/x", body).status == 429
        with socket.create_connection(("127.0.0.1", s.port), timeout=harness.PATIENCE_S) as conn:
            conn.sendall(f"POST /v1/kv/x HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {s.token}\r\nContent-Length: 30000000\r\n\r\n".encode())
            assert b" 429 " in conn.recv(4096).split(b"\r\n")[0]
        assert s.ask("GET", "sys/health").status == 200
        metrics = s.ask("GET", "sys/metrics?format=prometheus").raw.decode()
        assert 'vault_quota_rate_limit_violation{name="kv"}' in metrics, metrics[:2000]
        s.stop()
        s.start().unseal()
        assert limited(s, 8) == 3, "the rule is there again, the count is not"
        assert s.ask("DELETE", "sys/quotas/rate-limit/kv").status == 204
        assert limited(s, 20) == 0


def test_limits_by_role_look_at_the_body_and_only_then():
    with Server() as s:
        s.start().init(1, 1)
        s.ask("POST", "sys/auth/approle", {"type": "approle"})
        ids = {}
        for role in ["app", "other"]:
            s.ask("POST", f"auth/approle/role/{role}", {"bind_secret_id": False, "token_bound_cidrs": "127.0.0.0/8"})
            ids[role] = s.ask("GET", f"auth/approle/role/{role}/role-id").data["role_id"]
        assert s.ask("POST", "sys/quotas/rate-limit/app", {"rate": 2, "interval": "1h", "path": "auth/approle", "role": "app"}).status == 204
        log_in = lambda role: s.ask("POST", "auth/approle/login", {"role_id": ids.get(role, role)}).status
        assert [log_in("app") for _ in range(4)] == [200, 200, 429, 429]
        assert [log_in("other") for _ in range(4)] == [200] * 4
        assert log_in("unknown") == 400
        assert s.ask("POST", "auth/approle/login", b"hunter2").status == 400


def test_other_origins():
    with Server() as s:
        s.start().init(1, 1)
        s.ask("POST", "sys/mounts/kv", {"type": "kv"})
        from_a = {"Origin": "https://a"}
        assert "Access-Control-Allow-Origin" not in s.ask("GET", "sys/health", headers=from_a).headers
        assert s.ask("POST", "sys/config/cors", {"allowed_origins": ["https://a"], "allowed_headers": ["X-Own"]}).status == 204
        seen = s.ask("GET", "sys/health", headers=from_a)
        assert seen.status == 200 and seen.headers["Access-Control-Allow-Origin"] == "https://a" and seen.headers["Vary"] == "Origin"
        seen = s.ask("GET", "kv/x", headers={"Origin": "https://b"})
        assert (seen.status, seen.errors) == (403, ["origin not allowed"])
        seen = s.ask("OPTIONS", "kv/x", token="", headers={**from_a, "Access-Control-Request-Method": "LIST"})
        assert seen.status == 200 and not seen.raw, seen
        assert seen.headers["Access-Control-Allow-Methods"] == "DELETE,GET,OPTIONS,POST,PUT,PATCH,LIST"
        assert seen.headers["Access-Control-Allow-Headers"].endswith("X-Vault-Token,X-Own") and seen.headers["Access-Control-Max-Age"] == "300"
        assert s.ask("OPTIONS", "kv/x", headers={**from_a, "Access-Control-Request-Method": "TRACE"}).status == 405
        assert s.ask("GET", "kv/x").status == 404, "without an origin nothing changes"
        s.stop()
        s.start().unseal()
        assert s.ask("GET", "kv/x", headers={"Origin": "https://b"}).status == 403
        assert s.ask("DELETE", "sys/config/cors").status == 204
        assert s.ask("GET", "kv/x", headers={"Origin": "https://b"}).status == 404


HEADERS = """
  custom_response_headers {
    "default" = { "X-All" = ["one", "two"], "X-Vault-Own" = ["no"] }
    "4xx"     = { "X-All" = ["class"] }
    "404"     = { "X-Code" = ["yes"], "Strict-Transport-Security" = ["max-age=1"] }
  }
"""


def test_configured_headers():
    with Server() as s:
        text = s.config.read_text()
        s.config.write_text(text.replace("tls_disable", HEADERS + "\n  tls_disable", 1))
        s.start().init(1, 1)
        s.ask("POST", "sys/mounts/kv", {"type": "kv"})
        ok, missing, denied = s.ask("GET", "sys/health"), s.ask("GET", "kv/x"), s.ask("GET", "kv/x", token="none")
        assert (ok.headers["X-All"], missing.headers["X-All"], denied.headers["X-All"]) == ("one; two", "class", "class")
        assert (ok.headers.get("X-Code"), missing.headers["X-Code"], denied.headers.get("X-Code")) == (None, "yes", None)
        assert (ok.headers["Strict-Transport-Security"][:10], missing.headers["Strict-Transport-Security"]) == ("max-age=31", "max-age=1")
        assert all("X-Vault-Own" not in a.headers for a in [ok, missing, denied])
        assert "begins with X-Vault-" in s.log_text()


def follow(s, query, token):
    conn = http.client.HTTPConnection("127.0.0.1", s.port, timeout=harness.PATIENCE_S)
    conn.request("GET", f"/v1/sys/monitor{query}", headers={"X-Vault-Token": token})
    return conn, conn.getresponse()


def test_the_log_over_http():
    with Server() as s:
        s.start().init(1, 1)
        levels = s.ask("GET", "sys/loggers").data
        assert levels["core"] == "info" and len(levels) > 5, levels
        assert s.ask("POST", "sys/loggers/core", {"level": "debug"}).status == 204
        assert s.ask("GET", "sys/loggers/core").data == {"core": "debug"} and s.ask("GET", "sys/loggers").data["http"] == "info"
        assert s.ask("POST", "sys/loggers", {"level": "warn"}).status == 204
        assert set(s.ask("GET", "sys/loggers").data.values()) == {"warn"}
        assert s.ask("POST", "sys/loggers/nobody", {"level": "warn"}).status == 400 and s.ask("POST", "sys/loggers", {"level": "loud"}).status == 400
        assert s.ask("DELETE", "sys/loggers").status == 204 and s.ask("GET", "sys/loggers").data["core"] == "info"
        for query in ["?log_level=loud", "?log_format=xml"]:
            assert s.ask("GET", "sys/monitor" + query).status == 400
        s.ask("POST", "sys/policies/acl/p", {"policy": 'path "sys/monitor" { capabilities = ["read"] }'})
        plain = s.ask("POST", "auth/token/create", {"policies": ["p"]}).json["auth"]["client_token"]
        assert s.ask("GET", "sys/monitor", token=plain).status == 403, "needs sudo"
        conn, reply = follow(s, "?log_level=info&log_format=json", s.token)
        assert reply.status == 200
        s.proc.send_signal(1)  # SIGHUP says that it reloads
        line = json.loads(reply.readline())
        assert line["fields"]["message"] == "reloading", line
        conn.close()
        # The places of those who went away are free again, and the server ends although somebody still follows.
        for _ in range(20):
            conn, reply = s.wait_for(lambda: (f := follow(s, "", s.token))[1].status == 200 and f, "a free place")
            conn.close()
        conn, reply = s.wait_for(lambda: (f := follow(s, "", s.token))[1].status == 200 and f, "a free place")
        s.stop()
        reply.read()  # raises if the stream was torn off instead of ended
        conn.close()


def test_a_page_of_many_names_is_quick():
    with Server() as s:
        s.start().init(1, 1)
        s.ask("POST", "sys/mounts/kv", {"type": "kv"})
        conn = http.client.HTTPConnection("127.0.0.1", s.port, timeout=harness.PATIENCE_S)
        count = 3000
        for n in range(count):
            conn.request("PUT", f"/v1/kv/many/{n:06}", body=b'{"a": 1}', headers={"X-Vault-Token": s.token})
            reply = conn.getresponse()
            reply.read()
            assert reply.status == 204
        seen, after = [], ""
        while True:
            page = s.ask("LIST", f"kv/many?limit=250&after={after}")
            if page.status == 404:
                break
            keys = page.data["keys"]
            assert len(keys) <= 250
            seen += keys
            after = keys[-1]
        assert sorted(seen) == [f"{n:06}" for n in range(count)]
        scan = s.ask("SCAN", "kv/")
        assert len(scan.data["keys"]) == count and s.ask("GET", "kv/?scan=true").data == scan.data


if __name__ == "__main__":
    harness.main(globals())
