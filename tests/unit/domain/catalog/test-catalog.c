/* SPDX-License-Identifier: Apache-2.0 */

/* Catalog documents (PR1): what is accepted, and that every fault is named with its place. */

#include "domain/catalog/catalog.h"
#include "domain/catalog/decimal.h"
#include "domain/catalog/tokens.h"
#include "support.h"

typedef struct FaultCase {
    CatalogKind kind;
    const char *document;
    IssueSeverity severity;
    const char *rule, *field;
} FaultCase;

#define S CATALOG_SERVICE
#define T CATALOG_CLUSTER_TEMPLATE
#define H CATALOG_HARDWARE_TYPE
#define P CATALOG_PROVIDER
#define E ISSUE_ERROR
#define W ISSUE_WARNING

/* One fault a document; the rest of each is good. */
static const FaultCase faults[] = {
    {S, "{}", E, "missing", "name"},
    {S, "[]", E, "wrong_type", ""},
    {S, "{'name':''}", E, "bad_name", "name"},
    {S, "{'name':'a b'}", E, "bad_name", "name"},
    {S, "{'name':1}", E, "wrong_type", "name"},
    {S, "{'name':'a','colour':1}", W, "unknown_member", "colour"},
    {S, "{'name':'a','dependencies':{'install':{'requires':'b'}}}", E, "wrong_type",
     "dependencies.install.requires"},
    {S, "{'name':'a','dependencies':{'install':{'requires':['b',2]}}}", E, "wrong_type",
     "dependencies.install.requires[1]"},
    {S, "{'name':'a','dependencies':{'runtime':{'requires':['a']}}}", E, "cycle",
     "dependencies.runtime.requires[0]"},
    {S, "{'name':'a','dependencies':{'conflicts':['a']}}", E, "contradiction", "dependencies.conflicts"},
    {S, "{'name':'a','dependencies':{'conflicts':['b'],'install':{'uses':['b']}}}", E, "contradiction",
     "dependencies.install.uses[0]"},
    {S, "{'name':'a','provisioner':{'actions':{'install':{}}}}", E, "missing",
     "provisioner.actions.install.type"},
    {S, "{'name':'a','provisioner':{'actions':{'explode':{'type':'shell'}}}}", W, "unknown_member",
     "provisioner.actions.explode"},
    {S, "{'name':'a','provisioner':{'actions':{'install':{'type':'magic'}}}}", W, "unknown_reference",
     "provisioner.actions.install.type"},
    {S, "{'name':'a','provisioner':{'actions':{'install':{'type':'script'}}}}", E, "missing",
     "provisioner.actions.install.fields"},
    {S, "{'name':'a','provisioner':{'actions':{'install':{'type':'script','fields':{'bundle':'b'}}}}}", E,
     "missing", "provisioner.actions.install.fields.script"},
    {S,
     "{'name':'a','provisioner':{'actions':{'install':{'type':'script','fields':{'bundle':'b','script':'../"
     "x'}}}}}",
     E, "bad_path", "provisioner.actions.install.fields.script"},
    {S,
     "{'name':'a','provisioner':{'actions':{'install':{'type':'script','fields':{'bundle':'b','script':'x','"
     "args':'y'}}}}}",
     E, "unknown_member", "provisioner.actions.install.fields.args"},
    {S,
     "{'name':'a','provisioner':{'actions':{'install':{'type':'script','fields':{'bundle':'b','script':'x','"
     "timeout':'soon'}}}}}",
     E, "bad_duration", "provisioner.actions.install.fields.timeout"},
    {S, "{'name':'a','network':{'ports':[{'port':0,'from':['cluster']}]}}", E, "bad_port",
     "network.ports[0].port"},
    {S, "{'name':'a','network':{'ports':[{'port':'80-70','from':['cluster']}]}}", E, "bad_port",
     "network.ports[0].port"},
    {S, "{'name':'a','network':{'ports':[{'port':70000,'from':['cluster']}]}}", E, "bad_port",
     "network.ports[0].port"},
    {S, "{'name':'a','network':{'ports':[{'port':80,'protocol':'sctp','from':['cluster']}]}}", E,
     "bad_protocol", "network.ports[0].protocol"},
    {S, "{'name':'a','network':{'ports':[{'port':80}]}}", E, "missing", "network.ports[0].from"},
    {S, "{'name':'a','network':{'ports':[{'port':80,'from':[]}]}}", E, "empty", "network.ports[0].from"},
    {S, "{'name':'a','network':{'ports':[{'port':80,'from':['moon']}]}}", E, "bad_source",
     "network.ports[0].from[0]"},
    {S, "{'name':'a','network':{'ports':[{'port':80,'from':['10.0.0.1/8']}]}}", E, "bad_source",
     "network.ports[0].from[0]"},
    {S, "{'name':'a','network':{'ports':[{'port':80,'from':['10.0.0.0/8; drop']}]}}", E, "bad_source",
     "network.ports[0].from[0]"},
    {S, "{'name':'a','network':{'doors':[]}}", E, "unknown_member", "network.doors"},
    {S, "{'name':'a','certificates':[{'name':'c','key_path':'/k'}]}", E, "missing",
     "certificates[0].certificate_path"},
    {S, "{'name':'a','certificates':[{'name':'c','key_path':'k','certificate_path':'/c'}]}", E, "bad_path",
     "certificates[0].key_path"},
    {S, "{'name':'a','certificates':[{'name':'c','key_path':'/../k','certificate_path':'/c'}]}", E,
     "bad_path", "certificates[0].key_path"},
    {S, "{'name':'a','certificates':[{'name':'c','key_path':'/c','certificate_path':'/c'}]}", E, "bad_path",
     "certificates[0].certificate_path"},
    {S, "{'name':'a','certificates':[{'name':'c','key_path':'/k','certificate_path':'/c','owner':'root;'}]}",
     E, "bad_name", "certificates[0].owner"},
    {S,
     "{'name':'a','certificates':[{'name':'c','key_path':'/k','certificate_path':'/"
     "c','dns_names':['%host.slef%']}]}",
     E, "bad_macro", "certificates[0].dns_names[0]"},
    {S, "{'name':'a','certificates':[{'name':'c','key_path':'/k','certificate_path':'/c','mode':1}]}", E,
     "unknown_member", "certificates[0].mode"},
    {S, "{'name':'a','links':[{'label':'x'}]}", E, "missing", "links[0].url"},
    {S, "{'name':'a','links':[{'url':'http://%ip.v5.self%/'}]}", E, "bad_macro", "links[0].url"},
    {S, "{'name':'a','links':[{'url':'%secret.x%'}]}", E, "bad_macro", "links[0].url"},
    {T, "{'name':'t','defaults':{'config':{'x':{'y':['%host.service.%']}}}}", E, "bad_macro",
     "defaults.config.x.y[0]"},
    {T, "{'name':'t','defaults':{'config':{'x':'%secret.none%'}}}", W, "bad_macro", "defaults.config.x"},
    {T, "{'name':'t','defaults':{'config':[]}}", E, "wrong_type", "defaults.config"},
    {T, "{'name':'t','defaults':{'dnsSuffix':'a..b'}}", E, "bad_name", "defaults.dnsSuffix"},
    {T, "{'name':'t','defaults':{'services':['a']},'compatibility':{'services':['b']}}", E, "contradiction",
     "defaults.services[0]"},
    {T, "{'name':'t','constraints':{'services':{'a':{'quantities':{'min':3,'max':2}}}}}", E, "contradiction",
     "constraints.services.a.quantities.min"},
    {T, "{'name':'t','constraints':{'services':{'a':{'quantities':{'min':-1}}}}}", E, "out_of_range",
     "constraints.services.a.quantities.min"},
    {T, "{'name':'t','constraints':{'services':{'a b':{}}}}", E, "bad_name", "constraints.services.a b"},
    {T, "{'name':'t','constraints':{'size':{'min':5,'max':2}}}", E, "contradiction", "constraints.size.min"},
    {T, "{'name':'t','constraints':{'layout':{'mustcoexist':[['a','b','c']],'cantcoexist':[['b','a']]}}}", E,
     "contradiction", "constraints.layout.cantcoexist[0]"},
    {T, "{'name':'t','constraints':{'layout':{'cantcoexist':['a']}}}", E, "wrong_type",
     "constraints.layout.cantcoexist[0]"},
    {T, "{'name':'t','administration':{'leaseduration':{'initial':'2x'}}}", E, "bad_duration",
     "administration.leaseduration.initial"},
    {T, "{'name':'t','administration':{'leaseduration':{'initial':'2d','max':'1d'}}}", E, "contradiction",
     "administration.leaseduration.initial"},
    {T, "{'name':'t','secrets':[{'name':'1x','services':['a']}]}", E, "bad_name", "secrets[0].name"},
    {T, "{'name':'t','secrets':[{'name':'x','services':[]}]}", E, "empty", "secrets[0].services"},
    {T, "{'name':'t','secrets':[{'name':'x','services':['a'],'length':4}]}", E, "out_of_range",
     "secrets[0].length"},
    {T, "{'name':'t','secrets':[{'name':'x','services':['a'],'alphabet':'runes'}]}", E, "out_of_range",
     "secrets[0].alphabet"},
    {T, "{'name':'t','secrets':[{'name':'x','services':['a'],'value':'s3cret'}]}", E, "unknown_member",
     "secrets[0].value"},
    {T, "{'name':'t','secrets':[{'name':'x','services':['a']},{'name':'x','services':['a']}]}", E, "repeated",
     "secrets[1].name"},
    {H, "{'name':'h'}", E, "missing", "providermap"},
    {H, "{'name':'h','providermap':{'p':'x'}}", E, "wrong_type", "providermap.p"},
    {H, "{'name':'h','providermap':{'p':{'flavor':'f','cost':'cheap'}}}", W, "bad_number",
     "providermap.p.cost"},
    {H, "{'name':'h','providermap':{'p':{'vcpu':'2'}}}", W, "missing", "providermap.p"},
    {P, "{'name':'p'}", E, "missing", "providertype"},
    {P, "{'name':'p','providertype':'cloud9'}", W, "unknown_reference", "providertype"},
    {P, "{'name':'p','providertype':'sandbox','provisioner':{'netwrok':'x'}}", E, "unknown_member",
     "provisioner.netwrok"},
    {P, "{'name':'p','providertype':'sandbox','provisioner':{'network':'10.1.2.3/8'}}", E, "bad_address",
     "provisioner.network"},
    {P, "{'name':'p','providertype':'hosts'}", E, "missing", "provisioner.pool"},
    {P, "{'name':'p','providertype':'hosts','provisioner':{'pool':[]}}", E, "empty", "provisioner.pool"},
    {P, "{'name':'p','providertype':'hosts','provisioner':{'pool':[{'address':'10.0.0.1'}]}}", E, "missing",
     "provisioner.pool[0].host_key"},
    {P,
     "{'name':'p','providertype':'hosts','provisioner':{'pool':[{'address':'10.0.0.1','host_key':'trust "
     "me'}]}}",
     E, "bad_host_key", "provisioner.pool[0].host_key"},
    {P,
     "{'name':'p','providertype':'hosts','provisioner':{'pool':[{'address':'$(id)','host_key':'SHA256:"
     "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'}]}}",
     E, "bad_address", "provisioner.pool[0].address"},
    {P, "{'name':'p','providertype':'aws','provisioner':{'api_user':'u'}}", W, "missing",
     "provisioner.api_password"},
};

