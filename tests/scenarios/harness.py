"""Starts the built server in a folder of its own and drives it as its users do. Standard library only.

A scenario file defines functions `test_*(…)` and ends with `harness.main(globals())`; the last line printed is
`scenarios: N passed, N failed`.
"""
import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("STRONGROOM", ROOT / "target" / "release" / "strongroom"))


# How long anything may take that will come: a machine may be slow, or stand still for seconds.
PATIENCE_S = 180


def free_port():
    """Below the ports that the system gives to outgoing connections, so that none takes it before the server does. The next one,
    for other nodes, is free as well."""
    while True:
        port = random.randrange(12_000, 30_000, 2)
        with socket.socket() as s, socket.socket() as t, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            t.bind(("127.0.0.1", port + 1))
            return port


class Answer:
    def __init__(self, status, raw, headers):
        self.status, self.raw, self.headers = status, raw, headers

    @property
    def json(self):
        return json.loads(self.raw) if self.raw.strip() else None

    @property
    def data(self):
        return (self.json or {}).get("data")

    @property
    def errors(self):
        return (self.json or {}).get("errors")

    def __repr__(self):
        return f"<{self.status} {self.raw[:300]!r}>"


class Server:
    """One server process on loopback with data in a temporary folder."""

    def __init__(self, engine="fjall", extra=""):
        self.dir = Path(tempfile.mkdtemp(prefix="strongroom-"))
        self.host, self.port, self.command_prefix = "127.0.0.1", free_port(), []
        self.addr = f"http://127.0.0.1:{self.port}"
        self.config = self.dir / "server.hcl"
        self.config.write_text(f"""
storage "raft" {{
  path    = "{self.dir}/data"
  node_id = "node1"
  engine  = "{engine}"
}}
listener "tcp" {{
  address     = "127.0.0.1:{self.port}"
  tls_disable = true
}}
api_addr = "{self.addr}"
{extra}
""")
        self.proc, self.token, self.keys = None, "", []

    def start(self, wait=True):
        self.log = open(self.dir / "server.log", "ab")
        command = [*self.command_prefix, BINARY, "server", f"-config={self.config}"]
        self.proc = subprocess.Popen(command, cwd=self.dir, stdin=subprocess.DEVNULL,
                                     stdout=self.log, stderr=subprocess.STDOUT)
        if wait:
            self.wait_for(lambda: self.ask("GET", "sys/health").status, "an answer of sys/health")
        return self

    def wait_for(self, condition, what, seconds=PATIENCE_S):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.proc.poll() is not None:
                raise AssertionError(f"the server ended with {self.proc.returncode}:\n{self.log_text()[-3000:]}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                found = condition()
                if found:
                    return found
            time.sleep(0.02)  # polling another process, not a guess about it
        raise AssertionError(f"{what} did not come within {seconds} s:\n{self.log_text()[-3000:]}")

    def log_text(self):
        return (self.dir / "server.log").read_text(errors="replace")

    def ask(self, method, path, body=None, token=None, headers=None, timeout=PATIENCE_S):
        conn = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            head = dict(headers or {})
            token = self.token if token is None else token
            if token:
                head["X-Vault-Token"] = token
            if method == "PATCH":
                head.setdefault("Content-Type", "application/merge-patch+json")
            raw = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
            conn.request(method, f"/v1/{path}", raw, head)
            reply = conn.getresponse()
            return Answer(reply.status, reply.read(), reply.headers)
        finally:
            conn.close()

    def init(self, shares=5, threshold=3):
        made = self.ask("PUT", "sys/init", {"secret_shares": shares, "secret_threshold": threshold}, token="")
        assert made.status == 200, made
        self.keys, self.token, self.threshold = made.json["keys_base64"], made.json["root_token"], threshold
        return self.unseal()

    def unseal(self):
        for key in self.keys[: self.threshold]:
            answer = self.ask("PUT", "sys/unseal", {"key": key}, token="")
            assert answer.status == 200, answer
        assert answer.json["sealed"] is False, answer
        self.wait_for(lambda: self.ask("GET", "sys/health").status == 200, "an active node")
        return self

    def kill(self):
        """kill -9"""
        self.proc.kill()
        self.proc.wait()
        self.log.close()

    def stop(self):
        if self.proc and self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
            try:
                self.proc.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"the server did not end within {PATIENCE_S} s of SIGTERM") from None
        return self.proc.returncode if self.proc else None

    def cli(self, *args, token=None, stdin=None, code=0):
        """Runs our CLI against this server; `code` is the exit code it must have."""
        env = {"PATH": os.environ["PATH"], "HOME": str(self.dir), "VAULT_ADDR": self.addr}
        if token is None:
            token = self.token
        if token:
            env["VAULT_TOKEN"] = token
        done = subprocess.run([BINARY, *args], env=env, input=stdin, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == code, f"{args}: exit {done.returncode}, wanted {code}\n{done.stdout}\n{done.stderr}"
        return done.stdout if code == 0 else done.stdout + done.stderr

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            if self.proc and self.proc.poll() is None:
                self.stop()
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)


def readable(folder, needles):
    """The needles that stand readable in any file below a folder."""
    found = set()
    for path in Path(folder).rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            found |= {n for n in needles if n.encode() in data}
    return found


def main(names):
    tests = [(n, f) for n, f in names.items() if n.startswith("test_") and callable(f)]
    only = sys.argv[1:]
    passed = failed = 0
    for name, test in tests:
        if only and name not in only:
            continue
        began = time.monotonic()
        try:
            test()
            passed += 1
            print(f"ok     {name} ({time.monotonic() - began:.1f} s)", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
    print(f"scenarios: {passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)
