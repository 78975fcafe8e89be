"""Three server processes as one cluster: joining, serving on every node, losing and changing nodes."""
import contextlib
import http.client
import time

import harness
from harness import PATIENCE_S


class Node(harness.Server):
    """One node with a loopback address and ports of its own."""

    def __init__(self, node_id, host, join=""):
        super().__init__()
        self.node_id, self.host, self.threshold = node_id, host, 0
        self.configure(join)

    def move(self):
        """Takes other ports, from the next start on."""
        self.port = harness.free_port()

    def configure(self, join=""):
        """`join` goes into the storage stanza."""
        self.addr = f"http://{self.host}:{self.port}"
        self.config.write_text(f"""
storage "raft" {{
  path    = "{self.dir}/data"
  node_id = "{self.node_id}"
  {join}
}}
listener "tcp" {{
  address     = "{self.host}:{self.port}"
  tls_disable = true
}}
api_addr = "{self.addr}"
""")


def wait(what, condition, seconds=PATIENCE_S):
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        try:
            found = condition()
            if found:
                return found
        except (OSError, http.client.HTTPException, AssertionError) as e:
            last = e
        time.sleep(0.02)  # polling other processes, not a guess about them
    raise AssertionError(f"{what} did not come within {seconds} s; last: {last}")


class Cluster:
    """Nodes that share keys and token once they have joined."""

    def __init__(self):
        self.stack = contextlib.ExitStack()
        self.nodes = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()

    def add(self, join=""):
        number = len(self.nodes) + 1
        node = Node(f"node{number}", f"127.0.0.{number}", join)
        self.nodes.append(self.stack.enter_context(node))
        return node

    def first(self):
        node = self.add().start().init(3, 2)
        self.keys, self.token = node.keys, node.token
        return node

    def unseal(self, node):
        """Gives a node the cluster's keys and waits until it serves."""
        node.keys, node.token, node.threshold = self.keys, self.token, 2
        for key in self.keys[:2]:
            answer = node.ask("PUT", "sys/unseal", {"key": key}, token="")
            assert answer.status == 200, answer
        wait(f"{node.node_id} open", lambda: node.ask("GET", "sys/seal-status", token="").json["sealed"] is False)
        wait(f"{node.node_id} in touch", lambda: node.ask("GET", "sys/health?standbyok=true", token="").status == 200)

    def join(self, node, leader, *flags):
        told = node.cli("operator", "raft", "join", *flags, leader.addr, token="")
        assert told.split() == ["Key", "Value", "---", "-----", "Joined", "true"], told
        self.unseal(node)

    def three(self):
        one = self.first()
        for _ in range(2):
            node = self.add().start()
            self.join(node, one)
        self.voters(one, 3)
        return self.nodes

    def peers(self, node):
        answer = node.ask("GET", "sys/storage/raft/configuration")
        assert answer.status == 200, answer
        return {p["node_id"]: p for p in answer.data["config"]["servers"]}

    def voters(self, node, number):
        def voting():
            voters = [p for p in self.peers(node).values() if p["voter"]]
            return len(voters) == number and voters
        return wait(f"{number} voters", voting)

    def leader(self, among=None):
        """The node that leads, as it says itself."""
        def leading():
            for node in among or self.nodes:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    if node.ask("GET", "sys/health", token="", timeout=5).status == 200:
                        return node
            return None
        return wait("a leader", leading)

    def others(self, *not_these):
        return [n for n in self.nodes if n not in not_these]


def write(node, path, value):
    """Until it is acknowledged: during an election a write may be refused, or its fate be unknown."""
    wait(f"a write on {node.node_id}", lambda: node.ask("POST", f"kv/{path}", {"v": value}).status == 204)


def read(node, path):
    answer = node.ask("GET", f"kv/{path}")
    assert answer.status == 200, answer
    return answer.data["v"]


def test_three_nodes_join_serve_and_survive_their_leader():
    with Cluster() as c:
        one, two, three = c.three()
        listed = one.cli("operator", "raft", "list-peers")
        assert [line.split()[2:] for line in listed.splitlines()[2:]] == [["leader", "true"], ["follower", "true"], ["follower", "true"]], listed
        assert one.ask("POST", "sys/mounts/kv", {"type": "kv"}).status == 204
        for node in c.nodes:
            write(node, node.node_id, "first")
        for node in c.nodes:
            for other in c.nodes:
                assert read(node, other.node_id) == "first", f"{other.node_id} on {node.node_id}"
        leader = c.leader()
        leader.kill()
        left = c.others(leader)
        for node in left:
            write(node, "after", node.node_id)
            assert read(node, "after") == node.node_id
        c.leader(left)
        leader.start()
        assert leader.ask("GET", "sys/seal-status", token="").json["initialized"] is True
        c.unseal(leader)
        assert read(leader, "after") == left[-1].node_id
        write(leader, "again", "here")
        assert all(read(n, "again") == "here" for n in c.nodes)
        c.voters(leader, 3)


