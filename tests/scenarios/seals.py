"""Outer seals with the built binary: a server opens by itself, its keys and its seal are exchanged, and recovery shares decide."""
import contextlib
import logging
import os
import secrets
import time

import boto3
from moto.server import ThreadedMotoServer

import harness

logging.getLogger("werkzeug").setLevel(logging.ERROR)

SHARES = {"recovery_shares": 3, "recovery_threshold": 2}


def key_file(server, name):
    path = server.dir / name
    path.write_text(secrets.token_hex(32))
    return path


def static(server, name, extra=""):
    return f'seal "static" {{ current_key_id = "{name}" current_key = "file://{key_file(server, name)}" {extra} }}'


class Node:
    """One data directory under changing seal stanzas."""

    def __init__(self):
        self.server = harness.Server()
        self.plain = self.server.config.read_text()

    @contextlib.contextmanager
    def start(self, stanza):
        """Runs the server with this stanza until the block ends; the data stay."""
        self.server.config.write_text(f"{self.plain}\n{stanza}\n")
        try:
            yield self.server.start()
        finally:
            self.server.stop()

    def api(self, method, path, body=None, token=""):
        answer = self.server.ask(method, path, body, token)
        return answer.status, answer.json

    def status(self):
        return self.api("GET", "sys/seal-status")[1]

    def wait_open(self):
        self.server.wait_for(lambda: not self.status()["sealed"], "unsealing by itself")

    def wait_leading(self):
        self.server.wait_for(lambda: self.api("GET", "sys/health")[0] == 200, "leading")

    def stays_sealed(self):
        """Nothing opens it in twice the time that its seal needs when it can."""
        time.sleep(2)
        return self.status()["sealed"]


class Kms:
    """AWS KMS by moto, in this process: its keys outlive a stop."""

    SECRET_KEY = "kms-" + secrets.token_hex(16)

    def __init__(self):
        self.port = harness.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.boto = boto3.client("kms", region_name="eu-central-1", endpoint_url=self.url,
                                 aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key=self.SECRET_KEY)

    def start(self):
        self.server = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self.server.start()
        return self

    def stop(self):
        self.server.stop()

    def key(self):
        return self.boto.create_key()["KeyMetadata"]["KeyId"]

    def stanza(self, key, extra=""):
        return self.bare_stanza(key, f'access_key = "AKIDEXAMPLE" secret_key = "{self.SECRET_KEY}" {extra}')

    def bare_stanza(self, key, extra=""):
        return f'seal "awskms" {{ region = "eu-central-1" kms_key_id = "{key}" endpoint = "{self.url}" {extra} }}'


@contextlib.contextmanager
def environment(**variables):
    """Variables that servers started meanwhile see."""
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]


def ceremony(node, path, start, shares, token=None):
    status, begun = node.api("PUT", f"{path}/{'attempt' if 'generate' in path else 'init'}", start)
    assert status == 200, begun
    for share in shares:
        status, done = node.api("PUT", f"{path}/update", {"key": share, "nonce": begun["nonce"]})
        assert status == 200, done
    assert done["complete"], done
    return done


