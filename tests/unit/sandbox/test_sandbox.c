/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the sandbox that need no namespaces: addresses, host keys, control groups on a made-up
 * machine. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
/* after the standard ones */
#include <sodium.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/string.h"
#include "sandbox/addresses.h"
#include "sandbox/cgroup.h"
#include "sandbox/confine.h"
#include "sandbox/host_key.h"
#include "sandbox/process.h"

static AddressPlan plan_make(const char *pool, unsigned block_prefix)
{
    AddressPlan plan = {.block_prefix = block_prefix, .ipv6_prefix = {0xfd, 1, 2, 3, 4, 5}};
    assert_int_equal(addresses_parse_pool(pool, &plan.pool, &plan.pool_prefix), 0);
    return plan;
}

static void test_pools(void **state)
{
    static const char *const bad[] = {"",
                                      "10.0.0.0",
                                      "10.0.0.0/",
                                      "10.0.0.0/7",
                                      "10.0.0.0/25",
                                      "10.0.0.1/16",
                                      "10.0.0.0/16x",
                                      "8.8.0.0/16",
                                      "10.0.0/16",
                                      "172.32.0.0/16",
                                      "300.0.0.0/8",
                                      "10.0.0.0/-1",
                                      "169.254.0.0/16",
                                      NULL};
    static const char *const good[] = {"10.0.0.0/8", "10.214.0.0/16", "172.16.0.0/12", "192.168.7.0/24",
                                       "100.64.0.0/10"};
    uint32_t address;
    unsigned prefix;
    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        assert_int_equal(addresses_parse_pool(bad[i], &address, &prefix), -EINVAL);
    for (size_t i = 0; i < ELEMENTSOF(good); i++)
        assert_int_equal(addresses_parse_pool(good[i], &address, &prefix), 0);
}

static void test_blocks_do_not_overlap(void **state)
{
    AddressPlan plan = plan_make("10.214.0.0/20", 28);
    uint32_t blocks = plan_block_count(&plan), hosts = plan_hosts_per_block(&plan), last = 0;
    assert_int_equal(blocks, 256);
    assert_int_equal(hosts, 13);
    for (uint32_t b = 0; b < blocks; b++) {
        assert_true(plan_gateway_address(&plan, b) > last);
        for (uint32_t i = 0; i < hosts; i++) {
            uint32_t address = plan_host_address(&plan, b, i);
            assert_true(address > last);
            assert_true(plan_contains(&plan, address));
            assert_int_equal(plan_block_of(&plan, address), b);
            assert_int_equal(plan_index_of(&plan, address), i);
            last = address;
        }
        assert_int_equal(plan_index_of(&plan, plan_gateway_address(&plan, b)), UINT32_MAX);
        assert_int_equal(plan_index_of(&plan, last + 1), UINT32_MAX); /* broadcast */
    }
    assert_false(plan_contains(&plan, last + 2));
}

static void test_derived_addresses(void **state)
{
    AddressPlan plan = plan_make("10.214.0.0/16", 26);
    uint32_t ipv4 = plan_host_address(&plan, 3, 4);
    char text[ADDRESS_TEXT_SIZE], link[LINK_NAME_SIZE];
    uint8_t mac[MAC_SIZE], ipv6[16], local[16];
    ipv4_format(ipv4, text);
    assert_string_equal(text, "10.214.0.198");
    mac_of(ipv4, mac);
    assert_memory_equal(mac, ((uint8_t[]){0x02, 0xb5, 10, 214, 0, 198}), MAC_SIZE);
    plan_ipv6(&plan, 3, ipv4, ipv6);
    ipv6_format(ipv6, text);
    assert_string_equal(text, "fd01:203:405:3::ad6:c6");
    plan_ipv6(&plan, 3, 0, ipv6);
    ipv6_format(ipv6, text);
    assert_string_equal(text, "fd01:203:405:3::1");
    link_local_of(mac, local);
    ipv6_format(local, text);
    assert_string_equal(text, "fe80::b5:aff:fed6:c6");
    link_name_of(ipv4, link);
    assert_string_equal(link, "h0ad600c6");
}

static void test_overlap(void **state)
{
    uint32_t a = 0, b = 0;
    assert_int_equal(ipv4_parse("10.214.0.0", &a), 0);
    assert_int_equal(ipv4_parse("10.214.128.0", &b), 0);
    assert_true(networks_overlap(a, 16, b, 20));
    assert_true(networks_overlap(b, 20, a, 16));
    assert_false(networks_overlap(a, 17, b, 17));
    assert_true(networks_overlap(a, 16, 0, 0));
}

