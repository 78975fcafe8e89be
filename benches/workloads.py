"""What is asked of the servers: preparation, and one request for each workload.

A workload that a server has no engine for is skipped for this server, with the reason.
"""

import base64
import json
import time

from target import ApiError

VALUE = "v" * 1024  # the 1 KiB of every secret
BATCH_ITEMS = 100
SIGN_BATCH = json.dumps({"batch_input": [{"input": base64.b64encode(b"item %d" % i).decode()} for i in range(BATCH_ITEMS)]})
HOT_KEYS = 100
LIST_KEYS = 10_000
POLICIES = 20
RULES = 50

RULES_OF_BENCH = """
path "secret/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "transit/*" { capabilities = ["create", "read", "update", "list"] }
path "auth/token/create" { capabilities = ["create", "update"] }
"""


def secret_body(value=VALUE):
    """A KV v2 write."""
    return '{"data":{"value":"' + value + '"}}'


class Workload:
    """One row of the table. `needs` names a preparation that may be lacking; `limit` is `http`, `https` or `fdatasync`."""

    def __init__(self, key, title, connections, request, limit, needs="kv", tls=False, budgets=None, recorded=None):
        self.key = key
        self.title = title
        self.connections = connections
        self.request = request
        self.limit = limit
        self.needs = needs
        self.tls = tls
        self.budgets = budgets or {}  # design §8: {"limit": share, "peer": times, (other key): share of that row}
        self.recorded = recorded  # the better peer's share of the limit in the run of 2026-11-24 (a rate over a limit)


def read(token="bench"):
    """The hot read."""
    return lambda server: {
        "method": "GET", "path": "/v1/secret/data/hot-{{i}}", "token": server.tokens[token], "expect": [200],
        "spread": HOT_KEYS,
    }


def write(prefix):
    """A durable write to a fresh key."""
    return lambda server: {
        "method": "POST", "path": f"/v1/secret/data/{prefix}-{{{{i}}}}", "token": server.tokens["bench"],
        "body": secret_body(), "expect": [200],
    }


def post(path, body, token="bench", expect=(200,)):
    """A POST with a body that does not vary; `body` may be a function of the server."""
    return lambda server: {
        "method": "POST", "path": path, "token": server.tokens[token] if token else None,
        "body": body(server) if callable(body) else body, "expect": list(expect),
    }


HTTP, HTTPS, DISK = 75_700, 40_600, 2_700  # the limits of the recorded run

WORKLOADS = [
    Workload("read", "KV v2 read 1 KiB, hot, 32 conns", 32, read(), "http",
             budgets={"limit": 0.5, "peer": 20}, recorded=1_908 / HTTP),
    Workload("read-tls", "the same over TLS", 32, read(), "https", tls=True,
             budgets={"limit": 0.5}, recorded=1_751 / HTTPS),
    Workload("read-policies", "read, 20 policies × 50 rules", 32, read("policies"), "http", needs="policies",
             budgets={"read": 0.9}, recorded=661 / HTTP),
    Workload("read-audit", "read, file audit", 32, read(), "http", needs="audit",
             budgets={"read": 0.85}, recorded=1_561 / HTTP),
    Workload("write-1", "durable write 1 KiB, 1 conn", 1, write("one"), "fdatasync",
             budgets={"limit": 0.7, "peer": 7}, recorded=284 / DISK),
    Workload("write-32", "durable write 1 KiB, 32 conns", 32, write("many"), "fdatasync",
             budgets={"limit": 2.5, "peer": 10}, recorded=656 / DISK),
    Workload("token-create", "token create (child), 16 conns", 16, post("/v1/auth/token/create", '{"ttl":"10m"}'), "fdatasync",
             budgets={"peer": 10}, recorded=335 / DISK),
    Workload("lookup-self", "token lookup-self, 32 conns", 32,
             lambda server: {"method": "GET", "path": "/v1/auth/token/lookup-self", "token": server.tokens["bench"],
                             "expect": [200]}, "http", recorded=1_968 / HTTP),
    Workload("approle", "approle login, 16 conns", 16,
             post("/v1/auth/approle/login", lambda server: server.approle, token=None), "fdatasync", needs="approle",
             budgets={"peer": 10}, recorded=701 / DISK),
    Workload("userpass", "userpass login (bcrypt), 16 conns", 16,
             post("/v1/auth/userpass/login/bench", '{"password":"bench-password"}', token=None), "http", needs="userpass"),
    Workload("transit", "transit encrypt 1 KiB, 32 conns", 32,
             post("/v1/transit/encrypt/bench",
                  '{"plaintext":"' + base64.b64encode(VALUE.encode()).decode() + '"}'), "http", needs="transit",
             budgets={"peer": 15}, recorded=1_953 / HTTP),
    Workload("sign-batch", "transit sign, batch of 100, 8 conns", 8,
             post("/v1/transit/sign/signer", lambda _: SIGN_BATCH), "http", needs="transit", budgets={"peer": 2}),
    Workload("list", "LIST of 10,000 keys, 8 conns", 8,
             lambda server: {"method": "LIST", "path": "/v1/secret/metadata/list/", "token": server.tokens["bench"],
                             "expect": [200]}, "http", needs="list", budgets={"peer": 15}, recorded=137 / HTTP),
]


# --- preparation ---


