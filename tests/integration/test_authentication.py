# SPDX-License-Identifier: Apache-2.0
"""Signing in, sessions, second factors, tokens, policies: from outside, as a person, a script and an attacker would."""

import base64
import ctypes
import hashlib
import hmac
import http.cookies
import struct
import time

import pytest

from conftest import PASSWORD
from installation import DEFAULT_TENANT
from services import wait_until

COOKIE = "__Host-bastide-session"
STEP = 30


class Browser:
    """A session: keeps its cookie and what its pages must show."""

    def __init__(self, bastide):
        self._bastide, self.cookie, self.csrf = bastide, None, None

    @property
    def origin(self):
        return f"https://127.0.0.1:{self._bastide.external_port}"

    def sign_in(self, name, password=PASSWORD, **more):
        answer = self.send("POST", "/sessions", {"username": name, "password": password, **more})
        if answer.status == 201:
            self.csrf = answer.json["csrf_token"]
        return answer

    def send(self, method, path, body=None, **headers):
        """headers: Origin and X-CSRF-Token as they should be, unless given (None = left out)."""
        sent = {"Origin": self.origin, "X-CSRF-Token": self.csrf,
                "Cookie": f"{COOKIE}={self.cookie}" if self.cookie else None, **headers}
        answer = self._bastide.api(method, path, body, token=None,
                                   headers={name: value for name, value in sent.items() if value is not None})
        if "Set-Cookie" in answer.headers:
            self.cookie = http.cookies.SimpleCookie(answer.headers["Set-Cookie"])[COOKIE].value
        return answer