/* ssh-keygen reads the private half and derives the same public half. */
static void test_host_key_is_one_for_openssh(void **state)
{
    char directory[] = "/tmp/bastide-key-XXXXXX";
    assert_non_null(mkdtemp(directory));
    _cleanup_free_ char *path = path_join(directory, "key"), *out = path_join(directory, "out"), *text = NULL,
                        *public_key = NULL;
    _cleanup_(buffer_wipe) Buffer private_key = BUFFER_INIT;
    assert_int_equal(host_key_generate(&private_key, &public_key), 0);
    assert_int_equal(file_write_new(path, private_key.data, private_key.size, 0600), 0);
    _cleanup_free_ char *command = string_format("exec ssh-keygen -y -P '' -f %s > %s", path, out);
    const char *const arguments[] = {"/bin/sh", "-c", command, NULL};
    assert_int_equal(process_run(arguments, NULL, 0), 0);
    size_t size = 0;
    assert_int_equal(file_read(out, 4096, &text, &size), 0);
    assert_true(string_starts_with(text, public_key));
    assert_int_equal(directory_remove(directory), 0);
}

static void test_host_keys_differ(void **state)
{
    _cleanup_free_ char *one = NULL, *two = NULL;
    _cleanup_(buffer_wipe) Buffer a = BUFFER_INIT;
    _cleanup_(buffer_wipe) Buffer b = BUFFER_INIT;
    assert_int_equal(host_key_generate(&a, &one), 0);
    assert_int_equal(host_key_generate(&b, &two), 0);
    assert_string_not_equal(one, two);
}

static void write_text(const char *directory, const char *name, const char *text)
{
    _cleanup_free_ char *path = path_join(directory, name);
    assert_int_equal(file_write_atomic(path, text, strlen(text), 0644), 0);
}

static void expect_text(const char *directory, const char *name, const char *expected)
{
    _cleanup_free_ char *path = path_join(directory, name), *text = NULL;
    size_t size = 0;
    assert_int_equal(file_read(path, 4096, &text, &size), 0);
    assert_true(string_starts_with(text, expected));
}

/* Kernel files exist when the group does; here they are made before the limits are written. */
static void make_files(const char *root, const char *group, const char *const *files, size_t count)
{
    _cleanup_free_ char *directory = path_join(root, group);
    assert_int_equal(directory_make(directory, 0755), 0);
    for (size_t i = 0; i < count; i++)
        write_text(directory, files[i], "");
}

static void open_machine(const char *root, const char *mounts, const char *own, Cgroups *groups)
{
    Error error = ERROR_INIT;
    write_text(root, "mountinfo", mounts);
    write_text(root, "own", own);
    _cleanup_free_ char *mounts_path = path_join(root, "mountinfo"), *own_path = path_join(root, "own");
    int r = cgroups_open(mounts_path, own_path, "bastide-x", groups, &error);
    if (r < 0)
        fail_msg("%s", error.text);
}

static void test_hb5_unified_groups(void **state)
{
    static const char *const base_files[] = {"cgroup.subtree_control"};
    static const char *const leaf_files[] = {"cgroup.procs"};
    static const char *const host_files[] = {"memory.max", "memory.swap.max", "pids.max", "cgroup.procs"};
    char root[] = "/tmp/bastide-cgroup-XXXXXX";
    assert_non_null(mkdtemp(root));
    write_text(root, "cgroup.controllers", "cpuset cpu io memory hugetlb pids\n");
    make_files(root, "system.slice/sandbox.service", base_files, 1);
    make_files(root, "system.slice/sandbox.service/bastide-sandboxd", leaf_files, 1);
    make_files(root, "system.slice/sandbox.service/bastide-x", base_files, 1);
    make_files(root, "system.slice/sandbox.service/bastide-x/host1", host_files, 4);
    Cgroups groups = {0};
    _cleanup_free_ char *mounts = string_format("30 23 0:26 / %s rw - cgroup2 cgroup2 rw,nsdelegate\n", root);
    open_machine(root, mounts, "0::/system.slice/sandbox.service\n", &groups);
    assert_int_equal(groups.count, 1);
    expect_text(root, "system.slice/sandbox.service/cgroup.subtree_control", "+memory +pids");
    expect_text(root, "system.slice/sandbox.service/bastide-x/cgroup.subtree_control", "+memory +pids");
    _cleanup_free_ char *self = string_format("%d", (int)getpid());
    expect_text(root, "system.slice/sandbox.service/bastide-sandboxd/cgroup.procs", self);
    assert_int_equal(
        cgroups_create(&groups, "host1", &(CgroupLimits){.memory_bytes = 1 << 28, .tasks = 99}, NULL), 0);
    expect_text(root, "system.slice/sandbox.service/bastide-x/host1/memory.max", "268435456");
    expect_text(root, "system.slice/sandbox.service/bastide-x/host1/pids.max", "99");
    /* Restarted from the leaf it moved to, it finds the same place. */
    Cgroups again = {0};
    open_machine(root, mounts, "0::/system.slice/sandbox.service/bastide-sandboxd\n", &again);
    assert_string_equal(again.hierarchies[0].path, groups.hierarchies[0].path);
    assert_int_equal(directory_remove(root), 0);
}

