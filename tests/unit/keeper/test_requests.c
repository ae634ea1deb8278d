/* SPDX-License-Identifier: Apache-2.0 */
/* Every request through the real program, and what it refuses (decisions 1, 3, 4; requirements SE2, SE5, PK1,
 * PK5, PK9). */

#include "crypto/ssh.h"
#include "fixture.h"

static Secret *secret_of(const char *text)
{
    Secret *secret = secret_new(text, strlen(text));

    assert_non_null(secret);
    return secret;
}

static void assert_secret(const Secret *secret, const char *text)
{
    assert_non_null(secret);
    assert_int_equal(secret_size(secret), strlen(text));
    assert_memory_equal(secret_bytes(secret), text, strlen(text));
}

static int set_up(void **state)
{
    *state = site_open();
    return 0;
}

static int tear_down(void **state)
{
    Site *site = *state;

    site_free(&site);
    return 0;
}

static void test_status_and_public(void **state)
{
    _cleanup_keeper_client_ KeeperClient *root = client_as(*state, 0),
                                         *manager = client_as(*state, MANAGER_UID);
    _cleanup_(keeper_public_done) KeeperPublic mine = {0}, theirs = {0};
    KeeperStatus status;

    CHECK(keeper_client_status(manager, &status, &error));
    assert_int_equal(status.state, KEEPER_STATE_OPEN);
    assert_int_equal(status.generation, 1);
    assert_string_equal(status.version, BASTIDE_VERSION);
    CHECK(keeper_client_public(root, &mine, &error));
    CHECK(keeper_client_public(manager, &theirs, &error));
    assert_string_equal(mine.ca_chain, theirs.ca_chain);
    assert_int_equal(chain_count(mine.ca_chain, strlen(mine.ca_chain)), 1);
    assert_true(string_starts_with(mine.ssh_user_ca, "ssh-ed25519 "));
    assert_string_not_equal(mine.ssh_user_ca, mine.ssh_host_ca);
    assert_memory_equal(mine.signing_key, theirs.signing_key, SIGN_PUBLIC_SIZE);
}

static void test_values(void **state)
{
    _cleanup_keeper_client_ KeeperClient *manager = client_as(*state, MANAGER_UID);
    _cleanup_secret_ Secret *plain = secret_of("s3cret-canary"), *empty = secret_of(""), *opened = NULL,
                            *nothing = NULL;
    _cleanup_buffer_ Buffer self = BUFFER_INIT, again = BUFFER_INIT, of_nothing = BUFFER_INIT;
    SealedHeader header;

    CHECK(keeper_client_seal_value(manager, SEALED_SELF, "acme", "settings/1/database/1", plain, &self,
                                   &error));
    CHECK(keeper_client_seal_value(manager, SEALED_SELF, "acme", "settings/1/database/1", plain, &again,
                                   &error));
    assert_int_equal(self.size, SEALED_OVERHEAD + secret_size(plain));
    assert_memory_not_equal(self.data, again.data, self.size);
    assert_null(memmem(self.data, self.size, "canary", 6));
    assert_int_equal(sealed_value_parse(self.data, self.size, &header), 0);
    assert_int_equal(header.sealed_class, SEALED_SELF);
    assert_int_equal(header.generation, 1);
    CHECK(keeper_client_open_value(manager, "acme", "settings/1/database/1", self.data, self.size, &opened,
                                   &error));
    assert_secret(opened, "s3cret-canary");
    CHECK(keeper_client_seal_value(manager, SEALED_USER, "acme", "x", empty, &of_nothing, &error));
    CHECK(keeper_client_open_value(manager, "acme", "x", of_nothing.data, of_nothing.size, &nothing, &error));
    assert_int_equal(secret_size(nothing), 0);
}