def test_nodes_join_by_their_configuration_in_any_order():
    with Cluster() as c:
        one = c.add()
        stanza = f'retry_join {{ leader_api_addr = "http://127.0.0.1:1" }}\nretry_join {{ leader_api_addr = "{one.addr}" }}'
        two = c.add(stanza).start()
        three = c.add(stanza).start()
        for node in (two, three):
            assert node.ask("GET", "sys/health", token="").status == 501
        one.start().init(3, 2)
        c.keys, c.token = one.keys, one.token
        for node in (two, three):
            wait("a found cluster", lambda n=node: n.ask("GET", "sys/seal-status", token="").json["initialized"])
            status = node.ask("GET", "sys/seal-status", token="").json
            assert (status["sealed"], status["t"], status["n"], status["progress"]) == (True, 2, 3, 0), status
            assert node.ask("GET", "sys/health", token="").status == 503
        # One of them ends before it has got its shares, and finds the cluster again by itself.
        two.kill()
        two.start()
        wait("a found cluster", lambda: two.ask("GET", "sys/seal-status", token="").json["initialized"])
        for node in (two, three):
            c.unseal(node)
        c.voters(one, 3)


def test_what_does_not_fit_does_not_join():
    with Cluster() as c, Node("other", "127.0.0.9") as foreign:
        one = c.first()
        two = c.add().start()
        told = two.cli("operator", "raft", "join", "http://127.0.0.1:1", token="", code=2)
        assert "failed to join raft cluster" in told, told
        assert two.ask("POST", "sys/storage/raft/join", {}, token="").status == 500
        # Shares of another cluster open nothing, and spoil nothing.
        foreign.start().init(3, 2)
        assert two.ask("POST", "sys/storage/raft/join", {"leader_api_addr": one.addr}, token="").json == {"joined": True}
        for key in foreign.keys[:2]:
            answer = two.ask("PUT", "sys/unseal", {"key": key}, token="")
        assert answer.status == 400 and "failed to decrypt keys from storage" in answer.errors[0], answer
        assert two.ask("GET", "sys/seal-status", token="").json["progress"] == 0
        assert list(c.peers(one)) == ["node1"]
        c.unseal(two)
        # A node that belongs to a cluster stays there, whomever it is told to join.
        assert two.ask("POST", "sys/storage/raft/join", {"leader_api_addr": foreign.addr}).json == {"joined": True}
        assert foreign.ask("POST", "sys/storage/raft/join", {"leader_api_addr": one.addr}).json == {"joined": True}
        assert sorted(c.peers(one)) == ["node1", "node2"]
        # The name of a live node is taken.
        with Node("node2", "127.0.0.5") as namesake:
            namesake.start()
            assert namesake.ask("POST", "sys/storage/raft/join", {"leader_api_addr": one.addr}, token="").json == {"joined": True}
            for key in c.keys[:2]:
                answer = namesake.ask("PUT", "sys/unseal", {"key": key}, token="")
            assert answer.status >= 400, answer
            assert "in use by a live node" in namesake.log_text()


def test_ten_thousand_half_open_joins_do_not_hurt():
    with Cluster() as c:
        one = c.first()
        conn = http.client.HTTPConnection(one.host, one.port, timeout=60)
        statuses = set()
        for i in range(10_000):
            conn.request("PUT", "/v1/sys/storage/raft/bootstrap/challenge", f'{{"server_id": "ghost-{i}"}}')
            reply = conn.getresponse()
            reply.read()
            statuses.add(reply.status)
        conn.close()
        assert statuses == {200, 429}, statuses
        two = c.add().start()
        c.join(two, one)
        c.voters(one, 2)


def test_a_non_voter_never_votes_and_a_removed_node_says_so():
    with Cluster() as c:
        one = c.first()
        two, three = c.add().start(), c.add().start()
        c.join(two, one, "-non-voter")
        c.join(three, one)
        c.voters(one, 2)
        assert c.peers(one)["node2"]["voter"] is False
        state = one.cli("operator", "raft", "autopilot", "state", "-format=json")
        assert '"non-voter"' in state, state
        assert one.ask("POST", "sys/mounts/kv", {"type": "kv"}).status == 204
        write(two, "from", "a non-voter")
        assert read(three, "from") == "a non-voter"
        one.cli("operator", "raft", "remove-peer", "node2")
        assert sorted(c.peers(one)) == ["node1", "node3"]
        wait("the removed node's word", lambda: two.ask("GET", "sys/health", token="").status == 530)
        wait("its seal", lambda: two.ask("GET", "sys/seal-status", token="").json["sealed"])
        status = two.ask("GET", "sys/seal-status", token="").json
        assert status["removed_from_cluster"] is True and status["sealed"] is True, status
        answer = two.ask("PUT", "sys/unseal", {"key": c.keys[0]}, token="")
        assert (answer.status, answer.errors) == (500, ["node was removed from a HA cluster"]), answer
        assert one.ask("POST", "sys/storage/raft/remove-peer", {"server_id": "nobody"}).status == 204


