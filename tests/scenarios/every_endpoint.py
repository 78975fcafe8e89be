"""Classes of known failures (docs/known-failures.md) over every endpoint there is: the paths and their fields come from the server's own
description of its path tables, with one mount of every type in its catalog, so a new endpoint or type is met here by itself. Each class
is tried on a fresh server and again after a restart.
"""
import json
import re
import urllib.parse

import harness
from hostile_input import MIB, Steady, Target, shaped
from jwt_oidc_keys import Key

#: What stands for a capture of a path, if not the name that all objects here have.
CAPTURES = {"exported": "internal", "issuer_ref": "default", "key_ref": "default"}
#: What a field holds while another of its path is tried, if the value for its type would end the request too early or cost much.
BESIDE = {
    "key_type": "ec", "key_bits": 256, "role_type": "jwt", "user_claim": "sub", "bound_audiences": "strongroom", "input": "eA==",
    "plaintext": "eA==", "context": "eA==", "bound_service_account_names": "a", "bound_service_account_namespaces": "b",
}
#: What would end the test itself, or the server.
NOT_TRIED = {"/sys/seal", "/sys/quotas/rate-limit/{name}", "/sys/step-down", "/auth/token/revoke-self"}


class Everything(Target):
    """A server with everything mounted that it has, an object named `x` in each mount, and all it logs in its log."""

    def __init__(self):
        super().__init__(extra='log_level = "trace"\n')

    def __enter__(self):
        super().__enter__()
        catalog = self.ask("GET", "sys/plugins/catalog").data
        mounted = {path.strip("/") for path in self.ask("GET", "sys/mounts").data} | {f"auth/{p.strip('/')}" for p in self.ask("GET", "sys/auth").data}
        for folder, place in [("secret", ""), ("auth", "auth/")]:
            for kind in set(catalog[folder]) - {"token"}:
                if place + kind not in mounted:
                    assert self.ask("POST", f"sys/{'auth' if place else 'mounts'}/{kind}", {"type": kind}).status == 204, kind
        for path, body in self.objects():
            answer = self.ask("POST", path, body)
            assert answer.status in (200, 204), f"{path}: {answer}"
        self.rss_before = self.rss()
        return self

    def objects(self):
        """What makes an `x` of each kind. A type that is missing here is tried all the same, with less behind its paths."""
        key = Key("k")
        yield "pki/root/generate/internal", {"common_name": "x", "key_type": "ec", "key_bits": 256}
        yield "pki/roles/x", {"allow_any_name": True, "ttl": "1h", "generate_lease": True, "key_type": "ec", "key_bits": 256}
        yield "ssh/config/ca", {"generate_signing_key": True, "key_type": "ec", "key_bits": 256}
        yield "ssh/roles/x", {"key_type": "ca", "allow_user_certificates": True, "allowed_users": "*", "default_user": "x"}
        yield "totp/keys/x", {"generate": True, "issuer": "x", "account_name": "x"}
        yield "transit/keys/x", {"exportable": True, "allow_plaintext_backup": True}
        yield "auth/approle/role/x", {"bind_secret_id": True}
        yield "auth/cert/certs/x", {"certificate": self.ask("GET", "pki/cert/ca").data["certificate"]}
        for kind in ["jwt", "oidc"]:
            yield f"auth/{kind}/config", {"jwt_validation_pubkeys": key.pem}
            yield f"auth/{kind}/role/x", {"role_type": "jwt", "user_claim": "sub", "bound_audiences": "strongroom"}
        yield "auth/kubernetes/config", {"kubernetes_host": "https://127.0.0.1:1", "disable_local_ca_jwt": True}
        yield "auth/kubernetes/role/x", {"bound_service_account_names": "a", "bound_service_account_namespaces": "b"}
        yield "identity/group", {"name": "x", "policies": "x"}
        yield "identity/oidc/key/x", {"allowed_client_ids": "*"}
        yield "identity/oidc/role/x", {"key": "x"}
        yield "identity/oidc/scope/x", {"template": "{}"}
        yield "identity/oidc/assignment/x", {"entity_ids": [], "group_ids": []}
        yield "identity/oidc/client/x", {"key": "x", "redirect_uris": "https://127.0.0.1:1"}
        yield "identity/oidc/provider/x", {"allowed_client_ids": "*"}
        yield "sys/policies/password/x", {"policy": 'length = 20\nrule "charset" {\n  charset = "abc"\n}\n'}

    def endpoints(self):
        """Pattern, path and described methods of everything that is mounted."""
        paths = self.ask("GET", "sys/internal/specs/openapi").json["paths"]
        assert len(paths) > 330, f"only {len(paths)} paths: the description is not complete"
        for pattern, item in sorted(paths.items()):
            if pattern not in NOT_TRIED:
                yield pattern, re.sub(r"\{([^}]*)\}", lambda m: CAPTURES.get(m[1], "x"), pattern).strip("/"), item

    def restart(self):
        assert self.stop() == 0, self.log_text()[-2000:]
        self.start().unseal()
        self.rss_before = self.rss()


