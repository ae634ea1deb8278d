/* SPDX-License-Identifier: Apache-2.0 */

/* The firewall of a node (CH8): the text, and that the kernel takes it, replaces it in one piece and filters
 * by it. */

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "domain/firewall/firewall.h"
#include "support.h"

static const char *const web_addresses[] = {"10.7.0.12", "fd00:7::12", "10.7.0.11", "10.7.0.11"};
static const char *const cluster_addresses[] = {"10.7.0.10", "10.7.0.11", "10.7.0.12", "fd00:7::12"};
static const char *const management[] = {"192.0.2.0/24", "192.0.2.7", "2001:db8::/64"};

typedef struct Fixture {
    MemoryCatalog *catalog;
    CatalogEntry *services[2];
    FirewallPeer peers[1];
    FirewallInput input;
} Fixture;

static int set_up(void **state)
{
    Fixture *fixture = NEW(Fixture);
    fixture->catalog = memory_catalog_new();
    put(fixture->catalog, CATALOG_SERVICE,
        "{'name':'db','network':{'ports':[{'port':5432,'from':['service:web','service:absent']},"
        "{'port':'7000-7010','protocol':'udp','from':['cluster','10.0.0.0/8','fd00::/8']}]}}");
    put(fixture->catalog, CATALOG_SERVICE,
        "{'name':'lb','network':{'ports':[{'port':443,'from':['anywhere']}]}}");
    Catalog *interface = memory_catalog_interface(fixture->catalog);
    assert_int_equal(catalog_get(interface, CATALOG_SERVICE, "db", &fixture->services[0], NULL), 0);
    assert_int_equal(catalog_get(interface, CATALOG_SERVICE, "lb", &fixture->services[1], NULL), 0);
    fixture->peers[0] = (FirewallPeer){"web", web_addresses, ELEMENTSOF(web_addresses)};
    fixture->input = (FirewallInput){
        .services = fixture->services,
        .service_count = 2,
        .peers = fixture->peers,
        .peer_count = 1,
        .cluster = cluster_addresses,
        .cluster_count = ELEMENTSOF(cluster_addresses),
        .management = management,
        .management_count = ELEMENTSOF(management),
    };
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    Fixture *fixture = *state;
    catalog_entry_unref(fixture->services[0]);
    catalog_entry_unref(fixture->services[1]);
    memory_catalog_free(fixture->catalog);
    free(fixture);
    return 0;
}

static void check_text(void **state)
{
    Fixture *fixture = *state;
    char digest[FIREWALL_DIGEST_SIZE];
    _cleanup_free_ char *text = NULL;
    assert_int_equal(firewall_render(&fixture->input, &text, digest, NULL), 0);
    static const char *const lines[] = {
        "add table inet bastide\ndelete table inet bastide\ntable inet bastide {\n",
        ("set management_v4 {\n\t\ttype ipv4_addr\n\t\tflags interval\n\t\tauto-merge\n\t\telements = { "
         "192.0.2.0/24, 192.0.2.7 }"),
        "set peers_0_v4 {\n\t\ttype ipv4_addr\n\t\telements = { 10.7.0.11, 10.7.0.12 }",
        "set peers_0_v6 {\n\t\ttype ipv6_addr\n\t\telements = { fd00:7::12 }",
        "policy drop;\n\t\tct state established,related accept\n",
        "ip saddr @management_v4 tcp dport 22 accept",
        "ip6 saddr @management_v6 tcp dport 22 accept",
        "ip saddr @peers_0_v4 tcp dport 5432 accept",
        "ip6 saddr @peers_0_v6 tcp dport 5432 accept",
        "ip saddr @peers_1_v4 udp dport 7000-7010 accept",
        "ip saddr 10.0.0.0/8 udp dport 7000-7010 accept",
        "ip6 saddr fd00::/8 udp dport 7000-7010 accept",
        "\t\ttcp dport 443 accept",
        "hook forward priority filter; policy drop;",
        "hook output priority filter; policy accept;",
    };
    for (size_t i = 0; i < ELEMENTSOF(lines); i++)
        if (!strstr(text, lines[i]))
            fail_msg("missing: %s\nin:\n%s", lines[i], text);
    assert_null(strstr(text, "absent"));
}