static void test_values_that_do_not_open(void **state)
{
    _cleanup_keeper_client_ KeeperClient *manager = client_as(*state, MANAGER_UID);
    _cleanup_secret_ Secret *plain = secret_of("value"), *other_plain = secret_of("other");
    _cleanup_buffer_ Buffer sealed = BUFFER_INIT, other = BUFFER_INIT;
    Secret *opened = NULL;

    CHECK(
        keeper_client_seal_value(manager, SEALED_USER, "acme", "secrets/1/value/1", plain, &sealed, &error));
    CHECK(keeper_client_seal_value(manager, SEALED_USER, "globex", "secrets/1/value/1", other_plain, &other,
                                   &error));
    /* moved to another place, another version, another tenant, a tenant that never sealed anything */
    REFUSED(ERROR_CRYPTO, keeper_client_open_value(manager, "acme", "secrets/2/value/1", sealed.data,
                                                   sealed.size, &opened, &error));
    REFUSED(ERROR_CRYPTO, keeper_client_open_value(manager, "acme", "secrets/1/value/2", sealed.data,
                                                   sealed.size, &opened, &error));
    REFUSED(ERROR_CRYPTO, keeper_client_open_value(manager, "globex", "secrets/1/value/1", sealed.data,
                                                   sealed.size, &opened, &error));
    REFUSED(ERROR_CRYPTO, keeper_client_open_value(manager, "nobody", "secrets/1/value/1", sealed.data,
                                                   sealed.size, &opened, &error));
    /* every byte changed: the header too, so that a class or a generation cannot be exchanged */
    for (size_t i = 0; i < sealed.size; i++) {
        Error error = ERROR_INIT;

        sealed.data[i] ^= 1;
        assert_true(keeper_client_open_value(manager, "acme", "secrets/1/value/1", sealed.data, sealed.size,
                                             &opened, &error) < 0);
        sealed.data[i] ^= 1;
    }
    sealed.data[1] = SEALED_SELF;
    REFUSED(ERROR_CRYPTO, keeper_client_open_value(manager, "acme", "secrets/1/value/1", sealed.data,
                                                   sealed.size, &opened, &error));
    sealed.data[1] = SEALED_USER;
    REFUSED(ERROR_BAD_REQUEST,
            keeper_client_open_value(manager, "acme", "secrets/1/value/1", sealed.data, 20, &opened, &error));
    REFUSED(ERROR_BAD_REQUEST,
            keeper_client_open_value(manager, "acme", "", sealed.data, sealed.size, &opened, &error));
    REFUSED(ERROR_BAD_REQUEST,
            keeper_client_open_value(manager, "", "x", sealed.data, sealed.size, &opened, &error));
    assert_null(opened);
}

typedef struct Provisioner {
    char id[ID_SIZE], *chain, serial[SERIAL_HEX_SIZE];
    PrivateKey *key;
    Secret *envelope_key;
    uint8_t envelope_public[ENVELOPE_KEY_SIZE];
    uint8_t *spki;
    size_t spki_size;
} Provisioner;

static void provisioner_done(Provisioner *provisioner)
{
    free(provisioner->chain);
    free(provisioner->spki);
    (void)private_key_free(provisioner->key);
    (void)secret_free(provisioner->envelope_key);
}
#define _cleanup_provisioner_ _cleanup_(provisioner_done)

static void make_provisioner(Provisioner *provisioner)
{
    id_generate(&system_random, provisioner->id);
    assert_int_equal(private_key_generate(KEY_P256, &provisioner->key), 0);
    assert_int_equal(private_key_public_der(provisioner->key, &provisioner->spki, &provisioner->spki_size),
                     0);
    assert_int_equal(envelope_generate_key(&provisioner->envelope_key, provisioner->envelope_public), 0);
}

static int enrol(KeeperClient *client, Provisioner *provisioner, Error *error)
{
    return keeper_client_enrol_provisioner(client, provisioner->id, provisioner->spki, provisioner->spki_size,
                                           provisioner->envelope_public, &provisioner->chain,
                                           provisioner->serial, error);
}

/* Decision 3: a value for a task reaches the provisioner through the manager, and the manager cannot read it.
 */
static void test_task_values(void **state)
{
    _cleanup_keeper_client_ KeeperClient *manager = client_as(*state, MANAGER_UID);
    _cleanup_provisioner_ Provisioner one = {0}, other = {0};
    _cleanup_secret_ Secret *plain = secret_of("cloud-password"), *received = NULL;
    _cleanup_buffer_ Buffer sealed = BUFFER_INIT, envelope = BUFFER_INIT, user = BUFFER_INIT,
                            self = BUFFER_INIT;
    Secret *opened = NULL;

    make_provisioner(&one);
    make_provisioner(&other);
    CHECK(enrol(manager, &one, &error));
    CHECK(keeper_client_seal_value(manager, SEALED_TASK, "acme", "providers/1/password/1", plain, &sealed,
                                   &error));
    REFUSED(ERROR_FORBIDDEN, keeper_client_open_value(manager, "acme", "providers/1/password/1", sealed.data,
                                                      sealed.size, &opened, &error));
    CHECK(keeper_client_reseal_value(manager, "acme", "providers/1/password/1", sealed.data, sealed.size,
                                     one.id, &envelope, &error));
    assert_null(memmem(envelope.data, envelope.size, "cloud-password", 14));
    assert_int_equal(
        envelope_open(one.envelope_key, "providers/1/password/1", envelope.data, envelope.size, &received),
        0);
    assert_secret(received, "cloud-password");
    assert_int_equal(
        envelope_open(other.envelope_key, "providers/1/password/1", envelope.data, envelope.size, &opened),
        -EBADMSG);
    assert_int_equal(
        envelope_open(one.envelope_key, "providers/2/password/1", envelope.data, envelope.size, &opened),
        -EBADMSG);
    /* not for a stranger, not with another context or tenant, not of another class */
    REFUSED(ERROR_NOT_FOUND,
            keeper_client_reseal_value(manager, "acme", "providers/1/password/1", sealed.data, sealed.size,
                                       other.id, &envelope, &error));
    REFUSED(ERROR_BAD_FIELD,
            keeper_client_reseal_value(manager, "acme", "providers/1/password/1", sealed.data, sealed.size,
                                       "../state", &envelope, &error));
    REFUSED(ERROR_CRYPTO, keeper_client_reseal_value(manager, "acme", "providers/2/password/1", sealed.data,
                                                     sealed.size, one.id, &envelope, &error));
    REFUSED(ERROR_CRYPTO, keeper_client_reseal_value(manager, "globex", "providers/1/password/1", sealed.data,
                                                     sealed.size, one.id, &envelope, &error));
    CHECK(keeper_client_seal_value(manager, SEALED_SELF, "acme", "x", plain, &self, &error));
    REFUSED(ERROR_FORBIDDEN, keeper_client_reseal_value(manager, "acme", "x", self.data, self.size, one.id,
                                                        &envelope, &error));
    /* A value of people may be used by a task as well. */
    CHECK(keeper_client_seal_value(manager, SEALED_USER, "acme", "x", plain, &user, &error));
    buffer_clear(&envelope);
    CHECK(keeper_client_reseal_value(manager, "acme", "x", user.data, user.size, one.id, &envelope, &error));
    received = secret_free(received);
    assert_int_equal(envelope_open(one.envelope_key, "x", envelope.data, envelope.size, &received), 0);
    assert_secret(received, "cloud-password");
    /* removed: nothing more for it */
    CHECK(keeper_client_remove_provisioner(manager, one.id, &error));
    REFUSED(ERROR_NOT_FOUND, keeper_client_reseal_value(manager, "acme", "providers/1/password/1",
                                                        sealed.data, sealed.size, one.id, &envelope, &error));
    assert_null(opened);
}

