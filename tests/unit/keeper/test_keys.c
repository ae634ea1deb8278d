/* SPDX-License-Identifier: Apache-2.0 */
/* Life of the keys (DS4, S48, SV26): renewed values, the end of old data keys, a tenant's keys destroyed,
 * another master key with kill -9 in every step, the passphrase as a credential, shares of the master key. */

#include <sys/stat.h>

#include "base/file.h"
#include "crypto/start.h"
#include "fixture.h"

enum { TENANTS = 40 };

static void seal_text(KeeperClient *manager, SealedClass sealed_class, const char *tenant, const char *text,
                      Buffer *sealed)
{
    _cleanup_secret_ Secret *plain = secret_new(text, strlen(text));

    CHECK(keeper_client_seal_value(manager, sealed_class, tenant, "table/row", plain, sealed, &error));
}

static void assert_opens(KeeperClient *manager, const char *tenant, const Buffer *sealed, const char *text)
{
    _cleanup_secret_ Secret *plain = NULL;

    CHECK(keeper_client_open_value(manager, tenant, "table/row", sealed->data, sealed->size, &plain, &error));
    assert_int_equal(secret_size(plain), strlen(text));
    assert_memory_equal(secret_bytes(plain), text, strlen(text));
}

static void assert_gone(KeeperClient *manager, const char *tenant, const Buffer *sealed)
{
    _cleanup_secret_ Secret *plain = NULL;

    REFUSED(ERROR_CRYPTO, keeper_client_open_value(manager, tenant, "table/row", sealed->data, sealed->size,
                                                   &plain, &error));
}

/* kill -9 and a new start; a client gets its identity when it connects, so the old one is of no use. */
static void restart(Site *site, KeeperClient **manager)
{
    (void)site_stop(site, SIGKILL);
    site_start(site);
    (void)keeper_client_free(*manager);
    *manager = client_as(site, MANAGER_UID);
}

static bool has_key(const Site *site, const char *tenant, unsigned generation)
{
    char hex[HASH_HEX_SIZE];
    _cleanup_free_ char *path = NULL;

    hash_sha256_hex(tenant, strlen(tenant), hex);
    path = string_format("%s/keyring/%s.%u", site->keys, hex, generation);
    return access(path, F_OK) == 0;
}

static void test_ds4_old_data_keys_end(void **state)
{
    _cleanup_site_ Site *site = site_open();
    _cleanup_keeper_client_ KeeperClient *manager = client_as(site, MANAGER_UID);
    _cleanup_buffer_ Buffer old = BUFFER_INIT, new = BUFFER_INIT, forgotten = BUFFER_INIT;
    SealedHeader header;
    KeeperStatus status;
    uint32_t generation, count;

    seal_text(manager, SEALED_TASK, "acme", "renewed", &old);
    seal_text(manager, SEALED_USER, "acme", "forgotten", &forgotten);
    CHECK(keeper_client_rotate_data_keys(manager, &generation, &error));
    assert_int_equal(generation, 2);
    CHECK(keeper_client_renew_value(manager, "acme", "table/row", old.data, old.size, &new, &error));
    assert_int_equal(sealed_value_parse(new.data, new.size, &header), 0);
    assert_int_equal(header.generation, 2);
    assert_int_equal(header.sealed_class, SEALED_TASK); /* as it was: the manager still cannot open it */
    REFUSED(ERROR_FORBIDDEN, keeper_client_open_value(manager, "acme", "table/row", new.data, new.size,
                                                      &(Secret *){NULL}, &error));
    REFUSED(ERROR_CRYPTO,
            keeper_client_renew_value(manager, "acme", "table/other", old.data, old.size, &new, &error));
    REFUSED(ERROR_BAD_FIELD, keeper_client_retire_data_keys(manager, 3, &count, &error));
    CHECK(keeper_client_retire_data_keys(manager, 2, &count, &error));
    assert_int_equal(count, 1);
    assert_false(has_key(site, "acme", 1));
    assert_true(has_key(site, "acme", 2));
    assert_gone(manager, "acme", &forgotten);
    CHECK(keeper_client_retire_data_keys(manager, 2, &count, &error)); /* again: nothing is left to do */
    assert_int_equal(count, 0);
    CHECK(keeper_client_status(manager, &status, &error));
    assert_int_equal(status.retired, 1);
    restart(site, &manager);
    CHECK(keeper_client_status(manager, &status, &error));
    assert_int_equal(status.retired, 1);
    assert_int_equal(status.generation, 2);
    assert_gone(manager, "acme", &forgotten);
}