def code_of(secret, steps=0):
    """RFC 6238, written anew here."""
    key = base64.b32decode(secret)
    digest = hmac.new(key, struct.pack(">Q", int(time.time()) // STEP + steps), hashlib.sha1).digest()
    offset = digest[19] & 15
    return f"{(struct.unpack('>I', digest[offset:offset + 4])[0] & 0x7FFFFFFF) % 1000000:06}"


def enrol(bastide, name, password=PASSWORD):
    """A confirmed second factor: its secret and the recovery codes. The present step is used up, the next is not."""
    made = bastide.api("POST", "/user/second-factor", {"current_password": password}, user=(name, password)).expect(201).json
    confirmed = bastide.api("POST", "/user/second-factor/confirm", {"code": code_of(made["secret"])},
                            user=(name, password)).expect(200).json
    return made["secret"], confirmed["recovery_codes"]


@pytest.fixture(name="browser")
def open_browser(bastide):
    return lambda: Browser(bastide)


# Accounts ------------------------------------------------------------------------------------------------------------


def test_account_takes_one_change_at_a_time(bastide, people):
    name = people.account()
    for body in ({}, {"role": "default", "password": "a long one, and new"}):
        bastide.api("POST", f"/users/{name}", body).expect(400)
    assert bastide.api("POST", f"/users/{name}", {"role": "sys_admin"}).expect(200).json["role"] == "sys_admin"
    assert bastide.api("POST", f"/users/{name}", {"password": "a long one, and new"}).expect(200).json["must_change_password"]
    for path, body in (("/users/active/", {"action": "activate"}), ("/users/unlock/", None), ("/users/", {"role": "default"})):
        bastide.api("POST", path + "nobody-here", body).expect(404)
    for word in ("active", "unlock"):
        assert bastide.api("PUT", "/users", {"username": word, "password": PASSWORD}).expect(400).field == "username"


def test_first_and_last_sign_in(bastide, people):
    name = people.account()
    before = bastide.api("GET", f"/users/{name}").json
    assert before["first_login_at"] is None and before["last_login_at"] is None
    bastide.api("GET", "/user", user=(name, PASSWORD)).expect(200)
    first = bastide.api("GET", f"/users/{name}").json
    assert first["first_login_at"] == first["last_login_at"] != None  # noqa: E711
    time.sleep(0.01)
    bastide.api("GET", "/user", user=(name, PASSWORD)).expect(200)
    second = bastide.api("GET", f"/users/{name}").json
    assert second["first_login_at"] == first["first_login_at"] < second["last_login_at"]


def test_s02_one_time_password_is_used_once(bastide, people):
    """Good for choosing one's own, and after that for nothing; the use that is refused is on record."""
    name = people.account(must_change_password=True)
    assert bastide.api("GET", f"/users/{name}").json["must_change_password"]
    new = "chosen by " + "oneself"
    bastide.api("POST", "/user/password", {"password": new, "current_password": PASSWORD}, user=(name, PASSWORD)).expect(204)
    bastide.api("GET", "/user", user=(name, PASSWORD)).expect(401)
    bastide.api("GET", "/tokens", user=(name, new)).expect(200)
    records = bastide.api("GET", "/audit", query={"actor": name, "action": "sign_in"}).items
    assert sorted(row["outcome"] for row in records) == ["denied", "done", "done"]


def test_s02_one_time_password_expires(breakable, unique):
    name = unique("person")
    breakable.api("PUT", "/users", {"username": name, "password": PASSWORD, "must_change_password": True}).expect(201)
    breakable.api("GET", "/user", user=(name, PASSWORD)).expect(200)
    breakable.stop("manager")
    breakable.sql(f"UPDATE users SET password_expires_at = 1 WHERE username = '{name}'")
    breakable.start("manager")
    breakable.api("GET", "/user", user=(name, PASSWORD)).expect(401)
    given = breakable.api("POST", f"/users/{name}/password", {}).expect(200).json
    breakable.api("GET", "/user", user=(name, given["one_time_password"])).expect(200)


def test_reset_gives_a_password_for_one_use(bastide, people):
    name = people.account()
    token = people.token(name)
    given = bastide.api("POST", f"/users/{name}/password", {}).expect(200).json
    assert given["username"] == name and len(given["one_time_password"]) >= 20 and given["expires_at"]
    bastide.api("GET", "/user", token=token).expect(401)
    bastide.api("GET", "/user", user=(name, PASSWORD)).expect(401)
    bastide.api("POST", "/tokens", {}, user=(name, given["one_time_password"])).expect(403)
    new = "chosen by " + "oneself"
    bastide.api("POST", "/user/password", {"password": new, "current_password": given["one_time_password"]},
                user=(name, given["one_time_password"])).expect(204)
    bastide.api("POST", "/tokens", {}, user=(name, new)).expect(201)


@pytest.mark.parametrize("password, is_good", [
    ("x1 " * 21 + "y", True), ("äöü ßẞ €uro ÷ ¥en", True), ("twelve chars", True), ("elevenchars", False),
    ("passwordpassword", False), ("qwertyuiop12", False), ("abcabcabcabc", False), ("it is NAME again", False)])
def test_s03_passwords(bastide, people, password, is_good):
    """Long ones and all of Unicode are taken unchanged, what is guessed first is not."""
    name = people.account()
    password = password.replace("NAME", name.upper())
    answer = bastide.api("POST", "/user/password", {"password": password, "current_password": PASSWORD}, user=(name, PASSWORD))
    if is_good:
        answer.expect(204)
        bastide.api("GET", "/user", user=(name, password)).expect(200)
    else:
        assert answer.expect(400).field == "password" and password not in answer.body.decode()


def weak_hash(password):
    """Argon2id with less than today's parameters, by the library itself."""
    sodium = ctypes.CDLL("libsodium.so.23")
    assert sodium.sodium_init() >= 0
    text = ctypes.create_string_buffer(128)
    data = password.encode()
    assert sodium.crypto_pwhash_str_alg(text, data, ctypes.c_ulonglong(len(data)), ctypes.c_ulonglong(1),
                                        ctypes.c_size_t(8 * 1024 * 1024), 2) == 0
    return text.value.decode()


def test_s04_hash_is_made_anew(breakable, unique):
    """A password that was hashed with weaker parameters gets today's when its owner signs in."""
    name = unique("person")
    breakable.api("PUT", "/users", {"username": name, "password": PASSWORD}).expect(201)
    old = weak_hash(PASSWORD)
    breakable.stop("manager")
    breakable.sql(f"UPDATE users SET password_hash = '{old}' WHERE username = '{name}'")
    breakable.start("manager")
    breakable.api("GET", "/user", user=(name, "wrong " + PASSWORD)).expect(401)
    breakable.api("GET", "/user", user=(name, PASSWORD)).expect(200)
    breakable.api("GET", "/user", user=(name, PASSWORD)).expect(200)
    breakable.stop("manager")
    stored = b"".join(path.read_bytes() for path in breakable.data_files() if "/log/" not in str(path))
    breakable.start("manager")
    if not breakable.postgresql:  # its old rows stay in the files until it cleans up
        assert old.encode() not in stored
    assert stored.count(b"$argon2id$v=19$m=65536,t=3,p=1$") >= 2


# Brute force ---------------------------------------------------------------------------------------------------------


def lock(bastide, name):
    for _ in range(8):
        bastide.api("GET", "/user", user=(name, "wrong " + PASSWORD)).expect(401)


def test_s05_administrator_unlocks(bastide, people):
    """While it is locked the right password is refused, too; an administrator ends the lock."""
    name = people.account()
    lock(bastide, name)
    bastide.api("GET", "/user", user=(name, PASSWORD)).expect(401)
    assert not bastide.api("POST", f"/users/unlock/{name}").expect(200).json["is_locked"]
    bastide.api("GET", "/user", user=(name, PASSWORD)).expect(200)
    assert bastide.api("GET", "/audit", query={"action": "user_unlock", "object": f"user:{name}"}).items


def test_s05_source_waits(breakable, unique):
    """Whoever sprays one password over many names is stopped by the address, whether or not there are such accounts."""
    breakable.api("PATCH", "/policies", {"source_failures": 10, "source_lock": 10}).expect(200)
    name = unique("person")
    breakable.api("PUT", "/users", {"username": name, "password": PASSWORD}).expect(201)
    try:
        for number in range(10):
            breakable.api("GET", "/user", user=(f"nobody{number}", PASSWORD)).expect(401)
        answer = breakable.api("GET", "/user", user=(name, PASSWORD)).expect(429)
        assert answer.error == "rate_limited" and 1 <= int(answer.headers["Retry-After"]) <= 11
        breakable.api("GET", "/user").expect(200)  # tokens are not concerned
    finally:
        breakable.api("PATCH", "/policies", {"source_failures": None, "source_lock": None}).expect(200)
    breakable.api("GET", "/user", user=(name, PASSWORD)).expect(200)


def test_s06_one_answer_for_all_causes(bastide, people):
    """Unknown, wrong, deactivated, locked: same status, same body."""
    wrong, locked, deactivated = people.account(), people.account(), people.account()
    lock(bastide, locked)
    bastide.api("POST", f"/users/active/{deactivated}", {"action": "deactivate"}).expect(200)
    answers = [bastide.api("GET", "/user", user=(name, password)).expect(401)
               for name, password in (("nobody-at-all", PASSWORD), (wrong, PASSWORD + "x"), (locked, PASSWORD),
                                      (deactivated, PASSWORD))]
    assert len({str({**answer.json, "instance": ""}) for answer in answers}) == 1
    assert len({tuple(sorted(set(answer.headers) - {"X-Request-Id", "Date"})) for answer in answers}) == 1


# Sessions ------------------------------------------------------------------------------------------------------------


def test_session_from_beginning_to_end(bastide, people, browser):
    name, one = people.account(), browser()
    answer = one.sign_in(name).expect(201)
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"{COOKIE}=bss-") and cookie.endswith("; Path=/; Secure; HttpOnly; SameSite=Strict")
    assert one.cookie not in answer.body.decode()
    assert one.send("GET", "/user").expect(200).json["username"] == name
    present = one.send("GET", "/session").expect(200).json
    assert present["csrf_token"] == one.csrf and present["id"] == answer.json["id"] and not present["has_second_factor"]
    listed = one.send("GET", "/sessions").expect(200).items
    assert [(row["id"], row["is_present"], row["source"]) for row in listed] == [(present["id"], True, "127.0.0.1")]
    assert one.send("POST", "/tokens", {}).expect(201).json["username"] == name
    old = one.cookie
    one.send("DELETE", "/session").expect(204)
    assert one.cookie == ""
    one.cookie = old
    one.send("GET", "/user").expect(401)


def test_only_the_hash_of_a_session_is_stored(bastide, people, browser):
    one = browser()
    one.sign_in(people.account()).expect(201)
    for path in bastide.data_files():
        assert one.cookie.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("headers", [
    {"Origin": None}, {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1"},
    {"X-CSRF-Token": None}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": "A" * 43}], ids=str)
def test_forged_requests(people, browser, headers):
    """What another site makes a browser send changes nothing: neither without the origin nor without the page's token."""
    one = browser()
    one.sign_in(people.account()).expect(201)
    for method, path in (("POST", "/tokens"), ("DELETE", "/session"), ("DELETE", "/tokens")):
        one.send(method, path, {}, **headers).expect(403)
    one.send("GET", "/user", **headers).expect(200)


def test_token_of_another_session_is_no_csrf_token(people, browser):
    name, one, other = people.account(), browser(), browser()
    one.sign_in(name).expect(201)
    other.sign_in(name).expect(201)
    one.send("POST", "/tokens", {}, **{"X-CSRF-Token": other.csrf}).expect(403)


def test_other_sites_cannot_sign_in(people, browser):
    one = browser()
    one.send("POST", "/sessions", {"username": people.account(), "password": PASSWORD}, Origin="https://evil.example").expect(403)
    assert one.cookie is None


def test_cookies_that_are_no_session(bastide, people, browser):
    one = browser()
    one.sign_in(people.account()).expect(201)
    token = people.make()
    for cookie in (f"{COOKIE}={token}", f"{COOKIE}=x", f"{COOKIE}={one.cookie}; {COOKIE}={one.cookie}", f"{COOKIE}=",
                   f"bastide-session={one.cookie}", f"{COOKIE}={one.cookie[:-1]}A"):
        bastide.api("GET", "/user", token=None, headers={"Cookie": cookie}).expect(401)
    bastide.api("GET", "/user", token=one.cookie).expect(401)  # a session is no token
    bastide.api("GET", "/user", token=token, headers={"Cookie": f"{COOKIE}={one.cookie}"}).expect(401)  # two identities
    bastide.api("GET", "/user", token=None, headers={"Cookie": f"a=b; {COOKIE}={one.cookie}; c=d"}).expect(200)


def test_s07_session_rotates(bastide, people, browser):
    """A new id at each sign-in, and none that lives over a change of rights; the old one is dead."""
    name, one = people.account(), browser()
    one.sign_in(name).expect(201)
    old = one.cookie
    one.sign_in(name).expect(201)
    assert one.cookie != old
    bastide.api("GET", "/user", token=None, headers={"Cookie": f"{COOKIE}={old}"}).expect(401)
    one.send("GET", "/user").expect(200)
    bastide.api("POST", f"/users/{name}", {"role": "sys_admin"}).expect(200)
    one.send("GET", "/user").expect(401)
    bastide.api("POST", f"/users/{name}", {"role": "default"}).expect(200)


def test_s08_sessions_end_by_themselves(breakable, unique):
    """Idle ones, and all of them in the end. Time is put back in the database, the clock of the machine stays."""
    name = unique("person")
    breakable.api("PUT", "/users", {"username": name, "password": PASSWORD}).expect(201)
    idle, late, alive = (Browser(breakable) for _ in range(3))
    rows = [one.sign_in(name).expect(201).json for one in (idle, late, alive)]
    assert rows[0]["idle_seconds"] == 1800
    breakable.stop("manager")
    breakable.sql(f"UPDATE tokens SET last_used_at = last_used_at - 1801000000 WHERE id = '{rows[0]['id']}'")
    breakable.sql(f"UPDATE tokens SET expires_at = 1 WHERE id = '{rows[1]['id']}'")
    breakable.sql(f"UPDATE tokens SET last_used_at = last_used_at - 1700000000 WHERE id = '{rows[2]['id']}'")
    breakable.start("manager")
    idle.send("GET", "/user").expect(401)
    late.send("GET", "/user").expect(401)
    alive.send("GET", "/user").expect(200)
    idle.sign_in(name).expect(201)  # a cookie that is over does not stand in the way


def test_s09_sessions_end_with_their_reason(bastide, people, browser):
    """Sign-out everywhere, another password, deactivation: sessions and tokens are gone at once."""
    name = people.account()
    one, two, other = browser(), browser(), browser()
    for session in (one, two):
        session.sign_in(name).expect(201)
    other.sign_in(people.account()).expect(201)
    first = one.send("GET", "/session").json["id"]
    other.send("DELETE", f"/sessions/{first}").expect(404)
    other.send("DELETE", f"/sessions?username={name}").expect(404)
    other.send("GET", f"/sessions?username={name}").expect(404)
    two.send("DELETE", f"/sessions/{first}").expect(204)
    one.send("GET", "/user").expect(401)
    two.send("GET", "/user").expect(200)
    one.sign_in(name).expect(201)
    assert len(bastide.api("GET", "/sessions", query={"username": name}).expect(200).items) == 2
    bastide.api("DELETE", "/sessions", query={"username": name}).expect(204)
    for session in (one, two):
        session.send("GET", "/user").expect(401)
        session.sign_in(name).expect(201)
    new = "chosen by " + "oneself"
    one.send("POST", "/user/password", {"password": new, "current_password": PASSWORD}).expect(204)
    for session in (one, two):
        session.send("GET", "/user").expect(401)
    one.sign_in(name, new).expect(201)
    token = bastide.api("POST", "/tokens", {"tenant": None}, user=(name, new)).expect(201).json["value"]
    bastide.api("POST", f"/users/active/{name}", {"action": "deactivate"}).expect(200)
    one.send("GET", "/user").expect(401)
    bastide.api("GET", "/user", token=token).expect(401)
    bastide.api("POST", f"/users/active/{name}", {"action": "activate"}).expect(200)
    one.send("GET", "/user").expect(401)  # a session does not come back


def test_s09_stream_ends_with_its_session(bastide, people, browser):
    name, one = people.account(), browser()
    people.join(name, DEFAULT_TENANT, "viewer")
    one.sign_in(name).expect(201)
    connection = bastide.connect()
    try:
        connection.request("GET", "/api/v3.1/events/stream", headers={"Cookie": f"{COOKIE}={one.cookie}", "Tenant": DEFAULT_TENANT})
        answer = connection.getresponse()
        assert answer.status == 200
        one.send("DELETE", "/session").expect(204)
        started = time.monotonic()
        while answer.readline():  # advice about reconnecting, then the end
            assert time.monotonic() < started + 20
    finally:
        connection.close()


# Second factor -------------------------------------------------------------------------------------------------------


def test_second_factor_from_beginning_to_end(bastide, people):
    name = people.account()
    assert bastide.api("GET", "/user/second-factor", user=(name, PASSWORD)).json["state"] == "none"
    bastide.api("POST", "/user/second-factor", {"current_password": "not it at all"}, user=(name, PASSWORD)).expect(403)
    made = bastide.api("POST", "/user/second-factor", {"current_password": PASSWORD}, user=(name, PASSWORD)).expect(201).json
    assert made["uri"] == f"otpauth://totp/Bastide:{name}?secret={made['secret']}&issuer=Bastide"
    bastide.api("GET", "/user", user=(name, PASSWORD)).expect(200)  # not asked for before it is confirmed
    bastide.api("POST", "/user/second-factor/confirm", {"code": "000000"}, user=(name, PASSWORD)).expect(403)
    codes = bastide.api("POST", "/user/second-factor/confirm", {"code": code_of(made["secret"])},
                        user=(name, PASSWORD)).expect(200).json["recovery_codes"]
    assert len(set(codes)) == 10
    answer = bastide.api("GET", "/user", user=(name, PASSWORD)).expect(401)
    assert answer.error == "second_factor_required"
    with_code = {"Second-Factor": code_of(made["secret"], 1)}
    token = bastide.api("POST", "/tokens", {}, user=(name, PASSWORD), headers=with_code).expect(201).json
    assert token["has_second_factor"]
    state = bastide.api("GET", "/user/second-factor", token=token["value"]).expect(200).json
    assert (state["state"], state["recovery_codes"]) == ("confirmed", 10)
    assert bastide.api("GET", f"/users/{name}").json["has_second_factor"]
    bastide.api("POST", "/user/second-factor", {"current_password": PASSWORD}, token=token["value"]).expect(409)
    bastide.api("DELETE", "/user/second-factor", {"current_password": PASSWORD}, token=token["value"]).expect(400)
    bastide.api("DELETE", "/user/second-factor", {"current_password": PASSWORD, "code": codes[0]},
                token=token["value"]).expect(204)
    bastide.api("GET", "/user", user=(name, PASSWORD)).expect(200)


def test_s10_code_counts_once_and_one_step_off(bastide, people):
    name = people.account()
    secret, _ = enrol(bastide, name)

    def sign_in(code):
        return bastide.api("GET", "/user", user=(name, PASSWORD), headers={"Second-Factor": code}).status

    code = code_of(secret, 1)
    assert sign_in(code) == 200
    assert sign_in(code) == 401
    assert sign_in(code_of(secret)) == 401  # not newer than the last one
    assert sign_in(code_of(secret, 3)) == 401
    for code in ("", "12345", "1234567", "abcdef", "١٢٣٤٥٦".encode().decode("latin-1")):
        assert sign_in(code) == 401


def test_s10_guessing_codes_locks_the_account(bastide, people):
    name = people.account()
    _, codes = enrol(bastide, name)
    for number in range(8):
        bastide.api("GET", "/user", user=(name, PASSWORD), headers={"Second-Factor": f"{number:06}"}).expect(401)
    assert bastide.api("GET", f"/users/{name}").json["is_locked"]
    answer = bastide.api("GET", "/user", user=(name, PASSWORD), headers={"Second-Factor": codes[0]}).expect(401)
    assert answer.error == "unauthenticated"  # a lock tells nothing about the password
    bastide.api("POST", f"/users/unlock/{name}").expect(200)
    bastide.api("GET", "/user", user=(name, PASSWORD), headers={"Second-Factor": codes[0]}).expect(200)


def test_s10_recovery_codes(bastide, people):
    """Each is good once; only hashes are stored; new ones end the old."""
    name = people.account()
    _, codes = enrol(bastide, name)
    token = bastide.api("POST", "/tokens", {}, user=(name, PASSWORD), headers={"Second-Factor": codes[0]}).expect(201).json["value"]
    bastide.api("POST", "/tokens", {}, user=(name, PASSWORD), headers={"Second-Factor": codes[0]}).expect(401)
    bastide.api("GET", "/user", user=(name, PASSWORD), headers={"Second-Factor": codes[1].upper().replace("-", "")}).expect(200)
    assert bastide.api("GET", "/user/second-factor", token=token).json["recovery_codes"] == 8
    for path in bastide.data_files():
        data = path.read_bytes()
        assert not any(code.encode() in data or code.upper().replace("-", "").encode() in data for code in codes), path
    new = bastide.api("POST", "/user/second-factor/recovery-codes", {"code": codes[2]}, token=token).expect(200).json
    assert not set(new["recovery_codes"]) & set(codes)
    bastide.api("GET", "/user", user=(name, PASSWORD), headers={"Second-Factor": codes[3]}).expect(401)
    bastide.api("GET", "/user", user=(name, PASSWORD), headers={"Second-Factor": new["recovery_codes"][3]}).expect(200)


def test_s10_key_is_nowhere(bastide, people):
    name = people.account()
    secret, _ = enrol(bastide, name)
    for path in bastide.data_files():
        data = path.read_bytes()
        assert secret.encode() not in data and base64.b32decode(secret) not in data, path


def test_s07_session_rotates_with_the_second_factor(bastide, people, browser):
    name, one, other = people.account(), browser(), browser()
    one.sign_in(name).expect(201)
    other.sign_in(name).expect(201)
    made = one.send("POST", "/user/second-factor", {"current_password": PASSWORD}).expect(201).json
    old = one.cookie
    one.send("POST", "/user/second-factor/confirm", {"code": code_of(made["secret"])}).expect(200)
    assert one.cookie != old
    bastide.api("GET", "/user", token=None, headers={"Cookie": f"{COOKIE}={old}"}).expect(401)
    other.send("GET", "/user").expect(401)  # it was signed in without
    assert one.send("GET", "/session").expect(200).json["has_second_factor"]
    assert other.sign_in(name).expect(401).error == "second_factor_required"
    other.sign_in(name, code=code_of(made["secret"], 1)).expect(201)


def test_administrator_takes_a_lost_factor_off(bastide, people):
    name = people.account()
    _, codes = enrol(bastide, name)
    token = bastide.api("POST", "/tokens", {}, user=(name, PASSWORD), headers={"Second-Factor": codes[0]}).expect(201).json["value"]
    bastide.api("DELETE", f"/users/{name}/second-factor").expect(204)
    bastide.api("GET", "/user", token=token).expect(401)
    bastide.api("GET", "/user", user=(name, PASSWORD)).expect(200)
    bastide.api("DELETE", f"/users/{name}/second-factor").expect(404)


# Tokens --------------------------------------------------------------------------------------------------------------


def test_s11_tokens_of_an_account_end_at_once(bastide, people):
    name, other = people.account(), people.account()
    tokens, others = [people.token(name) for _ in range(3)], people.token(other)
    bastide.api("DELETE", "/tokens", token=tokens[0]).expect(400)
    bastide.api("DELETE", "/tokens", query={"username": name}, token=others).expect(404)
    assert len(bastide.api("GET", "/tokens", query={"username": name}).expect(200).items) == 3
    bastide.api("GET", "/tokens", query={"username": name}, token=others).expect(404)
    bastide.api("DELETE", "/tokens", query={"username": name}, token=tokens[0]).expect(204)
    for token in tokens:
        bastide.api("GET", "/user", token=token).expect(401)
    bastide.api("GET", "/user", token=others).expect(200)
    bastide.api("DELETE", "/tokens", query={"username": other}).expect(204)
    bastide.api("GET", "/user", token=others).expect(401)


def test_s11_life_of_tokens_has_a_limit(bastide, people):
    """By policy of the system, and by the tighter one of a tenant for its members."""
    tenant, name = people.tenant(), people.account()
    people.join(name, tenant, "viewer")

    def make(days):
        then = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + days * 86400))
        return bastide.api("POST", "/tokens", {"expiration_date": then}, user=(name, PASSWORD))

    make(364).expect(201)
    assert make(366).expect(400).field == "expiration_date"
    bastide.api("PATCH", f"/policies/{tenant}", {"token_life": 86400}).expect(200)
    assert make(2).expect(400).field == "expiration_date"
    make(0.9).expect(201)
    made = bastide.api("POST", "/tokens", {}, user=(name, PASSWORD)).expect(201).json
    assert made["expiration_date"] < time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86460))


