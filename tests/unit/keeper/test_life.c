/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper as a process and as a directory: what it gives up (SV21), set-up and given authorities (PK1),
 * passphrases, crashes, tampering, hostile peers. */

#include <ftw.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "crypto/start.h"
#include "fixture.h"
#include "keeper/confine.h"

static char *proc_status(pid_t pid)
{
    char directory[64];

    (void)string_print(directory, sizeof(directory), "/proc/%d", pid);
    return read_file(directory, "status");
}

static void assert_line(const char *text, const char *name, const char *value)
{
    _cleanup_free_ char *wanted = string_format("\n%s:\t%s\n", name, value);

    if (!strstr(text, wanted))
        fail_msg("no \"%s: %s\" in %s", name, value, text);
}

static unsigned long long hex_line(const char *text, const char *name)
{
    _cleanup_free_ char *wanted = string_format("\n%s:\t", name);
    const char *place = strstr(text, wanted);

    assert_non_null(place);
    return strtoull(place + strlen(wanted), NULL, 16);
}

static void assert_confined(const Site *site)
{
    enum { IPC_LOCK = 1 << 14 };
    _cleanup_free_ char *status = proc_status(site->pid),
                        *ids = string_format("%1$d\t%1$d\t%1$d\t%1$d", KEEPER_UID);
    char path[64];
    struct stat about;

    assert_line(status, "Uid", ids);
    assert_line(status, "Gid", ids);
    assert_line(status, "NoNewPrivs", "1");
    assert_line(status, "Seccomp", "2");
    /* CAP_IPC_LOCK alone is kept, and only where the limit on locked memory could not be raised. */
    assert_int_equal(hex_line(status, "CapEff") & ~(unsigned long long)IPC_LOCK, 0);
    assert_int_equal(hex_line(status, "CapPrm") & ~(unsigned long long)IPC_LOCK, 0);
    assert_int_equal(hex_line(status, "CapInh"), 0);
    assert_int_equal(hex_line(status, "CapAmb"), 0);
#if !defined(__SANITIZE_ADDRESS__)
    assert_null(strstr(status, "\nVmLck:\t       0 kB")); /* sanitizers switch locking off */
#endif
    /* A process that is not dumpable belongs to root in /proc. */
    (void)string_print(path, sizeof(path), "/proc/%d/environ", site->pid);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_uid, 0);
    become(KEEPER_UID);
    (void)string_print(path, sizeof(path), "/proc/%d/mem", site->pid);
    assert_int_equal(open(path, O_RDONLY | O_CLOEXEC), -1);
    become(0);
}

