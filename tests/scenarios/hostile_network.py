"""Clients that are slow, silent, endless or speak something else than HTTP. Each is cut off in time, costs little, and nobody
else notices."""
import contextlib
import os
import re
import resource
import socket
import struct
import threading

import harness
from harness import Server

MIB = 1 << 20
# The listener's time-outs here. That they are exact, the tests of server-http show on a clock of their own; here each kind of
# slowness has to come to an end.
SHORT_S = 2
TIMES = f"""
  http_read_header_timeout = "{SHORT_S}s"
  http_read_timeout        = "{SHORT_S}s"
  http_idle_timeout        = "{SHORT_S}s"
"""
GET = b"GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Target(Server):
    def __init__(self, times=TIMES):
        super().__init__()
        self.config.write_text(self.config.read_text().replace("tls_disable = true\n", f"tls_disable = true\n{times}"))

    def __enter__(self):
        self.start().init(1, 1)
        self.rss_before = self.rss()
        return self

    def rss(self):
        status = open(f"/proc/{self.proc.pid}/status").read()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def connect(self, timeout=harness.PATIENCE_S):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def survived(self, growth=64 * MIB):
        self.wait_for(lambda: self.ask("GET", "sys/health").status == 200, "an answer of sys/health")
        log = self.log_text()
        assert "panicked" not in log, log[log.index("panicked") - 300:][:2000]
        grown = self.rss() - self.rss_before
        assert grown < growth, f"{grown >> 20} MiB more than before"


def rest(conn):
    """What comes until the other end closes; fails with a time-out if it does not."""
    got = b""
    try:
        while piece := conn.recv(65536):
            got += piece
    except (ConnectionResetError, BrokenPipeError):
        pass
    return got


def statuses(answer):
    return re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)


def test_slow_and_silent_clients_are_cut_off():
    with Target() as s:
        cases = {
            "nothing at all": (b"", None),
            "half a request line": (b"GET /v1/sys/he", None),
            "half a head": (GET + b"X-Half: ", None),
            "a head without its end": (GET, None),
            "a request, then half a head": (GET + b"\r\n" + GET, b"200"),
            "a body that does not come": (b"PUT /v1/sys/unseal HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", b"408"),
            "half a body": (b"PUT /v1/sys/unseal HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"key\": ", b"408"),
            "half a chunk": (b"PUT /v1/sys/unseal HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{\"key\"", b"408"),
            "a kept connection without a request": (GET + b"\r\n", b"200"),
            "half a preface of HTTP/2": (PREFACE[:9], None),
        }
        conns = {}
        for case, (sent, _) in cases.items():
            conns[case] = s.connect()
            conns[case].sendall(sent)
        for case, (_, status) in cases.items():
            with conns[case] as conn:
                try:
                    got = statuses(rest(conn))
                except TimeoutError:
                    raise AssertionError(f"{case}: still open after {harness.PATIENCE_S} s") from None
            assert got == ([status] if status else []) or (status is None and got == [b"408"]), f"{case}: {got}"
        s.survived()


def test_dribbling_buys_no_time():
    """One byte at a time, for as long as the server listens."""
    with Target() as s:
        for case, head in [("head", GET), ("body", b"PUT /v1/sys/unseal HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")]:
            with s.connect() as conn:
                conn.sendall(head)
                cut = threading.Event()

                def dribble(conn=conn, cut=cut, byte=b"X" if case == "head" else b" "):
                    try:
                        while not cut.wait(0.2):
                            conn.sendall(byte)
                    except OSError:
                        pass

                sender = threading.Thread(target=dribble)
                sender.start()
                try:
                    got = statuses(rest(conn))
                finally:
                    cut.set()
                    sender.join()
                assert got in ([], [b"408"]), f"{case}: {got}"
        s.survived()


def test_an_answer_that_nobody_reads():
    with Target() as s:
        assert s.ask("POST", "sys/mounts/kv", {"type": "kv"}).status == 204
        for i in range(8):
            assert s.ask("POST", f"kv/big{i}", {"v": "x" * 1_000_000}).status == 204
        held = lambda: len(os.listdir(f"/proc/{s.proc.pid}/fd"))
        before, conns = held(), []
        for i in range(40):
            conn = s.connect()
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with contextlib.suppress(OSError):  # cut off already
                for _ in range(12):
                    conn.sendall(f"GET /v1/kv/big{i % 8} HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {s.token}\r\n\r\n".encode())
            conns.append(conn)
        s.wait_for(lambda: held() <= before + 5, "an end of the connections that take no answer")
        for conn in conns:
            conn.close()
        s.survived(growth=160 * MIB)


