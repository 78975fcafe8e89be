"""What an operator or a disk gets wrong: configuration, the data directory, damaged files, no room. Each is named in words, none
is a panic, and nothing acknowledged is lost. Needs root (a small tmpfs, another user)."""
import contextlib
import os
import random
import shutil
import subprocess
from pathlib import Path

import harness
from harness import BINARY, Server

MIB = 1 << 20
STORAGE = 'storage "inmem" {}\n'
LISTENER = 'listener "tcp" {\n  address = "127.0.0.1:0"\n  tls_disable = true\n}\n'


def refuses_to_start(s, words, case):
    """Starts the server, which must end by itself, not by a panic, and say why."""
    done = subprocess.run([BINARY, "server", f"-config={s.config}"], cwd=s.dir, capture_output=True, text=True, timeout=harness.PATIENCE_S, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1, f"{case}: exit {done.returncode}\n{said[-2000:]}"
    assert "panicked" not in said and len(said) < 4000, f"{case}: {said[:3000]}"
    for word in words:
        assert word in said, f"{case}: {word!r} is not in {said!r}"


def test_mistakes_in_the_configuration_are_named():
    server = Server()
    with server as s:
        for text, words in [
            ("", ["a storage stanza must be configured"]),
            (STORAGE, ["no listener is configured"]),
            (STORAGE + "listener {", ["line 2"]),
            (STORAGE + LISTENER + 'default_lease_ttl = "soon"', ["default_lease_ttl", "line 6"]),
            (STORAGE + LISTENER + "default_lease_ttl = [1]", ["default_lease_ttl", "line 6"]),
            (STORAGE + LISTENER + 'max_lease_ttl = "-1h"', ["max_lease_ttl"]),
            (STORAGE + LISTENER + 'default_lease_ttl = "9000h"', ["default_lease_ttl cannot be larger than max_lease_ttl"]),
            (STORAGE + LISTENER + 'ui = "perhaps"', ["ui must be true or false"]),
            (STORAGE + LISTENER + 'log_level = "loud"', ["log_level"]),
            (STORAGE + LISTENER + 'seal "awskms" {}', ["seal", "awskms"]),
            (STORAGE + LISTENER.replace("tls_disable = true", 'tls_disable = "maybe"'), ["listener.tcp.tls_disable", "line 4"]),
            (STORAGE + LISTENER.replace("tls_disable = true", 'max_request_size = "big"\ntls_disable = 1'), ["listener.tcp.max_request_size"]),
            (STORAGE + LISTENER.replace("tls_disable = true", ""), ["tls_cert_file"]),
            (STORAGE + LISTENER.replace("tls_disable = true", 'tls_cert_file = "/none.pem"\ntls_key_file = "/none.key"'), ["/none.pem"]),
            (STORAGE + LISTENER.replace("127.0.0.1:0", "nowhere.invalid:8200"), ["nowhere.invalid:8200"]),
            (STORAGE + LISTENER.replace("127.0.0.1:0", "127.0.0.1"), ["127.0.0.1"]),
            (STORAGE + LISTENER.replace("127.0.0.1:0", "127.0.0.1:99999"), ["127.0.0.1:99999"]),
            ('storage "raft" {}\n' + LISTENER, ["storage.raft.path must be set"]),
            ('storage "raft" {\n path = 7\n engine = "lmdb"\n}\n' + LISTENER, ["storage.raft.engine", "lmdb"]),
            ('storage "consul" {}\n' + LISTENER, ["unknown storage type consul"]),
            (STORAGE + STORAGE + LISTENER, ["only one storage stanza"]),
            ('{"storage": {"inmem": {}}, "listener": [', ["line 1"]),
            ("\x00\x01\x02", ["line 1"]),
            (STORAGE + LISTENER + "a = " + "[" * 100_000, ["server.hcl"]),
        ]:
            s.config.write_text(text)
            refuses_to_start(s, words, text[:200])
        s.config.write_bytes(b'storage "inmem" {}\n# \xff\xfe\n')
        refuses_to_start(s, ["server.hcl"], "invalid UTF-8")
        s.config.unlink()
        refuses_to_start(s, ["server.hcl"], "no file")
        (s.dir / "empty").mkdir()
        s.config = s.dir / "empty"
        refuses_to_start(s, ["empty"], "a directory without files")


def test_unknown_keys_are_warned_of_and_ignored():
    with Server(extra='frobnicate = 3\ntelemetry {\n  wobble = true\n}\n') as s:
        text = s.config.read_text().replace("tls_disable = true", 'tls_disable = true\n  snafu = "x"').replace('engine  =', 'fubar = 1\n  engine  =')
        s.config.write_text(text)
        s.start()
        # The log is written by a thread of its own.
        for key in ["frobnicate", "telemetry.wobble", "listener.tcp.snafu", "storage.raft.fubar"]:
            s.wait_for(lambda key=key: f"unknown or unsupported field {key} at line" in s.log_text(), f"a warning of {key}")


def test_a_data_directory_that_cannot_be_used():
    with Server() as s:
        s.start().init(1, 1)
        data = s.dir / "data" / "db"
        modes = {oct(p.stat().st_mode & 0o777) for p in [data, *data.rglob("*")]}
        assert modes <= {"0o700", "0o600"}, modes
        refuses_to_start(s, ["in use by another process", str(data)], "two servers in one directory")
        assert s.stop() == 0

        data.chmod(0o755)
        refuses_to_start(s, ["is open to other users", "0755", "make it 0700"], "a directory everybody may read")
        data.chmod(0o700)
        format_file = data / "FORMAT"
        right = format_file.read_text()
        for text, words in [
            (right.replace(" 1 ", " 99 "), ["data format 99", "knows formats up to 1"]),
            (right.replace("fjall", "sled"), ["was written by the engine sled", "fjall"]),
            ("", ["FORMAT"]),
            ("\x00" * 40, ["FORMAT"]),
        ]:
            format_file.write_text(text)
            refuses_to_start(s, words, f"FORMAT is {text!r}")
        format_file.unlink()
        refuses_to_start(s, ["has no FORMAT file"], "no FORMAT")
        format_file.write_text(right)

        hidden = s.dir / "hidden"
        data.rename(hidden)
        data.write_text("a file")
        refuses_to_start(s, [str(data)], "a file for a directory")
        data.unlink()
        data.mkdir(mode=0o700)
        (data / "photos").mkdir()
        refuses_to_start(s, ["photos"], "somebody else's directory")
        shutil.rmtree(data)
        hidden.rename(data)
        s.start().unseal()


def snapshot_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def restore(folder, files):
    shutil.rmtree(folder)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)