static void test_generated_secrets(void **state)
{
    _cleanup_keeper_client_ KeeperClient *manager = client_as(*state, MANAGER_UID);
    Buffer sealed = BUFFER_INIT;

    for (int alphabet = 0; alphabet < _SECRET_ALPHABET_MAX; alphabet++) {
        _cleanup_secret_ Secret *one = NULL, *two = NULL;
        _cleanup_buffer_ Buffer first = BUFFER_INIT, second = BUFFER_INIT;

        CHECK(keeper_client_generate_secret(manager, SEALED_USER, "acme", "g", 40, (SecretAlphabet)alphabet,
                                            &first, &error));
        CHECK(keeper_client_generate_secret(manager, SEALED_USER, "acme", "g", 40, (SecretAlphabet)alphabet,
                                            &second, &error));
        CHECK(keeper_client_open_value(manager, "acme", "g", first.data, first.size, &one, &error));
        CHECK(keeper_client_open_value(manager, "acme", "g", second.data, second.size, &two, &error));
        assert_int_equal(secret_size(one), 40);
        assert_int_equal(
            strspn((const char *)secret_bytes(one), secret_alphabet_characters((SecretAlphabet)alphabet)),
            40);
        assert_false(secret_equal(one, two));
    }
    REFUSED(ERROR_BAD_FIELD,
            keeper_client_generate_secret(manager, SEALED_TASK, "a", "g", 11, SECRET_HEX, &sealed, &error));
    REFUSED(ERROR_BAD_FIELD,
            keeper_client_generate_secret(manager, SEALED_TASK, "a", "g", 513, SECRET_HEX, &sealed, &error));
    assert_int_equal(sealed.size, 0);
}

/* --- certificates --- */

typedef struct Wish {
    const char *profile, *common_name, *dns_name, *address, *uri;
    uint32_t life;
} Wish;

static int issue(KeeperClient *client, const Provisioner *key, Wish wish, char **ret_chain, Error *error)
{
    _cleanup_string_list_ StringList names = {0}, uris = {0};
    char serial[SERIAL_HEX_SIZE];
    IpAddress address;
    KeeperCertificateRequest request = {.profile = wish.profile,
                                        .spki = key->spki,
                                        .spki_size = key->spki_size,
                                        .common_name = wish.common_name,
                                        .dns_names = &names,
                                        .uris = &uris,
                                        .ip_addresses = &address,
                                        .life_seconds = wish.life};

    if (wish.dns_name)
        string_list_append(&names, wish.dns_name);
    if (wish.uri)
        string_list_append(&uris, wish.uri);
    if (wish.address) {
        assert_int_equal(ip_address_parse(wish.address, &address), 0);
        request.ip_address_count = 1;
    }
    return keeper_client_issue_certificate(client, &request, ret_chain, serial, error);
}

static void write_chain(const Site *site, const char *ca, const char *chain)
{
    size_t length = strlen(chain);
    _cleanup_free_ char *leaf = chain_nth(chain, length, 0), *rest = chain_nth(chain, length, 1);

    write_file(site->directory, "ca.pem", ca);
    write_file(site->directory, "leaf.pem", leaf);
    write_file(site->directory, "middle.pem", rest);
}