def test_two_thousand_idle_connections():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 8192)
    with Target('  http_read_header_timeout = "600s"\n  http_idle_timeout = "600s"') as s:
        # The server began with the soft limit that shells give; it must have raised its own.
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        try:
            conns = [s.connect() for _ in range(1000)]
            for conn in [s.connect() for _ in range(1000)]:
                conn.sendall(GET + b"\r\n")
                assert conn.recv(4096).startswith(b"HTTP/1.1 200 ")
                conns.append(conn)
            s.survived(growth=128 * MIB)
            for conn in conns[1000:1010]:
                conn.sendall(GET + b"\r\n")
                assert conn.recv(4096).startswith(b"HTTP/1.1 200 "), "a kept connection"
            for conn in conns:
                conn.close()
            s.survived(growth=128 * MIB)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_file_limit_of_shells_is_raised():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
    try:
        with Target() as s:
            limits = open(f"/proc/{s.proc.pid}/limits").read()
            assert int(re.search(r"Max open files\s+(\d+)", limits)[1]) == hard, limits
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_heads_without_measure():
    with Target() as s:
        for case, head, wanted in [
            ("a long path", b"GET /v1/" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", {b"414", b"431", b"400"}),
            ("a long header", GET + b"X-A: " + b"a" * 200_000 + b"\r\n\r\n", {b"431"}),
            ("a long name", GET + b"a" * 200_000 + b": x\r\n\r\n", {b"431", b"400"}),
            ("ten thousand headers", GET + b"X-A: b\r\n" * 10_000 + b"\r\n", {b"431"}),
            ("one header over again", GET + b"".join(b"X-%d: b\r\n" % i for i in range(500)) + b"\r\n", {b"431"}),
            ("two lengths", b"PUT /v1/sys/unseal HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", {b"400"}),
            ("a negative length", b"PUT /v1/sys/unseal HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", {b"400"}),
            ("a length with a sign", b"PUT /v1/sys/unseal HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\n{}", {b"400"}),
            ("an unknown coding", b"PUT /v1/sys/unseal HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n", {b"400", b"501"}),
            ("a chunk of no size", b"PUT /v1/sys/unseal HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n{}", {b"400"}),
            ("a chunk of 2^64", b"PUT /v1/sys/unseal HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n{}", {b"400"}),
            ("a chunk with a long remark",
             b"PUT /v1/sys/unseal HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;" + b"a" * 100_000 + b"\r\n{}\r\n0\r\n\r\n", {b"400"}),
            ("a NUL in a header", GET + b"X-A: \x00\r\n\r\n", {b"400"}),
            ("a blank before the colon", GET + b"X-A : b\r\n\r\n", {b"400"}),
            ("a folded header", GET + b"X-A: b\r\n c\r\n\r\n", {b"400"}),
            ("HTTP/0.9", b"GET /v1/sys/health\r\n\r\n", {b"400"}),
            ("HTTP/3.0 in text", b"GET /v1/sys/health HTTP/3.0\r\n\r\n", {b"400", b"505"}),
            ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2, {b"400"}),
            ("noise", bytes(range(256)) * 40, {b"400"}),
            ("another protocol", b"SSH-2.0-OpenSSH_9.6\r\n\r\n", {b"400"}),
            ("a proxy's line", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + GET + b"\r\n", {b"400"}),
        ]:
            with s.connect() as conn:
                try:
                    conn.sendall(head)
                except (BrokenPipeError, ConnectionResetError):
                    pass
                got = statuses(rest(conn))
            # A reset can overtake the answer; what matters is that no request was served and the connection is closed.
            assert not got or got[0] in wanted and len(got) == 1, f"{case}: {got}"
        s.survived()


def test_what_follows_a_request_on_its_connection():
    with Target() as s:
        for case, sent, wanted in [
            ("a second request", GET + b"\r\n" + GET + b"Connection: close\r\n\r\n", [b"200", b"200"]),
            ("noise", GET + b"\r\n" + b"\x00\xff\xfe garbage\r\n\r\n", [b"200", b"400"]),
            ("a body that GET does not have", GET + b"Content-Length: 5\r\n\r\nhello" + GET + b"Connection: close\r\n\r\n", [b"200", b"200"]),
            # Both a length and chunks: whoever stands in front may have counted otherwise, so nothing may follow on this connection.
            ("a smuggled request", b"PUT /v1/sys/unseal HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
             + GET + b"Connection: close\r\n\r\n", [b"400"]),
        ]:
            with s.connect() as conn:
                conn.sendall(sent)
                got = statuses(rest(conn))
            assert got == wanted, f"{case}: {got}"
        s.survived()


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def test_http2_that_is_none():
    settings = frame(4, 0, 0)
    # :method GET, :scheme http, :path / from the static table; a request that leads nowhere.
    request = bytes([0x82, 0x86, 0x84])
    streams = range(1, 8001, 2)
    with Target() as s:
        for case, sent in {
            "noise after the preface": PREFACE + bytes(range(256)) * 20,
            "a frame of 16 MiB": PREFACE + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
            "a head that never ends": PREFACE + settings + frame(1, 0, 1, request) + frame(9, 0, 1, b"\x00" * 16_000) * 200,
            "a bomb for the header table": PREFACE + settings + frame(1, 4, 1, b"\x40\x01a" + b"\x7f\xff\xff\xff\x07" + b"b" * 4000),
            "settings without end": PREFACE + frame(4, 0, 0, struct.pack(">HI", 3, 1)) * 20_000,
            "pings without end": PREFACE + settings + frame(6, 0, 0, b"x" * 8) * 20_000,
            "streams made and reset": PREFACE + settings + b"".join(frame(1, 5, n, request) + frame(3, 0, n, b"\x00\x00\x00\x08") for n in streams),
            "more streams than allowed": PREFACE + settings + b"".join(frame(1, 4, n, request) for n in streams),
            "empty data without end": PREFACE + settings + frame(1, 4, 1, request) + frame(0, 0, 1) * 20_000,
        }.items():
            with s.connect() as conn:
                try:
                    conn.sendall(sent)
                    conn.shutdown(socket.SHUT_WR)
                except OSError:
                    pass  # cut off already
                try:
                    rest(conn)
                except TimeoutError:
                    raise AssertionError(f"{case}: still open") from None
            s.wait_for(lambda: s.ask("GET", "sys/health").status == 200, f"an answer after {case}")
        s.survived()


if __name__ == "__main__":
    harness.main(globals())