def damage(engine, rounds):
    """Flips one byte, cuts or empties one file. The server then refuses to start and names the damage, answers errors for what
    is damaged, or serves every acknowledged value as it was: never another value, never a panic that reaches anybody."""
    seed = int(os.environ.get("SEED", "0")) or random.randrange(1 << 30)
    print(f"       {engine}: seed {seed}", flush=True)
    dice, outcomes = random.Random(seed), {}
    with Server(engine=engine) as s:
        s.start().init(1, 1)
        s.ask("POST", "sys/mounts/kv", {"type": "kv"})
        for i in range(60):
            assert s.ask("POST", f"kv/k{i}", {"v": f"value {i} " + "x" * 3000}).status == 204
        assert s.stop() == 0
        files = snapshot_of(s.dir / "data")
        targets = sorted(name for name, content in files.items() if content and name.name not in ("LOCK", "FORMAT"))
        for number in range(rounds):
            name = targets[number % len(targets)]
            content = bytearray(files[name])
            kind = dice.choice(["flip", "flip", "flip", "cut", "empty", "gone"])
            if kind == "flip":
                at = dice.randrange(len(content))
                content[at] ^= 1 << dice.randrange(8)
            elif kind == "cut":
                del content[dice.randrange(len(content)):]
            else:
                content.clear()
            restore(s.dir / "data", {**files, name: bytes(content)})
            if kind == "gone":
                (s.dir / "data" / name).unlink()
            case = f"round {number}: {kind} in {name}"
            (s.dir / "server.log").write_bytes(b"")
            outcome = after_damage(s, case)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
    print(f"       {engine}: {outcomes}", flush=True)
    assert sum(outcomes.values()) == rounds and set(outcomes) <= {"refused", "served", "errors"}, outcomes


