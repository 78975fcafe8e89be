"""Other people's clients against the built server: node-vault, vaultrs, spring-vault-core, consul-template.

The programs are in tests/clients; dev/setup fetched what they need, and what is missing fails here by name.
"""
import os
import subprocess
from pathlib import Path

import harness
from harness import ROOT, Server

CLIENTS = ROOT / "tests" / "clients"
TOOLS = ROOT / "target" / "clients"
# A slow two-core machine, with the client's own start.
PATIENCE_SECONDS = 120


def need(path, what):
    assert Path(path).exists(), f"{what} is missing ({path}): run dev/setup"
    return str(path)


def run(server, command, cwd):
    whole = {**os.environ, "ADDR": server.addr, "TOKEN": server.token}
    done = subprocess.run(command, cwd=cwd, env=whole, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def ready():
    return Server().start().init(1, 1)


def test_node_vault():
    need(CLIENTS / "node" / "node_modules" / "node-vault", "node-vault")
    with ready() as s:
        assert "all as expected" in run(s, ["node", "main.js"], CLIENTS / "node")


def test_vaultrs():
    binary = need(TOOLS / "debug" / "rust-client", "the vaultrs program")
    with ready() as s:
        assert "all as expected" in run(s, [binary], CLIENTS / "rust")


def test_spring_vault():
    classes = need(TOOLS / "java" / "classes", "the spring-vault program")
    jars = need(TOOLS / "java" / "classpath", "spring-vault-core")
    with ready() as s:
        path = f"{classes}:{Path(jars).read_text().strip()}"
        assert "all as expected" in run(s, ["java", "-cp", path, "client.Main"], CLIENTS / "java")


def test_consul_template_once():
    binary = need(TOOLS / "bin" / "consul-template", "consul-template")
    with ready() as s:
        s.cli("secrets", "enable", "-path=secret", "-version=2", "kv")
        s.cli("kv", "put", "secret/app", "user=ann", "password=s3cr3t")
        s.cli("kv", "put", "secret/more/one", "v=1")
        (s.dir / "in.tpl").write_text(
            '{{ with secret "secret/data/app" }}{{ .Data.data.user }}:{{ .Data.data.password }}{{ end }}\n'
            '{{ with secret "secret/data/app?version=1" }}{{ .Data.metadata.version }}{{ end }}\n'
            '{{ range secrets "secret/metadata/" }}{{ . }} {{ end }}\n'
        )
        wrapped = s.ask("POST", "auth/token/create", {"policies": ["root"], "ttl": "1h"}, headers={"X-Vault-Wrap-TTL": "600s"})
        token = wrapped.json["wrap_info"]["token"]
        out = s.dir / "out.txt"
        command = [binary, "-once", f"-vault-addr={s.addr}", "-vault-unwrap-token", "-vault-renew-token=false",
                   f"-template={s.dir}/in.tpl:{out}"]
        _once(s, command, token)
        assert out.read_text() == "ann:s3cr3t\n1\napp more/ \n"
        # The wrapping token was used up.
        assert _fails(s, command, token)


def _environment(s, token):
    return {"PATH": os.environ["PATH"], "HOME": str(s.dir), "VAULT_TOKEN": token}


def _once(s, command, token):
    done = subprocess.run(command, cwd=s.dir, env=_environment(s, token), capture_output=True, text=True, timeout=harness.PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr


def _fails(s, command, token):
    done = subprocess.run(command, cwd=s.dir, env=_environment(s, token), capture_output=True, text=True, timeout=harness.PATIENCE_S, check=False)
    return done.returncode != 0 and "wrapping token is not valid" in done.stderr


def test_consul_template_renews_its_token():
    binary = need(TOOLS / "bin" / "consul-template", "consul-template")
    with ready() as s:
        s.cli("secrets", "enable", "-path=secret", "-version=2", "kv")
        s.cli("kv", "put", "secret/app", "user=ann")
        s.cli("policy", "write", "app", "-", stdin='path "secret/data/app" { capabilities = ["read"] }')
        made = s.ask("POST", "auth/token/create", {"policies": ["app"], "period": "15s"}).json["auth"]
        (s.dir / "in.tpl").write_text('{{ with secret "secret/data/app" }}{{ .Data.data.user }}{{ end }}')
        command = [binary, f"-vault-addr={s.addr}", "-vault-renew-token=true", f"-template={s.dir}/in.tpl:{s.dir}/out.txt"]
        with open(s.dir / "template.log", "wb") as log:
            watcher = subprocess.Popen(command, cwd=s.dir, env=_environment(s, made["client_token"]), stdout=log, stderr=log)
        try:
            def renewed():
                found = s.ask("POST", "auth/token/lookup-accessor", {"accessor": made["accessor"]})
                return found.status == 200 and found.data.get("last_renewal") and found
            first = s.wait_for(renewed, "a first renewal")
            again = s.wait_for(
                lambda: (r := renewed()) and r.data["last_renewal"] != first.data["last_renewal"] and r, "another renewal")
            assert again.data["ttl"] > 0
            assert (s.dir / "out.txt").read_text() == "ann"
            assert watcher.poll() is None, (s.dir / "template.log").read_text()
        finally:
            watcher.kill()
            watcher.wait()


harness.main(globals())
