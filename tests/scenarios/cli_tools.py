"""The commands that look at a server, a policy or a configuration: explain, lint, debug, diagnose, transit import, completion."""
import base64
import json
import os
import subprocess
import tarfile

import harness
from harness import BINARY, Server

POLICY = """path "secret/*" {
  capabilities = ["read", "list"]
}
path "secret/data/locked" {
  capabilities = ["deny"]
}
"""


def ready():
    s = Server().start().init(1, 1)
    s.cli("secrets", "enable", "-path=secret", "-version=2", "kv")
    return s


def test_policy_explain_says_what_to_add():
    with ready() as s:
        s.cli("policy", "write", "app", "-", stdin=POLICY)
        token = json.loads(s.cli("token", "create", "-policy=app", "-format=json"))["auth"]["client_token"]
        shown = s.cli("policy", "explain", "update", "secret/data/x", token=token)
        assert shown.startswith("Denied: update secret/data/x\n"), shown
        for words in ['Decided by "secret/*" with [list, read]', "app       1", "To allow it, add to a policy:"]:
            assert words in shown, f"{words!r} not in\n{shown}"
        grant = shown.split("add to a policy:\n\n")[1]
        s.cli("policy", "write", "app", "-", stdin=POLICY + grant)
        assert s.cli("policy", "explain", "update", "secret/data/x", token=token).startswith("Allowed: ")
        s.cli("kv", "put", "secret/locked", "a=b")
        denied = json.loads(s.cli("policy", "explain", "-format=json", "read", "secret/data/locked", token=token))
        assert denied["allowed"] is False and denied["missing_grant"] is None
        # Others are asked about with sudo only.
        refusal = s.cli("policy", "explain", f"-token={s.token}", "read", "sys/mounts", token=token, code=2)
        assert "permission denied" in refusal, refusal
        assert s.cli("policy", "explain", f"-token={token}", "write", "secret/data/x").count("secret/data/x\n") >= 2


def test_policy_lint_with_and_without_a_server():
    with ready() as s:
        file = s.dir / "p.hcl"
        file.write_text('path "secret/foo" {\n  capabilities = ["read"]\n}\npath "nowhere/x" {\n  capabilities = ["read"]\n}\n')
        shown = s.cli("policy", "lint", str(file))
        assert ':1: warning: "secret/foo"' in shown and 'did you mean "secret/data/foo"?' in shown, shown
        assert ':4: warning: "nowhere/x"' in shown and "[no-mount]" in shown, shown
        assert s.cli("policy", "lint", "-offline", str(file)) == "No remarks.\n"
        assert "kv-v2-path" in s.cli("policy", "lint", "-offline", "-kv-v2=secret", str(file))
        s.cli("policy", "lint", "-strict", str(file), code=1)
        file.write_text('path "secret/data/foo" {\n  capabilities = ["raed"]\n}\n')
        assert ":2: error:" in s.cli("policy", "lint", str(file), code=1)
        file.write_text('path "secret/data/foo" {\n  capabilities = ["read"]\n}\n')
        assert s.cli("policy", "lint", "-format=json", str(file)).strip() == "[]"


def test_debug_collects_and_leaks_nothing():
    with ready() as s:
        s.cli("kv", "put", "secret/app", "password=correct-horse-battery")
        out = s.dir / "bundle"
        s.cli("debug", "-duration=1s", "-interval=1s", "-metrics-interval=1s", f"-output={out}")
        found = {}
        with tarfile.open(f"{out}.tar.gz") as tar:
            for member in tar:
                assert member.mode == 0o600 and member.name.startswith("bundle/"), member
                found[member.name.split("/")[1]] = tar.extractfile(member).read()
        assert {"index.json", "config.json", "host_info.json", "metrics.json", "requests.json", "replication_status.json",
                "server_status.json"} <= set(found), found.keys()
        whole = b"".join(found.values())
        for secret in (s.token.encode(), b"correct-horse-battery", s.keys[0].encode()):
            assert secret not in whole
        index = json.loads(found["index.json"])
        assert index["errors"] == [] and index["server_version"].startswith("1."), index
        assert len(json.loads(found["server_status.json"])) == 2
        assert os.stat(f"{out}.tar.gz").st_mode & 0o777 == 0o600
        s.cli("debug", "-duration=1s", "-interval=1s", "-metrics-interval=1s", f"-output={out}", code=1)
        s.cli("debug", "-duration=1s", "-interval=5s", code=1)
        s.cli("debug", "-target=nonsense", code=1)


