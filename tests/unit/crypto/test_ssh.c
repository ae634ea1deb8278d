/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSH keys and certificates, checked by ssh-keygen, and by logging in to a real sshd (PK9). sshd runs in
 * its inetd mode behind ssh's ProxyCommand, so that no port is opened. */

#include <pwd.h>

#include "crypto/ssh.h"
#include "run.h"

typedef struct Pair {
    Secret *seed;
    Buffer blob;
} Pair;

static void pair_done(Pair *pair)
{
    (void)secret_free(pair->seed);
    buffer_done(&pair->blob);
}
#define _cleanup_pair_ _cleanup_(pair_done)

static void make_pair(Pair *pair)
{
    uint8_t public_key[SIGN_PUBLIC_SIZE];

    assert_int_equal(sign_generate(&pair->seed, public_key), 0);
    assert_true(ssh_key_from_ed25519(public_key, &pair->blob) >= 0);
}

static char *line_of(const Pair *pair, const char *comment)
{
    char *line = ssh_key_format_line(pair->blob.data, pair->blob.size, comment);

    assert_non_null(line);
    return line;
}

static void write_pair(const Pair *pair, const char *directory, const char *name)
{
    _cleanup_secret_ Secret *text = NULL;
    _cleanup_free_ char *line = line_of(pair, "test"), *public_name = string_format("%s.pub", name);

    assert_int_equal(ssh_private_key_format(pair->seed, "test", &text), 0);
    write_file(directory, name, (const char *)secret_bytes(text));
    write_file(directory, public_name, line);
}

static int parse_generated(const char *directory, const char *type, const char *bits, Error *error)
{
    _cleanup_free_ char *path = path_join(directory, "generated"),
                        *public_path = path_join(directory, "generated.pub"), *line = NULL, *again = NULL;
    _cleanup_buffer_ Buffer blob = BUFFER_INIT, output = BUFFER_INIT;
    char fingerprint[SSH_FINGERPRINT_SIZE];
    int r;

    (void)unlink(path);
    (void)unlink(public_path);
    RUN_CHECKED("ssh-keygen", "-q", "-N", "", "-C", "someone", "-t", type, "-b", bits, "-f", path);
    line = read_file(directory, "generated.pub");
    r = ssh_key_parse_line(line, strlen(line), &blob, error);
    if (r < 0)
        return r;
    again = ssh_key_format_line(blob.data, blob.size, "someone");
    assert_memory_equal(line, again, strlen(again));
    ssh_key_fingerprint(blob.data, blob.size, fingerprint);
    assert_int_equal(RUN(&output, "ssh-keygen", "-l", "-f", public_path), 0);
    assert_non_null(strstr(buffer_string(&output), fingerprint));
    return r;
}

static void test_keys_of_ssh_keygen(void **state)
{
    _cleanup_directory_ char *directory = temporary_directory();
    Error error = ERROR_INIT;

    assert_true(parse_generated(directory, "ed25519", "256", NULL) >= 0);
    assert_true(parse_generated(directory, "ecdsa", "256", NULL) >= 0);
    assert_true(parse_generated(directory, "rsa", "3072", NULL) >= 0);
    assert_true(parse_generated(directory, "rsa", "2048", &error) < 0);
    assert_int_equal(error.code, ERROR_INSECURE);
    error_clear(&error);
    assert_true(parse_generated(directory, "ecdsa", "384", &error) < 0);
    assert_int_equal(error.code, ERROR_INSECURE);
}

static int parse(const char *line)
{
    _cleanup_buffer_ Buffer blob = BUFFER_INIT;

    return ssh_key_parse_line(line, strlen(line), &blob, NULL);
}

