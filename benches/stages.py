"""The stages of a run that are not rates: memory and disk, start and unseal, and the expiry storm.

Each stage has a server of its own with an empty store, and one server runs at a time.
"""

import json
import threading
import time

import workloads

SETTLE_SECONDS = 3.0  # after a seed: group commits, log purges and collectors come to rest
STORM_MARGIN_SECONDS = 12  # between the last token made and the expiry
POLL_SECONDS = 2.5  # a LIST of all accessors is itself work: seldom enough not to touch the p99

READ_PROBE = {"connections": 8, "pause_micros": 2_000}
HEALTH_PROBE = {"connections": 1, "pause_micros": 5_000}


def secrets(server, load, count, figures):
    """Idle memory, then with `count` secrets; disk; start and unseal with this data."""
    figures["start_empty_ms"] = server.start()
    server.initialise()
    workloads.prepare_kv(server)
    time.sleep(SETTLE_SECONDS)
    figures["idle_mib"] = server.memory_kib()[0] / 1024
    done = workloads.seed(server, load, count, "many/s")
    figures["secrets_per_second"] = done["per_second"]
    time.sleep(SETTLE_SECONDS)
    figures["secrets_mib"] = server.memory_kib()[0] / 1024
    figures["secrets_anonymous_mib"] = server.memory_kib()[1] / 1024
    figures["secrets_disk_times"] = server.disk_bytes() / (count * len(workloads.VALUE))
    starts, unseals = [], []
    for _ in range(3):
        server.stop()
        starts.append(server.start())
        unseals.append(server.unseal("/v1/secret/data/many/s-7"))
    figures["start_ms"], figures["unseal_ms"] = sorted(starts)[1], sorted(unseals)[1]
    time.sleep(SETTLE_SECONDS)
    figures["secrets_restarted_mib"] = server.memory_kib()[0] / 1024


def tokens(server, load, count, expiring, storm_seconds, figures):
    """Memory and disk with `count` live tokens; then a storm of `expiring` more that expire at one second."""
    server.start()
    server.initialise()
    workloads.prepare_kv(server)
    done = workloads.seed_tokens(server, load, count)
    figures["tokens_per_second"] = done["per_second"]
    time.sleep(SETTLE_SECONDS)
    figures["tokens_mib"] = server.memory_kib()[0] / 1024
    figures["tokens_anonymous_mib"] = server.memory_kib()[1] / 1024
    figures["tokens_disk_mib"] = server.disk_bytes() / (1 << 20)
    storm(server, load, expiring, storm_seconds, done["per_second"], figures)


def storm(server, load, expiring, storm_seconds, per_second, figures):
    """p99 of paced reads and health checks before and while `expiring` tokens expire."""
    before = probe(server, load, storm_seconds / 2)
    figures["read_before_ms"], figures["health_before_ms"] = before["read"]["p99_us"] / 1e3, before["health"]["p99_us"] / 1e3
    lasting = accessors(server)
    expire_at = int(time.time() + expiring / per_second * 1.3) + STORM_MARGIN_SECONDS
    workloads.seed_tokens(server, load, expiring, expire_at)
    late = time.time() - expire_at
    if late > 0:
        figures["drained_s"] = f"seeded {late:.0f} s too late"
        return
    most = accessors(server)
    time.sleep(max(0.0, expire_at - time.time() - 0.5))
    drained = []
    done = threading.Event()
    poller = threading.Thread(target=watch, args=(server, lasting + (most - lasting) // 100, expire_at, done, drained))
    poller.start()
    try:
        during = probe(server, load, storm_seconds)
    finally:
        done.set()
        poller.join()
    figures["read_storm_ms"], figures["health_storm_ms"] = during["read"]["p99_us"] / 1e3, during["health"]["p99_us"] / 1e3
    figures["read_storm_max_ms"] = during["read"]["max_us"] / 1e3
    figures["drained_s"] = drained[0] if drained else f"> {storm_seconds:.0f}"


def probe(server, load, seconds):
    """Paced reads and health checks at once: their rounds."""
    plans = {
        "read": (READ_PROBE, {"method": "GET", "path": "/v1/secret/data/hot-{{i}}", "token": server.tokens["bench"],
                              "expect": [200], "spread": workloads.HOT_KEYS}),
        "health": (HEALTH_PROBE, {"method": "GET", "path": "/v1/sys/health", "expect": [200]}),
    }
    results = {}

    def one(name, pace, request):
        plan = {"measure_ms": int(seconds * 1000), "targets": [workloads.target(server, request)], **pace}
        results[name] = load(plan)["targets"][0]["rounds"][0]

    threads = [threading.Thread(target=one, args=(name, *plan)) for name, plan in plans.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def watch(server, few, expire_at, done, drained):
    """Notes when no more than `few` accessors are listed."""
    while not done.wait(POLL_SECONDS):
        if accessors(server) <= few:
            drained.append(time.time() - expire_at)
            return


def accessors(server):
    """Tokens that the server still lists; a server that does not list them counts as none."""
    status, text = server.ask("LIST", "/v1/auth/token/accessors/", token=server.root)
    return len(json.loads(text)["data"]["keys"]) if status == 200 else 0