/* The order in which addresses and services come does not matter. */
static void check_deterministic(void **state)
{
    Fixture *fixture = *state;
    static const char *const other_order[] = {"10.7.0.11", "10.7.0.12", "fd00:7:0::12"};
    CatalogEntry *swapped[] = {fixture->services[1], fixture->services[0]};
    FirewallPeer peer = {"web", other_order, ELEMENTSOF(other_order)};
    FirewallInput other = fixture->input;
    other.services = swapped;
    other.peers = &peer;
    char digest[FIREWALL_DIGEST_SIZE], other_digest[FIREWALL_DIGEST_SIZE];
    _cleanup_free_ char *text = NULL, *other_text = NULL;
    assert_int_equal(firewall_render(&fixture->input, &text, digest, NULL), 0);
    assert_int_equal(firewall_render(&other, &other_text, other_digest, NULL), 0);
    assert_string_equal(text, other_text);
    assert_string_equal(digest, other_digest);
    assert_int_equal(strlen(digest), 64);
}

static void check_refusals(void **state)
{
    Fixture *fixture = *state;
    static const char *const bad[] = {
        "10.0.0.1 } ; flush ruleset ; {", "$(id)", "", "10.0.0.300", "10.0.0.0/8", "fe80::1%eth0"};
    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        FirewallPeer peer = {"web", &bad[i], 1};
        FirewallInput input = fixture->input;
        input.peers = &peer;
        char digest[FIREWALL_DIGEST_SIZE];
        char *text = NULL;
        Error error = ERROR_INIT;
        assert_true(firewall_render(&input, &text, digest, &error) < 0);
        assert_int_equal(error.code, ERROR_BAD_FIELD);
    }
    FirewallInput locked_out = fixture->input;
    locked_out.management_count = 0;
    char digest[FIREWALL_DIGEST_SIZE];
    char *text = NULL;
    Error error = ERROR_INIT;
    assert_true(firewall_render(&locked_out, &text, digest, &error) < 0);
    assert_int_equal(error.code, ERROR_INSECURE);
}

static int run(char *const arguments[], const char *input, char *output, size_t output_size)
{
    int to[2], from[2];
    if (pipe2(to, O_CLOEXEC) < 0 || pipe2(from, O_CLOEXEC) < 0)
        return -1;
    pid_t child = fork();
    if (child == 0) {
        (void)dup2(to[0], 0);
        (void)dup2(from[1], 1);
        execvp(arguments[0], arguments);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    (void)write_full(to[1], input, strlen(input));
    close(to[1]);
    ssize_t size = read_full(from[0], output, output_size - 1);
    output[size > 0 ? size : 0] = '\0';
    close(from[0]);
    int status = 0;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* In a network namespace of its own: load twice, and see that the kernel has what was meant. Exit status =
 * the check that failed. */
static int load_in_namespace(const char *text)
{
    static char output[65536];
    if (unshare(geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return 10;
    char *load[] = {(char[]){"nft"}, (char[]){"-f"}, (char[]){"-"}, NULL};
    char *list[] = {(char[]){"nft"}, (char[]){"list"}, (char[]){"ruleset"}, NULL};
    if (run(load, "add table inet other\n", output, sizeof(output)) != 0)
        return 11;
    if (run(load, text, output, sizeof(output)) != 0 || run(load, text, output, sizeof(output)) != 0)
        return 12;
    if (run(list, "", output, sizeof(output)) != 0)
        return 13;
    /* Other tables are left alone; ours is there once, each rule once. */
    const char *ours = strstr(output, "table inet bastide");
    if (!strstr(output, "table inet other") || !ours || strstr(ours + 1, "table inet bastide"))
        return 14;
    const char *rule = strstr(output, "ip saddr @peers_0_v4 tcp dport 5432 accept");
    if (!rule || strstr(rule + 1, "ip saddr @peers_0_v4 tcp dport 5432 accept"))
        return 15;
    /* A text with a fault changes nothing. */
    _cleanup_free_ char *broken = string_format("%s\nthis is no rule\n", text);
    if (run(load, broken, output, sizeof(output)) == 0)
        return 16;
    if (run(list, "", output, sizeof(output)) != 0 || !strstr(output, "udp dport 7000-7010 accept"))
        return 17;
    return 0;
}

static void check_kernel(void **state)
{
    Fixture *fixture = *state;
    char digest[FIREWALL_DIGEST_SIZE];
    _cleanup_free_ char *text = NULL;
    assert_int_equal(firewall_render(&fixture->input, &text, digest, NULL), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(load_in_namespace(text));
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(check_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(check_deterministic, set_up, tear_down),
        cmocka_unit_test_setup_teardown(check_refusals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(check_kernel, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("firewall (CH8)", tests, NULL, NULL);
}