static void test_lines_that_are_refused(void **state)
{
    _cleanup_pair_ Pair pair = {0};
    _cleanup_free_ char *line = NULL, *renamed = NULL, *with_options = NULL, *two = NULL, *with_tail = NULL;
    char encoded[256];

    make_pair(&pair);
    line = line_of(&pair, NULL);
    assert_true(parse(line) >= 0);
    renamed = string_format("ssh-rsa%s", line + strlen("ssh-ed25519"));
    assert_true(parse(renamed) < 0);
    with_options = string_format("command=\"x\" %s", line);
    assert_true(parse(with_options) < 0);
    two = string_format("%s\n%s", line, line);
    assert_true(parse(two) < 0);
    assert_true(buffer_append_byte(&pair.blob, 0) >= 0);
    base64_encode(pair.blob.data, pair.blob.size, encoded);
    with_tail = string_format("ssh-ed25519 %s", encoded);
    assert_true(parse(with_tail) < 0);
    assert_true(parse("") < 0);
    assert_true(parse("ssh-ed25519") < 0);
    assert_true(parse("ssh-ed25519 ") < 0);
    assert_true(parse("ssh-ed25519 !!!!") < 0);
    assert_true(parse("ssh-ed25519 AAAA") < 0);
    assert_null(ssh_key_format_line(pair.blob.data, pair.blob.size, NULL));
    for (size_t size = 0; size < pair.blob.size - 1; size++)
        assert_true(ssh_key_check_blob(pair.blob.data, size, NULL, NULL) < 0);
}

static void test_private_key_file(void **state)
{
    _cleanup_directory_ char *directory = temporary_directory();
    _cleanup_free_ char *path = path_join(directory, "key"), *line = NULL;
    _cleanup_buffer_ Buffer output = BUFFER_INIT;
    _cleanup_pair_ Pair pair = {0};

    make_pair(&pair);
    write_pair(&pair, directory, "key");
    line = line_of(&pair, NULL);
    assert_int_equal(RUN(&output, "ssh-keygen", "-y", "-f", path), 0);
    assert_memory_equal(buffer_string(&output), line, strlen(line));
}

static SshCertificate user_certificate(const Pair *pair, const StringList *principals)
{
    Usec now = clock_realtime(&system_clock);

    return (SshCertificate){
        .type = SSH_CERTIFICATE_USER,
        .serial = 4711,
        .key = pair->blob.data,
        .key_size = pair->blob.size,
        .key_id = "task 12",
        .principals = principals,
        .valid_after = now - 60 * USEC_PER_SEC,
        .valid_before = now + 600 * USEC_PER_SEC,
    };
}

static void test_ssh_keygen_reads_the_certificate(void **state)
{
    _cleanup_directory_ char *directory = temporary_directory();
    _cleanup_free_ char *path = path_join(directory, "key-cert.pub"), *line = NULL;
    _cleanup_buffer_ Buffer output = BUFFER_INIT;
    _cleanup_string_list_ StringList principals = {0};
    _cleanup_pair_ Pair pair = {0}, ca = {0};
    char fingerprint[SSH_FINGERPRINT_SIZE];
    SshCertificate certificate;

    make_pair(&pair);
    make_pair(&ca);
    string_list_append(&principals, "provisioner:web");
    string_list_append(&principals, "second");
    certificate = user_certificate(&pair, &principals);
    certificate.force_command = "bastide-runner serve";
    certificate.source_address = "10.0.0.0/8,fd00::/8";
    certificate.is_pty_allowed = true;
    assert_int_equal(ssh_certificate_sign(&certificate, ca.seed, &line, NULL), 0);
    write_file(directory, "key-cert.pub", line);
    assert_int_equal(RUN(&output, "ssh-keygen", "-L", "-f", path), 0);
    ssh_key_fingerprint(ca.blob.data, ca.blob.size, fingerprint);
    for (size_t i = 0; i < 9; i++) {
        const char *const expected[] = {"ssh-ed25519-cert-v01@openssh.com user certificate",
                                        "Serial: 4711",
                                        "Key ID: \"task 12\"",
                                        "provisioner:web",
                                        "second",
                                        "force-command bastide-runner serve",
                                        "source-address 10.0.0.0/8,fd00::/8",
                                        "permit-pty",
                                        fingerprint};

        if (!strstr(buffer_string(&output), expected[i]))
            fail_msg("no \"%s\" in: %s", expected[i], buffer_string(&output));
    }
    assert_null(strstr(buffer_string(&output), "permit-port-forwarding"));
    assert_null(strstr(buffer_string(&output), "permit-agent-forwarding"));
}

