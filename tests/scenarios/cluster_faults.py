"""Three real servers, each in a network namespace of its own, under faults, while clients read and write on all of them. What
the clients saw is judged by Porcupine (tests/linearizability): no acknowledged write lost, every read current on every node.

Needs root, for namespaces and tmpfs. `python3 cluster_faults.py --seconds 600` prolongs the random part.
"""
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import harness
from cluster_rig import Rig

ROOT = Path(__file__).resolve().parents[2]
KEYS = ["k1", "k2", "k3", "k4"]
# Longest time a client waits for one answer. The server itself gives up an election's wait earlier.
CLIENT_PATIENCE = 25
# Longest time the cluster may take to serve again after a fault was lifted. The figure that counts is printed, not asserted.
HEAL_PATIENCE = 90


class Clients:
    """Threads that read and write registers, each on one node, and note what they saw."""

    def __init__(self, rig, count=6):
        self.rig, self.stop = rig, threading.Event()
        self.lines, self.lock, self.acknowledged = [], threading.Lock(), threading.Condition()
        self.last_write, self.writes = 0, 0
        self.threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(CLIENT_PATIENCE + 10)

    def _run(self, number):
        node, rng, turn = self.rig.nodes[number % len(self.rig.nodes)], random.Random(number), 0
        while not self.stop.is_set():
            turn += 1
            key, is_write = rng.choice(KEYS), rng.random() < 0.5
            value = f"{number}-{turn}" if is_write else ""
            call = time.monotonic_ns()
            outcome = "unknown"
            with contextlib.suppress(OSError, harness.http.client.HTTPException, ValueError):
                answer = (node.ask("PUT", f"reg/{key}", {"value": value}, timeout=CLIENT_PATIENCE) if is_write
                          else node.ask("GET", f"reg/{key}", timeout=CLIENT_PATIENCE))
                if is_write and answer.status == 204:
                    outcome = "ok"
                elif not is_write and answer.status in (200, 404):
                    outcome, value = "ok", (answer.data or {}).get("value", "")
            end = time.monotonic_ns()
            self.note({"client": number, "key": key, "kind": "write" if is_write else "read", "value": value,
                       "call": call, "return": end, "outcome": outcome})
            if outcome != "ok":
                self.stop.wait(0.05)  # a refused client does not hammer

    def note(self, line):
        with self.lock:
            self.lines.append(line)
        if line["kind"] == "write" and line["outcome"] == "ok":
            with self.acknowledged:
                self.writes += 1
                self.last_write = max(self.last_write, line["return"])
                self.acknowledged.notify_all()

    def next_write(self, what):
        """Waits for a write that began after now; seconds until it was acknowledged."""
        since = time.monotonic_ns()

        def fresh():
            with self.lock:
                return [l for l in self.lines[-400:] if l["kind"] == "write" and l["outcome"] == "ok" and l["call"] > since]
        end = time.monotonic() + HEAL_PATIENCE
        with self.acknowledged:
            while not fresh():
                assert self.acknowledged.wait(max(0.0, end - time.monotonic())), f"no write was acknowledged after {what}"
        return (min(l["return"] for l in fresh()) - since) / 1e9

    def verdict(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "history.jsonl"
            path.write_text("".join(json.dumps(line) + "\n" for line in self.lines))
            judged = subprocess.run(["go", "run", ".", path], cwd=ROOT / "tests" / "linearizability", capture_output=True,
                                    text=True, timeout=600, check=False)
            if judged.returncode:
                kept = Path(tempfile.gettempdir()) / f"history-{os.getpid()}.jsonl"
                shutil.copy(path, kept)
                raise AssertionError(f"not linearizable, history in {kept}\n{judged.stdout}{judged.stderr}")
        return judged.stdout.strip()


def kill_leader(rig, clients):
    leader = rig.leader()
    leader.kill()
    took = clients.next_write("kill -9 of the leader")
    print(f"       kill -9 of the leader to the next acknowledged write: {took:.2f} s", flush=True)
    leader.start()
    rig.unseal(leader)
    return took


def kill_all(rig, clients):
    for node in rig.nodes:
        node.kill()
    for node in rig.nodes:
        node.start()
    for node in rig.nodes:
        rig.unseal(node)
    clients.next_write("kill -9 of all nodes")


def stop_leader(rig, clients):
    leader = rig.leader()
    leader.proc.send_signal(signal.SIGSTOP)
    took = clients.next_write("SIGSTOP of the leader")
    print(f"       SIGSTOP of the leader to the next acknowledged write: {took:.2f} s", flush=True)
    leader.proc.send_signal(signal.SIGCONT)


def deafen_leader(rig, clients):
    """The leader still sends, but hears nobody."""
    leader = rig.leader()
    with rig.cut(*[(other, leader) for other in rig.nodes if other is not leader]):
        clients.next_write("a leader that hears nobody")


def mute_leader(rig, clients):
    """The leader hears the others, but nothing of what it sends arrives."""
    leader = rig.leader()
    with rig.cut(*[(leader, other) for other in rig.nodes if other is not leader]):
        clients.next_write("a leader that nobody hears")


def isolate_leader(rig, clients):
    leader = rig.leader()
    others = [node for node in rig.nodes if node is not leader]
    with rig.cut(*[pair for o in others for pair in ((o, leader), (leader, o))]):
        clients.next_write("isolation of the leader")


def part_followers(rig, clients):
    """The leader reaches both others, which do not reach each other."""
    leader = rig.leader()
    one, other = [node for node in rig.nodes if node is not leader]
    with rig.cut((one, other), (other, one)):
        clients.next_write("a cut between the followers")


def fill_follower(rig, clients):
    node = next(node for node in rig.nodes if node is not rig.leader())
    with node.full_disk():
        clients.next_write("a full disk of a follower")
    clients.next_write("room on the disk again")


FAULTS = [kill_leader, stop_leader, deafen_leader, mute_leader, isolate_leader, part_followers, fill_follower, kill_all]


def seconds_asked():
    return float(sys.argv[sys.argv.index("--seconds") + 1]) if "--seconds" in sys.argv else 0


def test_nothing_acknowledged_is_lost_and_every_read_is_current(seconds):
    seed = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
    print(f"       SEED={seed}", flush=True)
    rng, end = random.Random(seed), time.monotonic() + seconds
    with Rig() as rig:
        rig.form()
        made = rig.nodes[0].ask("POST", "sys/mounts/reg", {"type": "kv", "options": {"version": "1"}})
        assert made.status == 204, made
        with Clients(rig) as clients:
            clients.next_write("the start")
            order = FAULTS[:]
            rng.shuffle(order)
            while order or time.monotonic() < end:
                fault = order.pop() if order else rng.choice(FAULTS)
                print(f"       {fault.__name__}", flush=True)
                fault(rig, clients)
                rig.heal(clients)
        rig.agree(f"reg/{key}" for key in KEYS)
        print(f"       {clients.verdict()}, {clients.writes} writes acknowledged", flush=True)
        assert clients.writes >= len(FAULTS), "hardly anything was written"


if __name__ == "__main__":
    if os.environ.get("STRONGROOM_IN_NAMESPACE") != "1":
        # The bridge between the nodes lives in a namespace of this process, which the kernel clears away after it.
        os.execvpe("unshare", ["unshare", "--net", "--mount", sys.executable, *sys.argv],
                   {**os.environ, "STRONGROOM_IN_NAMESPACE": "1"})
    asked = seconds_asked()
    sys.argv = sys.argv[:1]
    harness.main({"test_nothing_acknowledged_is_lost_and_every_read_is_current":
                  lambda: test_nothing_acknowledged_is_lost_and_every_read_is_current(asked)})
