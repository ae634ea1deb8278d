/* SPDX-License-Identifier: Apache-2.0 */

/* Macros (PR10): grammar, evaluation, references. The cluster of the evaluation cases is the one of the
 * reference study. */

#include "domain/macro/macro.h"
#include "support.h"

static void check_accepts(void **state)
{
    static const char *const good[] = {
        "host.self",
        "host.service.db",
        "host.service.db[0]",
        "ip.self",
        "ip.access_v4.self",
        "ip.service.a.b-c_d",
        "ip.bind_v4.service.db[12]",
        "num.service.db",
        "instance.self.service.db",
        "join(host.service.db)",
        "join(host.service.db,',')",
        "join(host.service.db, \" \")",
        "map(host.service.db,'$:80')",
        "join(map(ip.access_v6.service.db,'[$]:80'),';')",
        "cluster.name",
        "cluster.id",
        "cluster.owner",
        "secret.db.password",
        "join( map( host.service.db , '$' ) , ',' )",
    };
    _cleanup_arena_ Arena *arena = arena_new();
    for (size_t i = 0; i < ELEMENTSOF(good); i++) {
        Macro macro;
        Error error = ERROR_INIT;
        if (macro_parse_expression(arena, good[i], &macro, &error) < 0)
            fail_msg("%s: %s", good[i], error.text);
    }
}

static void check_rejects(void **state)
{
    static const struct {
        const char *text;
        unsigned column;
    } bad[] = {
        {"", 1},
        {"hostself", 1},
        {"host", 1},
        {"join(host.service.db", 21},
        {"join(host.service.db,'x'", 25},
        {"join(host.service.db 'x')", 22},
        {"join(host.service.db,'x)", 22},
        {"join(host.service.db,x)", 22},
        {"map(host.service.db,$:80)", 21},
        {"map(host.service.db)", 20},
        {"map(host.service.db,'$'", 24},
        {"host.service.db[123", 20},
        {"host.service.db[]", 17},
        {"host.service.db]", 16},
        {"host.service.db[123.0]", 20},
        {"host.service.db[-1]", 17},
        {"host.service.db[99999999999999999999]", 17},
        {"host.service.", 14},
        {"ip.v9.self", 4},
        {"ip.access_v4", 13},
        {"cluster.colour", 9},
        {"join(num.service.db,',')", 6},
        {"host.selfish", 6},
        {"secret.", 8},
        {"host.self ", 10},
    };
    _cleanup_arena_ Arena *arena = arena_new();
    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        Macro macro;
        Error error = ERROR_INIT;
        assert_int_equal(macro_parse_expression(arena, bad[i].text, &macro, &error), -EINVAL);
        assert_int_equal(error.code, ERROR_BAD_MACRO);
        if (error.column != bad[i].column)
            fail_msg("%s: column %u, expected %u (%s)", bad[i].text, error.column, bad[i].column, error.text);
    }
}

/* Percent signs in ordinary values, and values that only look almost like a macro. */
static void check_values(void **state)
{
    static const struct {
        const char *text;
        bool is_good;
        size_t macros;
    } values[] = {
        {"", true, 0},
        {"100%", true, 0},
        {"50% of 70%", true, 0},
        {"%Y-%m-%d %H:%M:%S", true, 0},
        {"%%", true, 0},
        {"%%host.self%%", true, 0},
        {"http://%host.self%:80/", true, 1},
        {"%host.self%%ip.self%", true, 2},
        {"%bare%", false, 0},
        {"%hots.self%", false, 0},
        {"%hots.self", true, 0},
        {"%host.self", false, 0},
        {"%join(host.service.db,',')", false, 0},
        {"%secret.x%", true, 1},
        {"password=%secret.x%", false, 0},
        {"%secret.x% ", false, 0},
    };
    _cleanup_arena_ Arena *arena = arena_new();
    for (size_t i = 0; i < ELEMENTSOF(values); i++) {
        MacroText text = {0};
        Error error = ERROR_INIT;
        int r = macro_parse(arena, values[i].text, &text, &error);
        if ((r == 0) != values[i].is_good)
            fail_msg("'%s' gave %d: %s", values[i].text, r, error.text);
        size_t macros = 0;
        for (size_t j = 0; r == 0 && j < text.count; j++)
            macros += !text.parts[j].literal;
        if (r == 0)
            assert_int_equal(macros, values[i].macros);
    }
}

static const char *const foo_services[] = {"1", "2"}, *const one_service[] = {"1"},
                         *const two_service[] = {"2"}, *const three_service[] = {"3"};
static const MacroNode nodes[] = {
    {.number = 9, .hostname = "owt", .services = two_service, .service_count = 1},
    {.number = 0 + 1,
     .hostname = "oof",
     .addresses = {"9.7.8.4"},
     .services = foo_services,
     .service_count = 2},
    {.number = 8, .hostname = "eno", .addresses = {"9.1.3.4"}, .services = one_service, .service_count = 1},
    {.number = 5,
     .hostname = "rab",
     .addresses = {"9.6.8.1", "10.0.0.1"},
     .services = one_service,
     .service_count = 1},
    {.number = 10, .addresses = {"9.6.8.8"}, .services = three_service, .service_count = 1},
};

static MacroView *reference_view(void)
{
    static const char *const absent[] = {"5"};
    return macro_view_new("Demo", "abc", "ann", nodes, ELEMENTSOF(nodes), absent, ELEMENTSOF(absent));
}