static void test_certificates_of_all_kinds_of_keys(void **state)
{
    static const struct {
        const char *type, *bits, *name;
    } rows[] = {{"ecdsa", "256", "ecdsa-sha2-nistp256-cert-v01"}, {"rsa", "3072", "ssh-rsa-cert-v01"}};

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_directory_ char *directory = temporary_directory();
        _cleanup_free_ char *path = path_join(directory, "k"),
                            *certificate_path = path_join(directory, "k-cert.pub"), *line = NULL,
                            *signed_line = NULL;
        _cleanup_buffer_ Buffer blob = BUFFER_INIT, output = BUFFER_INIT;
        _cleanup_string_list_ StringList principals = {0};
        _cleanup_pair_ Pair ca = {0};
        SshCertificate certificate;

        make_pair(&ca);
        string_list_append(&principals, "x");
        RUN_CHECKED("ssh-keygen", "-q", "-N", "", "-t", rows[i].type, "-b", rows[i].bits, "-f", path);
        line = read_file(directory, "k.pub");
        assert_true(ssh_key_parse_line(line, strlen(line), &blob, NULL) >= 0);
        certificate = user_certificate(&ca, &principals);
        certificate.key = blob.data;
        certificate.key_size = blob.size;
        assert_int_equal(ssh_certificate_sign(&certificate, ca.seed, &signed_line, NULL), 0);
        write_file(directory, "k-cert.pub", signed_line);
        assert_int_equal(RUN(&output, "ssh-keygen", "-L", "-f", certificate_path), 0);
        assert_non_null(strstr(buffer_string(&output), rows[i].name));
    }
}

static void test_certificates_that_are_refused(void **state)
{
    static const char *const bad[] = {"", "a,b", "a b", "*", "a\n", "\"x\""};
    _cleanup_pair_ Pair pair = {0}, ca = {0};
    _cleanup_string_list_ StringList none = {0}, one = {0};
    char *line = NULL;
    SshCertificate certificate;

    make_pair(&pair);
    make_pair(&ca);
    /* Without principals OpenSSH would take the certificate for everybody. */
    certificate = user_certificate(&pair, &none);
    assert_true(ssh_certificate_sign(&certificate, ca.seed, &line, NULL) < 0);
    certificate.principals = NULL;
    assert_true(ssh_certificate_sign(&certificate, ca.seed, &line, NULL) < 0);
    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        _cleanup_string_list_ StringList list = {0};

        string_list_append(&list, bad[i]);
        certificate.principals = &list;
        assert_true(ssh_certificate_sign(&certificate, ca.seed, &line, NULL) < 0);
    }
    string_list_append(&one, "x");
    certificate = user_certificate(&pair, &one);
    certificate.valid_before = certificate.valid_after;
    assert_true(ssh_certificate_sign(&certificate, ca.seed, &line, NULL) < 0);
    certificate = user_certificate(&pair, &one);
    certificate.key_id = "";
    assert_true(ssh_certificate_sign(&certificate, ca.seed, &line, NULL) < 0);
    certificate = user_certificate(&pair, &one);
    certificate.key_size--;
    assert_true(ssh_certificate_sign(&certificate, ca.seed, &line, NULL) < 0);
    certificate = user_certificate(&pair, &one);
    certificate.type = SSH_CERTIFICATE_HOST;
    certificate.is_pty_allowed = true;
    assert_true(ssh_certificate_sign(&certificate, ca.seed, &line, NULL) < 0);
    assert_null(line);
}

/* --- a real sshd --- */