def test_s11_use_is_recorded(bastide, people):
    name = people.account()
    token = people.token(name)
    bastide.api("GET", "/user", token=token).expect(200)
    wait_until(lambda: bastide.api("GET", "/tokens", user=(name, PASSWORD)).items[0]["last_used"], 10, "the use of the token")


# Policies ------------------------------------------------------------------------------------------------------------


def policy(bastide, name, path="/policies", **more):
    return next(row for row in bastide.api("GET", path, **more).expect(200).items if row["name"] == name)


def test_policies_are_set_and_go_back(bastide):
    row = policy(bastide, "session_idle")
    assert (row["value"], row["is_set"], row["kind"], row["tighter"]) == (1800, False, "seconds", "lower")
    changed = bastide.api("PATCH", "/policies", {"session_idle": 600, "password_words": ["zorblax", "acme"]}).expect(200)
    row = next(row for row in changed.items if row["name"] == "session_idle")
    assert (row["value"], row["is_set"], row["changed_by"]) == (600, True, "admin")
    assert policy(bastide, "password_words")["value"] == ["acme", "zorblax"]
    bastide.api("PATCH", "/policies", {"session_idle": None, "password_words": None}).expect(200)
    assert (policy(bastide, "session_idle")["value"], policy(bastide, "password_words")["value"]) == (1800, [])
    assert bastide.api("GET", "/audit", query={"action": "policy_set"}).items