static void test_s48_shredded_tenant(void **state)
{
    _cleanup_site_ Site *site = site_open();
    _cleanup_keeper_client_ KeeperClient *manager = client_as(site, MANAGER_UID);
    _cleanup_buffer_ Buffer gone = BUFFER_INIT, other = BUFFER_INIT, later = BUFFER_INIT;
    uint32_t count;

    seal_text(manager, SEALED_USER, "acme", "gone", &gone);
    seal_text(manager, SEALED_USER, "globex", "stays", &other);
    REFUSED(ERROR_BAD_FIELD, keeper_client_shred_tenant(manager, "", &count, &error));
    CHECK(keeper_client_shred_tenant(manager, "acme", &count, &error));
    assert_int_equal(count, 1);
    assert_false(has_key(site, "acme", 1));
    assert_gone(manager, "acme", &gone);
    assert_opens(manager, "globex", &other, "stays");
    /* The tenant may go on, with keys that have nothing to do with the old ones. */
    seal_text(manager, SEALED_USER, "acme", "later", &later);
    assert_opens(manager, "acme", &later, "later");
    assert_gone(manager, "acme", &gone);
    restart(site, &manager);
    assert_gone(manager, "acme", &gone);
    assert_opens(manager, "acme", &later, "later");
}

/* --- master key --- */

static void fill(KeeperClient *manager, Buffer *values)
{
    for (unsigned i = 0; i < TENANTS; i++) {
        char tenant[32];

        (void)string_print(tenant, sizeof(tenant), "tenant-%u", i);
        seal_text(manager, SEALED_USER, tenant, tenant, &values[i]);
    }
}

static void assert_all_open(KeeperClient *manager, const Buffer *values)
{
    for (unsigned i = 0; i < TENANTS; i++) {
        char tenant[32];

        (void)string_print(tenant, sizeof(tenant), "tenant-%u", i);
        assert_opens(manager, tenant, &values[i], tenant);
    }
}

static void values_done(Buffer *values)
{
    for (unsigned i = 0; i < TENANTS; i++)
        buffer_done(&values[i]);
}

/* One step, kill -9, the next step, kill -9, ...: everything opens all the time, and at the end the old
 * master key opens nothing. */
static void test_ds4_master_key_replaced_through_kills(void **state)
{
    _cleanup_site_ Site *site = site_open();
    _cleanup_keeper_client_ KeeperClient *root = client_as(site, 0), *manager = client_as(site, MANAGER_UID);
    _cleanup_free_ char *old_master = read_file(site->keys, "master.key"), *new_master = NULL;
    _cleanup_buffer_ Buffer during = BUFFER_INIT, shares = BUFFER_INIT;
    Buffer values[TENANTS] = {0};
    KeeperStatus status;
    bool is_left = true;
    unsigned steps = 0;

    fill(manager, values);
    while (is_left) {
        CHECK(keeper_client_rotate_master(root, NULL, &is_left, &error));
        if (steps++ == 0) {
            assert_true(is_left);
            seal_text(manager, SEALED_USER, "new-tenant", "during", &during);
            REFUSED(ERROR_CONFLICT, keeper_client_split_master(root, 2, 3, &shares, &error));
        }
        CHECK(keeper_client_status(root, &status, &error));
        assert_int_equal(status.is_rotating, is_left);
        restart(site, &manager);
        (void)keeper_client_free(root);
        root = client_as(site, 0);
        assert_all_open(manager, values);
        assert_opens(manager, "new-tenant", &during, "during");
    }
    assert_true(steps > 2);
    new_master = read_file(site->keys, "master.key");
    assert_memory_not_equal(old_master, new_master, 8);
    values_done(values);
}