def test_the_lead_is_handed_over_and_a_leader_removes_itself():
    with Cluster() as c:
        c.three()
        leader = c.leader()
        assert "Success! Stepped down" in leader.cli("operator", "step-down")
        second = c.leader(c.others(leader))
        assert second is not leader
        members = second.cli("operator", "members")
        assert sum(node.addr in members for node in c.nodes) == 3, members
        second.cli("operator", "raft", "remove-peer", second.node_id)
        wait("the removed leader's word", lambda: second.ask("GET", "sys/health", token="").status == 530)
        left = c.others(second)
        leader = c.leader(left)
        assert sorted(c.peers(leader)) == sorted(n.node_id for n in left)


def test_all_nodes_may_change_their_addresses_at_once():
    with Cluster() as c:
        one, _, _ = c.three()
        assert one.ask("POST", "sys/mounts/kv", {"type": "kv"}).status == 204
        write(one, "kept", "yes")
        before = {n: p["address"] for n, p in c.peers(one).items()}
        for node in c.nodes:
            node.stop()
        for node in c.nodes:
            node.move()
            node.configure()
        stanza = "\n".join(f'retry_join {{ leader_api_addr = "{n.addr}" }}' for n in c.nodes)
        for node in c.nodes:
            node.configure(stanza)
            node.start()
        for node in c.nodes:
            for key in c.keys[:2]:
                assert node.ask("PUT", "sys/unseal", {"key": key}, token="").status == 200
        leader = c.leader()
        want = {n.node_id: f"{n.host}:{n.port + 1}" for n in c.nodes}
        wait("new addresses", lambda: {n: p["address"] for n, p in c.peers(leader).items()} == want)
        assert not set(want.values()) & set(before.values())
        for node in c.nodes:
            assert wait("a read", lambda n=node: read(n, "kept")) == "yes"


def test_a_snapshot_of_three_nodes_is_restored_on_all():
    with Cluster() as c:
        one, two, three = c.three()
        assert one.ask("POST", "sys/mounts/kv", {"type": "kv"}).status == 204
        for i in range(20):
            write(c.nodes[i % 3], f"k{i}", "old")
        leader = c.leader()
        file = str(leader.dir / "a.snap")
        # Asked of a standby, it leads to the leader.
        c.others(leader)[0].cli("operator", "raft", "snapshot", "save", file)
        assert "Index" in leader.cli("operator", "raft", "snapshot", "inspect", file)
        for i in range(20):
            write(c.nodes[i % 3], f"k{i}", "new")
        leader.cli("operator", "raft", "snapshot", "restore", file)
        for node in c.nodes:
            for i in range(20):
                wait("the old value", lambda n=node, k=i: read(n, f"k{k}") == "old")
        for node in c.nodes:
            write(node, "after", node.node_id)
        assert {read(n, "after") for n in c.nodes} == {three.node_id}


def test_a_lost_majority_is_recovered_by_command_or_file():
    with Cluster() as c:
        one, two, three = c.three()
        assert one.ask("POST", "sys/mounts/kv", {"type": "kv"}).status == 204
        write(one, "kept", "yes")
        wait("the read elsewhere", lambda: read(two, "kept") == "yes")
        one.kill()
        three.kill()
        assert "no active" in two.ask("POST", "kv/x", {"v": 1}).errors[0]
        config = f"-config={two.config}"
        assert "Error opening storage" in two.cli("operator", "raft", "recover", config, code=1), "the server has it open"
        two.kill()
        told = two.cli("operator", "raft", "recover", config, "-dry-run")
        assert "Nothing was changed (-dry-run)" in told and told.count("node3") == 1, told
        assert "The membership was changed" in two.cli("operator", "raft", "recover", config)
        two.start()
        c.unseal(two)
        assert list(c.peers(two)) == ["node2"] and read(two, "kept") == "yes"
        write(two, "after", "recovery")
        # And once more to another address of its own, by file.
        two.stop()
        (two.dir / "data" / "raft").mkdir(exist_ok=True)
        peers = two.dir / "data" / "raft" / "peers.json"
        peers.write_text(f'[{{"id": "node2", "address": "127.0.0.2:{two.port + 1}", "non_voter": false}}]')
        two.start()
        assert not peers.exists() and peers.with_name("peers.json.done").exists()
        c.unseal(two)
        assert read(two, "after") == "recovery"
        # A lost node comes back without its data and joins anew.
        fresh = c.add()
        fresh.node_id = "node3"
        fresh.configure()
        c.join(fresh.start(), two)
        c.voters(two, 2)


if __name__ == "__main__":
    harness.main(globals())
