"""One server under measurement: its directory, ports, configuration, process and API.

A server is started by its own program and ended by its process id; nothing else is ever ended.
Absent on purpose: any address but 127.0.0.1, and any name of a program that is not given on the command line.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import time

START_SECONDS = 60.0  # a peer with 100,000 secrets starts within one second; this is for a very busy machine
STOP_SECONDS = 20.0  # a peer steps down and closes its store within two
POLL_SECONDS = 0.001  # the resolution of the start and unseal times

CONFIG = """
storage "raft" {{
  path    = "{directory}/data"
  node_id = "bench"
}}
listener "tcp" {{
  address         = "127.0.0.1:{plain}"
  cluster_address = "127.0.0.1:{cluster}"
  tls_disable     = true
}}
listener "tcp" {{
  address         = "127.0.0.1:{tls}"
  cluster_address = "127.0.0.1:{cluster_of_tls}"
  tls_cert_file   = "{certificates}/certificate.pem"
  tls_key_file    = "{certificates}/key.pem"
}}
api_addr      = "http://127.0.0.1:{plain}"
cluster_addr  = "https://127.0.0.1:{cluster}"
disable_mlock = true
ui            = false
log_level     = "error"
"""

# OpenBao refuses to make an audit device through the API unless this is set.
CONFIG_OPENBAO = "unsafe_allow_api_audit_creation = true\n"


class ApiError(Exception):
    """An answer that the bench cannot go on with."""


def free_ports(count):
    """Ports that are free now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Server:
    """A server with a fresh, empty raft store in `directory`."""

    def __init__(self, name, binary, directory, certificates):
        self.name = name
        self.binary = binary
        self.directory = directory
        self.process = None
        self.key = None
        self.root = None
        self.tokens = {}
        self.lacks = {}
        os.makedirs(f"{directory}/data")
        self.plain, self.cluster, self.tls, cluster_of_tls = free_ports(4)
        text = CONFIG.format(
            directory=directory, plain=self.plain, cluster=self.cluster, tls=self.tls,
            cluster_of_tls=cluster_of_tls, certificates=certificates,
        )
        version = subprocess.run([binary, "version"], capture_output=True, text=True, timeout=30, check=False)
        self.version = version.stdout.strip().split("\n")[0]
        if "OpenBao" in self.version:
            text += CONFIG_OPENBAO
        self.config = f"{directory}/config.hcl"
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(text)

    # --- process ---

    def start(self):
        """Starts the program; returns the milliseconds until the API answers, sealed or not."""
        log = open(f"{self.directory}/log", "ab")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("VAULT_", "BAO_"))}
        begun = time.monotonic()
        self.process = subprocess.Popen(
            [self.binary, "server", f"-config={self.config}"], stdout=log, stderr=log, env=environment,
            stdin=subprocess.DEVNULL,
        )
        log.close()
        while True:
            if self.process.poll() is not None:
                raise ApiError(f"{self.name} ended with {self.process.returncode}; its log:\n{self.log_tail()}")
            try:
                self.ask("GET", "/v1/sys/health", timeout=5)
                return (time.monotonic() - begun) * 1000
            except OSError:
                pass
            if time.monotonic() - begun > START_SECONDS:
                raise ApiError(f"{self.name} did not answer in {START_SECONDS:.0f} s; its log:\n{self.log_tail()}")
            time.sleep(POLL_SECONDS)

    def stop(self):
        """Ends the process: politely, then by force."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def pid(self):
        """Of the running process."""
        return self.process.pid

    def log_tail(self):
        """The last lines of what the program wrote."""
        with open(f"{self.directory}/log", encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-15:])

    # --- seal ---

    def initialise(self):
        """One share, and unsealed."""
        made = self.expect("PUT", "/v1/sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self.key, self.root = made["keys"][0], made["root_token"]
        self.unseal("/v1/sys/health")

    def unseal(self, path):
        """Unseals; returns the milliseconds until `path` answers 200 to the root token."""
        begun = time.monotonic()
        self.expect("PUT", "/v1/sys/unseal", {"key": self.key})
        while True:
            status, body = self.ask("GET", path, token=self.root)
            if status == 200:
                return (time.monotonic() - begun) * 1000
            if time.monotonic() - begun > START_SECONDS:
                raise ApiError(f"{self.name}: {path} after unseal: {status} {body[:200]!r}")
            time.sleep(POLL_SECONDS)

    # --- API ---

    def ask(self, method, path, body=None, token=None, timeout=60):
        """One request on a connection of its own: (status, bytes)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.plain, timeout=timeout)
        try:
            headers = {"X-Vault-Token": token} if token else {}
            text = None if body is None else json.dumps(body)
            if text:
                headers["Content-Type"] = "application/json"
            connection.request(method, path, text, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()

    def expect(self, method, path, body=None, token=None):
        """The JSON of a 2xx answer (an empty dict for an empty one)."""
        status, text = self.ask(method, path, body, token or self.root)
        if not 200 <= status < 300:
            raise ApiError(f"{self.name}: {method} {path}: {status} {text[:300].decode(errors='replace')}")
        return json.loads(text) if text.strip() else {}

    # --- figures ---

    def disk_bytes(self):
        """Blocks of the data directory, as allocated."""
        total = 0
        for folder, _, files in os.walk(f"{self.directory}/data"):
            for name in files:
                try:
                    total += os.stat(os.path.join(folder, name)).st_blocks * 512
                except FileNotFoundError:
                    pass  # compaction removed it meanwhile
        return total

    def memory_kib(self):
        """(resident, resident and its own) in KiB."""
        fields = {}
        with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as file:
            for line in file:
                name, _, rest = line.partition(":")
                fields[name] = rest.split()
        return int(fields["VmRSS"][0]), int(fields["RssAnon"][0])