def after_damage(s, case):
    s.start(wait=False)
    try:
        s.wait_for(lambda: s.ask("GET", "sys/health").status, "an answer")
    except AssertionError:
        assert s.proc.poll() == 1, f"{case}: exit {s.proc.poll()}\n{s.log_text()[-3000:]}"
        assert "Error initializing" in s.log_text(), f"{case}: {s.log_text()[-3000:]}"
        return "refused"
    try:
        for key in s.keys:
            answer = s.ask("PUT", "sys/unseal", {"key": key}, token="")
            if answer.status != 200:
                assert answer.errors and answer.status in (400, 500, 503), f"{case}: {answer}"
                return "errors"
        # One that never leads says so, and once is enough: each answer waits for a leader first.
        answer = s.ask("GET", "kv/k0")
        if answer.status == 503:
            assert answer.errors, f"{case}: {answer}"
            return "errors"
        missing = 0
        for i in range(60):
            answer = s.ask("GET", f"kv/k{i}")
            if answer.status == 200:
                assert answer.data["v"] == f"value {i} " + "x" * 3000, f"{case}: k{i} has another value"
            else:
                assert answer.status in (500, 503), f"{case}: k{i} is silently gone: {answer}"
                missing += 1
        assert s.proc.poll() is None, case
        return "errors" if missing else "served"
    finally:
        s.kill()


def test_damaged_files_on_fjall():
    damage("fjall", 40)


def test_damaged_files_on_sled():
    damage("sled", 40)


@contextlib.contextmanager
def small_disk(folder, megabytes):
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def full(engine):
    server = Server(engine=engine)
    with contextlib.ExitStack() as stack:
        s = stack.enter_context(server)
        stack.enter_context(small_disk(s.dir / "data", 160))
        stack.callback(lambda: s.proc and s.proc.poll() is None and s.stop())
        s.start().init(1, 1)
        assert s.ask("POST", "sys/mounts/kv", {"type": "kv"}).status == 204
        assert s.ask("POST", "kv/before", {"v": "kept"}).status == 204
        filler, block = s.dir / "data" / "lost+found", b"\0" * MIB
        with open(filler, "wb") as f, contextlib.suppress(OSError):
            while True:
                f.write(block)
                f.flush()
        for i in range(3):
            refused = s.ask("POST", f"kv/refused{i}", {"v": "x" * 100_000})
            assert refused.status == 503, refused
            assert refused.errors == ["the storage is full: changes are accepted again when there is room"], refused
        # Reads go on, and health with them.
        assert s.ask("GET", "kv/before").data["v"] == "kept"
        assert s.ask("GET", "sys/health").status == 200
        assert s.proc.poll() is None
        filler.unlink()
        s.wait_for(lambda: s.ask("POST", "kv/after", {"v": "written"}).status == 204, "a write after there is room")
        assert s.ask("GET", "kv/after").data["v"] == "written"
        s.kill()
        s.start().unseal()
        assert s.ask("GET", "kv/before").data["v"] == "kept" and s.ask("GET", "kv/after").data["v"] == "written"
        # The first may have been under way when the disk filled up; those after it were not begun.
        for i in range(1, 3):
            assert s.ask("GET", f"kv/refused{i}").status == 404, "a refused write is there"
        assert "panicked" not in s.log_text()
        assert s.stop() == 0


def test_a_full_disk_on_fjall():
    full("fjall")


def test_a_full_disk_on_sled():
    full("sled")


def test_a_full_disk_under_the_audit_file():
    """What cannot be recorded is not done, and the server says so until there is room."""
    with contextlib.ExitStack() as stack:
        s = stack.enter_context(Server())
        stack.enter_context(small_disk(s.dir / "audit", 1))
        stack.callback(lambda: s.proc and s.proc.poll() is None and s.stop())
        s.start().init(1, 1)
        s.ask("POST", "sys/mounts/kv", {"type": "kv"})
        assert s.ask("POST", "sys/audit/file", {"type": "file", "options": {"file_path": f"{s.dir}/audit/log", "write_timeout": "60s"}}).status == 204
        filler = s.dir / "audit" / "filler"
        with contextlib.suppress(OSError):
            filler.write_bytes(b"\0" * 2 * MIB)
        for i in range(20):
            last = s.ask("POST", f"kv/k{i}", {"v": "x"})
            if last.status != 204:
                break
        assert last.status == 500 and last.errors == ["internal error"], last
        # What did not fit may have been the answer. Here the request alone is longer than the rest of the file's last block.
        long = "kv/" + "k" * 5000
        refused = s.ask("POST", long, {"v": "x"})
        assert refused.status == 500 and refused.errors == ["internal error"], refused
        filler.unlink()
        assert s.ask("GET", long).status == 404, "a write that could not be recorded was done"
        assert s.ask("POST", long, {"v": "x"}).status == 204
        assert Path(s.dir / "audit" / "log").read_bytes().endswith(b"}\n")
        assert s.stop() == 0


if __name__ == "__main__":
    harness.main(globals())