static void check_faults(void **state)
{
    for (size_t i = 0; i < ELEMENTSOF(faults); i++) {
        _cleanup_json_ json_t *document = quoted_json(faults[i].document);
        _cleanup_issues_ IssueList issues = {0};
        _cleanup_catalog_entry_ CatalogEntry *entry = NULL;
        int r = catalog_entry_parse(faults[i].kind, document, 0, &entry, &issues);
        const Issue *issue = issue_list_find(&issues, faults[i].rule, faults[i].field);
        if (!issue || issue->severity != faults[i].severity ||
            (r < 0) != (faults[i].severity == ISSUE_ERROR)) {
            print_issues(&issues);
            fail_msg("%s: returned %d, expected rule %s at '%s'", faults[i].document, r, faults[i].rule,
                     faults[i].field);
        }
    }
}

/* Every fault, not just the first, each with its line. */
static void check_all_with_lines(void **state)
{
    static const char text[] = "{\n"
                               "  \"name\": \"a b\",\n"
                               "  \"network\": {\n"
                               "    \"ports\": [\n"
                               "      {\"port\": 0, \"from\": [\"cluster\"]},\n"
                               "      {\"port\": 80,\n"
                               "       \"from\": [\"cluster\", \"mars\"]}\n"
                               "    ]\n"
                               "  },\n"
                               "  \"links\": [{\"url\": \"%nope.x%\"}]\n"
                               "}\n";
    _cleanup_json_ json_t *document = NULL;
    assert_int_equal(json_parse(text, strlen(text), 4096, &document, NULL), 0);
    _cleanup_issues_ IssueList issues = {0};
    CatalogEntry *entry = NULL;
    assert_int_equal(catalog_entry_parse(CATALOG_SERVICE, document, 0, &entry, &issues), -EINVAL);
    assert_int_equal(issues.error_count, 4);
    issue_list_locate(&issues, text, strlen(text));
    assert_int_equal(issue_list_find(&issues, "bad_name", "name")->line, 2);
    assert_int_equal(issue_list_find(&issues, "bad_port", NULL)->line, 5);
    assert_int_equal(issue_list_find(&issues, "bad_source", "network.ports[1].from[1]")->line, 7);
    assert_int_equal(issue_list_find(&issues, "bad_source", NULL)->column, 28);
    assert_int_equal(issue_list_find(&issues, "bad_macro", NULL)->line, 10);
    _cleanup_json_ json_t *list = issue_list_to_json(&issues, ISSUE_ERROR);
    assert_int_equal(json_array_size(list), 4);
    Error error = ERROR_INIT;
    assert_true(issue_list_to_error(&issues, &error) < 0);
    assert_int_equal(error.line, 2);
    assert_non_null(strstr(error.text, "3 more"));
}

