/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the table of policies; included several times, so no include guard.
 * POLICY_ROW(symbol, name, kind, scope, direction, default, minimum, maximum, meaning)
 * kind: COUNT, SECONDS, or NAMES (default, minimum and maximum are then counts of names, the default none).
 * scope: SYSTEM = of the installation alone; TENANT = a tenant may have a tighter one.
 * direction: LOWER or HIGHER is tighter; for NAMES more names are. */
POLICY_ROW(PASSWORD_LENGTH, "password_length", COUNT, TENANT, HIGHER, 12, 8, 128,
           "characters that a password has at least")
POLICY_ROW(PASSWORD_WORDS, "password_words", NAMES, TENANT, HIGHER, 0, 0, 256,
           "words that no password contains, beside the account's name and what is known to be guessed first")
POLICY_ROW(ONE_TIME_PASSWORD_LIFE, "one_time_password_life", SECONDS, SYSTEM, LOWER, 259200, 300, 2592000,
           "until a password that somebody else has set must have been changed")
POLICY_ROW(TOKEN_LIFE, "token_life", SECONDS, TENANT, LOWER, 31536000, 60, 157680000,
           "longest life of a token; a token that is made without a date gets a month at most")
POLICY_ROW(SESSION_IDLE, "session_idle", SECONDS, TENANT, LOWER, 1800, 60, 86400,
           "until a session of the console that nobody uses ends")
POLICY_ROW(SESSION_LIFE, "session_life", SECONDS, TENANT, LOWER, 43200, 300, 2592000,
           "until a session of the console ends whatever is done with it")
POLICY_ROW(SIGN_IN_FAILURES, "sign_in_failures", COUNT, SYSTEM, LOWER, 8, 3, 100,
           "wrong passwords or codes in a row that lock an account")
POLICY_ROW(SIGN_IN_LOCK, "sign_in_lock", SECONDS, SYSTEM, HIGHER, 300, 30, 604800,
           "how long an account stays locked")
POLICY_ROW(SOURCE_FAILURES, "source_failures", COUNT, SYSTEM, LOWER, 100, 10, 100000,
           "failed sign-ins from one address that make it wait, whatever account they were for")
POLICY_ROW(SOURCE_LOCK, "source_lock", SECONDS, SYSTEM, HIGHER, 300, 10, 86400,
           "how long such an address waits, and how long failures of an address are remembered")
POLICY_ROW(SECOND_FACTOR_ROLES, "second_factor_roles", NAMES, TENANT, HIGHER, 0, 0, 64,
           "roles that do nothing without a second factor: system roles, and for a tenant its own")
POLICY_ROW(RATE_TOKEN, "rate_token", COUNT, SYSTEM, LOWER, 1000, 1, 1000000, "requests a second of one token")
POLICY_ROW(RATE_ACCOUNT, "rate_account", COUNT, SYSTEM, LOWER, 1000, 1, 1000000,
           "requests a second of one account")
POLICY_ROW(RATE_SOURCE, "rate_source", COUNT, SYSTEM, LOWER, 4000, 1, 1000000,
           "requests a second from one address")
POLICY_ROW(RATE_TENANT, "rate_tenant", COUNT, TENANT, LOWER, 2000, 1, 1000000,
           "requests a second within one tenant")
