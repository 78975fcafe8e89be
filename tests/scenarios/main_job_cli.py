"""The main job with our own CLI: init, unseal, engines, secrets, policies, tokens, restart (kill -9 included)."""
import json

import harness
from harness import Server, readable

POLICY = 'path "secret/data/database/*" {\n  capabilities = ["read"]\n}\n'


def test_the_main_job():
    with Server() as s:
        s.start()
        assert json.loads(s.cli("status", "-format=json", token="", code=2))["initialized"] is False
        init = json.loads(s.cli("operator", "init", "-key-shares=5", "-key-threshold=3", "-format=json", token=""))
        assert len(init["unseal_keys_b64"]) == 5 and init["unseal_threshold"] == 3
        s.keys, s.threshold = init["unseal_keys_b64"], 3
        for key in s.keys[:3]:
            s.cli("operator", "unseal", key, token="")
        s.wait_for(lambda: s.ask("GET", "sys/health").status == 200, "an active node")
        assert "Sealed                  false" in s.cli("status", token="")
        s.cli("login", init["root_token"], token="")
        assert "Success! Enabled the kv-v2 secrets engine at: secret/" in s.cli("secrets", "enable", "-path=secret", "kv-v2", token="")
        s.token = init["root_token"]
        s.cli("kv", "put", "-mount=secret", "database/config", "username=app", "password=s3cr3t")
        assert s.cli("kv", "get", "-mount=secret", "-field=password", "database/config").strip() == "s3cr3t"
        s.cli("kv", "patch", "-mount=secret", "database/config", "password=second")
        assert json.loads(s.cli("kv", "get", "-format=json", "secret/database/config"))["data"]["data"] == {"username": "app", "password": "second"}
        assert s.cli("kv", "get", "-version=1", "-field=password", "secret/database/config").strip() == "s3cr3t"
        s.cli("kv", "delete", "secret/database/config")
        assert "deletion_time" in s.cli("kv", "get", "secret/database/config")
        s.cli("kv", "get", "-field=password", "secret/database/config", code=2)
        s.cli("kv", "undelete", "-versions=2", "secret/database/config")
        s.cli("kv", "rollback", "-version=1", "secret/database/config")
        assert s.cli("kv", "get", "-field=password", "secret/database/config").strip() == "s3cr3t"
        s.cli("kv", "destroy", "-versions=2", "secret/database/config")
        assert "config" in s.cli("kv", "list", "secret/database")
        assert '"destroyed": true' in s.cli("kv", "metadata", "get", "-format=json", "secret/database/config")
        (s.dir / "app-policy.hcl").write_text(POLICY)
        assert "Success! Uploaded policy: app-policy" in s.cli("policy", "write", "app-policy", str(s.dir / "app-policy.hcl"))
        app = s.cli("token", "create", "-policy=app-policy", "-field=token").strip()
        assert s.cli("kv", "get", "-mount=secret", "-field=username", "database/config", token=app).strip() == "app"
        assert "permission denied" in s.cli("kv", "put", "-mount=secret", "database/config", "a=b", token=app, code=2)
        assert "permission denied" in s.cli("kv", "get", "-mount=secret", "other", token=app, code=2)
        s.kill()
        s.start()
        assert '"sealed": true' in s.cli("status", "-format=json", token="", code=2)
        s.unseal()
        assert s.cli("kv", "get", "-mount=secret", "-field=password", "database/config", token=app).strip() == "s3cr3t"
        assert s.stop() == 0
        needles = {"database", "app-policy", "secret/", "s3cr3t", s.token, app}
        assert not readable(s.dir / "data", needles), readable(s.dir / "data", needles)


def test_wrong_shares_do_no_harm():
    with Server() as s:
        s.start().init(5, 3)
        keys = s.keys
        s.stop()
        s.start()
        other = Server()
        with other:
            other.start().init(5, 3)
            foreign = other.keys[0]
        s.ask("PUT", "sys/unseal", {"key": keys[0]}, token="")
        s.ask("PUT", "sys/unseal", {"key": foreign}, token="")
        wrong = s.ask("PUT", "sys/unseal", {"key": keys[1]}, token="")
        # A foreign share makes another key, or (once in a hundred times) stands at the x of one of ours.
        texts = ("invalid key: failed to decrypt keys from storage", "invalid key: failed to compute combined key")
        assert wrong.status == 400 and wrong.errors[0].startswith(texts), wrong
        assert s.ask("GET", "sys/seal-status", token="").json["progress"] == 0
        s.unseal()


def test_commands_of_every_group():
    with Server() as s:
        s.start().init(1, 1)
        for args in [
            ("secrets", "enable", "-version=2", "-path=kv", "kv"),
            ("secrets", "tune", "-default-lease-ttl=1h", "kv/"),
            ("secrets", "list"),
            ("secrets", "move", "kv/", "moved/"),
            ("secrets", "disable", "moved/"),
            ("auth", "enable", "userpass"),
            ("auth", "list"),
            ("auth", "tune", "-max-lease-ttl=24h", "userpass/"),
            ("write", "auth/userpass/users/ann", "password=pw", "policies=default"),
            ("read", "auth/userpass/users/ann"),
            ("list", "auth/userpass/users"),
            ("delete", "auth/userpass/users/ann"),
            ("auth", "disable", "userpass/"),
            ("policy", "list"),
            ("policy", "read", "default"),
            ("token", "lookup"),
            ("token", "capabilities", "sys/mounts"),
            ("audit", "enable", "file", f"file_path={s.dir}/audit.log"),
            ("audit", "list"),
            ("audit", "disable", "file/"),
            ("operator", "members"),
            ("operator", "raft", "list-peers"),
            ("operator", "rotate"),
            ("operator", "key-status"),
            ("path-help", "sys/mounts"),
            ("version",),
        ]:
            s.cli(*args)
        s.cli("operator", "seal")
        assert s.ask("GET", "sys/seal-status", token="").json["sealed"] is True


harness.main(globals())