static int validate(MemoryCatalog *catalog, CatalogKind kind, const char *text, IssueList *issues)
{
    _cleanup_json_ json_t *document = quoted_json(text);
    return catalog_validate(memory_catalog_interface(catalog), kind, NULL, document, NULL, issues, NULL);
}

static void check_cycles(void **state)
{
    _cleanup_memory_catalog_ MemoryCatalog *catalog = memory_catalog_new();
    put(catalog, S,
        "{'name':'b','dependencies':{'install':{'requires':['c']},'runtime':{'requires':['c']}}}");
    put(catalog, S,
        "{'name':'c','dependencies':{'install':{'requires':['virtual']},'runtime':{'uses':['a']}}}");
    put(catalog, S, "{'name':'x','dependencies':{'install':{'requires':['y']}}}");
    put(catalog, S, "{'name':'y','dependencies':{'install':{'requires':['x']}}}");

    _cleanup_issues_ IssueList none = {0};
    assert_int_equal(
        validate(catalog, S, "{'name':'a','dependencies':{'install':{'requires':['b']}}}", &none), 0);
    assert_null(issue_list_find(&none, "cycle", NULL));

    /* Over a `uses`, or over a name that is provided: only when all are in one cluster. */
    _cleanup_issues_ IssueList uses = {0};
    assert_int_equal(
        validate(catalog, S, "{'name':'a','dependencies':{'runtime':{'requires':['b']}}}", &uses), 0);
    assert_int_equal(issue_list_find(&uses, "cycle", "dependencies.runtime")->severity, ISSUE_WARNING);
    _cleanup_issues_ IssueList provided = {0};
    assert_int_equal(
        validate(catalog, S,
                 "{'name':'a','dependencies':{'provides':['virtual'],'install':{'requires':['b']}}}",
                 &provided),
        0);
    assert_int_equal(issue_list_find(&provided, "cycle", "dependencies.install")->severity, ISSUE_WARNING);

    /* Over `requires` by name: never. The replaced version of the service does not count. */
    put(catalog, S, "{'name':'c','dependencies':{'install':{'requires':['a']}}}");
    _cleanup_issues_ IssueList required = {0};
    assert_int_equal(
        validate(catalog, S, "{'name':'a','dependencies':{'install':{'requires':['b']}}}", &required),
        -EINVAL);
    const Issue *issue = issue_list_find(&required, "cycle", "dependencies.install");
    assert_int_equal(issue->severity, ISSUE_ERROR);
    assert_non_null(strstr(issue->message, "a <- c <- b <- a"));
    _cleanup_issues_ IssueList replaced = {0};
    assert_int_equal(validate(catalog, S, "{'name':'y'}", &replaced), 0);
}