@pytest.mark.parametrize("body, field", [
    ({"no_such": 1}, "no_such"), ({"session_idle": 59}, "session_idle"), ({"session_idle": "600"}, "session_idle"),
    ({"session_idle": 1e3}, "session_idle"), ({"second_factor_roles": "manager"}, "second_factor_roles"),
    ({"second_factor_roles": ["a b"]}, "second_factor_roles"), ({"password_length": 129}, "password_length")])
def test_policies_that_cannot_be(bastide, body, field):
    before = bastide.api("GET", "/policies").items
    assert bastide.api("PATCH", "/policies", {"session_life": 600, **body}).expect(400).field == field
    assert bastide.api("GET", "/policies").items == before


def test_policy_of_a_tenant_is_tighter_never_looser(bastide, people):
    tenant = people.tenant()
    manager, viewer, stranger = people.make("manager", tenant), people.make("viewer", tenant), people.make()
    path = f"/policies/{tenant}"
    bastide.api("PATCH", path, {"password_length": 20}, token=manager).expect(200)
    assert policy(bastide, "password_length", path, token=viewer)["value"] == 20
    assert policy(bastide, "password_length")["value"] == 12
    assert bastide.api("PATCH", path, {"password_length": 11}, token=manager).expect(400).field == "password_length"
    assert bastide.api("PATCH", path, {"sign_in_failures": 3}, token=manager).expect(400).field == "sign_in_failures"
    bastide.api("PATCH", path, {"password_length": 12}, token=viewer).expect(403)
    bastide.api("PATCH", path, {"password_length": 12}, token=stranger).expect(401)
    bastide.api("GET", path, token=stranger).expect(401)
    bastide.api("PATCH", "/policies", {"password_length": 12}, token=manager).expect(403)
    bastide.api("PATCH", "/policies", {"password_length": 24}).expect(200)  # the system's is now the tighter one
    assert policy(bastide, "password_length", path)["value"] == 24
    bastide.api("PATCH", "/policies", {"password_length": None}).expect(200)
    assert policy(bastide, "password_length", path)["value"] == 20


