/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/string.h"
#include "provisioner/task.h"

static json_t *parse(const char *text)
{
    json_t *value = NULL;
    Error error = ERROR_INIT;
    assert_int_equal(json_parse(text, strlen(text), 1 << 20, &value, &error), 0);
    return value;
}

#define BASE                                                                                                 \
    "\"id\":\"e-1\",\"step\":\"e-1.1\",\"attempt\":1,\"tenant\":\"t\",\"cluster\":\"c\",\"action\":"         \
    "\"install\",\"timeout_ms\":1000,"

static void test_good_tasks(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        TaskKind kind;
    } cases[] = {
        {"{" BASE "\"kind\":\"bootstrap\",\"node\":{\"id\":\"n\"}}", TASK_BOOTSTRAP},
        {"{" BASE "\"kind\":\"bootstrap\",\"node\":{\"id\":\"n\",\"later\":1},\"later\":2}", TASK_BOOTSTRAP},
        {"{" BASE "\"kind\":\"automator\",\"node\":{\"id\":\"n\",\"provider_id\":null,\"host_keys\":[\"ssh-"
         "ed25519 AAAA\"]},"
         "\"service\":{\"name\":\"s\",\"action\":{\"type\":\"script\",\"fields\":{\"script\":\"a/b.sh\"}}}}",
         TASK_AUTOMATOR},
        {"{" BASE "\"kind\":\"firewall\",\"node\":{\"id\":\"n\"},\"firewall\":{\"ruleset\":\"x\",\"confirm_"
         "seconds\":5}}",
         TASK_FIREWALL},
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_json_ json_t *document = parse(cases[i].text);
        Error error = ERROR_INIT;
        _cleanup_task_ Task *task = NULL;
        int r = task_parse(document, &task, &error);
        assert_string_equal(error.text, "");
        assert_int_equal(r, 0);
        assert_int_equal(task->kind, cases[i].kind);
        assert_string_equal(task->step, "e-1.1");
        assert_string_equal(task->node.ssh_user, "root");
        assert_int_equal(task->node.ssh_port, 22);
    }
}

static void test_bad_tasks_name_the_member(void **state)
{
    (void)state;
    static const struct {
        const char *text, *field;
    } cases[] = {
        {"{}", "id"},
        {"{" BASE "\"kind\":\"dance\",\"node\":{\"id\":\"n\"}}", "kind"},
        {"{" BASE "\"kind\":\"automator\",\"node\":{\"id\":\"n\"}}", "service.action"},
        {"{" BASE "\"kind\":\"firewall\",\"node\":{\"id\":\"n\"}}", "firewall"},
        {"{" BASE "\"kind\":\"bootstrap\",\"node\":{\"id\":\"n\",\"ssh_port\":70000}}", "node.ssh_port"},
        {"{" BASE "\"kind\":\"bootstrap\",\"node\":{\"id\":\"n\",\"host_keys\":[\"a\\nb\"]}}",
         "node.host_keys"},
        {"{" BASE "\"kind\":\"bootstrap\",\"node\":{\"id\":\"n\"},\"bundle\":{\"digest\":\"abc\"}}",
         "bundle.digest"},
        {"{" BASE "\"kind\":\"bootstrap\",\"node\":{\"id\":\"n\"},\"secrets\":{\"../x\":\"v\"}}", "secrets"},
        {"{" BASE "\"kind\":\"bootstrap\",\"node\":{\"id\":\"n\"},\"secrets\":{\"x\":1}}", "secrets"},
        {"{" BASE "\"kind\":\"automator\",\"node\":{\"id\":\"n\"},\"service\":{\"action\":{\"type\":"
         "\"script\",\"fields\":{\"script\":"
         "\"../b.sh\"}}}}",
         "service.action.fields.script"},
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_json_ json_t *document = parse(cases[i].text);
        Error error = ERROR_INIT;
        Task *task = NULL;
        assert_true(task_parse(document, &task, &error) < 0);
        assert_string_equal(error.field, cases[i].field);
    }
}

static void test_flat_parameters(void **state)
{
    (void)state;
    _cleanup_json_ json_t *parameters =
        parse("{\"db\":{\"port\":5432,\"on\":true,\"text\":\"a\\tb\\nc\\\\d\",\"none\":null},\"list\":[\"x\","
              "{\"y\":1.5}]}");
    _cleanup_free_ char *text = NULL;
    assert_int_equal(task_flatten_parameters(parameters, 1024, &text), 0);
    assert_string_equal(
        text, "db.port\t5432\ndb.on\ttrue\ndb.text\ta\\tb\\nc\\\\d\ndb.none\t\nlist.0\tx\nlist.1.y\t1.5\n");
    char *none = NULL;
    assert_true(task_flatten_parameters(parameters, 10, &none) < 0);
    assert_int_equal(task_flatten_parameters(NULL, 10, &none), 0);
    assert_string_equal(none, "");
    free(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_tasks),
        cmocka_unit_test(test_bad_tasks_name_the_member),
        cmocka_unit_test(test_flat_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