/* What a call does in a process that has given up its system calls: the signal that ended it, or 0. */
static int signal_of(void (*work)(void))
{
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        const struct rlimit none = {0, 0};

        (void)setrlimit(RLIMIT_CORE, &none);
        if (confine_system_calls(NULL) < 0)
            _exit(1);
        work();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void work_time(void)
{
    (void)clock_realtime(&system_clock);
    (void)access("/", F_OK);
}

static void work_socket(void)
{
    (void)socket(AF_INET, SOCK_STREAM, 0);
}

static void work_exec(void)
{
    (void)execl("/bin/true", "true", (char *)NULL);
}

static void work_kill(void)
{
    (void)kill(1, 0);
}

static void work_chown(void)
{
    (void)!chown("/nonexistent", 0, 0);
}

static void work_setuid(void)
{
    (void)!setuid(0);
}

#if !defined(__SANITIZE_ADDRESS__)
static void work_executable_memory(void)
{
    (void)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
#endif

static void test_system_calls(void **state)
{
    static void (*const forbidden[])(void) = {
        work_socket,
        work_exec,
        work_kill,
        work_chown,
        work_setuid,
#if !defined(__SANITIZE_ADDRESS__)
        work_executable_memory,
#endif
    };

    assert_int_equal(signal_of(work_time), 0);
    for (size_t i = 0; i < ELEMENTSOF(forbidden); i++)
        assert_int_equal(signal_of(forbidden[i]), SIGSYS);
}

static void assert_no_core(const Site *site)
{
    char directory[64];
    _cleanup_free_ char *limits = NULL;

    (void)string_print(directory, sizeof(directory), "/proc/%d", site->pid);
    limits = read_file(directory, "limits");
    assert_non_null(strstr(limits, "Max core file size        0                    0"));
}

static void test_confinement(void **state)
{
    _cleanup_site_ Site *site = site_open();

    assert_confined(site);
    assert_no_core(site);
    assert_true(WIFEXITED(site_stop(site, SIGTERM)));
}

/* Started as its own user, as a service manager may do. */
static void test_start_without_root(void **state)
{
    _cleanup_site_ Site *site = site_new();
    _cleanup_free_ char *program = path_join(site->directory, "program"),
                        *run_directory = path_join(site->directory, "run");
    _cleanup_free_ char *uid = string_format("%d", KEEPER_UID);
    const char *arguments[] = {"setpriv", "--reuid",  uid,          "--regid", uid, "--clear-groups",
                               program,   "--config", site->config, "run",     NULL};

    RUN_CHECKED("cp", KEEPER_PROGRAM, program);
    assert_int_equal(chmod(program, 0755), 0);
    assert_int_equal(mkdir(run_directory, 0755), 0);
    assert_int_equal(chown(run_directory, KEEPER_UID, KEEPER_UID), 0);
    free(site->socket);
    site->socket = path_join(run_directory, "keeper.sock");
    site_write_config(site, "lock_memory = attempt\n");
    assert_int_equal(chmod(site->config, 0644), 0);
    site_init(site);
    site->pid = spawn_logged(site, arguments);
    wait_until_served(site);
    assert_confined(site);
}

static void test_start_as_a_third_user(void **state)
{
    _cleanup_site_ Site *site = site_new();
    _cleanup_free_ char *program = path_join(site->directory, "program");
    _cleanup_free_ char *uid = string_format("%d", STRANGER_UID);

    RUN_CHECKED("cp", KEEPER_PROGRAM, program);
    assert_int_equal(chmod(program, 0755), 0);
    site_write_config(site, "lock_memory = attempt\n");
    assert_int_equal(chmod(site->config, 0644), 0);
    site_init(site);
    assert_int_not_equal(RUN(NULL, "setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", program,
                             "--config", site->config, "run"),
                         0);
}

/* --- what lies on the disk --- */

static int seen_files;

static int check_file(const char *path, const struct stat *status, int type, struct FTW *place)
{
    assert_int_equal(status->st_uid, KEEPER_UID);
    assert_int_equal(status->st_mode & 077, 0);
    if (type == FTW_F) {
        char *content = NULL;
        size_t size;

        seen_files++;
        assert_true(file_read(path, 1024 * 1024, &content, &size) >= 0);
        assert_null(memmem(content, size, "PRIVATE KEY", 11));
        assert_null(memmem(content, size, "canary-in-a-value", 17));
        free(content);
    }
    return 0;
}

/* No key is readable by others or lies in the clear, and no secret reaches the log (canary). */
static void test_files(void **state)
{
    _cleanup_site_ Site *site = site_open();
    _cleanup_keeper_client_ KeeperClient *manager = client_as(site, MANAGER_UID);
    _cleanup_secret_ Secret *plain = secret_new("canary-in-a-value", 17), *opened = NULL;
    _cleanup_buffer_ Buffer sealed = BUFFER_INIT;
    _cleanup_free_ char *log = NULL, *output = NULL;

    REFUSED(ERROR_BAD_REQUEST,
            keeper_client_seal_value(manager, SEALED_USER, "ac\nme", "x", plain, &sealed, &error));
    CHECK(keeper_client_seal_value(manager, SEALED_USER, "acme", "table/row", plain, &sealed, &error));
    CHECK(keeper_client_open_value(manager, "acme", "table/row", sealed.data, sealed.size, &opened, &error));
    REFUSED(ERROR_CRYPTO,
            keeper_client_open_value(manager, "acme", "other", sealed.data, sealed.size, &opened, &error));
    seen_files = 0;
    assert_int_equal(nftw(site->keys, check_file, 16, FTW_PHYS), 0);
    assert_true(seen_files > 10);
    log = read_file(site->keys, "log");
    assert_non_null(strstr(log, "manager uid=61235"));
    assert_non_null(strstr(log, "SEAL_VALUE tenant=\"acme\" context=\"table/row\" class=\"user\" done"));
    assert_non_null(
        strstr(log, "OPEN_VALUE tenant=\"acme\" context=\"other\" class=\"user\" refused=cryptography"));
    output = read_file(site->directory, "output");
    assert_null(strstr(output, "canary"));
}

static void flip_byte(const Site *site, const char *name, long offset)
{
    _cleanup_free_ char *path = path_join(site->keys, name);
    FILE *file = fopen(path, "r+e");
    int byte;

    assert_non_null(file);
    assert_int_equal(fseek(file, offset, offset < 0 ? SEEK_END : SEEK_SET), 0);
    byte = fgetc(file);
    assert_int_equal(fseek(file, -1, SEEK_CUR), 0);
    assert_true(fputc(byte ^ 1, file) != EOF);
    assert_int_equal(fclose(file), 0);
}

/* Ends by itself, with an error, and says why. */
static void assert_run_refused(const Site *site, const char *reason)
{
    _cleanup_buffer_ Buffer output = BUFFER_INIT;
    int status = RUN(&output, "timeout", "10", KEEPER_PROGRAM, "--config", site->config, "run");

    if (status == 0 || status >= 124 || !strstr(buffer_string(&output), reason))
        fail_msg("status %d, no \"%s\" in: %s", status, reason, buffer_string(&output));
}

static void test_tampered_files(void **state)
{
    static const char *const names[] = {"master.key",        "state",          "ca/current",
                                        "ca/1/services.key", "ca/1/trust.pem", "signing/ed25519.key"};
    _cleanup_site_ Site *site = site_new();
    _cleanup_free_ char *user_ca = path_join(site->keys, "ca/ssh-user.key"),
                        *host_ca = path_join(site->keys, "ca/ssh-host.key"),
                        *master = path_join(site->keys, "master.key");

    site_init(site);
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        flip_byte(site, names[i], -1);
        assert_run_refused(site, "was changed, or belongs to another master key");
        flip_byte(site, names[i], -1);
    }
    /* Two sealed files cannot be exchanged. */
    RUN_CHECKED("cp", "-p", host_ca, user_ca);
    assert_run_refused(site, "ca/ssh-user.key was changed");
    /* A key that others can read is not used. */
    assert_int_equal(chmod(master, 0440), 0);
    assert_run_refused(site, "closed to all others");
}

static void test_one_keeper_at_a_time(void **state)
{
    _cleanup_site_ Site *site = site_open();
    char *socket = site->socket;

    assert_run_refused(site, "cannot listen on");
    site->socket = path_join(site->directory, "other.sock");
    site_write_config(site, "");
    assert_run_refused(site, "another keeper uses");
    free(socket);
}

static void assert_config_refused(const char *user, const char *manager_user, const char *more,
                                  const char *reason)
{
    _cleanup_site_ Site *site = site_new();
    _cleanup_free_ char *text =
        string_format("[keeper]\ndirectory = %s\nsocket = %s\nuser = %s\nmanager_user = %s\n%s", site->keys,
                      site->socket, user, manager_user, more);

    write_file(site->directory, "keeper.conf", text);
    assert_run_refused(site, reason);
}

static void test_configurations_that_are_refused(void **state)
{
    assert_config_refused("0", "61235", "", "does not run as root");
    assert_config_refused("61234", "root", "", "does not run as root");
    assert_config_refused("61234", "61234", "", "different users");
    assert_config_refused("no-such-user-here", "61235", "", "there is no user");
    assert_config_refused("61234", "61235", "lock_memory = never\n", "required or attempt");
}

/* --- passphrase --- */

static void test_passphrase(void **state)
{
    _cleanup_site_ Site *site = site_new();
    _cleanup_free_ char *path = path_join(site->directory, "passphrase");
    _cleanup_secret_ Secret *right = secret_new("correct horse battery", 21),
                            *wrong = secret_new("correct horse batterz", 21);
    _cleanup_secret_ Secret *plain = secret_new("x", 1), *opened = NULL;
    _cleanup_buffer_ Buffer sealed = BUFFER_INIT;
    KeeperStatus status;

    write_file(site->directory, "passphrase", "short\n");
    assert_int_not_equal(RUN(NULL, KEEPER_PROGRAM, "--config", site->config, "init", "--passphrase", path),
                         0);
    write_file(site->directory, "passphrase", "correct horse battery\n");
    RUN_CHECKED(KEEPER_PROGRAM, "--config", site->config, "init", "--passphrase", path);
    site_start(site);
    for (int round = 0; round < 2; round++) {
        _cleanup_keeper_client_ KeeperClient *root = client_as(site, 0),
                                             *manager = client_as(site, MANAGER_UID);

        CHECK(keeper_client_status(manager, &status, &error));
        assert_int_equal(status.state, KEEPER_STATE_SEALED);
        REFUSED(ERROR_SEALED,
                keeper_client_seal_value(manager, SEALED_SELF, "t", "c", plain, &sealed, &error));
        REFUSED(ERROR_FORBIDDEN, keeper_client_unseal(root, wrong, &error));
        if (round == 0) {
            CHECK(keeper_client_unseal(root, right, &error));
            CHECK(keeper_client_seal_value(manager, SEALED_SELF, "t", "c", plain, &sealed, &error));
            CHECK(keeper_client_seal(root, &error));
        } else {
            RUN_CHECKED(KEEPER_PROGRAM, "--config", site->config, "unseal", "--passphrase", path);
            CHECK(keeper_client_open_value(manager, "t", "c", sealed.data, sealed.size, &opened, &error));
        }
    }
    /* confinement holds while 64 MiB are locked for the passphrase too */
    assert_confined(site);
}

/* --- authorities that are given --- */

typedef struct GivenAuthority {
    PrivateKey *key;
    Certificate *certificate;
} GivenAuthority;

static void given_done(GivenAuthority *given)
{
    (void)private_key_free(given->key);
    (void)certificate_free(given->certificate);
}
#define _cleanup_given_ _cleanup_(given_done)

static void make_given(GivenAuthority *given, const Site *site, int path_length, bool is_ca)
{
    _cleanup_free_ uint8_t *spki = NULL;
    _cleanup_free_ char *pem = NULL, *path = path_join(site->directory, "given.key");
    Usec now = clock_realtime(&system_clock), day = 86400 * USEC_PER_SEC;
    char serial[SERIAL_HEX_SIZE];
    CertificateTemplate template = {.common_name = "Given CA",
                                    .is_ca = is_ca,
                                    .path_length = path_length,
                                    .not_before = now - day,
                                    .not_after = now + 3650 * day};

    assert_int_equal(private_key_generate(KEY_P384, &given->key), 0);
    assert_int_equal(private_key_public_der(given->key, &spki, &template.spki_size), 0);
    template.spki = spki;
    assert_int_equal(certificate_issue(&template, NULL, given->key, &given->certificate, serial, NULL), 0);
    pem = certificate_to_pem(given->certificate);
    write_file(site->directory, "given.pem", pem);
    (void)unlink(path);
    assert_int_equal(private_key_write(given->key, path), 0);
}

static int give(const Site *site, const char *verb, Buffer *output)
{
    _cleanup_free_ char *certificate = path_join(site->directory, "given.pem"),
                        *key = path_join(site->directory, "given.key");

    return RUN(output, KEEPER_PROGRAM, "--config", site->config, verb, "--ca-certificate", certificate,
               "--ca-key", key);
}

/* PK1: a given CA, at set-up. */
static void test_given_authority(void **state)
{
    _cleanup_site_ Site *site = site_new();
    _cleanup_given_ GivenAuthority no_authority = {0}, too_short = {0}, right = {0};
    _cleanup_buffer_ Buffer output = BUFFER_INIT, mismatch = BUFFER_INIT, final = BUFFER_INIT;
    _cleanup_free_ char *key_path = path_join(site->directory, "given.key"), *pem = NULL;
    _cleanup_(keeper_public_done) KeeperPublic public = {0};
    KeeperClient *root;

    make_given(&no_authority, site, -1, false);
    assert_int_not_equal(give(site, "init", NULL), 0);
    make_given(&too_short, site, 0, true);
    assert_int_not_equal(give(site, "init", &output), 0);
    assert_non_null(strstr(buffer_string(&output), "path length"));
    make_given(&right, site, 1, true);
    assert_int_equal(unlink(key_path), 0);
    assert_int_equal(private_key_write(too_short.key, key_path), 0);
    assert_int_not_equal(give(site, "init", &mismatch), 0);
    assert_non_null(strstr(buffer_string(&mismatch), "does not belong to"));
    assert_int_equal(unlink(key_path), 0);
    assert_int_equal(private_key_write(right.key, key_path), 0);
    assert_int_equal(chmod(key_path, 0644), 0);
    assert_int_not_equal(give(site, "init", NULL), 0); /* a key that everybody can read */
    assert_int_equal(chmod(key_path, 0600), 0);
    pem = certificate_to_pem(right.certificate);
    assert_int_equal(give(site, "init", &final), 0);
    assert_string_equal(buffer_string(&final), pem);
    site_start(site);
    root = client_as(site, 0);
    CHECK(keeper_client_public(root, &public, &error));
    assert_string_equal(public.ca_chain, pem);
    (void)keeper_client_free(root);
}

static char *issue_server(KeeperClient *manager, const char *name)
{
    _cleanup_private_key_ PrivateKey *key = NULL;
    _cleanup_free_ uint8_t *spki = NULL;
    _cleanup_string_list_ StringList names = {0};
    KeeperCertificateRequest request = {
        .profile = "internal-server", .common_name = "server", .dns_names = &names};
    char serial[SERIAL_HEX_SIZE], *chain = NULL;

    string_list_append(&names, name);
    assert_int_equal(private_key_generate(KEY_P256, &key), 0);
    assert_int_equal(private_key_public_der(key, &spki, &request.spki_size), 0);
    request.spki = spki;
    CHECK(keeper_client_issue_certificate(manager, &request, &chain, serial, &error));
    return chain;
}

/* PK1, PK6: another CA later; the earlier one stays trusted, and what it signed stays good. */
static void test_import_of_an_authority(void **state)
{
    _cleanup_site_ Site *site = site_open();
    _cleanup_keeper_client_ KeeperClient *manager = client_as(site, MANAGER_UID);
    _cleanup_(keeper_public_done) KeeperPublic before = {0}, after = {0};
    _cleanup_given_ GivenAuthority given = {0};
    _cleanup_free_ char *earlier = issue_server(manager, "a.example"), *later = NULL, *pem = NULL;

    CHECK(keeper_client_public(manager, &before, &error));
    make_given(&given, site, -1, true);
    pem = certificate_to_pem(given.certificate);
    assert_int_equal(give(site, "import-ca", NULL), 0);
    CHECK(keeper_client_public(manager, &after, &error));
    assert_int_equal(chain_count(after.ca_chain, strlen(after.ca_chain)), 2);
    assert_true(string_starts_with(after.ca_chain, pem));
    later = issue_server(manager, "b.example");
    assert_int_equal(certificate_verify(later, pem, CERTIFICATE_SERVER, "b.example", 0, NULL), 0);
    assert_true(certificate_verify(later, before.ca_chain, CERTIFICATE_SERVER, NULL, 0, NULL) < 0);
    assert_int_equal(certificate_verify(earlier, after.ca_chain, CERTIFICATE_SERVER, NULL, 0, NULL), 0);
    assert_string_equal(after.ssh_user_ca, before.ssh_user_ca);
}

static void test_set_up_of_a_running_keeper(void **state)
{
    _cleanup_site_ Site *site = site_new();
    _cleanup_keeper_client_ KeeperClient *manager = NULL;
    _cleanup_(keeper_public_done) KeeperPublic public = {0};
    KeeperStatus status;

    site_start(site);
    manager = client_as(site, MANAGER_UID);
    CHECK(keeper_client_status(manager, &status, &error));
    assert_int_equal(status.state, KEEPER_STATE_UNINITIALISED);
    REFUSED(ERROR_UNAVAILABLE, keeper_client_public(manager, &public, &error));
    site_init(site);
    CHECK(keeper_client_public(manager, &public, &error));
    assert_int_not_equal(RUN(NULL, KEEPER_PROGRAM, "--config", site->config, "init"), 0); /* once */
}

/* --- rotation, restart --- */

static void test_rotation_of_data_keys(void **state)
{
    _cleanup_site_ Site *site = site_open();
    _cleanup_keeper_client_ KeeperClient *manager = client_as(site, MANAGER_UID);
    _cleanup_secret_ Secret *plain = secret_new("x", 1), *old_opened = NULL, *new_opened = NULL;
    _cleanup_buffer_ Buffer old = BUFFER_INIT, new = BUFFER_INIT;
    SealedHeader header;

    CHECK(keeper_client_seal_value(manager, SEALED_SELF, "t", "c", plain, &old, &error));
    RUN_CHECKED(KEEPER_PROGRAM, "--config", site->config, "rotate");
    CHECK(keeper_client_seal_value(manager, SEALED_SELF, "t", "c", plain, &new, &error));
    assert_int_equal(sealed_value_parse(new.data, new.size, &header), 0);
    assert_int_equal(header.generation, 2);
    CHECK(keeper_client_open_value(manager, "t", "c", old.data, old.size, &old_opened, &error));
    CHECK(keeper_client_open_value(manager, "t", "c", new.data, new.size, &new_opened, &error));
}

/* A client lives over a restart of the keeper: it connects again by itself. */
static void test_restart(void **state)
{
    _cleanup_site_ Site *site = site_open();
    _cleanup_keeper_client_ KeeperClient *root = client_as(site, 0), *manager = client_as(site, MANAGER_UID),
                                         *second = NULL;
    _cleanup_secret_ Secret *plain = secret_new("x", 1), *opened = NULL;
    _cleanup_(keeper_public_done) KeeperPublic before = {0}, after = {0};
    _cleanup_buffer_ Buffer sealed = BUFFER_INIT;

    CHECK(keeper_client_public(root, &before, &error));
    CHECK(keeper_client_seal_value(manager, SEALED_SELF, "t", "c", plain, &sealed, &error));
    assert_true(WIFEXITED(site_stop(site, SIGTERM)));
    REFUSED(ERROR_UNAVAILABLE, keeper_client_public(root, &after, &error));
    site_start(site);
    CHECK(keeper_client_public(root, &after, &error));
    assert_string_equal(before.ca_chain, after.ca_chain);
    assert_string_equal(before.ssh_host_ca, after.ssh_host_ca);
    assert_memory_equal(before.signing_key, after.signing_key, SIGN_PUBLIC_SIZE);
    second = client_as(site, MANAGER_UID);
    CHECK(keeper_client_open_value(second, "t", "c", sealed.data, sealed.size, &opened, &error));
}

/* --- kill -9 --- */

enum { VALUES_MAX = 4000 };

typedef struct Kept {
    Buffer sealed[VALUES_MAX];
    unsigned count;
    uint64_t sequence;
} Kept;

/* New tenants (so new key files) and audit heads until the keeper is gone. Runs beside the killing process.
 */
static void work_until_killed(const Site *site, Kept *kept)
{
    _cleanup_keeper_client_ KeeperClient *manager = client_as(site, MANAGER_UID);
    _cleanup_secret_ Secret *plain = secret_new("value", 5);
    uint8_t hash[HASH_SIZE] = {0}, signature[SIGN_SIGNATURE_SIZE];

    while (kept->count < VALUES_MAX) {
        char tenant[32];

        (void)string_print(tenant, sizeof(tenant), "tenant-%u", kept->count);
        if (keeper_client_seal_value(manager, SEALED_SELF, tenant, "c", plain, &kept->sealed[kept->count],
                                     NULL) < 0)
            return;
        kept->count++;
        if (keeper_client_sign_audit_head(manager, "0", kept->sequence + 1, 1, hash, NULL, signature, NULL) <
            0)
            return;
        kept->sequence++;
    }
}

static void check_kept(const Site *site, const Kept *kept)
{
    _cleanup_keeper_client_ KeeperClient *manager = client_as(site, MANAGER_UID);
    uint8_t hash[HASH_SIZE] = {1}, signature[SIGN_SIGNATURE_SIZE];

    for (unsigned i = 0; i < kept->count; i++) {
        _cleanup_secret_ Secret *opened = NULL;
        char tenant[32];

        (void)string_print(tenant, sizeof(tenant), "tenant-%u", i);
        CHECK(keeper_client_open_value(manager, tenant, "c", kept->sealed[i].data, kept->sealed[i].size,
                                       &opened, &error));
        assert_int_equal(secret_size(opened), 5);
    }
    if (kept->sequence > 0)
        REFUSED(ERROR_STALE, keeper_client_sign_audit_head(manager, "0", kept->sequence, 1, hash, NULL,
                                                           signature, &error));
}

/* What was answered is there after any kill -9. */
static void test_killed_while_working(void **state)
{
    _cleanup_site_ Site *site = site_open();
    Kept *kept = NEW(Kept);

    for (int round = 0; round < 8; round++) {
        pid_t victim = site->pid, killer = fork();

        assert_true(killer >= 0);
        if (killer == 0) {
            nap(20 + (long)random_below(&system_random, 120));
            _exit(kill(victim, SIGKILL) == 0 ? 0 : 1);
        }
        work_until_killed(site, kept);
        assert_int_equal(waitpid(killer, NULL, 0), killer);
        assert_int_equal(waitpid(victim, NULL, 0), victim);
        site->pid = 0;
        site_start(site);
        check_kept(site, kept);
    }
    assert_true(kept->count > 8);
    for (unsigned i = 0; i < VALUES_MAX; i++)
        buffer_done(&kept->sealed[i]);
    free(kept);
}

/* A set-up that was interrupted anywhere is begun anew, or was complete. */
static void test_killed_during_set_up(void **state)
{
    int complete = 0, interrupted = 0;

    for (int round = 0; round < 12; round++) {
        _cleanup_site_ Site *site = site_new();
        const char *const arguments[] = {KEEPER_PROGRAM, "--config", site->config, "init", NULL};
        pid_t pid = spawn_logged(site, arguments);
        int status;

        nap(3 * round);
        (void)kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (RUN(NULL, KEEPER_PROGRAM, "--config", site->config, "init") == 0)
            interrupted++;
        else
            complete++;
        site_start(site); /* open either way */
        {
            _cleanup_keeper_client_ KeeperClient *root = client_as(site, 0);
            KeeperStatus about;

            CHECK(keeper_client_status(root, &about, &error));
            assert_int_equal(about.state, KEEPER_STATE_OPEN);
        }
    }
    assert_true(interrupted > 0);
    assert_int_equal(interrupted + complete, 12);
}

/* --- hostile peers (with the manager's user) --- */

static int connect_raw(const Site *site, uid_t uid)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), r;
    struct timeval limit = {5, 0};

    assert_true(descriptor >= 0);
    assert_true(string_copy(address.sun_path, sizeof(address.sun_path), site->socket) >= 0);
    assert_int_equal(setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    become(uid);
    r = connect(descriptor, (const struct sockaddr *)&address, sizeof(address));
    become(0);
    assert_int_equal(r, 0);
    return descriptor;
}

