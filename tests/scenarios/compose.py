"""docker-compose.yml and the images, for real: Debian's docker and docker-compose, three containers that are killed in turn.

Starts a Docker daemon of its own when none answers, and ends it. Needs root and a static target/release/strongroom (dev/test builds
it so). Works on a copy of deploy/, so that a cluster of yours keeps its certificates and shares.
"""
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import harness

ROOT = harness.ROOT
TAG = f"test-{os.getpid()}"
PATIENCE = 180


def sh(*words, env=None, cwd=None, stdin=None, code=0, timeout=900):
    done = subprocess.run([str(w) for w in words], env=env, cwd=cwd, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    if code is not None and done.returncode != code:
        raise AssertionError(f"{words}: exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def wait_for(condition, what):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(AssertionError, ValueError, KeyError):
            found = condition()
            if found:
                return found
        time.sleep(0.1)  # polling other processes
    raise AssertionError(f"{what} did not come within {PATIENCE} s")


@contextlib.contextmanager
def daemon():
    """A Docker daemon: the one that answers, or one of this test's own."""
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0:
        yield
        return
    folder = Path(tempfile.mkdtemp(prefix="strongroom-docker-"))
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(["dockerd", "--data-root", folder / "data", "--exec-root", folder / "exec", "-p", folder / "pid"],
                                   stdout=log, stderr=log)
    try:
        def answers():
            assert process.poll() is None, (folder / "log").read_text(errors="replace")[-3000:]
            return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
        end = time.monotonic() + PATIENCE
        while not answers():
            assert time.monotonic() < end, "dockerd does not answer:\n" + (folder / "log").read_text(errors="replace")[-3000:]
            time.sleep(0.1)  # polling another process
        yield
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


class Cluster:
    """The compose project in a copy of its files."""

    def __init__(self):
        self.dir = Path(tempfile.mkdtemp(prefix="strongroom-compose-"))
        shutil.copytree(ROOT / "deploy", self.dir / "deploy", ignore=shutil.ignore_patterns("tls", "init.json"))
        shutil.copy(ROOT / "docker-compose.yml", self.dir)
        ports = {f"STRONGROOM_PORT_{n}": str(harness.free_port()) for n in (1, 2, 3)}
        self.env = {**os.environ, **ports, "STRONGROOM_TAG": TAG, "COMPOSE_PROJECT_NAME": f"strongroom-{TAG}"}

    def start(self):
        return sh("deploy/compose/start", cwd=self.dir, env=self.env)

    def compose(self, *words, stdin=None, code=0):
        return sh("docker-compose", *words, cwd=self.dir, env=self.env, stdin=stdin, code=code)

    def cli(self, node, *words, stdin=None):
        token = json.loads((self.dir / "deploy/compose/init.json").read_text())["root_token"]
        return self.compose("exec", "-T", "-e", f"VAULT_TOKEN={token}", f"node-{node}", "/bin/strongroom", *words, stdin=stdin)

    def voters(self, node):
        config = json.loads(self.cli(node, "operator", "raft", "list-peers", "-format=json"))["data"]["config"]
        return sorted(server["node_id"] for server in config["servers"] if server["voter"])

    def health(self, node):
        container = self.compose("ps", "-q", f"node-{node}").strip()
        return sh("docker", "inspect", "-f", "{{.State.Health.Status}}", container).strip()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            print(self.compose("logs", "--tail=60", code=None)[-6000:])
        self.compose("down", "-v", "--remove-orphans", "-t", "5", code=None)
        shutil.rmtree(self.dir, ignore_errors=True)


def test_compose_survives_the_loss_of_any_container():
    with daemon():
        sh("deploy/image/build", TAG, cwd=ROOT, env={**os.environ, "BINARY": str(harness.BINARY)})
        try:
            with Cluster() as cluster:
                cluster.start()
                three = ["node-1", "node-2", "node-3"]
                wait_for(lambda: cluster.voters(1) == three, "three voters")
                cluster.cli(1, "secrets", "enable", "-path=secret", "kv-v2")
                for node in (1, 2, 3):
                    cluster.cli(node, "kv", "put", "-mount=secret", f"app{node}", f"password=s3cr3t-{node}")
                for killed in (1, 2, 3):
                    left = 1 + killed % 3
                    cluster.compose("kill", "-s", "KILL", f"node-{killed}")
                    cluster.cli(left, "kv", "put", "-mount=secret", f"after{killed}", "value=kept")
                    cluster.start()
                    wait_for(lambda killed=killed: cluster.health(killed) == "healthy", f"a healthy node-{killed}")
                    assert "kept" in cluster.cli(killed, "kv", "get", "-mount=secret", f"after{killed}")
                cluster.compose("kill", "-s", "KILL")
                cluster.start()
                for node in (1, 2, 3):
                    for name, value in [(f"app{n}", f"s3cr3t-{n}") for n in (1, 2, 3)] + [(f"after{n}", "kept") for n in (1, 2, 3)]:
                        assert value in cluster.cli(node, "kv", "get", "-mount=secret", name), f"{name} on node-{node}"
        finally:
            sh("docker", "rmi", "-f", f"strongroom:{TAG}", f"strongroom-kube:{TAG}", code=None)


# What the official chart's StatefulSet does before and around the server (docs/images.md), in our words.
CHART_START = """
cp /vault/config/server.hcl /tmp/storageconfig.hcl
[ -n "${POD_IP}" ] && sed -Ei "s|POD_IP|${POD_IP?}|g" /tmp/storageconfig.hcl
if grep -vE '^[[:space:]]*#' /tmp/storageconfig.hcl | grep -qE 'POD_IP'; then exit 1; fi
/usr/local/bin/docker-entrypoint.sh vault server -config=/tmp/storageconfig.hcl
"""
CHART_CONFIG = """
ui = true
listener "tcp" {
  tls_disable = 1
  address = "[::]:8200"
  cluster_address = "[::]:8201"
}
storage "raft" {
  path = "/vault/data"
}
api_addr = "http://POD_IP:8200"
disable_mlock = true
"""


def test_the_second_image_starts_as_the_official_chart_starts_it():
    with daemon(), tempfile.TemporaryDirectory() as folder:
        sh("deploy/image/build", TAG, cwd=ROOT, env={**os.environ, "BINARY": str(harness.BINARY)})
        (Path(folder) / "server.hcl").write_text(CHART_CONFIG)
        os.chmod(folder, 0o755)
        name = f"strongroom-chart-{os.getpid()}"
        try:
            # A volume as fsGroup leaves it: root's, writable for group 1000.
            sh("docker", "run", "-d", "--name", name, "--read-only", "--cap-drop=ALL", "--tmpfs", "/tmp", "--tmpfs",
               "/vault/data:uid=0,gid=1000,mode=2770", "--tmpfs", "/home/vault:uid=100,gid=1000", "-v", f"{folder}:/vault/config:ro", "-e", "POD_IP=127.0.0.1",
               "-e", "VAULT_ADDR=http://127.0.0.1:8200", "-e", "SKIP_CHOWN=true", "-e", "SKIP_SETCAP=true", "--entrypoint", "/bin/sh",
               f"strongroom-kube:{TAG}", "-ec", CHART_START)

            def inside(script, code=0):
                return sh("docker", "exec", name, "/bin/sh", "-ec", script, code=code)
            wait_for(lambda: '"initialized": false' in inside("vault status -tls-skip-verify -format=json", code=2), "a status")
            made = json.loads(inside("vault operator init -format=json -n 1 -t 1"))
            inside(f"vault operator unseal {made['unseal_keys_b64'][0]}")
            inside("vault status -tls-skip-verify")
            began = time.monotonic()
            inside("kill -SIGTERM $(pidof vault)")
            assert sh("docker", "wait", name).strip() == "0"
            print(f"       SIGTERM to the end: {time.monotonic() - began:.1f} s", flush=True)
        except BaseException:
            print(sh("docker", "logs", name, code=None)[-4000:])
            raise
        finally:
            sh("docker", "rm", "-f", name, code=None)
            sh("docker", "rmi", "-f", f"strongroom:{TAG}", f"strongroom-kube:{TAG}", code=None)


if __name__ == "__main__":
    harness.main(globals())