static int openssl_verify(const Site *site, const char *purpose)
{
    _cleanup_free_ char *ca = path_join(site->directory, "ca.pem"),
                        *leaf = path_join(site->directory, "leaf.pem"),
                        *middle = path_join(site->directory, "middle.pem");

    return RUN(NULL, "openssl", "verify", "-x509_strict", "-CAfile", ca, "-untrusted", middle, "-purpose",
               purpose, leaf);
}

/* PK5: a certificate of one domain is refused in another; here and by the openssl program. */
static void test_profiles(void **state)
{
    static const struct {
        Wish wish;
        bool is_server, is_client;
        const char *marker;
    } rows[] = {
        {{"internal-server", "manager.example", "manager.example", "192.0.2.1", NULL, 0},
         true,
         false,
         "bastide:service:internal"},
        {{"external-server", "console.example", "*.console.example", NULL, NULL, 0}, true, false, NULL},
        {{"external-server", "console.example", "console.example", NULL, NULL, 0},
         true,
         false,
         "bastide:service:external"},
        {{"manager", "manager", "m1.example", NULL, NULL, 0}, true, true, "bastide:service:manager"},
        {{"cluster-server", "edge", "shop.example", NULL, NULL, 3600}, true, false, NULL},
        {{"cluster-server", "edge", "*.shop.example", "10.1.2.3", NULL, 3600}, true, false, NULL},
    };
    Site *site = *state;
    _cleanup_keeper_client_ KeeperClient *manager = client_as(site, MANAGER_UID);
    _cleanup_(keeper_public_done) KeeperPublic public = {0};
    _cleanup_provisioner_ Provisioner key = {0};

    make_provisioner(&key);
    CHECK(keeper_client_public(manager, &public, &error));
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_certificate_info_ CertificateInfo info = {0};
        _cleanup_certificate_ Certificate *leaf = NULL;
        _cleanup_free_ char *chain = NULL;

        if (i == 1) { /* the common name looks like a host that is not among the names */
            REFUSED(ERROR_BAD_FIELD, issue(manager, &key, rows[i].wish, &chain, &error));
            continue;
        }
        CHECK(issue(manager, &key, rows[i].wish, &chain, &error));
        assert_int_equal(certificate_verify(chain, public.ca_chain, CERTIFICATE_SERVER, NULL, 0, NULL) >= 0,
                         rows[i].is_server);
        assert_int_equal(certificate_verify(chain, public.ca_chain, CERTIFICATE_CLIENT, NULL, 0, NULL) >= 0,
                         rows[i].is_client);
        write_chain(site, public.ca_chain, chain);
        assert_int_equal(openssl_verify(site, "sslserver") == 0, rows[i].is_server);
        assert_int_equal(openssl_verify(site, "sslclient") == 0, rows[i].is_client);
        assert_int_equal(certificate_from_pem(chain, strlen(chain), &leaf, NULL), 0);
        certificate_info(leaf, &info);
        assert_true(string_equal(certificate_info_uri_value(&info, "bastide:"),
                                 rows[i].marker ? rows[i].marker + 8 : NULL));
    }
}

static void test_certificates_that_are_refused(void **state)
{
    static const Wish bad[] = {
        {"no-such-profile", "a", "a.example", NULL, NULL, 0},
        {"internal-server", "a", NULL, NULL, NULL, 0},
        {"internal-server", "a", "*.a.example", NULL, NULL, 0},
        {"internal-server", "a", "a.example", NULL, "bastide:provisioner:aaaaaaaaaaaaaaaaaaaa", 0},
        {"internal-server", "", "a.example", NULL, NULL, 0},
        {"internal-server", "a", "a.example", NULL, NULL, 400 * 86400},
        {"internal-server", "a", "a.example", NULL, NULL, 59},
        {"internal-server", "192.0.2.9", "a.example", NULL, NULL, 0},
        {"cluster-server", "a", "*.example", NULL, NULL, 0},
        {"cluster-server", "a", "a..example", NULL, NULL, 0},
        {"cluster-server", "a", "a.*.example", NULL, NULL, 0},
        {"cluster-server", "a", "A b", NULL, NULL, 0},
        {"provisioner", "a", NULL, NULL, NULL, 0},
        {"provisioner", "a", NULL, NULL, "bastide:provisioner:x", 0},
        {"provisioner", "a", NULL, NULL, "https://example", 0},
    };
    _cleanup_keeper_client_ KeeperClient *manager = client_as(*state, MANAGER_UID);
    _cleanup_provisioner_ Provisioner key = {0};
    char *chain = NULL;

    make_provisioner(&key);
    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        REFUSED(ERROR_BAD_FIELD, issue(manager, &key, bad[i], &chain, &error));
    key.spki[key.spki_size - 1] ^= 1; /* no longer a point of the curve */
    REFUSED(ERROR_BAD_FIELD,
            issue(manager, &key, (Wish){"cluster-server", "a", "a.example", NULL, NULL, 0}, &chain, &error));
    assert_null(chain);
}