static void assert_closed(const Site *site, const void *data, size_t size)
{
    int descriptor = connect_raw(site, MANAGER_UID);
    char block[1024];
    ssize_t count;

    assert_int_equal(send(descriptor, data, size, MSG_NOSIGNAL), size);
    do
        count = recv(descriptor, block, sizeof(block), 0);
    while (count > 0);
    assert_true(count == 0 || errno == ECONNRESET);
    (void)close(descriptor);
}

static void test_malformed_frames(void **state)
{
    _cleanup_site_ Site *site = site_open();
    _cleanup_keeper_client_ KeeperClient *root = client_as(site, 0);
    KeeperStatus status;

    assert_closed(site, "\xff\xff\xff\xff", 4);                              /* 4 GiB */
    assert_closed(site, "\x00\x04\x00\x00", 4);                              /* beyond 256 KiB */
    assert_closed(site, "\x00\x00\x00\x00", 4);                              /* shorter than a header */
    assert_closed(site, "\x00\x00\x00\x06\x7f\x7f\x00\x00\x00\x01", 10);     /* unknown request */
    assert_closed(site, "\x00\x00\x00\x06\x80\x01\x00\x00\x00\x01", 10);     /* an answer */
    assert_closed(site, "\x00\x00\x00\x07\x00\x01\x00\x00\x00\x01\x01", 11); /* half a field */
    assert_closed(site, "\x00\x00\x00\x0b\x00\x01\x00\x00\x00\x01\x63\x00\x00\x00\x00",
                  15); /* unknown field */
    assert_closed(site, "GET / HTTP/1.1\r\n\r\n", 18);
    CHECK(keeper_client_status(root, &status, &error));
}

