"""Snapshots with real clients: saved, inspected and restored by the CLI, larger than a body may be, killed in the middle."""
import gzip
import hashlib
import io
import os
import random
import re
import subprocess
import tarfile
import threading
from pathlib import Path

import harness
from harness import BINARY, Server

# Another program that saves and restores as Vault's CLI does, if there is one.
OTHER_CLI = os.environ.get("OTHER_CLI", "")
VALUE = "x" * 20_000


def cli(server, *words, binary=BINARY, code=0):
    environment = {**os.environ, "VAULT_ADDR": server.addr, "VAULT_TOKEN": server.token, "BAO_ADDR": server.addr,
                   "BAO_TOKEN": server.token, "HOME": str(server.dir)}
    done = subprocess.run([binary, *words], env=environment, capture_output=True, text=True, timeout=harness.PATIENCE_S, check=False)
    assert done.returncode == code, f"{words}: {done.returncode}: {done.stdout} {done.stderr}"
    return done.stdout + done.stderr


def filled(server, count, note):
    server.start().init(1, 1)
    assert server.ask("POST", "sys/mounts/kv", {"type": "kv"}).status == 204
    for i in range(count):
        assert server.ask("POST", f"kv/k{i}", {"v": f"{note}-{i}-{VALUE}"}).status == 204


def seen(server, index):
    answer = server.ask("GET", f"kv/k{index}")
    return answer.data["v"].split("-")[0] if answer.status == 200 else answer.status


def test_save_inspect_and_restore():
    with Server() as s:
        filled(s, 30, "old")
        log = s.dir / "audit.log"
        assert s.ask("PUT", "sys/audit/file", {"type": "file", "options": {"file_path": str(log), "write_timeout": "60s"}}).status == 204
        file = str(s.dir / "a.snap")
        for binary in filter(None, [str(BINARY), OTHER_CLI]):
            cli(s, "operator", "raft", "snapshot", "save", file, binary=binary)
            told = cli(s, "operator", "raft", "snapshot", "inspect", "-details", file)
            assert not re.search(r"\bkv\b", told), told
            filled_files = tarfile.open(fileobj=io.BytesIO(gzip.decompress(open(file, "rb").read())))
            state = filled_files.extractfile("state.bin").read()
            assert hashlib.sha256(state).hexdigest() in filled_files.extractfile("SHA256SUMS").read().decode()
            assert s.ask("POST", "kv/k0", {"v": "new-"}).status == 204
            assert s.ask("POST", "kv/more", {"v": "new-"}).status == 204
            cli(s, "operator", "raft", "snapshot", "restore", file, binary=binary)
            assert seen(s, 0) == "old" and seen(s, 29) == "old" and s.ask("GET", "kv/more").status == 404
        text = log.read_text()
        assert text.count('"path":"sys/storage/raft/snapshot"') >= 4, "requests and answers are recorded"
        s.stop()
        s.start().unseal()
        assert seen(s, 0) == "old"
        assert s.ask("POST", "kv/k0", {"v": "next-"}).status == 204
        s.kill()
        s.start().unseal()
        assert seen(s, 0) == "next" and seen(s, 7) == "old"


def test_a_fresh_node_takes_it_and_opens_with_its_keys():
    with Server() as old, Server() as new:
        filled(old, 5, "old")
        file = str(old.dir / "a.snap")
        cli(old, "operator", "raft", "snapshot", "save", file)
        filled(new, 3, "new")
        text = cli(new, "operator", "raft", "snapshot", "restore", file, code=2)
        assert "could not verify hash file" in text, text
        assert seen(new, 0) == "new"
        cli(new, "operator", "raft", "snapshot", "restore", "-force", file)
        assert new.ask("GET", "sys/seal-status").json["sealed"] is True
        new.keys, new.token = old.keys, old.token
        new.unseal()
        assert seen(new, 4) == "old"
        new.kill()
        new.start().unseal()
        assert seen(new, 4) == "old"
        cli(new, "operator", "raft", "snapshot", "restore", file)  # the keys are its own now
        assert seen(new, 4) == "old"


def test_a_snapshot_longer_than_any_body_in_little_memory():
    with Server() as s:
        filled(s, 0, "old")
        value = {"v": "y" * 900_000}
        for i in range(120):
            assert s.ask("POST", f"kv/large{i}", value).status == 204
        file = str(s.dir / "a.snap")
        proc = Path(f"/proc/{s.proc.pid}")
        (proc / "clear_refs").write_text("5")  # forgets the peak so far
        before = peak_mib(proc)
        cli(s, "operator", "raft", "snapshot", "save", file)
        assert os.path.getsize(file) > 80 << 20
        assert s.ask("DELETE", "kv/large3").status == 204
        cli(s, "operator", "raft", "snapshot", "restore", file)
        # Restoring fills the store's memtables and caches as any writing of as much does; the snapshot itself passes through.
        assert peak_mib(proc) < before + 64, f"{before} MiB, then {peak_mib(proc)}"
        assert s.ask("GET", "kv/large3").data == value


def peak_mib(proc):
    line = next(line for line in (proc / "status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def test_kill_in_the_middle_leaves_one_of_the_two():
    seed = int(os.environ.get("SEED", "0")) or random.randrange(1 << 30)
    print(f"       seed {seed}", flush=True)
    dice = random.Random(seed)
    outcomes = set()
    with Server() as s:
        filled(s, 400, "old")
        file = str(s.dir / "a.snap")
        cli(s, "operator", "raft", "snapshot", "save", file)
        body = open(file, "rb").read()
        for kill in range(int(os.environ.get("KILLS", "100")) // 5):
            for i in (0, 200, 399):
                assert s.ask("POST", f"kv/k{i}", {"v": "new-"}).status == 204
            assert s.ask("POST", "kv/more", {"v": "new-"}).status == 204
            answered = []

            def restore():
                try:
                    answered.append(raw(s, body))
                except OSError:
                    pass

            thread = threading.Thread(target=restore)
            thread.start()
            threading.Event().wait(dice.uniform(0, 0.6))
            s.kill()
            thread.join()
            s.start().unseal()
            now = {seen(s, i) for i in (0, 200, 399)}
            more = s.ask("GET", "kv/more").status
            assert (now, more) in [({"old"}, 404), ({"new"}, 200)], f"kill {kill}: {now} {more}"
            assert seen(s, 100) == "old"
            if 204 in answered:
                assert now == {"old"}, f"kill {kill}: acknowledged, and lost"
            outcomes |= now
            left = [f.name for f in (s.dir / "data" / "snapshots").iterdir() if f.name == "install.snapshot"]
            assert not left, left
    print(f"       seen: {sorted(outcomes)}", flush=True)


def raw(server, body):
    import http.client
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=harness.PATIENCE_S)
    try:
        connection.request("POST", "/v1/sys/storage/raft/snapshot", body, {"X-Vault-Token": server.token})
        return connection.getresponse().status
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()


harness.main(globals())
