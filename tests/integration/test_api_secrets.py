# SPDX-License-Identifier: Apache-2.0
"""S45: secrets that were given to the manager are found nowhere afterwards. Runs last: it looks through all that the
tests before it have got as answers."""

import base64

from conftest import PASSWORD
from samples import CANARY, secret_provider


def forms(secret):
    """As it is, and as a careless program might have written it."""
    data = secret.encode()
    return [data, base64.b64encode(data).rstrip(b"=")[:-1], data.hex().encode(), data[::-1]]


def find(needles, haystack):
    return [needle for needle in needles if needle in haystack]


def test_s45_nothing_shows_a_secret(bastide, breakable, people):
    tenant, name = people.tenant(), people.account()
    bastide.api("PUT", "/catalog/providers/cloud", secret_provider(), tenant=tenant).expect(201)
    made = bastide.api("POST", "/tokens", {}, user=(name, PASSWORD)).expect(201).json
    enrolment = bastide.api("POST", "/provisioners/enrolment-tokens", {"name": "never-used"}).expect(201).json
    for path in ("/catalog/providers", "/catalog/providers/cloud", "/catalog/export", "/clusters", "/nodes", "/executions",
                 "/events", "/bundles"):
        bastide.api("GET", path, tenant=tenant).expect(200)
    for path in ("/users", "/tokens", "/tenants", "/provisioners", "/audit", f"/tokens/{made['id']}", f"/users/{name}"):
        bastide.api("GET", path, query={"_size": 1000}).expect(200)

    tokens = forms(made["value"]) + forms(enrolment["value"])
    for installation in (bastide, breakable):
        look_through(installation, tokens)


def look_through(bastide, tokens):
    """All answers, all logs, all files of the manager and of the database."""
    never_shown = forms(CANARY) + forms(PASSWORD) + forms(bastide.admin_password)
    never_kept = never_shown + tokens + forms(bastide.admin_token)
    assert not find(never_shown, bytes(bastide.transcript))
    looked_at = 0
    for name in ("keeper", "manager"):
        assert not find(never_kept, bastide.log(name).encode()), name
    for path in bastide.data_files():
        data = path.read_bytes()
        assert not find(never_kept, data), path
        looked_at += len(data)
    assert looked_at > 100_000


def test_processes_show_no_secrets(bastide):
    """Neither arguments nor environment of a process hold any."""
    secrets = [CANARY.encode(), PASSWORD.encode(), bastide.admin_token.encode(), bastide.admin_password.encode()]
    for process in bastide.processes.values():
        for number in process.members():
            for name in ("cmdline", "environ"):
                with open(f"/proc/{number}/{name}", "rb") as file:
                    assert not find(secrets, file.read())
