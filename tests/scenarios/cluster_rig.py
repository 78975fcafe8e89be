"""Three servers in network namespaces joined by a bridge, with switches for links and disks. Used inside `unshare --net --mount`."""
import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import harness

# Where the bridge's network is; nobody else sees it.
NET = "10.77.0"
PATIENCE = 120


def run(*words):
    subprocess.run(words, check=True, capture_output=True, text=True)


class Node(harness.Server):
    """One server with an address, a namespace and a small disk of its own."""

    def __init__(self, number, size):
        super().__init__()
        self.number, self.host, self.port = number, f"{NET}.{number}", 8200
        self.addr = f"http://{self.host}:{self.port}"
        self.namespace = f"sr{os.getpid()}-{number}"
        self.command_prefix = ["ip", "netns", "exec", self.namespace]
        (self.dir / "data").mkdir()
        run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "strongroom-test", str(self.dir / "data"))
        joins = "".join(f'  retry_join {{ leader_api_addr = "http://{NET}.{n}:8200" }}\n' for n in (1, 2, 3) if n != number)
        self.config.write_text(f"""
storage "raft" {{
  path    = "{self.dir}/data"
  node_id = "node{number}"
{joins}}}
listener "tcp" {{
  address         = "{self.host}:8200"
  cluster_address = "{self.host}:8201"
  tls_disable     = true
}}
api_addr     = "{self.addr}"
cluster_addr = "https://{self.host}:8201"
""")
        run("ip", "netns", "add", self.namespace)
        run("ip", "link", "add", f"v{number}", "type", "veth", "peer", "name", "e0", "netns", self.namespace)
        run("ip", "link", "set", f"v{number}", "master", "br0", "up")
        run("ip", "-n", self.namespace, "addr", "add", f"{self.host}/24", "dev", "e0")
        for link in ("lo", "e0"):
            run("ip", "-n", self.namespace, "link", "set", link, "up")

    @contextlib.contextmanager
    def full_disk(self):
        """Fills the disk to the last byte, and makes room again at the end."""
        ballast = self.dir / "data" / "ballast"
        with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
        try:
            yield
        finally:
            ballast.unlink()

    def clear(self):
        if self.proc and self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        run("umount", "-l", str(self.dir / "data"))
        run("ip", "netns", "del", self.namespace)
        shutil.rmtree(self.dir, ignore_errors=True)


class Rig:
    """The nodes, the bridge, and what all share: shares and root token."""

    def __init__(self, size="256m"):
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "br0", "type", "bridge")
        run("ip", "addr", "add", f"{NET}.254/24", "dev", "br0")
        run("ip", "link", "set", "br0", "up")
        self.nodes = []
        for number in (1, 2, 3):
            self.nodes.append(Node(number, size))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for node in self.nodes:
            if kind is not None:
                print(f"--- log of node {node.number}\n{node.log_text()[-4000:]}")
            node.clear()

    def form(self):
        """Starts all, initialises the first, waits until the others joined, unseals them."""
        for node in self.nodes:
            node.start()
        first = self.nodes[0].init()
        for node in self.nodes[1:]:
            node.keys, node.token, node.threshold = first.keys, first.token, first.threshold
            node.wait_for(lambda node=node: node.ask("GET", "sys/seal-status").json["initialized"], "joining", PATIENCE)
            self.unseal(node)
        first.wait_for(lambda: self.voters() == 3, "three voters", PATIENCE)

    def voters(self):
        answer = self.nodes[0].ask("GET", "sys/storage/raft/configuration")
        return sum(server["voter"] for server in answer.data["config"]["servers"]) if answer.status == 200 else 0

    def unseal(self, node):
        """Gives shares until the node is open."""
        def opened():
            for key in node.keys[: node.threshold]:
                node.ask("PUT", "sys/unseal", {"key": key}, token="")
            return node.ask("GET", "sys/seal-status").json["sealed"] is False
        node.wait_for(opened, "unsealing", PATIENCE)

    def leader(self):
        """The node that the cluster follows, asked until the nodes agree on one that answers."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for node in self.nodes:
                with contextlib.suppress(OSError, harness.http.client.HTTPException, ValueError, KeyError):
                    if node.ask("GET", "sys/leader", timeout=5).json["is_self"]:
                        return node
            time.sleep(0.02)  # polling other processes
        raise AssertionError("no node leads")

    @contextlib.contextmanager
    def cut(self, *pairs):
        """Drops what the first of each pair sends to the second."""
        for sender, receiver in pairs:
            run("ip", "-n", sender.namespace, "route", "add", "blackhole", f"{receiver.host}/32")
        try:
            yield
        finally:
            for sender, receiver in pairs:
                run("ip", "-n", sender.namespace, "route", "del", "blackhole", f"{receiver.host}/32")

    def heal(self, clients):
        """Waits until every node serves again."""
        for node in self.nodes:
            def serves(node=node):
                return node.ask("GET", "sys/health?standbyok=true").status == 200 and node.ask("GET", "reg/k1").status in (200, 404)
            node.wait_for(serves, f"node {node.number} serving again", PATIENCE)
        clients.next_write("the fault was lifted")

    def agree(self, paths):
        """Every node gives the same answer for every path."""
        for path in paths:
            found = {json_of(node.ask("GET", path)) for node in self.nodes}
            assert len(found) == 1, f"{path}: {found}"


def json_of(answer):
    return str(answer.status), str(answer.data)