/* The key that was replaced opens no file any more. */
static void test_ds4_old_master_key_is_worthless(void **state)
{
    _cleanup_site_ Site *site = site_open();
    _cleanup_buffer_ Buffer output = BUFFER_INIT;
    _cleanup_free_ char *master = path_join(site->keys, "master.key"),
                        *kept = path_join(site->directory, "kept");

    RUN_CHECKED("cp", "-p", master, kept);
    RUN_CHECKED(KEEPER_PROGRAM, "--config", site->config, "rotate-master");
    (void)site_stop(site, SIGTERM);
    RUN_CHECKED("cp", "-pf", kept, master);
    assert_int_not_equal(RUN(&output, "timeout", "10", KEEPER_PROGRAM, "--config", site->config, "run"), 0);
    assert_non_null(strstr(buffer_string(&output), "belongs to another master key"));
}

static void test_ds4_passphrase_comes_and_changes(void **state)
{
    _cleanup_site_ Site *site = site_open();
    _cleanup_keeper_client_ KeeperClient *root = client_as(site, 0), *manager = client_as(site, MANAGER_UID);
    _cleanup_free_ char *passphrase = path_join(site->directory, "passphrase");
    _cleanup_secret_ Secret *wrong = secret_new("not the right one", 17);
    _cleanup_buffer_ Buffer sealed = BUFFER_INIT;
    KeeperStatus status;
    bool is_left;

    seal_text(manager, SEALED_USER, "acme", "value", &sealed);
    write_file(site->directory, "passphrase", "correct horse battery\n");
    assert_int_equal(chmod(passphrase, 0600), 0);
    RUN_CHECKED(KEEPER_PROGRAM, "--config", site->config, "rotate-master", "--passphrase", passphrase);
    CHECK(keeper_client_status(root, &status, &error));
    assert_true(status.is_wrapped);
    restart(site, &manager);
    CHECK(keeper_client_status(root, &status, &error));
    assert_int_equal(status.state, KEEPER_STATE_SEALED);
    REFUSED(ERROR_SEALED, keeper_client_rotate_master(root, NULL, &is_left, &error));
    REFUSED(ERROR_FORBIDDEN, keeper_client_unseal(root, wrong, &error));
    RUN_CHECKED(KEEPER_PROGRAM, "--config", site->config, "unseal", "--passphrase", passphrase);
    assert_opens(manager, "acme", &sealed, "value");
    /* The passphrase is not lost by accident. */
    REFUSED(ERROR_BAD_FIELD, keeper_client_rotate_master(root, NULL, &is_left, &error));
}

/* As under systemd with LoadCredentialEncrypted=. */
static void test_ds4_passphrase_from_a_credential(void **state)
{
    _cleanup_site_ Site *site = site_new();
    _cleanup_free_ char *passphrase = path_join(site->directory, "master-passphrase");
    _cleanup_keeper_client_ KeeperClient *root = NULL;
    KeeperStatus status;

    write_file(site->directory, "master-passphrase", "correct horse battery\n");
    assert_int_equal(chmod(passphrase, 0400), 0);
    site_write_config(site, "passphrase_credential = master-passphrase\n");
    RUN_CHECKED(KEEPER_PROGRAM, "--config", site->config, "init", "--passphrase", passphrase);
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", site->directory, 1), 0);
    site_start(site);
    root = client_as(site, 0);
    CHECK(keeper_client_status(root, &status, &error));
    assert_int_equal(status.state, KEEPER_STATE_OPEN);
    (void)site_stop(site, SIGTERM);
    /* One that others can read is none. */
    assert_int_equal(chmod(passphrase, 0444), 0);
    assert_int_not_equal(RUN(NULL, "timeout", "10", KEEPER_PROGRAM, "--config", site->config, "run"), 0);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    assert_int_not_equal(RUN(NULL, "timeout", "10", KEEPER_PROGRAM, "--config", site->config, "run"), 0);
}

/* --- escrow --- */

static char *share_path(const Site *site, unsigned number)
{
    return string_format("%s/shares/share-%u", site->directory, number);
}