def phases(s, growth=64 * MIB):
    """Now, and after a restart."""
    yield "fresh"
    s.survived(growth)
    s.restart()
    yield "after a restart"
    s.survived(growth)


def fields(item, method):
    """The fields that a method's body may have, and what stands beside the one that is tried."""
    named = {}
    for content in item.get(method, {}).get("requestBody", {}).get("content", {}).values():
        named |= content.get("schema", {}).get("properties", {})
    plain = {"integer": 1, "boolean": True, "array": ["x"], "object": {"a": "b"}}
    return {name: BESIDE.get(name, plain.get(schema.get("type"), "x")) for name, schema in named.items()}


# Mistakes of a client that the reference server answers with 500, and clients may match: kept, with its text. Its mounts of these types
# answer most mistakes so.
VAULTS_OWN_500 = re.compile(
    "no token found|missing data fields|missing path|could not load backend configuration|error xoring token|error decoding base64'd token|"
    "username does not exist|password hash has incorrect length|invalid entity ID|invalid member group ID|"
    "password length exceeds 72 bytes|at least one origin or the wildcard must be provided|invalid rekey seal configuration"
)
VAULTS_500_MOUNTS = ("pki/", "ssh/", "transit/", "auth/approle/", "auth/cert/")
# JSON texts, some of which no JSON library would write. The first few are tried alone as well, and again after a restart.
FEW = 6
ODD_VALUES = [
    "null", "-1", "1e400", "[[]]", '{"a": {"b": []}}', '"\\u0000"',
    "true", "1.5", "99999999999999999999999999", '""', "[]", "{}", '[null, {"a": []}]',
    '"../../../etc/passwd"', '"-99999999999h"', '"root"', '"*"', '"\\u202e,ROOT "', json.dumps("x" * 70_000), json.dumps(["x"] * 3000),
]


def test_class_o_no_value_in_any_field_makes_the_server_fail():
    """CVE-2024-6468, CVE-2026-55776: every type in every field, alone and beside plausible others."""
    with Everything() as s:
        line, failed, count = Steady(s), [], 0
        # Much of what is tried is also kept, and the store's caches with it.
        for phase in phases(s, growth=400 * MIB):
            line.conn.close()
            values = ODD_VALUES if phase == "fresh" else ODD_VALUES[:FEW]
            for _, path, item in list(s.endpoints()):
                for method in ("post", "patch"):
                    others = fields(item, method)
                    for name in others:
                        rest = {k: v for k, v in others.items() if k != name}
                        for number, value in enumerate(values):
                            for beside in [rest, {k: v for k, v in rest.items() if k in ("key_type", "key_bits")}][:2 if number < FEW else 1]:
                                text = json.dumps(beside)[:-1] + (", " if beside else "") + f"{json.dumps(name)}: {value}}}"
                                answer, count = line.ask(method.upper(), path, text.encode(), s.token), count + 1
                                case = f"{phase}: {method} {path} {name}={value[:60]} beside {sorted(beside)}"
                                if answer.status >= 500 and not is_vaults_own(path, answer):
                                    failed.append(f"{case}: {answer}")
                                else:
                                    shaped(answer, case)
            assert not failed, f"{len(failed)} of {count} answers say that the server failed:\n" + "\n".join(failed[:40])
        print(f"       {count} requests")
        assert count > 40_000, f"only {count} requests: the description of the paths is not complete"