def test_policy_of_passwords_binds(bastide, people):
    tenant, name = people.tenant(), people.account()
    people.join(name, tenant, "viewer")
    bastide.api("PATCH", f"/policies/{tenant}", {"password_length": 30, "password_words": ["zorblax"]}).expect(200)

    def change(password):
        return bastide.api("POST", "/user/password", {"password": password, "current_password": PASSWORD}, user=(name, PASSWORD))

    assert "30" in change("only twenty-two of them").expect(400).json["message"]
    change("a long one that has ZORBLAX in it").expect(400)
    change("a long one that has none of it in it").expect(204)


def test_policy_of_lock_out_binds(breakable, unique):
    name = unique("person")
    breakable.api("PUT", "/users", {"username": name, "password": PASSWORD}).expect(201)
    breakable.api("PATCH", "/policies", {"sign_in_failures": 3}).expect(200)
    for _ in range(3):
        breakable.api("GET", "/user", user=(name, "wrong " + PASSWORD)).expect(401)
    assert breakable.api("GET", f"/users/{name}").json["is_locked"]
    breakable.api("PATCH", "/policies", {"sign_in_failures": None}).expect(200)


def test_policy_of_sessions_binds(bastide, people, browser):
    tenant, name, one = people.tenant(), people.account(), browser()
    people.join(name, tenant, "viewer")
    bastide.api("PATCH", f"/policies/{tenant}", {"session_idle": 61, "session_life": 301}).expect(200)
    made = one.sign_in(name).expect(201).json
    assert made["idle_seconds"] == 61
    assert made["expires_at"] < time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 310))