/* Who trusts the CA must not take a cluster's certificate for the manager. */
static void test_reserved_names(void **state)
{
    Site *site = *state;
    KeeperClient *manager = client_as(site, MANAGER_UID);
    _cleanup_provisioner_ Provisioner key = {0};
    _cleanup_free_ char *own = NULL, *other = NULL;
    char *chain = NULL;

    make_provisioner(&key);
    CHECK(issue(manager, &key, (Wish){"internal-server", "b", "bastide.example", "192.0.2.7", NULL, 0}, &own,
                &error));
    for (int round = 0; round < 2; round++) { /* kept over a restart */
        REFUSED(ERROR_FORBIDDEN,
                issue(manager, &key, (Wish){"cluster-server", "x", "bastide.example", NULL, NULL, 0}, &chain,
                      &error));
        REFUSED(
            ERROR_FORBIDDEN,
            issue(manager, &key, (Wish){"cluster-server", "x", NULL, "192.0.2.7", NULL, 0}, &chain, &error));
        if (round == 0) {
            (void)keeper_client_free(manager);
            (void)site_stop(site, SIGTERM);
            site_start(site);
            manager = client_as(site, MANAGER_UID);
        }
    }
    CHECK(issue(manager, &key, (Wish){"cluster-server", "x", "shop.example.net", NULL, NULL, 0}, &other,
                &error));
    (void)keeper_client_free(manager);
    assert_null(chain);
}

static void test_provisioner_certificates(void **state)
{
    Site *site = *state;
    _cleanup_keeper_client_ KeeperClient *manager = client_as(site, MANAGER_UID);
    _cleanup_(keeper_public_done) KeeperPublic public = {0};
    _cleanup_provisioner_ Provisioner one = {0}, again = {0}, stranger = {0}, weak = {0};
    _cleanup_certificate_info_ CertificateInfo info = {0};
    _cleanup_certificate_ Certificate *leaf = NULL;
    _cleanup_free_ char *renewed = NULL, *uri = NULL, *strangers_uri = NULL;
    char *chain = NULL;

    make_provisioner(&one);
    make_provisioner(&again);
    make_provisioner(&stranger);
    make_provisioner(&weak);
    CHECK(enrol(manager, &one, &error));
    CHECK(keeper_client_public(manager, &public, &error));
    assert_int_equal(certificate_verify(one.chain, public.ca_chain, CERTIFICATE_CLIENT, NULL, 0, NULL), 0);
    assert_true(certificate_verify(one.chain, public.ca_chain, CERTIFICATE_SERVER, NULL, 0, NULL) < 0);
    write_chain(site, public.ca_chain, one.chain);
    assert_int_equal(openssl_verify(site, "sslclient"), 0);
    assert_int_equal(certificate_from_pem(one.chain, strlen(one.chain), &leaf, NULL), 0);
    certificate_info(leaf, &info);
    assert_string_equal(certificate_info_uri_value(&info, "bastide:provisioner:"), one.id);
    assert_string_equal(info.serial, one.serial);
    /* renewal, for those who are enrolled */
    uri = string_format("bastide:provisioner:%s", one.id);
    strangers_uri = string_format("bastide:provisioner:%s", stranger.id);
    CHECK(issue(manager, &again, (Wish){"provisioner", one.id, NULL, NULL, uri, 0}, &renewed, &error));
    assert_int_equal(certificate_verify(renewed, public.ca_chain, CERTIFICATE_CLIENT, NULL, 0, NULL), 0);
    REFUSED(ERROR_NOT_FOUND,
            issue(manager, &again, (Wish){"provisioner", stranger.id, NULL, NULL, strangers_uri, 0}, &chain,
                  &error));
    REFUSED(ERROR_BAD_FIELD,
            issue(manager, &again, (Wish){"provisioner", stranger.id, NULL, NULL, uri, 0}, &chain, &error));
    /* a second enrolment would divert the secrets of the first */
    memcpy(again.id, one.id, ID_SIZE);
    REFUSED(ERROR_CONFLICT, enrol(manager, &again, &error));
    memset(weak.envelope_public, 0, ENVELOPE_KEY_SIZE);
    REFUSED(ERROR_INSECURE, enrol(manager, &weak, &error));
    assert_null(chain);
}

/* --- SSH --- */