static void check_references(void **state)
{
    _cleanup_memory_catalog_ MemoryCatalog *catalog = memory_catalog_new();
    put(catalog, S, "{'name':'a'}");
    _cleanup_issues_ IssueList issues = {0};
    assert_int_equal(
        validate(
            catalog, T,
            "{'name':'t','defaults':{'services':['a','b'],'provider':'p','hardwaretype':'h','imagetype':'i',"
            "'config':{'x':'%host.service.a% %host.service.z%'}},'links':[{'url':'http://%host.service.y%'}],"
            "'constraints':{'layout':{'cantcoexist':[['a','b']]}}}",
            &issues),
        0);
    static const char *const fields[] = {"defaults.services[1]",  "defaults.provider",
                                         "defaults.hardwaretype", "defaults.imagetype",
                                         "defaults.config.x",     "constraints.layout.cantcoexist[0][1]",
                                         "links[0].url"};
    for (size_t i = 0; i < ELEMENTSOF(fields); i++)
        assert_non_null(issue_list_find(&issues, "unknown_reference", fields[i]));
    assert_int_equal(issues.warning_count, ELEMENTSOF(fields));

    /* A constraint about a service that is neither compatible nor known is a mistake. */
    _cleanup_issues_ IssueList constraint = {0};
    assert_int_equal(
        validate(catalog, T,
                 "{'name':'t','compatibility':{'services':['b']},'constraints':{'services':{'a':{},'z':{}}}}",
                 &constraint),
        -EINVAL);
    assert_int_equal(issue_list_find(&constraint, "unknown_reference", "constraints.services.z")->severity,
                     ISSUE_ERROR);
    assert_int_equal(issue_list_find(&constraint, "no_effect", "constraints.services.a")->severity,
                     ISSUE_WARNING);
}