def test_a_static_seal_opens_by_itself_and_its_keys_are_exchanged():
    node = Node()
    one = static(node.server, "one")
    with node.start(one):
        assert (node.status()["type"], node.status()["recovery_seal"], node.status()["initialized"]) == ("static", True, False)
        for refused in [{"secret_shares": 1, "secret_threshold": 1}, {"recovery_shares": 2, "recovery_threshold": 3}]:
            assert node.api("PUT", "sys/init", refused)[0] == 400
        status, made = node.api("PUT", "sys/init", SHARES)
        assert status == 200 and made["keys"] == [] and len(made["recovery_keys"]) == 3, made
        node.wait_leading()
        seen = node.status()
        assert (seen["t"], seen["n"], seen["recovery_seal_type"], seen["migration"]) == (2, 3, "shamir", False), seen
        token = made["root_token"]
        assert node.api("PUT", "sys/mounts/kv", {"type": "kv"}, token)[0] == 204
        assert node.api("PUT", "kv/a", {"v": "1"}, token)[0] == 204
        fresh = ceremony(node, "sys/rekey-recovery-key", {"secret_shares": 2, "secret_threshold": 2}, made["recovery_keys"][:2])["keys"]
        assert ceremony(node, "sys/rekey", {"secret_shares": 1, "secret_threshold": 1}, fresh)["keys"] == []
        otp = "a" * 28
        begun = node.api("PUT", "sys/generate-root/attempt", {"otp": otp})[1]
        for share in made["recovery_keys"][:2]:
            status, answer = node.api("PUT", "sys/generate-root/update", {"key": share, "nonce": begun["nonce"]})
        assert status == 400 and "recovery key does not match" in answer["errors"][0], answer
        node.api("DELETE", "sys/generate-root/attempt")
        encoded = ceremony(node, "sys/generate-root", {"otp": otp}, fresh)["encoded_token"]
        second = node.api("PUT", "sys/decode-token", {"encoded_token": encoded, "otp": otp})[1]["data"]["token"]
        assert node.api("GET", "kv/a", token=second)[1]["data"] == {"v": "1"}
        # Sealed on purpose it stays sealed, until enough holders of recovery shares agree.
        assert node.api("PUT", "sys/seal", token=token)[0] == 204
        assert node.stays_sealed()
        for share in fresh:
            node.api("PUT", "sys/unseal", {"key": share})
        assert not node.status()["sealed"]
    with node.start(one):
        node.wait_open()
    # Another key: the old one opens, the new one is used from then on, and the old one can be thrown away.
    two = static(node.server, "two", f'previous_key_id = "one" previous_key = "file://{node.server.dir}/one"')
    with node.start(two):
        node.wait_open()
        node.server.wait_for(lambda: "under the seal's current key" in node.server.log_text(), "the exchange of the root key")
    (node.server.dir / "one").unlink()
    with node.start(f'seal "static" {{ current_key_id = "two" current_key = "file://{node.server.dir}/two" }}'):
        node.wait_leading()
        assert node.api("GET", "kv/a", token=token)[1]["data"] == {"v": "1"}
    with node.start(static(node.server, "three")):
        assert node.stays_sealed(), "a foreign key opens nothing"


def test_a_transit_seal_waits_for_its_server_and_seals_are_exchanged():
    keeper, node = harness.Server(), Node()
    with keeper.start():
        root = keeper.init(1, 1).token
        assert keeper.ask("PUT", "sys/mounts/transit", {"type": "transit"}).status == 204
        assert keeper.ask("PUT", "transit/keys/unseal", {}).status in (200, 204)
        transit = f'seal "transit" {{ address = "{keeper.addr}" token = "{root}" key_name = "unseal" mount_path = "transit/" %s }}'
        # From shares to transit: shares and consent are needed.
        with node.start(""):
            made = node.api("PUT", "sys/init", {"secret_shares": 2, "secret_threshold": 2})[1]
        shares, token = made["keys"], made["root_token"]
        with node.start(transit % ""):
            assert node.status()["migration"] and node.status()["type"] == "shamir"
            status, answer = node.api("PUT", "sys/unseal", {"key": shares[0]})
            assert status == 500 and answer["errors"] == ["migrate option not provided and seal migration is pending"]
            for share in shares:
                status, seen = node.api("PUT", "sys/unseal", {"key": share, "migrate": True})
                assert status == 200, seen
            assert (seen["sealed"], seen["type"], seen["recovery_seal"], seen["t"]) == (False, "transit", True, 2), seen
        with node.start(transit % ""):
            node.wait_open()
        keeper.stop()
        with node.start(transit % ""):
            assert node.stays_sealed()
            keeper.start()
            keeper.unseal()
            node.wait_open()
        # From transit to static: the recovery shares, which were the unseal shares, decide.
        both = transit % 'disabled = "true"' + "\n" + static(node.server, "k")
        with node.start(both):
            assert node.status()["migration"]
            for share in shares:
                status, seen = node.api("PUT", "sys/unseal", {"key": share, "migrate": True})
                assert status == 200, seen
            assert (seen["sealed"], seen["type"]) == (False, "static"), seen
    key = f'current_key_id = "k" current_key = "file://{node.server.dir}/k"'
    with node.start(f'seal "static" {{ {key} }}'):
        node.wait_open()
    # And back to shares: the recovery shares become the unseal shares.
    with node.start(f'seal "static" {{ {key} disabled = "true" }}'):
        for share in shares:
            status, seen = node.api("PUT", "sys/unseal", {"key": share, "migrate": True})
            assert status == 200, seen
        assert (seen["sealed"], seen["type"], seen["recovery_seal"], seen["n"]) == (False, "shamir", False, 2), seen
    with node.start(""):
        assert node.api("PUT", "sys/unseal", {"key": shares[0], "migrate": True})[0] == 500
        for share in shares:
            node.api("PUT", "sys/unseal", {"key": share})
        node.wait_leading()
        assert node.api("GET", "auth/token/lookup-self", token=token)[0] == 200