typedef struct Site {
    char *directory;
    Pair user_ca, host_ca, host, user;
    bool has_made_run_directory;
    char account[64];
} Site;

static void write_host(Site *site, const char *principal)
{
    _cleanup_string_list_ StringList principals = {0};
    _cleanup_free_ char *line = NULL;
    SshCertificate certificate;

    string_list_append(&principals, principal);
    certificate = user_certificate(&site->host, &principals);
    certificate.type = SSH_CERTIFICATE_HOST;
    assert_int_equal(ssh_certificate_sign(&certificate, site->host_ca.seed, &line, NULL), 0);
    write_file(site->directory, "host-cert.pub", line);
}

static void write_site(Site *site)
{
    _cleanup_free_ char *user_ca = line_of(&site->user_ca, NULL), *host_ca = line_of(&site->host_ca, NULL);
    _cleanup_free_ char *known = string_format("@cert-authority node1.example %s\n", host_ca);
    _cleanup_free_ char *config = string_format("HostKey %1$s/host\n"
                                                "HostCertificate %1$s/host-cert.pub\n"
                                                "TrustedUserCAKeys %1$s/user-ca.pub\n"
                                                "AuthorizedPrincipalsFile %1$s/principals\n"
                                                "AuthorizedKeysFile none\n"
                                                "PasswordAuthentication no\n"
                                                "KbdInteractiveAuthentication no\n"
                                                "PermitRootLogin yes\n"
                                                "UsePAM no\n"
                                                "StrictModes no\n"
                                                "PidFile none\n",
                                                site->directory);

    write_pair(&site->host, site->directory, "host");
    write_pair(&site->user, site->directory, "user");
    write_file(site->directory, "user-ca.pub", user_ca);
    write_file(site->directory, "known", known);
    write_file(site->directory, "principals", "provisioner:web\n");
    write_file(site->directory, "config", config);
    write_host(site, "node1.example");
}

static int set_up_site(void **state)
{
    Site *site = NEW(Site);
    const struct passwd *account = getpwuid(geteuid());

    assert_non_null(account);
    assert_true(string_copy(site->account, sizeof(site->account), account->pw_name) >= 0);
    site->directory = temporary_directory();
    site->has_made_run_directory = mkdir("/run/sshd", 0755) == 0;
    make_pair(&site->user_ca);
    make_pair(&site->host_ca);
    make_pair(&site->host);
    make_pair(&site->user);
    write_site(site);
    *state = site;
    return 0;
}

static int tear_down_site(void **state)
{
    Site *site = *state;

    if (site->has_made_run_directory)
        (void)rmdir("/run/sshd");
    pair_done(&site->user_ca);
    pair_done(&site->host_ca);
    pair_done(&site->host);
    pair_done(&site->user);
    temporary_directory_done(&site->directory);
    free(site);
    return 0;
}

static int log_in(const Site *site, const SshCertificate *certificate, const Secret *ca, Buffer *output)
{
    _cleanup_free_ char *line = NULL, *key = path_join(site->directory, "user"),
                        *known = string_format("UserKnownHostsFile=%s/known", site->directory),
                        *proxy =
                            string_format("ProxyCommand=/usr/sbin/sshd -i -f %s/config", site->directory),
                        *certificate_file =
                            string_format("CertificateFile=%s/user-cert.pub", site->directory);

    assert_int_equal(ssh_certificate_sign(certificate, ca, &line, NULL), 0);
    write_file(site->directory, "user-cert.pub", line);
    return RUN(output, "ssh", "-F", "none", "-i", key, "-o", certificate_file, "-o", "IdentitiesOnly=yes",
               "-o", "IdentityAgent=none", "-o", known, "-o", "GlobalKnownHostsFile=none", "-o",
               "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-o", proxy, "-l", site->account,
               "node1.example", "echo", "from-the-client");
}