static void test_ssh_certificates(void **state)
{
    Site *site = *state;
    _cleanup_keeper_client_ KeeperClient *manager = client_as(site, MANAGER_UID);
    _cleanup_free_ char *path = path_join(site->directory, "k-cert.pub"), *user = NULL, *person = NULL,
                        *host = NULL;
    _cleanup_buffer_ Buffer blob = BUFFER_INIT, output = BUFFER_INIT, host_output = BUFFER_INIT;
    _cleanup_string_list_ StringList principals = {0}, people = {0};
    uint8_t public_key[SIGN_PUBLIC_SIZE];
    _cleanup_secret_ Secret *seed = NULL;
    KeeperSshRequest request;
    char *line = NULL;

    assert_int_equal(sign_generate(&seed, public_key), 0);
    assert_true(ssh_key_from_ed25519(public_key, &blob) >= 0);
    string_list_append(&principals, "provisioner:web");
    string_list_append(&people, "person:web");
    request = (KeeperSshRequest){.key = blob.data,
                                 .key_size = blob.size,
                                 .key_id = "p1",
                                 .principals = &principals,
                                 .life_seconds = 600,
                                 .force_command = "bastide-runner serve"};
    CHECK(keeper_client_issue_ssh_user(manager, &request, &user, &error));
    write_file(site->directory, "k-cert.pub", user);
    assert_int_equal(RUN(&output, "ssh-keygen", "-L", "-f", path), 0);
    assert_non_null(strstr(buffer_string(&output), "force-command bastide-runner serve"));
    assert_null(strstr(buffer_string(&output), "permit-"));
    /* what a provisioner's certificate must not be */
    request.force_command = NULL;
    REFUSED(ERROR_FORBIDDEN, keeper_client_issue_ssh_user(manager, &request, &line, &error));
    request.force_command = "bastide-runner serve";
    request.is_pty_allowed = true;
    REFUSED(ERROR_FORBIDDEN, keeper_client_issue_ssh_user(manager, &request, &line, &error));
    request = (KeeperSshRequest){.key = blob.data,
                                 .key_size = blob.size,
                                 .key_id = "p1",
                                 .principals = &people,
                                 .life_seconds = 600,
                                 .is_pty_allowed = true,
                                 .source_address = "10.0.0.0/8,fd00::1"};
    CHECK(keeper_client_issue_ssh_user(manager, &request, &person, &error));
    request.source_address = "10.0.0.0/33";
    REFUSED(ERROR_BAD_FIELD, keeper_client_issue_ssh_user(manager, &request, &line, &error));
    request.source_address = "";
    REFUSED(ERROR_BAD_FIELD, keeper_client_issue_ssh_user(manager, &request, &line, &error));
    request.source_address = NULL;
    request.life_seconds = 86401;
    REFUSED(ERROR_BAD_FIELD, keeper_client_issue_ssh_user(manager, &request, &line, &error));
    request.life_seconds = 600;
    request.key_size--;
    REFUSED(ERROR_BAD_FIELD, keeper_client_issue_ssh_user(manager, &request, &line, &error));
    request.key_size++;
    request.principals = NULL;
    REFUSED(ERROR_BAD_FIELD, keeper_client_issue_ssh_user(manager, &request, &line, &error));
    request.principals = &people;
    request.is_pty_allowed = false;
    CHECK(keeper_client_issue_ssh_host(manager, &request, &host, &error));
    write_file(site->directory, "k-cert.pub", host);
    assert_int_equal(RUN(&host_output, "ssh-keygen", "-L", "-f", path), 0);
    assert_non_null(strstr(buffer_string(&host_output), "host certificate"));
    assert_null(line);
}

/* --- signatures --- */

static void test_audit_heads(void **state)
{
    Site *site = *state;
    KeeperClient *manager = client_as(site, MANAGER_UID);
    _cleanup_(keeper_public_done) KeeperPublic public = {0};
    uint8_t hash[HASH_SIZE], other[HASH_SIZE], signature[SIGN_SIGNATURE_SIZE];

    hash_sha256("row 10", 6, hash);
    hash_sha256("row 11", 6, other);
    CHECK(keeper_client_public(manager, &public, &error));
    CHECK(keeper_client_sign_audit_head(manager, "0", 10, 1000, hash, NULL, signature, &error));
    assert_int_equal(audit_head_verify(public.signing_key, "0", 1, 10, 1000, hash, signature), 0);
    assert_int_equal(audit_head_verify(public.signing_key, "0", 1, 11, 1000, hash, signature), -EKEYREJECTED);
    assert_int_equal(audit_head_verify(public.signing_key, "1", 1, 10, 1000, hash, signature), -EKEYREJECTED);
    assert_int_equal(audit_head_verify(public.signing_key, "0", 1, 10, 1000, other, signature),
                     -EKEYREJECTED);
    for (int round = 0; round < 2; round++) { /* the last head is kept over a restart */
        REFUSED(ERROR_STALE,
                keeper_client_sign_audit_head(manager, "0", 9, 1000, other, NULL, signature, &error));
        REFUSED(ERROR_STALE,
                keeper_client_sign_audit_head(manager, "0", 10, 1000, other, NULL, signature, &error));
        CHECK(keeper_client_sign_audit_head(manager, "0", 10, 2000, hash, NULL, signature, &error));
        if (round == 0) {
            (void)keeper_client_free(manager);
            (void)site_stop(site, SIGKILL);
            site_start(site);
            manager = client_as(site, MANAGER_UID);
        }
    }
    CHECK(keeper_client_sign_audit_head(manager, "1", 1, 1000, other, NULL, signature, &error));
    CHECK(keeper_client_sign_audit_head(manager, "0", 11, 1000, other, NULL, signature, &error));
    REFUSED(ERROR_BAD_FIELD,
            keeper_client_sign_audit_head(manager, "../0", 11, 1000, other, NULL, signature, &error));
    (void)keeper_client_free(manager);
}