static void check_values(void **state)
{
    _cleanup_memory_catalog_ MemoryCatalog *catalog = memory_catalog_new();
    put(catalog, S,
        "{'name':'db','version':7,'dependencies':['old'],'network':{'ports':[{'port':5432,'from':['service:"
        "web','fd00::/8']},"
        "{'port':'6000-6010','protocol':'udp','from':['anywhere','10.1.2.3']}]},"
        "'provisioner':{'actions':{'start':{'type':'script','fields':{'bundle':'b','script':'db/start.sh'}},"
        "'stop':{'type':'chef-solo','fields':{'run_list':'x'}}}}}");
    _cleanup_catalog_entry_ CatalogEntry *entry = NULL;
    assert_int_equal(catalog_get(memory_catalog_interface(catalog), S, "db", &entry, NULL), 0);
    const CatalogService *service = &entry->service;
    assert_string_equal(service->runtime_requires.items[0], "old");
    assert_int_equal(service->port_count, 2);
    assert_int_equal(service->ports[0].first, 5432);
    assert_string_equal(service->ports[0].sources[0].text, "web");
    assert_int_equal(service->ports[1].last, 6010);
    assert_int_equal(service->ports[1].protocol, PORT_UDP);
    assert_string_equal(service->ports[1].sources[1].text, "10.1.2.3");
    assert_true(service->actions[SERVICE_START].has_executor);
    assert_false(service->actions[SERVICE_STOP].has_executor);
    assert_null(service->actions[SERVICE_INSTALL].type);

    /* Inline configuration is merged, and the document stays as it was. */
    _cleanup_json_ json_t *document =
        quoted_json("{'name':'t','defaults':{'config':{'x':{'a':1}},'services':['s',{'name':'db','config':{'"
                    "x':{'b':2}}}]},"
                    "'administration':{'leaseduration':{'initial':'7d','max':0}},'constraints':{'services':{'"
                    "db':{'quantities':{'min':0}},'s':{}}}}");
    _cleanup_json_ json_t *before = json_deep_copy(document);
    put_document(catalog, T, document);
    assert_true(json_equal(before, document));
    _cleanup_catalog_entry_ CatalogEntry *template = NULL;
    assert_int_equal(catalog_get(memory_catalog_interface(catalog), T, "t", &template, NULL), 0);
    _cleanup_json_ json_t *config = quoted_json("{'x':{'a':1,'b':2}}");
    assert_true(json_equal(template->template.config, config));
    assert_int_equal(template->template.lease_initial, 7 * 86400 * 1000LL);
    assert_true(template->template.constraints[0].has_minimum);
    assert_false(template->template.constraints[1].has_minimum);
}

static void check_sensitive_fields(void **state)
{
    _cleanup_json_ json_t *document =
        quoted_json("{'name':'p','providertype':'rackspace','provisioner':{'api_user':'u','api_password':'"
                    "planted','rackspace_region':'x'}}");
    _cleanup_json_ json_t *redacted = provider_document_redact(document);
    _cleanup_free_ char *text = json_to_text(redacted);
    assert_null(strstr(text, "planted"));
    assert_non_null(strstr(text, "{\"sealed\":true}"));
    assert_non_null(strstr(text, "\"u\""));
    for (size_t i = 0; i < provider_type_count(); i++) {
        const ProviderType *type = provider_type_at(i);
        for (const ProviderField *field = type->fields; field->name; field++)
            if (strstr(field->name, "password"))
                assert_true(provider_field_is_sensitive(type->name, field->name));
    }
}