/* A peer that sends half a frame, and peers that take all places, keep neither others nor the administrator
 * out. */
static void test_slow_and_many_peers(void **state)
{
    enum { MANY = 80 };
    _cleanup_site_ Site *site = site_open();
    _cleanup_keeper_client_ KeeperClient *early = client_as(site, MANAGER_UID), *root = NULL, *late = NULL;
    int descriptors[MANY], refused = 0;
    KeeperStatus status;

    for (int i = 0; i < MANY; i++) {
        descriptors[i] = connect_raw(site, MANAGER_UID);
        (void)!send(descriptors[i], "\x00\x00\x00", 3, MSG_NOSIGNAL);
    }
    CHECK(keeper_client_status(early, &status, &error));
    root = client_as(site, 0);
    CHECK(keeper_client_status(root, &status, &error));
    late = client_as(site, MANAGER_UID);
    REFUSED(ERROR_BUSY, keeper_client_status(late, &status, &error));
    for (int i = 0; i < MANY; i++) {
        char block[256];

        refused += recv(descriptors[i], block, sizeof(block), MSG_DONTWAIT) > 0;
        (void)close(descriptors[i]);
    }
    assert_true(refused > 0 && refused < MANY);
    /* places are free again */
    (void)keeper_client_free(late);
    for (int i = 0; i < 100; i++) {
        late = client_as(site, MANAGER_UID);
        if (keeper_client_status(late, &status, NULL) >= 0)
            return;
        late = keeper_client_free(late);
        nap(10);
    }
    fail_msg("the places are not free again");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_confinement),
        cmocka_unit_test(test_system_calls),
        cmocka_unit_test(test_start_without_root),
        cmocka_unit_test(test_start_as_a_third_user),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_tampered_files),
        cmocka_unit_test(test_one_keeper_at_a_time),
        cmocka_unit_test(test_configurations_that_are_refused),
        cmocka_unit_test(test_passphrase),
        cmocka_unit_test(test_given_authority),
        cmocka_unit_test(test_import_of_an_authority),
        cmocka_unit_test(test_set_up_of_a_running_keeper),
        cmocka_unit_test(test_rotation_of_data_keys),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_killed_while_working),
        cmocka_unit_test(test_killed_during_set_up),
        cmocka_unit_test(test_malformed_frames),
        cmocka_unit_test(test_slow_and_many_peers),
    };

    if (crypto_start() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