/* Root alone begins an epoch; then sequences may begin anew, and a signature says which epoch it is of. */
static void test_audit_epochs_sv6(void **state)
{
    Site *site = *state;
    KeeperClient *manager = client_as(site, MANAGER_UID), *root = client_as(site, 0);
    _cleanup_(keeper_public_done) KeeperPublic public = {0};
    uint8_t hash[HASH_SIZE], last[HASH_SIZE], signature[SIGN_SIGNATURE_SIZE];
    uint64_t epoch = 0, sequence = 0;

    hash_sha256("row", 3, hash);
    CHECK(keeper_client_public(manager, &public, &error));
    CHECK(keeper_client_sign_audit_head(manager, "0", 10, 1000, hash, &epoch, signature, &error));
    assert_int_equal(epoch, 1);
    REFUSED(ERROR_FORBIDDEN, keeper_client_begin_audit_epoch(manager, &epoch, &error));
    REFUSED(ERROR_STALE,
            keeper_client_sign_audit_head(manager, "0", 5, 1000, hash, &epoch, signature, &error));
    CHECK(keeper_client_audit_head(manager, "0", &epoch, &sequence, last, &error));
    assert_true(epoch == 1 && sequence == 10 && memcmp(last, hash, HASH_SIZE) == 0);
    REFUSED(ERROR_BAD_FIELD, keeper_client_audit_head(manager, "../0", &epoch, &sequence, last, &error));
    CHECK(keeper_client_begin_audit_epoch(root, &epoch, &error));
    assert_int_equal(epoch, 2);
    CHECK(keeper_client_audit_head(manager, "0", &epoch, &sequence, last, &error));
    assert_true(epoch == 2 && sequence == 0);
    epoch = 0;
    CHECK(keeper_client_sign_audit_head(manager, "0", 5, 1000, hash, &epoch, signature, &error));
    assert_int_equal(epoch, 2);
    assert_int_equal(audit_head_verify(public.signing_key, "0", 2, 5, 1000, hash, signature), 0);
    assert_int_equal(audit_head_verify(public.signing_key, "0", 1, 5, 1000, hash, signature), -EKEYREJECTED);
    REFUSED(ERROR_STALE,
            keeper_client_sign_audit_head(manager, "0", 4, 1000, hash, &epoch, signature, &error));
    (void)keeper_client_free(manager);
    (void)keeper_client_free(root);
}

static void test_approved_sets(void **state)
{
    _cleanup_keeper_client_ KeeperClient *manager = client_as(*state, MANAGER_UID);
    _cleanup_(keeper_public_done) KeeperPublic public = {0};
    _cleanup_buffer_ Buffer set = BUFFER_INIT, later = BUFFER_INIT, none = BUFFER_INIT, large = BUFFER_INIT;
    _cleanup_free_ uint8_t(*many)[HASH_SIZE] = memory_new_array(KEEPER_DIGESTS_MAX, HASH_SIZE);
    uint8_t digests[3][HASH_SIZE], signature[SIGN_SIGNATURE_SIZE], unknown[HASH_SIZE];
    Usec now = clock_realtime(&system_clock), hour = 3600 * USEC_PER_SEC;
    ApprovedSet parsed;

    hash_sha256("a", 1, digests[0]);
    hash_sha256("b", 1, digests[1]);
    memcpy(digests[2], digests[0], HASH_SIZE); /* twice: the client drops it */
    hash_sha256("c", 1, unknown);
    CHECK(keeper_client_public(manager, &public, &error));
    CHECK(
        keeper_client_sign_approved_set(manager, "acme", 5, now + hour, digests, 3, &set, signature, &error));
    CHECK(
        approved_set_verify(public.signing_key, set.data, set.size, signature, "acme", now, &parsed, &error));
    assert_int_equal(parsed.count, 2);
    assert_int_equal(parsed.serial, 5);
    assert_true(approved_set_has(&parsed, digests[0]) && approved_set_has(&parsed, digests[1]));
    assert_false(approved_set_has(&parsed, unknown));
    REFUSED(ERROR_UNTRUSTED, approved_set_verify(public.signing_key, set.data, set.size, signature, "globex",
                                                 now, &parsed, &error));
    REFUSED(ERROR_STALE, approved_set_verify(public.signing_key, set.data, set.size, signature, "acme",
                                             now + 2 * hour, &parsed, &error));
    set.data[set.size - 1] ^= 1;
    REFUSED(ERROR_UNTRUSTED, approved_set_verify(public.signing_key, set.data, set.size, signature, "acme",
                                                 now, &parsed, &error));
    /* a revocation cannot be rolled back: not by a lower serial, not by another content under the same */
    REFUSED(ERROR_STALE, keeper_client_sign_approved_set(manager, "acme", 4, now + hour, digests, 2, &none,
                                                         signature, &error));
    REFUSED(ERROR_STALE, keeper_client_sign_approved_set(manager, "acme", 5, now + hour, digests, 1, &none,
                                                         signature, &error));
    CHECK(keeper_client_sign_approved_set(manager, "acme", 5, now + hour + 1, digests, 2, &later, signature,
                                          &error));
    CHECK(keeper_client_sign_approved_set(manager, "globex", 1, now + hour, digests, 0, &none, signature,
                                          &error));
    CHECK(approved_set_verify(public.signing_key, none.data, none.size, signature, "globex", now, &parsed,
                              &error));
    assert_int_equal(parsed.count, 0);
    REFUSED(ERROR_BAD_FIELD, keeper_client_sign_approved_set(manager, "acme", 6, now + 3 * hour, digests, 1,
                                                             &none, signature, &error));
    REFUSED(ERROR_BAD_FIELD, keeper_client_sign_approved_set(manager, "acme", 6, now - 1, digests, 1, &none,
                                                             signature, &error));
    random_bytes(&system_random, many, (size_t)KEEPER_DIGESTS_MAX * HASH_SIZE);
    CHECK(keeper_client_sign_approved_set(manager, "acme", 7, now + hour, many, KEEPER_DIGESTS_MAX, &large,
                                          signature, &error));
    CHECK(approved_set_verify(public.signing_key, large.data, large.size, signature, "acme", now, &parsed,
                              &error));
    assert_int_equal(parsed.count, KEEPER_DIGESTS_MAX);
    assert_true(approved_set_has(&parsed, many[77]));
}