static void test_sv26_escrow_drill_and_restore(void **state)
{
    _cleanup_site_ Site *site = site_open();
    _cleanup_keeper_client_ KeeperClient *manager = client_as(site, MANAGER_UID);
    _cleanup_free_ char *directory = path_join(site->directory, "shares"), *one = share_path(site, 1),
                        *two = share_path(site, 2), *four = share_path(site, 4), *five = share_path(site, 5),
                        *master = path_join(site->keys, "master.key"), *text = NULL, *mistyped = NULL;
    _cleanup_buffer_ Buffer sealed = BUFFER_INIT, output = BUFFER_INIT;
    struct stat status;

    seal_text(manager, SEALED_USER, "acme", "value", &sealed);
    RUN_CHECKED(KEEPER_PROGRAM, "--config", site->config, "escrow", "--shares", "5", "--threshold", "3",
                "--output", directory);
    assert_int_equal(stat(five, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0400);
    assert_int_not_equal(RUN(NULL, KEEPER_PROGRAM, "--config", site->config, "escrow", "--shares", "2",
                             "--threshold", "3", "--output", directory),
                         0);
    RUN_CHECKED(KEEPER_PROGRAM, "--config", site->config, "drill", "--share", one, "--share", four, "--share",
                five);
    assert_int_not_equal(
        RUN(&output, KEEPER_PROGRAM, "--config", site->config, "drill", "--share", one, "--share", four), 0);
    assert_non_null(strstr(buffer_string(&output), "not enough"));
    assert_int_not_equal(RUN(NULL, KEEPER_PROGRAM, "--config", site->config, "drill", "--share", one,
                             "--share", one, "--share", four),
                         0);
    /* One wrong digit is noticed in the share itself. */
    text = read_file(directory, "share-2");
    text[40] = text[40] == '0' ? '1' : '0';
    write_file(site->directory, "mistyped", text);
    mistyped = path_join(site->directory, "mistyped");
    assert_int_equal(chmod(mistyped, 0600), 0);
    buffer_clear(&output);
    assert_int_not_equal(RUN(&output, KEEPER_PROGRAM, "--config", site->config, "drill", "--share", one,
                             "--share", mistyped, "--share", four),
                         0);
    assert_non_null(strstr(buffer_string(&output), "mistyped"));
    /* The master key is lost; three people come. A running keeper is not touched. */
    assert_int_not_equal(RUN(NULL, KEEPER_PROGRAM, "--config", site->config, "restore", "--share", one,
                             "--share", two, "--share", four),
                         0);
    (void)site_stop(site, SIGTERM);
    assert_int_equal(unlink(master), 0);
    RUN_CHECKED(KEEPER_PROGRAM, "--config", site->config, "restore", "--share", one, "--share", two,
                "--share", four);
    assert_int_equal(stat(master, &status), 0);
    assert_int_equal(status.st_uid, KEEPER_UID);
    site_start(site);
    (void)keeper_client_free(manager);
    manager = client_as(site, MANAGER_UID);
    assert_opens(manager, "acme", &sealed, "value");
    /* Shares of a master key that was replaced are worthless, and the drill says so. */
    RUN_CHECKED(KEEPER_PROGRAM, "--config", site->config, "rotate-master");
    buffer_clear(&output);
    assert_int_not_equal(RUN(&output, KEEPER_PROGRAM, "--config", site->config, "drill", "--share", one,
                             "--share", two, "--share", four),
                         0);
    assert_non_null(strstr(buffer_string(&output), "no key that opens"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ds4_old_data_keys_end),
        cmocka_unit_test(test_s48_shredded_tenant),
        cmocka_unit_test(test_ds4_master_key_replaced_through_kills),
        cmocka_unit_test(test_ds4_old_master_key_is_worthless),
        cmocka_unit_test(test_ds4_passphrase_comes_and_changes),
        cmocka_unit_test(test_ds4_passphrase_from_a_credential),
        cmocka_unit_test(test_sv26_escrow_drill_and_restore),
    };

    if (crypto_start() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
