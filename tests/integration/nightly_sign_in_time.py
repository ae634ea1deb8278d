# SPDX-License-Identifier: Apache-2.0
"""S06: how long a refusal takes does not tell why. For the nightly run, because it measures and takes its time:

    BASTIDE_BUILD=build python3 -m pytest tests/integration/nightly_sign_in_time.py

Refusals of four causes come in turn, each for a name of its own, so that nothing is held back. Each cause is compared
with a wrong password by Welch's t-test; beyond |t| = 4.5 it is not chance."""

import itertools
import math
import statistics
import time

from conftest import PASSWORD

SAMPLES = 60
LIMIT = 4.5
CAUSES = ("wrong", "unknown", "locked", "deactivated")


def welch(one, other):
    spread = statistics.variance(one) / len(one) + statistics.variance(other) / len(other)
    return (statistics.mean(one) - statistics.mean(other)) / math.sqrt(spread)


def make_accounts(breakable):
    """Copies of one account behind the manager's back: hashing some hundred passwords would take longer than the test."""
    breakable.api("PUT", "/users", {"username": "original", "password": PASSWORD}).expect(201)
    breakable.stop("manager")
    statements = [
        "INSERT INTO users (username, password_hash, role, is_active, must_change_password, failed_logins, locked_until, "
        f"created_at, last_login_at) SELECT '{cause}{number}', password_hash, role, {active}, 0, 0, {locked_until}, created_at, 0 "
        "FROM users WHERE username = 'original';"
        for cause, active, locked_until in (("wrong", 1, 0), ("locked", 1, 4_000_000_000_000_000), ("deactivated", 0, 0))
        for number in range(SAMPLES)]
    breakable.sql("\n".join(statements))
    breakable.start("manager")


def test_s06_time_of_refusals(breakable):
    make_accounts(breakable)
    breakable.api("PATCH", "/policies", {"source_failures": 100000}).expect(200)
    times = {cause: [] for cause in CAUSES}
    for number, cause in itertools.product(range(SAMPLES), CAUSES):
        password = PASSWORD + "x" if cause == "wrong" else PASSWORD
        start = time.perf_counter()
        breakable.api("GET", "/user", user=(f"{cause}{number}", password)).expect(401)
        times[cause].append(time.perf_counter() - start)
    found = {cause: welch(times[cause], times["wrong"]) for cause in CAUSES[1:]}
    print({cause: round(t, 2) for cause, t in found.items()})
    assert all(abs(t) < LIMIT for t in found.values()), found