def is_vaults_own(path, answer):
    if not answer.errors or "internal error" in answer.errors[0]:
        return False
    return path.startswith(VAULTS_500_MOUNTS) or bool(VAULTS_OWN_500.search(answer.errors[0]))


# Routes that answer without a token: an addition here is a decision.
OPEN_ROUTES = {
    "GET sys/health", "GET sys/seal-status", "GET sys/leader", "GET sys/init", "GET sys/internal/specs/openapi", "POST sys/internal/specs/openapi",
    "GET sys/internal/ui/feature-flags", "GET sys/internal/ui/mounts", "GET sys/internal/ui/version", "GET sys/seal-backend-status",
    "GET sys/internal/ui/unauthenticated-messages", "POST sys/storage/raft/bootstrap/challenge", "GET sys/internal/ui/namespaces",
    "GET sys/internal/ui/authenticated-messages", "GET sys/replication/status", "POST sys/storage/raft/join",
    # What verifies identity tokens has no token of ours; whoever holds shares needs none.
    "GET identity/oidc/.well-known/keys", "GET identity/oidc/.well-known/openid-configuration", "GET sys/rekey/init",
    "GET sys/generate-root/attempt", "POST sys/generate-root/attempt", "DELETE sys/generate-root/attempt",
    "GET identity/oidc/provider/x/.well-known/keys", "GET identity/oidc/provider/x/.well-known/openid-configuration",
    # What verifies certificates.
    "GET pki/ca", "GET pki/ca/pem", "GET pki/ca_chain", "LIST pki/issuers", "GET pki/crl", "GET pki/crl/pem", "GET pki/crl/delta", "GET pki/crl/delta/pem",
    *(f"GET pki/issuer/default/{what}" for what in ["der", "json", "pem", "crl", "crl/der", "crl/pem", "crl/delta/der", "crl/delta/pem"]),
    "GET ssh/public_key",
}
METHODS = ["GET", "LIST", "SCAN", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE", "HELP", "PROPFIND", "get"]
#: Beyond what is described: paths that other servers of this kind have.
ELSEWHERE = {
    "sys/health", "sys/seal-status", "sys/leader", "sys/init", "sys/unseal", "sys/rekey/init", "sys/rekey/update", "sys/rekey/verify",
    "sys/rekey/backup", "sys/rekey-recovery-key/init", "sys/generate-root/attempt", "sys/generate-root/update", "sys/raw/core/keyring",
    "sys/pprof", "sys/monitor", "", "sys", "auth", "x/y/z", "identity", "cubbyhole", "secret", "auth/userpass/login/x",
}


def test_class_f_nothing_but_the_open_routes_answers_without_a_right():
    """CVE-2025-4656, CVE-2025-52894, CVE-2026-5807, CVE-2021-3282: every method on every path, without a token and with one that may nothing."""
    with Everything() as s:
        s.ask("POST", "sys/policies/acl/nothing", {"policy": ""})
        poor = s.ask("POST", "auth/token/create", {"policies": ["nothing"], "no_default_policy": True}).json["auth"]["client_token"]
        line = Steady(s)
        for phase in phases(s):
            line.conn.close()
            opened = set()
            for path in sorted({path for _, path, _ in s.endpoints()} | ELSEWHERE):
                for method in METHODS:
                    for token in ["", poor]:
                        answer = line.ask(method, path, b"{}" if method in ("POST", "PUT", "PATCH") else None, token)
                        case = f"{phase}: {method} {path} {'without a token' if not token else 'without a right'}"
                        assert answer.status < 500 or is_vaults_own(path, answer), f"{case}: {answer}"
                        shaped(answer, case)
                        if answer.status < 300 and method != "HELP":
                            opened.add(f"{method.replace('PUT', 'POST')} {path}")
            beyond = opened - OPEN_ROUTES
            assert not beyond, f"{phase}: answered without a right: {sorted(beyond)}"
            assert len(opened) > 10, opened


#: What a tenant with nothing but the policy `default` may do to everybody: what whoever knows a lease's or a wrapping token's name may, and
#: what concerns the caller alone. An addition is a decision.
TENANT_ROUTES = {
    "sys/capabilities-self", "sys/leases/lookup", "sys/leases/renew", "sys/renew", "sys/tools/hash", "sys/wrapping/wrap", "auth/token/lookup-self",
    "auth/token/renew-self", "cubbyhole", "sys/internal/ui/resultant-acl",
}


class Tenant:
    """Somebody's things, and what they are known by."""

    def __init__(self, s, name):
        self.server = s
        assert s.ask("POST", f"auth/userpass/users/{name}", {"password": "pw", "token_policies": "tenant"}).status == 204
        auth = s.ask("POST", f"auth/userpass/login/{name}", {"password": "pw"}, token="").json["auth"]
        self.token, entity = auth["client_token"], auth["entity_id"]
        child = s.ask("POST", "auth/token/create", {"policies": ["default"]}, token=self.token).json["auth"]
        leased = s.ask("POST", "pki/issue/x", {"common_name": name}, token=self.token)
        assert leased.status == 200 and s.ask("POST", "cubbyhole/mine", {"v": name}, token=self.token).status == 204, leased
        secret = s.ask("POST", "auth/approle/role/x/secret-id", {}).data
        alias = s.ask("GET", f"identity/entity/id/{entity}").data["aliases"][0]["id"]
        group = s.ask("POST", "identity/group", {"name": f"of {name}", "member_entity_ids": [entity]}).data["id"]
        self.known_by = {
            "token": child["client_token"], "accessor": auth["accessor"], "lease_id": leased.json["lease_id"], "entity_id": entity, "alias_id": alias,
            "group_id": group, "secret_id": secret["secret_id"], "secret_id_accessor": secret["secret_id_accessor"],
        }

    def state(self):
        """All that another tenant might have changed."""
        s, by = self.server, self.known_by
        seen = [s.ask("POST", "auth/token/lookup", {"token": token}).data for token in [self.token, by["token"]]]
        lease = s.ask("POST", "sys/leases/lookup", {"lease_id": by["lease_id"]}).data
        for told in [*seen, lease]:
            for moving in ["ttl", "last_renewal", "last_renewal_time", "expire_time"]:
                told.pop(moving, None)
        named = [s.ask("GET", f"identity/{kind}/id/{by[key]}").data
                 for kind, key in [("entity", "entity_id"), ("entity-alias", "alias_id"), ("group", "group_id")]]
        secret = s.ask("POST", "auth/approle/role/x/secret-id-accessor/lookup", {"secret_id_accessor": by["secret_id_accessor"]}).data
        return seen, lease, named, secret, s.ask("GET", "cubbyhole/mine", token=self.token).data


def test_class_d_what_is_anothers_stays_so():
    """CVE-2026-40264, -45808, -55774, CVE-2020-7220: whoever knows another tenant's token, accessor, lease and ids gets and changes nothing
    with them, through any path and any field."""
    with Everything() as s:
        rules = 'path "pki/issue/x" { capabilities = ["update"] }\npath "auth/token/create" { capabilities = ["update"] }\n'
        s.ask("POST", "sys/policies/acl/tenant", {"policy": rules})
        victim, before = Tenant(s, "victim"), None
        poor = s.ask("POST", "auth/token/create", {"policies": ["default"]}).json["auth"]["client_token"]
        line = Steady(s)
        for phase in phases(s):
            line.conn.close()
            before, served = before or victim.state(), set()
            for pattern, path, item in s.endpoints():
                for key, value in victim.known_by.items():
                    # Every place of the path, and every field, that could take this kind of name.
                    places = {re.sub(r"\{[^}]*\}", value, pattern).strip("/"), path}
                    for place in places:
                        for method, described in [("GET", "get"), ("LIST", "get"), ("POST", "post"), ("PATCH", "patch"), ("DELETE", "delete")]:
                            if described not in item or (place == path and described != "post"):
                                continue
                            body = dict.fromkeys((name for name in fields(item, described) if takes(name, key)), value)
                            if place == path and not body:
                                continue
                            raw = json.dumps(body).encode() if described in ("post", "patch") else None
                            answer = line.ask(method, urllib.parse.quote(place), raw, poor)
                            assert answer.status < 500 or is_vaults_own(place, answer), f"{phase}: {method} {place} {body}: {answer}"
                            if answer.status < 300:
                                served.add(next((known for known in TENANT_ROUTES if place.startswith(known)), f"{method} {pattern} by {key}"))
            assert served <= TENANT_ROUTES, f"{phase}: served to a stranger: {sorted(served - TENANT_ROUTES)}"
            assert "sys/leases/lookup" in served, "nothing was tried"
            after = victim.state()
            assert after == before, f"{phase}: changed by a stranger:\n{before}\n{after}"


def takes(field, kind):
    """Whether a field may be meant for this kind of name."""
    return field in {kind, f"{kind}s", "id", "ids", "name", "path", "prefix", "mount_accessor", "canonical_id", "from_entity_ids", "to_entity_id",
                     "member_entity_ids", "url_lease_id", "urltoken", "entities"}


CANARY = "canary"
# Fields that hold no secrets and whose wrong values the reference server names in its errors, so these get no canary: a new field gets one
# until somebody writes it here.
NAMED_IN_ERRORS = set("""
    algorithm assignments bound_cidrs bound_claims_type client_type explicit_max_ttl format jwks_url lease level member_entity_ids
    member_group_ids period policies allowed_policies role_type scopes_supported token_bound_cidrs token_type ttl type urlalgorithm
    bound_cidr_list cidr_list secret_id_bound_cidrs secret_id_accessor role roles from entropy_source
    aia_path crl_distribution_points delta_crl_distribution_points issuing_certificates ocsp_servers auto_rebuild_grace_period
    delta_rebuild_interval expiry ocsp_expiry pause_duration not_after cn_validations ext_key_usage_oids policy_identifiers serial_number
    serial_number_source usage manual_chain issuer_ref issuer_name key_ref key_name key_type allowed_other_sans other_sans ip_sans uri_sans
    excluded_ip_ranges permitted_ip_ranges extensions ip hash_algorithm marshaling_algorithm salt_length urlbytes
""".split())
# The same, of one path: a client's `state` goes back to it by RFC 6749, and the key of a role or client is a name, not key material.
NAMED_IN_ERRORS_AT = {
    ("/identity/oidc/provider/{name}/authorize", "state"), ("/identity/oidc/role/{name}", "key"), ("/identity/oidc/client/{name}", "key"),
    ("/pki/config/issuers", "default"), ("/pki/config/keys", "default"), ("/pki/root/replace", "default"), ("/pki/config/cluster", "path"),
    ("/sys/quotas/lease-count/{name}", "path"),
}
# What the audit file shows in plain by design: paths and what is named by them, keys of data, names of policies and accounts.
SHOWN = {"path", "mount_point", "policies", "token_policies", "identity_policies", "display_name", "metadata", "accessor", "name"}


def plain_canary(value):
    """A canary that stands in plain as a value below `data` or in an error."""
    if isinstance(value, dict):
        return any(plain_canary(v) for k, v in value.items() if k not in SHOWN)
    if isinstance(value, list):
        return any(plain_canary(v) for v in value)
    return isinstance(value, str) and CANARY in value


def warnings(answer):
    """Of an answer that need not be JSON."""
    return answer.json.get("warnings") if answer.raw.startswith(b"{") else None


class Canaries:
    """Sends secrets that must not come back or be written anywhere in plain, numbered, and looks for them in all that comes out."""

    def __init__(self, server):
        self.server, self.line, self.number, self.leaks = server, Steady(server), 0, []

    def fresh(self):
        self.number += 1
        return f"{CANARY}{self.number:05}Zq9"

    def send(self, method, path, body, token=None, headers=None):
        s, token = self.server, self.server.token if token is None else token
        answer = self.line.ask(method, path, body, token) if headers is None else s.ask(method, path, body, token=token, headers=headers)
        said = answer.raw.decode(errors="replace") if answer.status >= 400 else json.dumps(warnings(answer))
        if CANARY in said:
            self.leaks.append(f"{method} {path} {body[:300] if body else headers}: {answer}")

    def into_fields(self):
        for pattern, path, item in list(self.server.endpoints()):
            for method in ("post", "patch"):
                others = fields(item, method)
                for name in sorted(others.keys() - NAMED_IN_ERRORS):
                    if (pattern, name) in NAMED_IN_ERRORS_AT or pattern.startswith("/pki/") and "sign-verbatim" in pattern and name == "name":
                        continue
                    rest = {k: v for k, v in others.items() if k != name}
                    cheap = {k: v for k, v in rest.items() if k in ("key_type", "key_bits")}
                    for value in [self.fresh(), [self.fresh()], {self.fresh(): self.fresh()}]:
                        self.send(method.upper(), path, json.dumps({**cheap, name: value}).encode())
                    self.send(method.upper(), path, json.dumps({**rest, name: self.fresh()}).encode())
                if method in item:
                    self.send(method.upper(), path, json.dumps({"unknown_field": self.fresh()}).encode())

    def into_bodies_and_headers(self):
        for path in ["secret/data/x", "auth/userpass/login/x", "auth/kubernetes/login", "sys/unseal", "sys/wrapping/unwrap", "nowhere/x"]:
            for body in ["{c}", '{{"{c}"', '{{"a": "{c}"', '{{"a": "{c}", "a": 1}}', '{{"{c}": 1, "{c}": 2}}', '["{c}"]', '"{c}"', '{{"a": {c}}}',
                         '{{"a": "{c}\x01"}}', "password={c}&{c}", '{{"data": "{c}"}}', '{{"key": ["{c}"], "jwt": {{"{c}": 1}}, "password": ["{c}"]}}']:
                for method in ["POST", "PATCH"]:
                    self.send(method, path, body.format(c=self.fresh()).encode())
        for head in ["X-Vault-Token", "Authorization", "X-Vault-MFA", "Content-Type", "Cookie"]:
            for prefix in ["", "Bearer ", "name:"]:
                self.send("POST", "secret/data/x", b"{}", "", {head: prefix + self.fresh()})
        self.send("POST", "sys/wrapping/lookup", json.dumps({"token": "hvs." + self.fresh()}).encode())

    def nowhere(self):
        """Asserts that none has come out."""
        s = self.server
        assert not self.leaks, f"{len(self.leaks)} answers repeat what was sent:\n" + "\n".join(self.leaks)
        log = s.log_text()
        assert "TRACE" in log, "the log does not show all"
        in_log = re.findall(rf"[^\n]*{CANARY}\d+Zq9[^\n]*", log)
        assert not in_log, f"{len(in_log)} lines of the log hold a canary:\n" + "\n".join(in_log[:10])
        audited = [json.loads(text) for text in s.audit.read_text().splitlines()]
        assert len(audited) > 5000
        in_audit = [json.dumps({k: v for k, v in e.items() if k != "auth"})[-900:] for e in audited if plain_canary(e)]
        assert not in_audit, f"{len(in_audit)} audit entries hold a canary:\n" + "\n".join(in_audit[:10])
        for path in ["sys/metrics?format=prometheus", "sys/metrics", "sys/in-flight-req", "sys/internal/counters/requests", "sys/host-info", "sys/pprof"]:
            assert CANARY not in s.ask("GET", path).raw.decode(errors="replace"), path
        assert not harness.readable(s.dir / "data", [CANARY]), "a canary stands readable in the data directory"


def test_class_k_what_is_sent_comes_out_nowhere():
    """CVE-2024-8365, CVE-2025-4166, CVE-2022-38149 and others: canaries in every field, in headers, in raw and broken bodies; none comes
    out in an error, a warning, the log at its most talkative, the audit file, the metrics, or readable in the data directory."""
    with Everything() as s:
        canaries = Canaries(s)
        for _ in phases(s, growth=400 * MIB):
            canaries.line.conn.close()
            canaries.into_fields()
            canaries.into_bodies_and_headers()
            canaries.nowhere()
        assert canaries.number > 10_000, canaries.number


if __name__ == "__main__":
    harness.main(globals())