/* --- who may ask --- */

static void test_who_may_ask(void **state)
{
    _cleanup_keeper_client_ KeeperClient *root = client_as(*state, 0),
                                         *manager = client_as(*state, MANAGER_UID),
                                         *keeper = client_as(*state, KEEPER_UID),
                                         *stranger = client_as(*state, STRANGER_UID);
    _cleanup_secret_ Secret *plain = secret_of("value");
    uint8_t hash[HASH_SIZE] = {0}, signature[SIGN_SIGNATURE_SIZE];
    Buffer sealed = BUFFER_INIT;
    KeeperStatus status;
    uint32_t count;
    bool is_left;
    char *text = NULL;

    /* The socket's mode keeps a stranger out. */
    REFUSED(ERROR_FORBIDDEN, keeper_client_rotate_master(manager, NULL, &is_left, &error));
    REFUSED(ERROR_FORBIDDEN, keeper_client_split_master(manager, 2, 3, &sealed, &error));
    REFUSED(ERROR_FORBIDDEN, keeper_client_check_shares(manager, NULL, 0, &error));
    REFUSED(ERROR_FORBIDDEN, keeper_client_retire_data_keys(root, 1, &count, &error));
    REFUSED(ERROR_FORBIDDEN, keeper_client_renew_value(root, "a", "b", "x", 1, &sealed, &error));
    REFUSED(ERROR_FORBIDDEN, keeper_client_seal(manager, &error));
    REFUSED(ERROR_FORBIDDEN, keeper_client_unseal(manager, plain, &error));
    REFUSED(ERROR_FORBIDDEN, keeper_client_initialise(manager, "x", NULL, NULL, NULL, &text, &error));
    REFUSED(ERROR_FORBIDDEN, keeper_client_import_ca(manager, "x", plain, &text, &error));
    REFUSED(ERROR_FORBIDDEN, keeper_client_seal_value(root, SEALED_SELF, "a", "b", plain, &sealed, &error));
    REFUSED(ERROR_FORBIDDEN, keeper_client_open_value(root, "a", "b", "x", 1, &(Secret *){NULL}, &error));
    REFUSED(ERROR_FORBIDDEN, keeper_client_sign_audit_head(root, "0", 1, 1, hash, NULL, signature, &error));
    REFUSED(ERROR_CONFLICT, keeper_client_initialise(root, "x", NULL, NULL, NULL, &text, &error));
    /* Its own user is no friend of the keeper either. */
    REFUSED(ERROR_FORBIDDEN, keeper_client_status(keeper, &status, &error));
    become(STRANGER_UID);
    assert_true(keeper_client_connect(stranger, NULL) < 0);
    become(0);
    assert_null(text);
    assert_int_equal(sealed.size, 0);
}

/* Even when the socket's mode is wrong, the kernel's word about the peer decides. */
static void test_stranger_with_an_open_socket(void **state)
{
    Site *site = *state;
    KeeperStatus status;

    assert_int_equal(chmod(site->socket, 0666), 0);
    for (int i = 0; i < 3; i++) {
        _cleanup_keeper_client_ KeeperClient *stranger = client_as(site, STRANGER_UID);

        REFUSED(ERROR_FORBIDDEN, keeper_client_status(stranger, &status, &error));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_status_and_public, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_values, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_values_that_do_not_open, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_task_values, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_generated_secrets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_profiles, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_certificates_that_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reserved_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_provisioner_certificates, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ssh_certificates, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_audit_heads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_audit_epochs_sv6, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_approved_sets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_may_ask, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stranger_with_an_open_socket, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
