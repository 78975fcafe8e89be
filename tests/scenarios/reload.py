"""SIGHUP: certificates, the log level and audit files change without a restart; what cannot be read changes nothing."""
import os
import signal
import socket
import ssl
import subprocess

import harness


def make_certificate(folder, name):
    """Writes a self-signed certificate and its key over tls.crt and tls.key, whole files at once; returns the certificate as DER."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "new.key", "-out", folder / "new.crt"],
        check=True, capture_output=True)
    os.replace(folder / "new.key", folder / "tls.key")
    os.replace(folder / "new.crt", folder / "tls.crt")
    return ssl.PEM_cert_to_DER_cert((folder / "tls.crt").read_text())


def served(port):
    """The certificate that a new connection is shown, as DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=harness.PATIENCE_S) as raw, context.wrap_socket(raw) as tls:
        return tls.getpeercert(binary_form=True)


def server_with_tls():
    server = harness.Server()
    port = harness.free_port()
    with server.config.open("a") as config:
        config.write(f"""
listener "tcp" {{
  address       = "127.0.0.1:{port}"
  tls_cert_file = "{server.dir}/tls.crt"
  tls_key_file  = "{server.dir}/tls.key"
}}
log_level = "info"
""")
    return server, port


def test_a_new_certificate_is_served_after_sighup():
    server, port = server_with_tls()
    first = make_certificate(server.dir, "first")
    with server.start():
        assert served(port) == first
        second = make_certificate(server.dir, "second")
        assert served(port) == first, "a file alone must change nothing: its pair may still be missing"
        server.proc.send_signal(signal.SIGHUP)
        server.wait_for(lambda: served(port) == second, "the second certificate")


def test_a_broken_certificate_leaves_the_old_one():
    server, port = server_with_tls()
    first = make_certificate(server.dir, "first")
    with server.start():
        (server.dir / "tls.crt").write_text("-----BEGIN CERTIFICATE-----\nnot base64\n-----END CERTIFICATE-----\n")
        before = server.log_text()
        server.proc.send_signal(signal.SIGHUP)
        server.wait_for(lambda: "tls.crt" in server.log_text()[len(before):], "a log line that names the file")
        assert served(port) == first
        mixed = (server.dir / "tls.key").read_bytes()
        make_certificate(server.dir, "other")
        (server.dir / "tls.key").write_bytes(mixed)
        before = server.log_text()
        server.proc.send_signal(signal.SIGHUP)
        server.wait_for(lambda: "tls_key_file" in server.log_text()[len(before):], "a log line about the key that does not fit")
        assert served(port) == first


def test_the_log_level_changes():
    server, _ = server_with_tls()
    make_certificate(server.dir, "first")
    quiet = server.config.read_text().replace('log_level = "info"', 'log_level = "error"')
    server.config.write_text(quiet)
    with server.start():
        assert "INFO" not in server.log_text()
        server.config.write_text(quiet.replace('log_level = "error"', 'log_level = "info"'))

        def told():
            server.proc.send_signal(signal.SIGHUP)  # the next one is told of, at level info
            return "INFO" in server.log_text()

        server.wait_for(told, "a line of level info")


def test_a_moved_audit_file_is_opened_anew():
    server, _ = server_with_tls()
    make_certificate(server.dir, "first")
    with server.start().init():
        log, moved = server.dir / "audit.log", server.dir / "audit.log.1"
        assert server.ask("PUT", "sys/audit/file", {"type": "file", "options": {"file_path": str(log), "write_timeout": "60s"}}).status == 204
        assert server.ask("GET", "sys/mounts").status == 200
        log.rename(moved)
        server.proc.send_signal(signal.SIGHUP)
        server.wait_for(lambda: server.ask("GET", "sys/auth").status == 200 and log.exists(), "a new audit file")
        length = moved.stat().st_size
        assert server.ask("GET", "sys/policy").status == 200
        assert '"path":"sys/policy"' in log.read_text()
        assert moved.stat().st_size == length


if __name__ == "__main__":
    harness.main(globals())
