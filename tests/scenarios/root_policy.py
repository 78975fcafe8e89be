"""Class C by enumeration: no field that takes a list of policies leads to a root token, however "root" is written.

The fields come from the server's own OpenAPI document with every auth method mounted, so a new field is met here by itself: it must
either be in `WITH` (what else its path wants) or be named in `NO_POLICIES` with the reason.
"""
import re

import harness
from jwt_oidc_keys import Key

SPELLINGS = ["root", " ROOT ", "Root", "rooT", "\troot\n", "root,default", "default,ROOT", "r\u043e\u043et", "\uff52\uff4f\uff4f\uff54",
             "root\u200b", "root\u0000", "ro\u0131ot", ["root"], [" root "], ["default", "ROOT"], ["root", "root"], [["root"]], {"root": 1}]

#: Fields with "polic" in their name that hold no list of policies.
NO_POLICIES = {
    "no_default_policy": "a switch", "token_no_default_policy": "a switch", "policy": "the text of a policy",
    "disallowed_policies": "takes away", "disallowed_policies_glob": "takes away", "exclude_policies": "takes away",
}

#: What else a path wants, by its end.
WITH = {
    "approle/role/{role_name}": {"bind_secret_id": True},
    "jwt/role/{name}": {"role_type": "jwt", "user_claim": "sub", "bound_audiences": "strongroom"},
    "oidc/role/{name}": {"role_type": "jwt", "user_claim": "sub", "bound_audiences": "strongroom"},
    "kubernetes/role/{name}": {"bound_service_account_names": "a", "bound_service_account_namespaces": "b"},
    "users/{username}": {"password": "pass"},
}

CAPABILITIES = '["create", "read", "update", "delete", "list", "sudo"]'


def fields(server):
    """Path and field of every list of policies that the server takes."""
    document = server.ask("GET", "sys/internal/specs/openapi").json
    schemas = document.get("components", {}).get("schemas", {})
    for path, operations in sorted(document["paths"].items()):
        content = operations.get("post", {}).get("requestBody", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema", {})
        if "$ref" in schema:
            schema = schemas[schema["$ref"].rsplit("/", 1)[1]]
        for field in schema.get("properties", {}):
            if "polic" in field and field not in NO_POLICIES:
                yield path.lstrip("/"), field


def logins(server, kinds, key):
    """Every login that this server offers to somebody with the right credentials."""
    ask = lambda path, body: server.ask("POST", path, body, token="")
    if "approle" in kinds:
        role = server.ask("GET", "auth/approle/role/x/role-id")
        secret = server.ask("POST", "auth/approle/role/x/secret-id", {})
        if role.status == secret.status == 200:
            yield ask("auth/approle/login", {"role_id": role.data["role_id"], "secret_id": secret.data["secret_id"]})
    yield ask("auth/userpass/login/x", {"password": "pass"})
    for kind in {"jwt", "oidc"} & kinds:
        yield ask(f"auth/{kind}/login", {"role": "x", "jwt": key.sign()})


def is_harmless(server, answer):
    auth = (answer.json or {}).get("auth") if answer.status == 200 else None
    if not auth:
        return True
    token = auth["client_token"]
    looked = server.ask("GET", "auth/token/lookup-self", token=token).data or {}
    named = {p.strip().lower() for p in (looked.get("policies") or []) + (looked.get("identity_policies") or [])}
    return "root" not in named and server.ask("GET", "canary/x", token=token).status == 403


def scene(server):
    key = Key("k")
    kinds = set(server.ask("GET", "sys/plugins/catalog").data.get("auth", [])) - {"token"}
    kinds = {kind for kind in kinds if server.ask("POST", f"sys/auth/{kind}", {"type": kind}).status == 204}
    assert {"userpass", "approle", "jwt", "kubernetes"} <= kinds, kinds
    for kind in {"jwt", "oidc"} & kinds:
        assert server.ask("POST", f"auth/{kind}/config", {"jwt_validation_pubkeys": key.pem}).status == 204
    server.ask("POST", "sys/mounts/canary", {"type": "kv"})
    server.ask("POST", "canary/x", {"a": "b"})
    server.ask("POST", "sys/policies/acl/admin", {"policy": f'path "*" {{ capabilities = {CAPABILITIES} }}\npath "canary/*" {{ capabilities = ["deny"] }}'})
    server.ask("POST", "auth/userpass/users/x", {"password": "pass"})
    entity = server.ask("POST", "identity/entity", {"name": "x"}).data["id"]
    accessor = server.ask("GET", "sys/auth").data["userpass/"]["accessor"]
    server.ask("POST", "identity/entity-alias", {"name": "x", "mount_accessor": accessor, "canonical_id": entity})
    server.ask("POST", "identity/group", {"name": "x", "member_entity_ids": [entity]})
    admin = server.ask("POST", "auth/token/create", {"policies": ["admin"], "no_default_policy": True}).json["auth"]["client_token"]
    return kinds, key, entity, admin


def test_class_c_no_spelling_of_root_leads_to_a_root_token():
    with harness.Server() as server:
        server.start().init()
        kinds, key, entity, admin = scene(server)
        found = list(fields(server))
        assert len(found) > 15, found
        writes = logged_in = 0
        for path, field in found:
            base = next((more for end, more in WITH.items() if path.endswith(end)), {})
            target = re.sub(r"\{[^}]*\}", "x", path.replace("identity/entity/id/{id}", f"identity/entity/id/{entity}"))
            for spelling in SPELLINGS:
                answer = server.ask("POST", target, {**base, field: spelling}, token=admin)
                assert answer.status < 500, (target, field, spelling, answer)
                assert is_harmless(server, answer), (target, field, spelling, answer)
                writes += 1
                if answer.status not in (200, 204):
                    continue
                for login in [*logins(server, kinds, key), server.ask("POST", "auth/token/create/x", {"policies": ["root"]}, token=admin)]:
                    assert login.status < 500, (target, field, spelling, login)
                    assert is_harmless(server, login), (target, field, spelling, login)
                    logged_in += login.status == 200
        print(f"       {len(found)} fields, {writes} writes, {logged_in} logins, none of them root")
        assert logged_in > 0


harness.main(globals())