def test_an_awskms_seal_opens_waits_and_exchanges_its_key():
    kms, node = Kms().start(), Node()
    try:
        first, second = kms.key(), kms.key()
        kms.boto.create_alias(AliasName="alias/unseal", TargetKeyId=first)
        alias = kms.stanza("alias/unseal")
        with node.start(alias):
            assert (node.status()["type"], node.status()["recovery_seal"]) == ("awskms", True)
            status, made = node.api("PUT", "sys/init", SHARES)
            assert status == 200 and made["keys"] == [] and len(made["recovery_keys"]) == 3, made
            node.wait_leading()
            token = made["root_token"]
            assert node.api("PUT", "sys/mounts/kv", {"type": "kv"}, token)[0] == 204
            assert node.api("PUT", "kv/a", {"v": "1"}, token)[0] == 204
        with node.start(alias):
            node.wait_open()
        # Away: it waits, says so, and opens when KMS is back.
        kms.stop()
        with node.start(alias):
            node.server.wait_for(lambda: "the awskms seal does not answer" in node.server.log_text(), "a word about KMS")
            assert node.stays_sealed()
            kms.start()
            node.wait_open()
        # A key that is not there: sealed, with the reason.
        with node.start(kms.stanza("00000000-0000-0000-0000-000000000000")):
            node.server.wait_for(lambda: "DescribeKey: NotFoundException" in node.server.log_text(), "a word about the key")
            assert node.stays_sealed()
        # Another key behind the alias: the old one opens, the new one is used from then on, and the old one can go.
        kms.boto.update_alias(AliasName="alias/unseal", TargetKeyId=second)
        with node.start(alias):
            node.wait_open()
            node.server.wait_for(lambda: "under the seal's current key" in node.server.log_text(), "the exchange of the root key")
        kms.boto.disable_key(KeyId=first)
        with node.start(alias):
            node.wait_leading()
            assert node.api("GET", "kv/a", token=token)[1]["data"] == {"v": "1"}
        # Without keys in the stanza: a role for a workload's token, and a shared credentials file.
        (node.server.dir / "web-identity").write_text("a.workloads.token")
        (node.server.dir / "credentials").write_text(
            f"[default]\n[vault]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = {kms.SECRET_KEY}\n")
        role = {"AWS_WEB_IDENTITY_TOKEN_FILE": f"{node.server.dir}/web-identity", "AWS_ENDPOINT_URL_STS": kms.url,
                "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/strongroom"}
        file = {"AWS_SHARED_CREDENTIALS_FILE": f"{node.server.dir}/credentials", "AWS_PROFILE": "vault"}
        for variables in (role, file):
            with environment(**variables), node.start(kms.bare_stanza("alias/unseal")):
                node.wait_open()
        with environment(**file | {"AWS_PROFILE": "default"}), node.start(kms.bare_stanza("alias/unseal")):
            node.server.wait_for(lambda: "has no keys for the profile" in node.server.log_text(), "a word about the profile")
            assert node.stays_sealed()
        log = node.server.log_text()
        assert "a.workloads.token" not in log
        assert kms.SECRET_KEY not in log and "AKIDEXAMPLE" not in log
    finally:
        kms.stop()


def test_from_shares_to_awskms_and_back():
    kms, node = Kms().start(), Node()
    try:
        key = kms.key()
        with node.start(""):
            made = node.api("PUT", "sys/init", {"secret_shares": 2, "secret_threshold": 2})[1]
        shares, token = made["keys"], made["root_token"]
        for stanza, reached in [(kms.stanza(key), "awskms"), (kms.stanza(key, 'disabled = "true"'), "shamir")]:
            with node.start(stanza):
                assert node.status()["migration"], node.status()
                status, answer = node.api("PUT", "sys/unseal", {"key": shares[0]})
                assert status == 500 and answer["errors"] == ["migrate option not provided and seal migration is pending"]
                for share in shares:
                    status, seen = node.api("PUT", "sys/unseal", {"key": share, "migrate": True})
                    assert status == 200, seen
                assert (seen["sealed"], seen["type"], seen["n"]) == (False, reached, 2), seen
            if reached == "awskms":
                with node.start(stanza):
                    node.wait_leading()
                    assert node.api("GET", "auth/token/lookup-self", token=token)[0] == 200
        with node.start(""):
            for share in shares:
                node.api("PUT", "sys/unseal", {"key": share})
            node.wait_leading()
            assert node.api("GET", "auth/token/lookup-self", token=token)[0] == 200
    finally:
        kms.stop()


if __name__ == "__main__":
    harness.main(globals())