def test_policies_outlive_the_manager(breakable):
    breakable.api("PATCH", "/policies", {"session_idle": 777}).expect(200)
    breakable.restart("manager")
    assert policy(breakable, "session_idle")["value"] == 777
    breakable.api("PATCH", "/policies", {"session_idle": None}).expect(200)


def test_policy_of_second_factors_binds(bastide, people):
    """Who must have one and has none can do nothing but set it up; a tenant's rule binds within the tenant."""
    tenant, name = people.tenant(), people.account()
    people.join(name, tenant, "manager")
    viewer, token = people.make("viewer", tenant), people.token(name, tenant=tenant)
    bastide.api("GET", "/clusters", token=token).expect(200)
    bastide.api("PATCH", f"/policies/{tenant}", {"second_factor_roles": ["manager"]}, token=token).expect(200)
    answer = bastide.api("GET", "/clusters", token=token).expect(403)
    assert "second factor" in answer.json["message"] and "manager" in answer.json["message"]
    bastide.api("PATCH", f"/policies/{tenant}", {"second_factor_roles": []}, token=token).expect(403)
    bastide.api("GET", "/clusters", token=viewer).expect(200)
    bastide.api("GET", "/user", token=token).expect(200)
    _, codes = enrol(bastide, name)
    bastide.api("GET", "/clusters", token=token).expect(403)  # the token was made before
    new = bastide.api("POST", "/tokens", {"tenant": tenant}, user=(name, PASSWORD), headers={"Second-Factor": codes[0]})
    bastide.api("GET", "/clusters", token=new.expect(201).json["value"]).expect(200)