static void test_login(void **state)
{
    const Site *site = *state;
    _cleanup_string_list_ StringList principals = {0};
    _cleanup_buffer_ Buffer output = BUFFER_INIT, forced = BUFFER_INIT;
    SshCertificate certificate;
    int status;

    string_list_append(&principals, "provisioner:web");
    certificate = user_certificate(&site->user, &principals);
    status = log_in(site, &certificate, site->user_ca.seed, &output);
    if (status != 0)
        fail_msg("login failed: %s", buffer_string(&output));
    assert_non_null(strstr(buffer_string(&output), "from-the-client"));
    certificate.force_command = "echo forced-command";
    assert_int_equal(log_in(site, &certificate, site->user_ca.seed, &forced), 0);
    assert_non_null(strstr(buffer_string(&forced), "forced-command"));
    assert_null(strstr(buffer_string(&forced), "from-the-client"));
}

static void assert_refused(const Site *site, const SshCertificate *certificate, const Secret *ca)
{
    _cleanup_buffer_ Buffer output = BUFFER_INIT;

    assert_int_equal(log_in(site, certificate, ca, &output), 255);
    if (!strstr(buffer_string(&output), "Permission denied"))
        fail_msg("not refused by sshd but: %s", buffer_string(&output));
}

static void test_login_refused(void **state)
{
    const Site *site = *state;
    _cleanup_string_list_ StringList right = {0}, wrong = {0};
    Usec now = clock_realtime(&system_clock);
    SshCertificate certificate;

    string_list_append(&right, "provisioner:web");
    string_list_append(&wrong, "provisioner:other");
    certificate = user_certificate(&site->user, &wrong);
    assert_refused(site, &certificate, site->user_ca.seed);
    certificate = user_certificate(&site->user, &right); /* PK9: expired */
    certificate.valid_after = now - 7200 * USEC_PER_SEC;
    certificate.valid_before = now - 3600 * USEC_PER_SEC;
    assert_refused(site, &certificate, site->user_ca.seed);
    certificate = user_certificate(&site->user, &right); /* not yet */
    certificate.valid_after = now + 3600 * USEC_PER_SEC;
    certificate.valid_before = now + 7200 * USEC_PER_SEC;
    assert_refused(site, &certificate, site->user_ca.seed);
    certificate = user_certificate(&site->user, &right); /* another authority */
    assert_refused(site, &certificate, site->host_ca.seed);
    certificate = user_certificate(&site->user, &right); /* from elsewhere */
    certificate.source_address = "192.0.2.0/24";
    assert_refused(site, &certificate, site->user_ca.seed);
    certificate = user_certificate(&site->user, &right); /* a host's certificate is no user's */
    certificate.type = SSH_CERTIFICATE_HOST;
    assert_refused(site, &certificate, site->user_ca.seed);
}

static void test_host_certificate_of_another_host(void **state)
{
    Site *site = *state;
    _cleanup_string_list_ StringList principals = {0};
    _cleanup_buffer_ Buffer output = BUFFER_INIT;
    SshCertificate certificate;

    string_list_append(&principals, "provisioner:web");
    certificate = user_certificate(&site->user, &principals);
    write_host(site, "node2.example");
    assert_int_equal(log_in(site, &certificate, site->user_ca.seed, &output), 255);
    assert_non_null(strstr(buffer_string(&output), "Host key verification failed"));
    write_host(site, "node1.example");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_of_ssh_keygen),
        cmocka_unit_test(test_lines_that_are_refused),
        cmocka_unit_test(test_private_key_file),
        cmocka_unit_test(test_ssh_keygen_reads_the_certificate),
        cmocka_unit_test(test_certificates_of_all_kinds_of_keys),
        cmocka_unit_test(test_certificates_that_are_refused),
        cmocka_unit_test_setup_teardown(test_login, set_up_site, tear_down_site),
        cmocka_unit_test_setup_teardown(test_login_refused, set_up_site, tear_down_site),
        cmocka_unit_test_setup_teardown(test_host_certificate_of_another_host, set_up_site, tear_down_site),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