def prepare(server, load):
    """Mounts, policies, tokens and seeds for all workloads; what fails is noted in `server.lacks`."""
    prepare_kv(server)
    for name, step in [
        ("policies", prepare_policies), ("approle", prepare_approle), ("userpass", prepare_userpass),
        ("transit", prepare_transit), ("list", lambda it: seed(it, load, LIST_KEYS, "list/k")),
    ]:
        try:
            step(server)
        except ApiError as error:
            server.lacks[name] = str(error)


def prepare_kv(server):
    """The KV mount, the policy, the token of most workloads and the hot keys."""
    server.expect("POST", "/v1/sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
    server.expect("POST", "/v1/sys/policies/acl/bench", {"policy": RULES_OF_BENCH})
    made = server.expect("POST", "/v1/auth/token/create", {"policies": ["bench"], "ttl": "2h"})
    server.tokens["bench"] = made["auth"]["client_token"]
    deadline = time.monotonic() + 30
    while True:
        # Vault answers 400 while it makes the mount's versioned layout.
        status, text = server.ask("POST", "/v1/secret/data/hot-0", {"data": {"value": VALUE}}, server.root)
        if status == 200:
            break
        if time.monotonic() > deadline:
            raise ApiError(f"{server.name}: the KV mount does not take a write: {status} {text[:200]!r}")
        time.sleep(0.1)
    for number in range(HOT_KEYS):
        server.expect("POST", f"/v1/secret/data/hot-{number}", {"data": {"value": VALUE}})


def prepare_policies(server):
    """20 policies of 50 rules; the last of them grants the hot keys."""
    names = []
    for policy in range(POLICIES):
        rules = [f'path "secret/data/app-{policy}-{rule}/*" {{ capabilities = ["read", "list"] }}' for rule in range(RULES - 1)]
        rules.append('path "secret/data/hot-*" { capabilities = ["read"] }' if policy == POLICIES - 1
                     else f'path "secret/metadata/app-{policy}/+/x" {{ capabilities = ["read"] }}')
        server.expect("POST", f"/v1/sys/policies/acl/set-{policy}", {"policy": "\n".join(rules)})
        names.append(f"set-{policy}")
    made = server.expect("POST", "/v1/auth/token/create", {"policies": names, "ttl": "2h"})
    server.tokens["policies"] = made["auth"]["client_token"]


def prepare_approle(server):
    """A role whose secret id can be used again and again."""
    server.expect("POST", "/v1/sys/auth/approle", {"type": "approle"})
    server.expect("POST", "/v1/auth/approle/role/bench", {"token_policies": ["bench"], "token_ttl": "10m"})
    role = server.expect("GET", "/v1/auth/approle/role/bench/role-id")["data"]["role_id"]
    secret = server.expect("POST", "/v1/auth/approle/role/bench/secret-id", {})["data"]["secret_id"]
    server.approle = '{"role_id":"' + role + '","secret_id":"' + secret + '"}'


def prepare_userpass(server):
    """A user."""
    server.expect("POST", "/v1/sys/auth/userpass", {"type": "userpass"})
    server.expect("POST", "/v1/auth/userpass/users/bench",
                  {"password": "bench-password", "token_policies": ["bench"], "token_ttl": "10m"})


def prepare_transit(server):
    """A key to encrypt with and an Ed25519 key to sign with."""
    server.expect("POST", "/v1/sys/mounts/transit", {"type": "transit"})
    server.expect("POST", "/v1/transit/keys/bench", {})
    server.expect("POST", "/v1/transit/keys/signer", {"type": "ed25519"})


def audit(server, on):
    """Turns the file audit device on or off; notes when it cannot."""
    try:
        if on:
            server.expect("PUT", "/v1/sys/audit/bench",
                          {"type": "file", "options": {"file_path": f"{server.directory}/audit.log"}})
        elif "audit" not in server.lacks:
            server.expect("DELETE", "/v1/sys/audit/bench")
    except ApiError as error:
        server.lacks["audit"] = str(error)


def seed(server, load, count, prefix):
    """Writes `count` secrets of 1 KiB as fast as the server takes them; returns the round."""
    request = {"method": "POST", "path": f"/v1/secret/data/{prefix}-{{{{i}}}}", "token": server.root,
               "body": secret_body(), "expect": [200]}
    return populate(server, load, count, request)


def seed_tokens(server, load, count, expire_at=None):
    """Makes `count` tokens: of two hours, or all expiring at `expire_at` (Unix seconds)."""
    body = '{"policies":["default"],"ttl":"{{ttl}}s"}' if expire_at else '{"policies":["default"],"ttl":"2h"}'
    request = {"method": "POST", "path": "/v1/auth/token/create", "token": server.root, "body": body, "expect": [200],
               "expire_at": expire_at}
    return populate(server, load, count, request)


def populate(server, load, count, request):
    """`count` requests over 32 connections; all must succeed."""
    plan = {"requests": count, "connections": 32, "targets": [target(server, request)]}
    done = load(plan)["targets"][0]["rounds"][0]
    if done["failures"]:
        raise ApiError(f"{server.name}: {done['failures']} of {count} seeds failed: {done['first_failure']}")
    return done


def target(server, request, tls=None):
    """A target of a plan; `tls` is the directory of the certificates."""
    return {
        "name": server.name, "address": f"127.0.0.1:{server.tls if tls else server.plain}",
        "authority": f"{tls}/authority.pem" if tls else None, "pid": server.pid, "request": request,
    }