static void check_decimals(void **state)
{
    static const struct {
        const char *text, *again;
    } good[] = {{"0", "0"}, {"0.24", "0.24"}, {"1.0", "1"}, {".5", "0.5"}, {"12.000000001", "12.000000001"},
                {"7.", "7"}};
    static const char *const bad[] = {"",        ".",   "-1", "1e3", "0x1", " 1", "1.0000000001",
                                      "1000000", "1,5", "$3"};
    for (size_t i = 0; i < ELEMENTSOF(good); i++) {
        Decimal value = 0;
        char text[DECIMAL_SIZE];
        assert_int_equal(decimal_parse(good[i].text, &value), 0);
        decimal_format(value, text);
        assert_string_equal(text, good[i].again);
    }
    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        Decimal value;
        assert_int_equal(decimal_parse(bad[i], &value), -EINVAL);
    }
    Decimal sum = 0, tenth = 0;
    assert_int_equal(decimal_parse("0.1", &tenth), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(decimal_add_times(&sum, tenth, 1), 0);
    char text[DECIMAL_SIZE];
    decimal_format(sum, text);
    assert_string_equal(text, "1"); /* what binary floating point gets wrong */
    assert_int_equal(decimal_add_times(&sum, UINT64_MAX, 2), -ERANGE);
}

/* The catalog that ships with the product is free of errors and of warnings, in any order of loading. */
static void check_shipped(void **state)
{
    const char *folder = getenv("BASTIDE_SHIPPED_CATALOG");
    assert_non_null(folder);
    _cleanup_memory_catalog_ MemoryCatalog *catalog = memory_catalog_new();
    put_folder(catalog, folder);
    size_t count = 0;
    for (CatalogKind kind = 0; kind < _CATALOG_KIND_MAX; kind++) {
        _cleanup_string_list_ StringList names = {0};
        Catalog *interface = memory_catalog_interface(catalog);
        assert_int_equal(interface->list(interface, kind, &names, NULL), 0);
        for (size_t i = 0; i < names.count; i++, count++) {
            _cleanup_catalog_entry_ CatalogEntry *entry = NULL;
            _cleanup_issues_ IssueList issues = {0};
            assert_int_equal(catalog_get(interface, kind, names.items[i], &entry, NULL), 0);
            int r = catalog_validate(interface, kind, names.items[i], entry->document, NULL, &issues, NULL);
            print_issues(&issues);
            assert_int_equal(r, 0);
            assert_int_equal(issues.warning_count, 0);
        }
    }
    assert_true(count >= 10);
}

/* Documents of the older system, from a folder that is not part of this project: loaded unchanged. */
static void check_foreign(void **state)
{
    _cleanup_memory_catalog_ MemoryCatalog *catalog = memory_catalog_new();
    put_folder(catalog, getenv("BASTIDE_TEST_CATALOG"));
    for (CatalogKind kind = 0; kind < _CATALOG_KIND_MAX; kind++) {
        _cleanup_string_list_ StringList names = {0};
        Catalog *interface = memory_catalog_interface(catalog);
        assert_int_equal(interface->list(interface, kind, &names, NULL), 0);
        assert_true(names.count > 0);
        for (size_t i = 0; i < names.count; i++) {
            _cleanup_catalog_entry_ CatalogEntry *entry = NULL;
            _cleanup_issues_ IssueList issues = {0};
            assert_int_equal(catalog_get(interface, kind, names.items[i], &entry, NULL), 0);
            int r = catalog_validate(interface, kind, names.items[i], entry->document, NULL, &issues, NULL);
            if (r < 0)
                print_issues(&issues);
            assert_int_equal(r, 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_faults),   cmocka_unit_test(check_all_with_lines),
        cmocka_unit_test(check_cycles),   cmocka_unit_test(check_references),
        cmocka_unit_test(check_values),   cmocka_unit_test(check_sensitive_fields),
        cmocka_unit_test(check_decimals), cmocka_unit_test(check_shipped),
    };
    const struct CMUnitTest foreign[] = {cmocka_unit_test(check_foreign)};
    int failures = cmocka_run_group_tests_name("catalog (PR1)", tests, NULL, NULL);
    /* Runs where the folder is given; elsewhere it is not counted. */
    if (getenv("BASTIDE_TEST_CATALOG"))
        failures += cmocka_run_group_tests_name("catalog of the older system (PR1)", foreign, NULL, NULL);
    return failures;
}
