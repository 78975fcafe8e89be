"""hvac beyond the main job: AppRole, transit, wrapped answers, token roles, leases and identity."""
import base64

import harness
import hvac
from harness import Server


def ready():
    s = Server().start().init(1, 1)
    return s, hvac.Client(url=s.addr, token=s.token)


def refused(kind, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except kind as e:
        return str(e)
    raise AssertionError(f"{call.__name__} was allowed")


def test_approle():
    s, root = ready()
    with s:
        root.sys.enable_auth_method("approle", path="jobs")
        root.sys.create_or_update_policy("job", 'path "cubbyhole/*" { capabilities = ["read"] }')
        approle = root.auth.approle
        approle.create_or_update_approle("ci", token_policies=["job"], token_ttl="10m", secret_id_num_uses=1, mount_point="jobs")
        assert approle.list_roles(mount_point="jobs")["data"]["keys"] == ["ci"]
        role = approle.read_role("ci", mount_point="jobs")["data"]
        assert role["token_ttl"] == 600 and role["secret_id_num_uses"] == 1 and role["token_policies"] == ["job"]
        role_id = approle.read_role_id("ci", mount_point="jobs")["data"]["role_id"]
        secret = approle.generate_secret_id("ci", metadata={"by": "hvac"}, mount_point="jobs")["data"]
        looked = approle.read_secret_id("ci", secret["secret_id"], mount_point="jobs")["data"]
        assert looked["metadata"] == {"by": "hvac"}
        assert approle.list_secret_id_accessors("ci", mount_point="jobs")["data"]["keys"] == [secret["secret_id_accessor"]]
        job = hvac.Client(url=s.addr)
        login = job.auth.approle.login(role_id, secret["secret_id"], mount_point="jobs")
        assert login["auth"]["lease_duration"] == 600 and login["auth"]["metadata"]["role_name"] == "ci"
        assert job.is_authenticated()
        # Its one use is spent.
        words = refused(hvac.exceptions.InvalidRequest, hvac.Client(url=s.addr).auth.approle.login, role_id, secret["secret_id"],
                        mount_point="jobs")
        assert "invalid secret id" in words or "invalid role or secret ID" in words, words
        # Handed over wrapped, as pipelines do.
        wrapped = approle.generate_secret_id("ci", mount_point="jobs", wrap_ttl="60s")
        handed = hvac.Client(url=s.addr, token=wrapped["wrap_info"]["token"]).sys.unwrap()["data"]["secret_id"]
        job.auth.approle.login(role_id, handed, mount_point="jobs")
        approle.delete_role("ci", mount_point="jobs")
        refused(hvac.exceptions.InvalidPath, approle.read_role, "ci", mount_point="jobs")


def test_transit():
    s, root = ready()
    with s:
        root.sys.enable_secrets_engine("transit")
        transit = root.secrets.transit
        plain = base64.b64encode("grüße".encode()).decode()
        transit.create_key("k", exportable=True)
        sealed = transit.encrypt_data("k", plain)["data"]["ciphertext"]
        assert sealed.startswith("vault:v1:") and transit.decrypt_data("k", sealed)["data"]["plaintext"] == plain
        transit.rotate_key("k")
        assert transit.rewrap_data("k", sealed)["data"]["ciphertext"].startswith("vault:v2:")
        transit.update_key_configuration("k", min_decryption_version=2, deletion_allowed=True)
        refused(hvac.exceptions.InvalidRequest, transit.decrypt_data, "k", sealed)
        batch = transit.encrypt_data("k", batch_input=[{"plaintext": plain}, {"plaintext": plain}])["data"]["batch_results"]
        assert len(batch) == 2 and batch[0]["ciphertext"] != batch[1]["ciphertext"]
        transit.create_key("s", key_type="ed25519")
        signature = transit.sign_data("s", plain)["data"]["signature"]
        assert transit.verify_signed_data("s", plain, signature=signature)["data"]["valid"] is True
        other = base64.b64encode(b"other").decode()
        assert transit.verify_signed_data("s", other, signature=signature)["data"]["valid"] is False
        mac = transit.generate_hmac("k", plain)["data"]["hmac"]
        assert mac.startswith("vault:v2:")
        assert len(transit.generate_random_bytes(16)["data"]["random_bytes"]) == 24
        assert transit.export_key("k", "encryption-key")["data"]["keys"]
        assert set(transit.list_keys()["data"]["keys"]) == {"k", "s"}
        transit.delete_key("k")
        refused(hvac.exceptions.InvalidPath, transit.read_key, "k")


def test_wrapped_answers():
    s, root = ready()
    with s:
        root.sys.enable_secrets_engine("kv", path="kv", options={"version": "1"})
        root.secrets.kv.v1.create_or_update_secret("a", {"x": "y"}, mount_point="kv")
        wrapped = root.read("kv/a", wrap_ttl="60s")
        token = wrapped["wrap_info"]["token"]
        looked = root.write("sys/wrapping/lookup", token=token)["data"]
        assert looked["creation_path"] == "kv/a" and looked["creation_ttl"] == 60
        fresh = root.write("sys/wrapping/rewrap", token=token)["wrap_info"]["token"]
        refused(hvac.exceptions.InvalidRequest, root.sys.unwrap, token)
        assert hvac.Client(url=s.addr, token=fresh).sys.unwrap()["data"] == {"x": "y"}
        refused(hvac.exceptions.InvalidRequest, root.sys.unwrap, fresh)


def test_token_roles_and_identity():
    s, root = ready()
    with s:
        token = root.auth.token
        token.create_or_update_role("r", allowed_policies=["default"], renewable=True, token_explicit_max_ttl="1h")
        assert token.list_roles()["data"]["keys"] == ["r"]
        made = token.create(role_name="r", policies=["default"], ttl="30m")["auth"]
        assert made["lease_duration"] == 1800
        words = refused(hvac.exceptions.InvalidRequest, token.create, role_name="r", policies=["other"])
        assert "must be subset of the role's allowed policies" in words, words
        assert token.lookup_accessor(made["accessor"])["data"]["path"] == "auth/token/create/r"
        assert token.renew_accessor(made["accessor"], increment="20m")["auth"]["lease_duration"] == 1200
        token.revoke_accessor(made["accessor"])
        entity = root.secrets.identity.create_or_update_entity("ann", metadata={"team": "a"})["data"]
        assert root.secrets.identity.read_entity(entity["id"])["data"]["metadata"] == {"team": "a"}
        group = root.secrets.identity.create_or_update_group("g", member_entity_ids=[entity["id"]])["data"]
        assert root.secrets.identity.read_group(group["id"])["data"]["member_entity_ids"] == [entity["id"]]
        assert root.secrets.identity.list_entities()["data"]["keys"] == [entity["id"]]


harness.main(globals())