# Scopes --------------------------------------------------------------------------------------------------------------


def test_s11_scope_of_permissions(bastide, people):
    """A token does what its scope names and its owner may: the smaller of the two."""
    name = people.account()
    people.join(name, DEFAULT_TENANT, "viewer")
    made = bastide.api("POST", "/tokens", {"tenant": DEFAULT_TENANT, "permissions": ["cluster_list", "cluster_create"]},
                       user=(name, PASSWORD)).expect(201).json
    token = made["value"]
    assert sorted(made["scope"]["permissions"]) == ["cluster_create", "cluster_list"]
    bastide.api("GET", "/clusters", token=token).expect(200)
    for method, path in (("GET", "/nodes"), ("GET", "/user"), ("POST", "/tokens"), ("GET", "/events/stream")):
        bastide.api(method, path, {} if method == "POST" else None, token=token).expect(403)
    bastide.api("POST", "/clusters", {"name": "x"}, token=token).expect(403)  # the owner is a viewer
    listed = bastide.api("GET", "/tokens", user=(name, PASSWORD)).items[0]
    assert sorted(listed["scope"]["permissions"]) == ["cluster_create", "cluster_list"]
    admin = bastide.api("POST", "/tokens", {"permissions": ["user_list"]}).expect(201).json["value"]
    bastide.api("GET", "/users", token=admin).expect(200)
    bastide.api("PUT", "/users", {"username": "nobody-new", "password": PASSWORD}, token=admin).expect(403)


