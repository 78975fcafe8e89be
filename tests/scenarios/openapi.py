"""The OpenAPI document is one: checked by openapi-spec-validator, with one mount of every type, for root, for nobody, with mount paths as
parameters, and after a restart. Classes D, F, K and O walk the same document in every_endpoint.py.
"""
import harness
from harness import Server
from openapi_spec_validator import OpenAPIV30SpecValidator


def check(s, query="", token=None):
    document = s.ask("GET", f"sys/internal/specs/openapi{query}", token=token).json
    faults = [f"{list(e.absolute_path)}: {e.message}" for e in OpenAPIV30SpecValidator(document).iter_errors()]
    assert not faults, faults[:10]
    return document["paths"]


def test_the_document_is_valid():
    with Server() as s:
        s.start().init(1, 1)
        catalog = s.ask("GET", "sys/plugins/catalog").data
        for kind, path in [("secret", "sys/mounts"), ("auth", "sys/auth")]:
            for name in catalog[kind]:
                assert s.ask("POST", f"{path}/x-{name}", {"type": name}).status == 204, name
        paths = check(s)
        assert all(any(p.startswith(f"/x-{name}/") for p in paths) for name in catalog["secret"])
        assert len(check(s, "?generic_mount_paths=true")) == len(paths)
        assert 100 < len(check(s, token="")) < len(paths)
        s.stop()
        s.start().unseal()
        assert check(s).keys() == paths.keys()


if __name__ == "__main__":
    harness.main(globals())