def test_diagnose_before_and_beside_a_server():
    with Server() as s:
        free = s.cli("operator", "diagnose", f"-config={s.config}", "-format=json", code=2 if os.getuid() == 0 else 0)
        seen = {(line["check"], line["status"]) for line in json.loads(free[free.index("["):free.rindex("]") + 1])}
        assert ("listener", "success") in seen and ("storage", "success") in seen, free
        # How much room there is depends on the machine.
        assert any(check == "disk space" for check, _ in seen), free
        assert not (s.dir / "data").exists()
        s.start()
        busy = s.cli("operator", "diagnose", f"-config={s.config}", code=1)
        assert "is in use" in busy, busy
        (s.dir / "bad.hcl").write_text('storage "raft" {\n  path = "/proc/nowhere"\n}\nlistener "tcp" {\n  tls_cert_file = "/none"\n}\n')
        bad = s.cli("operator", "diagnose", f"-config={s.dir}/bad.hcl", "-skip=storage", code=1)
        assert "[ failure ] TLS: tls_cert_file and tls_key_file" in bad and "[ skipped ] storage" in bad, bad
        (s.dir / "worse.hcl").write_text('storage "raft" {')
        assert "[ failure ] configuration" in s.cli("operator", "diagnose", f"-config={s.dir}/worse.hcl", code=1)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x",
                        "-days", "3", "-keyout", s.dir / "key.pem", "-out", s.dir / "cert.pem"], check=True, capture_output=True)
        (s.dir / "tls.hcl").write_text(
            f'storage "inmem" {{}}\nlistener "tcp" {{\n  address = "127.0.0.1:{harness.free_port()}"\n'
            f'  tls_cert_file = "{s.dir}/cert.pem"\n  tls_key_file = "{s.dir}/key.pem"\n}}\n')
        assert "ends soon" in s.cli("operator", "diagnose", f"-config={s.dir}/tls.hcl", code=2)


def test_transit_import_and_small_commands():
    with ready() as s:
        s.cli("secrets", "enable", "transit")
        key = base64.b64encode(os.urandom(32)).decode()
        s.cli("transit", "import", "transit/keys/k", key, "exportable=true")
        exported = json.loads(s.cli("read", "-format=json", "transit/export/encryption-key/k"))["data"]["keys"]["1"]
        assert exported == key
        (s.dir / "key").write_text(base64.b64encode(os.urandom(32)).decode())
        s.cli("transit", "import-version", "transit/keys/k", f"@{s.dir}/key")
        assert json.loads(s.cli("read", "-format=json", "transit/keys/k"))["data"]["latest_version"] == 2
        s.cli("transit", "import", "transit/nonsense", key, code=1)
        s.cli("transit", "import", "transit/keys/x", "not base64!", code=1)
        assert "Installation Time" in s.cli("version-history")


def test_completion():
    with Server() as s:
        def complete(line):
            env = {"HOME": str(s.dir), "COMP_LINE": line, "COMP_POINT": str(len(line))}
            return subprocess.run([BINARY], env=env, capture_output=True, text=True, check=True).stdout.split()
        assert complete("strongroom polic") == ["policy"]
        assert "explain" in complete("strongroom policy ") and complete("strongroom policy lint -st") == ["-strict"]
        s.cli("-autocomplete-install")
        assert "complete -o nospace -C" in (s.dir / ".bashrc").read_text()
        s.cli("-autocomplete-uninstall")
        assert (s.dir / ".bashrc").read_text() == ""


harness.main(globals())