def test_s11_scope_of_tenants(bastide, people):
    one, two, name = people.tenant(), people.tenant(), people.account()
    for tenant in (one, two):
        people.join(name, tenant, "viewer")
    token = bastide.api("POST", "/tokens", {"tenants": [one]}, user=(name, PASSWORD)).expect(201).json["value"]
    bastide.api("GET", "/clusters", token=token, tenant=one).expect(200)
    bastide.api("GET", "/clusters", token=token, tenant=two).expect(401)
    bastide.api("GET", "/user", token=token).expect(200)
    admin = bastide.api("POST", "/tokens", {"tenants": [one]}).expect(201).json["value"]
    bastide.api("GET", "/clusters", token=admin, tenant=one).expect(200)
    bastide.api("GET", "/users", token=admin).expect(403)
    stream = bastide.connect()
    stream.request("GET", "/api/v3.1/events/stream", headers={"Authentication-Token": token, "Tenant": two})
    assert stream.getresponse().status == 401
    stream.close()


def test_s11_limited_token_makes_no_wider_one(bastide, people):
    tenant, name = people.tenant(), people.account()
    people.join(name, tenant, "viewer")
    scope = {"permissions": ["create_token", "cluster_list"], "tenants": [tenant]}
    token = bastide.api("POST", "/tokens", scope, user=(name, PASSWORD)).expect(201).json["value"]
    assert bastide.api("POST", "/tokens", {"permissions": ["node_list"]}, token=token).expect(403).field == "permissions"
    assert bastide.api("POST", "/tokens", {"tenants": []}, token=token).expect(201).json["scope"]["tenants"] == []
    same = bastide.api("POST", "/tokens", {}, token=token).expect(201).json["scope"]
    assert (sorted(same["permissions"]), same["tenants"]) == (sorted(scope["permissions"]), [tenant])


@pytest.mark.parametrize("body, field", [
    ({"permissions": ["no_such"]}, "permissions"), ({"permissions": ["open"]}, "permissions"),
    ({"permissions": "cluster_list"}, "permissions"), ({"permissions": [1]}, "permissions"),
    ({"tenants": ["a b"]}, "tenants"), ({"tenant": "default_tenant", "tenants": []}, "tenant")])
def test_scopes_that_cannot_be(bastide, body, field):
    assert bastide.api("POST", "/tokens", body).expect(400).field.startswith(field)


# Rates ---------------------------------------------------------------------------------------------------------------


def statuses(bastide, count, **more):
    return [bastide.api("GET", "/tenants", **more).status for _ in range(count)]


@pytest.mark.parametrize("policy_name", ["rate_token", "rate_account", "rate_source"])
def test_sv24_rates(breakable, unique, policy_name):
    """Too many of a second get 429 and when to come back; others are not concerned, and it passes."""
    name = unique("person")
    breakable.api("PUT", "/users", {"username": name, "password": PASSWORD}).expect(201)
    token = breakable.api("POST", "/tokens", {}, user=(name, PASSWORD)).expect(201).json["value"]
    breakable.api("PATCH", "/policies", {policy_name: 2}).expect(200)
    try:
        answers = [breakable.api("GET", "/tenants", token=token) for _ in range(12)]
        late = [answer for answer in answers if answer.status != 200]
        assert late and all(answer.status == 429 and int(answer.headers["Retry-After"]) >= 1 for answer in late)
        wait_until(lambda: breakable.api("GET", "/tenants", token=token).status == 200, 10, "the next second")
    finally:
        wait_until(lambda: breakable.api("PATCH", "/policies", {policy_name: None}).status == 200, 10, "a free second")
    assert set(statuses(breakable, 12, token=token)) == {200}


def test_sv24_rate_of_a_tenant(bastide, people):
    one, two = people.tenant(), people.tenant()
    of_one, of_two, stranger = people.make("viewer", one), people.make("viewer", two), people.make()
    bastide.api("PATCH", f"/policies/{one}", {"rate_tenant": 2}).expect(200)
    answers = [bastide.api("GET", "/clusters", token=of_one).status for _ in range(12)]
    assert set(answers) == {200, 429}
    assert {bastide.api("GET", "/clusters", token=of_two).status for _ in range(12)} == {200}
    assert {bastide.api("GET", "/clusters", token=stranger, tenant=one).status for _ in range(12)} == {401}
