"""The main job with hvac, the Python client that many operators' scripts are written with."""
import harness
import hvac
from harness import Server


def test_the_main_job():
    with Server() as s:
        s.start()
        client = hvac.Client(url=s.addr)
        assert not client.sys.is_initialized()
        init = client.sys.initialize(secret_shares=5, secret_threshold=3)
        assert client.sys.is_sealed()
        client.sys.submit_unseal_keys(init["keys_base64"][:3])
        assert not client.sys.is_sealed()
        s.wait_for(lambda: s.ask("GET", "sys/health").status == 200, "an active node")
        client.token = init["root_token"]
        assert client.is_authenticated()
        client.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
        kv = client.secrets.kv.v2
        kv.create_or_update_secret("database/config", {"username": "app", "password": "s3cr3t"}, cas=0)
        kv.patch("database/config", {"password": "second"})
        read = kv.read_secret_version("database/config", raise_on_deleted_version=True)["data"]
        assert read["data"] == {"username": "app", "password": "second"} and read["metadata"]["version"] == 2
        assert kv.list_secrets("database")["data"]["keys"] == ["config"]
        kv.delete_secret_versions("database/config", [2])
        try:
            kv.read_secret_version("database/config", raise_on_deleted_version=True)
            raise AssertionError("a deleted version was read")
        except hvac.exceptions.InvalidPath:
            pass
        kv.undelete_secret_versions("database/config", [2])
        kv.destroy_secret_versions("database/config", [1])
        meta = kv.read_secret_metadata("database/config")["data"]
        assert meta["versions"]["1"]["destroyed"] and meta["current_version"] == 2
        client.sys.create_or_update_policy("app", 'path "secret/data/database/*" { capabilities = ["read"] }')
        assert "app" in client.sys.list_policies()["data"]["policies"]
        client.sys.enable_auth_method("userpass")
        client.auth.userpass.create_or_update_user("ann", password="pw", policies=["app"])
        ann = hvac.Client(url=s.addr)
        ann.auth.userpass.login("ann", "pw")
        assert ann.secrets.kv.v2.read_secret_version("database/config", raise_on_deleted_version=True)["data"]["data"]["username"] == "app"
        try:
            ann.secrets.kv.v2.create_or_update_secret("database/config", {"a": "b"})
            raise AssertionError("a write was allowed")
        except hvac.exceptions.Forbidden:
            pass
        ann.auth.token.renew_self()
        ann.auth.token.revoke_self()
        assert not ann.is_authenticated()
        wrapped = client.sys.wrap({"a": "b"}, ttl=60)
        token = wrapped["wrap_info"]["token"]
        assert client.sys.unwrap(token)["data"] == {"a": "b"}
        try:
            client.sys.unwrap(token)
            raise AssertionError("unwrapped twice")
        except hvac.exceptions.InvalidRequest:
            pass
        client.sys.seal()
        assert client.sys.is_sealed()


harness.main(globals())