static void test_hb5_legacy_groups(void **state)
{
    static const char *const memory_files[] = {"memory.limit_in_bytes", "memory.swappiness", "cgroup.procs"};
    static const char *const pids_files[] = {"pids.max", "cgroup.procs"};
    char root[] = "/tmp/bastide-cgroup-XXXXXX";
    assert_non_null(mkdtemp(root));
    make_files(root, "memory/bastide-x/host1", memory_files, 3);
    make_files(root, "pids/bastide-x/host1", pids_files, 2);
    make_files(root, "unified", NULL, 0);
    write_text(root, "unified/cgroup.controllers", "hugetlb\n");
    _cleanup_free_ char *mounts =
        string_format("29 23 0:25 / %s/memory rw,relatime - cgroup cgroup rw,memory\n"
                      "31 23 0:27 / %s/pids rw,relatime shared:9 - cgroup cgroup rw,pids\n"
                      "32 23 0:28 / %s/unified rw - cgroup2 cgroup2 rw\n",
                      root, root, root);
    Cgroups groups = {0};
    open_machine(root, mounts, "5:pids:/\n4:memory:/\n0::/\n", &groups);
    assert_int_equal(groups.count, 2);
    assert_int_equal(
        cgroups_create(&groups, "host1", &(CgroupLimits){.memory_bytes = 4096, .tasks = 7}, NULL), 0);
    expect_text(root, "memory/bastide-x/host1/memory.limit_in_bytes", "4096");
    expect_text(root, "pids/bastide-x/host1/pids.max", "7");
    assert_int_equal(directory_remove(root), 0);
}

static void test_hb5_missing_controllers_are_refused(void **state)
{
    char root[] = "/tmp/bastide-cgroup-XXXXXX";
    assert_non_null(mkdtemp(root));
    write_text(root, "own", "0::/\n");
    write_text(root, "cgroup.controllers", "memory\n");
    _cleanup_free_ char *mounts = string_format("30 23 0:26 / %s rw - cgroup2 cgroup2 rw\n", root);
    write_text(root, "mountinfo", mounts);
    _cleanup_free_ char *mounts_path = path_join(root, "mountinfo"), *own_path = path_join(root, "own");
    Cgroups groups = {0};
    Error error = ERROR_INIT;
    assert_true(cgroups_open(mounts_path, own_path, "bastide-x", &groups, &error) < 0);
    assert_int_equal(error.code, ERROR_UNAVAILABLE);
    assert_int_equal(directory_remove(root), 0);
}

static void test_filter_builds(void **state)
{
    Filter filter = {0};
    Error error = ERROR_INIT;
    assert_int_equal(filter_build(&filter, &error), 0);
    assert_true(filter.count > 100);
    filter_done(&filter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pools),
        cmocka_unit_test(test_blocks_do_not_overlap),
        cmocka_unit_test(test_derived_addresses),
        cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_host_key_is_one_for_openssh),
        cmocka_unit_test(test_host_keys_differ),
        cmocka_unit_test(test_hb5_unified_groups),
        cmocka_unit_test(test_hb5_legacy_groups),
        cmocka_unit_test(test_hb5_missing_controllers_are_refused),
        cmocka_unit_test(test_filter_builds),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