static void check_evaluation(void **state)
{
    static const struct {
        const char *text, *expected; /* NULL = an error */
        uint32_t node;
    } cases[] = {
        /* By node number everywhere, indexed or not. */
        {"%host.service.1%", "oof,rab,eno", 1},
        {"%host.service.1[0]%", "oof", 1},
        {"%host.service.1[1]%", "rab", 1},
        {"%host.service.1[2]%", "eno", 1},
        {"%ip.access_v4.service.1[3]%", NULL, 1},
        {"%host.service.3%", NULL, 1},
        {"%ip.access_v4.service.2%", NULL, 1},
        {"%ip.access_v4.service.3%", "9.6.8.8", 1},
        {"%host.service.4%", NULL, 1},
        {"%num.service.4%", NULL, 1},
        {"%num.service.1%", "3", 1},
        {"%num.service.5%", "0", 1},
        {"%host.service.5%:80", "%host.service.5%:80", 1},
        {"%instance.self.service.1%", "1", 1},
        {"%instance.self.service.1%", "2", 5},
        {"%instance.self.service.2%", "%instance.self.service.2%", 5},
        {"%instance.self.service.1%", NULL, 0},
        {"%host.self%", "rab", 5},
        {"%host.self%", NULL, 0},
        {"%ip.self%", "10.0.0.1", 5},
        {"%ip.self%", "9.7.8.4", 1}, /* bind falls back to access */
        {"%ip.access_v4.self%", "9.6.8.1", 5},
        {"%ip.access_v6.self%", NULL, 5},
        {"%join(map(host.service.2,'$:2181'),',')%", "oof:2181,owt:2181", 1},
        {"%map(host.service.2,'$$$')%", "$oof,$owt", 1},
        {"%join(map(host.service.2[0],'$ $'))%", "oof oof", 1},
        {"%join(host.service.1,' | ')%", "oof | rab | eno", 1},
        {"a %cluster.name%/%cluster.id%/%cluster.owner% z", "a Demo/abc/ann z", 1},
        {"%%host.self%%", "%%host.self%%", 1},
    };
    _cleanup_macro_view_ MacroView *view = reference_view();
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_free_ char *text = NULL;
        Error error = ERROR_INIT;
        int r = macro_expand(view, cases[i].node, cases[i].text, &text, &error);
        if ((r == 0) != (cases[i].expected != NULL))
            fail_msg("%s gave %d: %s%s", cases[i].text, r, error.text, text ? text : "");
        if (r == 0)
            assert_string_equal(text, cases[i].expected);
        else
            assert_int_equal(error.code, ERROR_BAD_MACRO);
    }
}

static void check_json(void **state)
{
    _cleanup_macro_view_ MacroView *view = reference_view();
    _cleanup_json_ json_t *config = quoted_json("{'a':{'%host.self%':['%host.self%',1,true,null]},'p':'%"
                                                "secret.db.password%','q':'%secret.db.password%'}");
    _cleanup_json_ json_t *expanded = NULL;
    _cleanup_string_list_ StringList secrets = {0};
    assert_int_equal(macro_expand_json(view, 5, config, &expanded, &secrets, NULL), 0);
    _cleanup_free_ char *text = json_to_sorted_text(expanded);
    assert_string_equal(text,
                        "{\"a\":{\"%host.self%\":[\"rab\",1,true,null]},\"p\":{\"$secret\":\"db.password\"},"
                        "\"q\":{\"$secret\":\"db.password\"}}");
    assert_int_equal(secrets.count, 1);
    assert_string_equal(secrets.items[0], "db.password");

    _cleanup_json_ json_t *bad = quoted_json("{'a':{'b':['x','%host.service.none%']}}");
    _cleanup_json_ json_t *nothing = NULL;
    Error error = ERROR_INIT;
    assert_int_equal(macro_expand_json(view, 5, bad, &nothing, NULL, &error), -EINVAL);
    assert_string_equal(error.field, "a.b[1]");
}

static void check_references(void **state)
{
    _cleanup_json_ json_t *config =
        quoted_json("{'a':'%join(ip.service.web)% "
                    "%host.service.db%','b':['%num.service.lb%','%secret.s%'],'c':'%ip.self%'}");
    _cleanup_macro_references_ MacroReferences references = {0};
    assert_int_equal(macro_references(config, &references, NULL), 0);
    assert_int_equal(references.services.count, 3);
    assert_string_equal(references.services.items[0], "db");
    assert_string_equal(references.services.items[1], "lb");
    assert_string_equal(references.services.items[2], "web");
    assert_int_equal(references.address_services.count, 1);
    assert_string_equal(references.address_services.items[0], "web");
    assert_int_equal(references.host_services.count, 1);
    assert_string_equal(references.secrets.items[0], "s");
    assert_true(references.needs_own_address);

    _cleanup_json_ json_t *part = json_incref(json_object_get(config, "b"));
    _cleanup_macro_references_ MacroReferences subset = {0};
    assert_int_equal(macro_references(part, &subset, NULL), 0);
    assert_int_equal(subset.address_services.count, 0);
    assert_false(subset.needs_own_address);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_accepts), cmocka_unit_test(check_rejects),
        cmocka_unit_test(check_values),  cmocka_unit_test(check_evaluation),
        cmocka_unit_test(check_json),    cmocka_unit_test(check_references),
    };
    return cmocka_run_group_tests_name("macro (PR10)", tests, NULL, NULL);
}
