"""kill -9 under write load: no acknowledged write is lost, on both engines. KILLS sets how often an engine is killed."""
import os
import random
import threading

import harness
from harness import Server

KILLS = int(os.environ.get("KILLS", "100"))
WRITERS = 4


class Writer(threading.Thread):
    """Writes numbered values to its own keys until the server is gone; remembers what was acknowledged and what was tried."""

    def __init__(self, server, number, first):
        super().__init__()
        self.server, self.number = server, number
        self.acknowledged, self.tried, self.halt = {}, {}, False
        self.first = first
        self.count = 0

    def run(self):
        while not self.halt:
            key, self.count = f"w{self.number}-{self.count % 7}", self.count + 1
            self.tried[key] = self.count
            try:
                answer = self.server.ask("POST", f"kv/{key}", {"n": str(self.count)}, timeout=harness.PATIENCE_S)
            except OSError:
                return
            except Exception:  # the connection broke inside an answer
                return
            if answer.status == 204:
                self.acknowledged[key] = self.count
                self.first.set()


def crash(engine):
    seed = int(os.environ.get("SEED", "0")) or random.randrange(1 << 30)
    print(f"       {engine}: {KILLS} kills, seed {seed}", flush=True)
    dice = random.Random(seed)
    with Server(engine=engine) as s:
        s.start().init(1, 1)
        assert s.ask("POST", "sys/mounts/kv", {"type": "kv"}).status == 204
        acknowledged, tried, writes = {}, {}, 0
        for kill in range(KILLS):
            under_load = threading.Event()
            writers = [Writer(s, n, under_load) for n in range(WRITERS)]
            for w in writers:
                # Numbers go on over kills, so that an old value cannot pass for a new one.
                w.count = max([0, *tried.values()]) + 1
                w.start()
            assert under_load.wait(harness.PATIENCE_S), "no write was acknowledged"
            threading.Event().wait(dice.uniform(0, 0.1))  # when the blow falls is what the seed decides
            s.kill()
            for w in writers:
                w.halt = True
                w.join()
                acknowledged |= w.acknowledged
                tried |= w.tried
                writes += len(w.acknowledged)
            s.start().unseal()
            for key, number in acknowledged.items():
                answer = s.ask("GET", f"kv/{key}")
                assert answer.status == 200, f"kill {kill}: {key} is lost: {answer}"
                found = int(answer.data["n"])
                assert number <= found <= tried[key], f"kill {kill}: {key} is {found}, acknowledged {number}, tried {tried[key]}"
        print(f"       {engine}: {writes} acknowledged writes", flush=True)


def test_no_acknowledged_write_is_lost_on_fjall():
    crash("fjall")


def test_no_acknowledged_write_is_lost_on_sled():
    crash("sled")


harness.main(globals())
