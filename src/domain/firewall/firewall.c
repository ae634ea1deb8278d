/* SPDX-License-Identifier: Apache-2.0 */
#include "domain/firewall/firewall.h"

#include <openssl/evp.h>

#include "base/buffer.h"
#include "domain/catalog/tokens.h"

typedef struct AddressSet {
    AddressToken *items; /* sorted, without repetition */
    size_t count;
} AddressSet;

typedef struct Renderer {
    const FirewallInput *input;
    Buffer sets, rules;
    size_t set_count;
    /* Names of the sets made so far, by source: "service:web", "cluster". */
    struct {
        const char *source;
        size_t number;
        bool has_v4, has_v6;
    } known[256];
    size_t known_count;
    Error *error;
} Renderer;

static int compare_tokens(const void *a, const void *b)
{
    return address_compare(a, b);
}

static int address_set_make(const char *const *texts, size_t count, bool may_be_network, AddressSet *set,
                            Error *error)
{
    set->items = NEW_ARRAY(AddressToken, count);
    set->count = 0;
    for (size_t i = 0; i < count; i++) {
        AddressToken *item = &set->items[set->count++];
        if ((may_be_network ? cidr_parse(texts[i], item) : address_parse(texts[i], item)) < 0)
            return error_set(error, ERROR_BAD_FIELD, "the firewall cannot use '%.60s': it is no address%s",
                             texts[i], may_be_network ? " or network" : "");
    }
    if (set->count > 1)
        qsort(set->items, set->count, sizeof(*set->items), compare_tokens);
    size_t kept = 0;
    for (size_t i = 0; i < set->count; i++)
        if (kept == 0 || address_compare(&set->items[kept - 1], &set->items[i]) != 0)
            set->items[kept++] = set->items[i];
    set->count = kept;
    return 0;
}

static void address_set_done(AddressSet *set)
{
    free(set->items);
}

/* One named set; false when there is no address of the family. */
static bool write_set(Renderer *renderer, const char *name, const AddressSet *set, int family,
                      bool has_networks)
{
    size_t written = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (set->items[i].family != family)
            continue;
        if (written++ == 0)
            (void)buffer_append_format(&renderer->sets, "\tset %s_v%d {\n\t\ttype %s\n%s\t\telements = { ",
                                       name, family == AF_INET ? 4 : 6,
                                       family == AF_INET ? "ipv4_addr" : "ipv6_addr",
                                       has_networks ? "\t\tflags interval\n\t\tauto-merge\n" : "");
        char text[ADDRESS_TOKEN_SIZE];
        address_format(&set->items[i], text);
        (void)buffer_append_format(&renderer->sets, "%s%s", written > 1 ? ", " : "", text);
    }
    if (written > 0)
        (void)buffer_append_string(&renderer->sets, " }\n\t}\n");
    return written > 0;
}

static void write_port(Buffer *buffer, const CatalogPort *port)
{
    (void)buffer_append_format(buffer, "%s dport %u", port->protocol == PORT_TCP ? "tcp" : "udp",
                               port->first);
    if (port->last != port->first)
        (void)buffer_append_format(buffer, "-%u", port->last);
    (void)buffer_append_string(buffer, " accept\n");
}

/* The index of the sets of a source in known[], or negative. */
static int find_set(Renderer *renderer, const char *source, const char *const *addresses, size_t count)
{
    for (size_t i = 0; i < renderer->known_count; i++)
        if (string_equal(renderer->known[i].source, source))
            return (int)i;
    if (renderer->known_count == ELEMENTSOF(renderer->known))
        return error_set(renderer->error, ERROR_TOO_LARGE, "the node's services name more than %zu peers",
                         ELEMENTSOF(renderer->known));
    _cleanup_(address_set_done) AddressSet set = {0};
    int r = address_set_make(addresses, count, false, &set, renderer->error);
    if (r < 0)
        return r;
    size_t index = renderer->known_count++;
    char name[32];
    (void)string_print(name, sizeof(name), "peers_%zu", index);
    renderer->known[index].source = source;
    renderer->known[index].has_v4 = write_set(renderer, name, &set, AF_INET, false);
    renderer->known[index].has_v6 = write_set(renderer, name, &set, AF_INET6, false);
    return (int)index;
}

static int write_peers(Renderer *renderer, const CatalogPort *port, const char *source,
                       const char *const *addresses, size_t count)
{
    int index = find_set(renderer, source, addresses, count);
    if (index < 0)
        return index;
    if (renderer->known[index].has_v4) {
        (void)buffer_append_format(&renderer->rules, "\t\tip saddr @peers_%d_v4 ", index);
        write_port(&renderer->rules, port);
    }
    if (renderer->known[index].has_v6) {
        (void)buffer_append_format(&renderer->rules, "\t\tip6 saddr @peers_%d_v6 ", index);
        write_port(&renderer->rules, port);
    }
    return 0;
}

static int write_source(Renderer *renderer, const CatalogPort *port, const PortSource *source)
{
    const FirewallInput *input = renderer->input;
    AddressToken network;
    char text[ADDRESS_TOKEN_SIZE];
    switch (source->kind) {
    case PORT_FROM_ANYWHERE:
        (void)buffer_append_string(&renderer->rules, "\t\t");
        write_port(&renderer->rules, port);
        return 0;
    case PORT_FROM_CIDR:
        if (cidr_parse(source->text, &network) < 0)
            return error_set(renderer->error, ERROR_BAD_FIELD, "'%.60s' is no network", source->text);
        address_format(&network, text);
        (void)buffer_append_format(&renderer->rules, "\t\t%s saddr %s ",
                                   network.family == AF_INET ? "ip" : "ip6", text);
        write_port(&renderer->rules, port);
        return 0;
    case PORT_FROM_CLUSTER:
        return write_peers(renderer, port, "cluster", input->cluster, input->cluster_count);
    case PORT_FROM_SERVICE:
        for (size_t i = 0; i < input->peer_count; i++)
            if (string_equal(input->peers[i].service, source->text))
                return write_peers(renderer, port, source->spelling, input->peers[i].addresses,
                                   input->peers[i].address_count);
        return 0; /* a service that is not in this cluster */
    }
    return 0;
}

static int compare_services(const void *a, const void *b)
{
    const CatalogEntry *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int write_services(Renderer *renderer)
{
    size_t count = renderer->input->service_count;
    _cleanup_free_ CatalogEntry **services = NEW_ARRAY(CatalogEntry *, count);
    for (size_t i = 0; i < count; i++)
        services[i] = renderer->input->services[i];
    if (count > 1)
        qsort(services, count, sizeof(*services), compare_services);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < services[i]->service.port_count; j++) {
            const CatalogPort *port = &services[i]->service.ports[j];
            for (size_t k = 0; k < port->source_count; k++) {
                int r = write_source(renderer, port, &port->sources[k]);
                if (r < 0)
                    return r;
            }
        }
    return 0;
}

static int write_management(Renderer *renderer)
{
    const FirewallInput *input = renderer->input;
    unsigned port = input->ssh_port ? input->ssh_port : 22;
    if (input->management_count == 0)
        return error_set(renderer->error, ERROR_INSECURE,
                         "without a management address the firewall would lock us out");
    _cleanup_(address_set_done) AddressSet set = {0};
    int r = address_set_make(input->management, input->management_count, true, &set, renderer->error);
    if (r < 0)
        return r;
    if (write_set(renderer, "management", &set, AF_INET, true))
        (void)buffer_append_format(&renderer->rules, "\t\tip saddr @management_v4 tcp dport %u accept\n",
                                   port);
    if (write_set(renderer, "management", &set, AF_INET6, true))
        (void)buffer_append_format(&renderer->rules, "\t\tip6 saddr @management_v6 tcp dport %u accept\n",
                                   port);
    return 0;
}

/* First add, so that delete never fails; then the new one: one transaction. */
static const char head[] = "add table inet bastide\n"
                           "delete table inet bastide\n"
                           "table inet bastide {\n";
/* Neighbour discovery only from the link itself (hop limit 255 cannot have been routed). */
static const char input_head[] =
    "\tchain input {\n"
    "\t\ttype filter hook input priority filter; policy drop;\n"
    "\t\tct state established,related accept\n"
    "\t\tct state invalid drop\n"
    "\t\tiif \"lo\" accept\n"
    "\t\ticmp type { destination-unreachable, time-exceeded, parameter-problem } accept\n"
    "\t\ticmp type echo-request limit rate 50/second accept\n"
    "\t\ticmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept\n"
    "\t\ticmpv6 type echo-request limit rate 50/second accept\n"
    "\t\ticmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } ip6 hoplimit 255 accept\n";
static const char tail[] = "\t}\n"
                           "\tchain forward {\n"
                           "\t\ttype filter hook forward priority filter; policy drop;\n"
                           "\t}\n"
                           "\tchain output {\n"
                           "\t\ttype filter hook output priority filter; policy accept;\n"
                           "\t}\n"
                           "}\n";

static int finish(Renderer *renderer, char **ret_ruleset, char *ret_digest)
{
    _cleanup_buffer_ Buffer text = BUFFER_INIT;
    uint8_t digest[EVP_MAX_MD_SIZE];
    if (buffer_append_string(&text, head) < 0 ||
        buffer_append(&text, renderer->sets.data, renderer->sets.size) < 0 ||
        buffer_append_string(&text, input_head) < 0 ||
        buffer_append(&text, renderer->rules.data, renderer->rules.size) < 0 ||
        buffer_append_string(&text, tail) < 0)
        return error_set(renderer->error, ERROR_TOO_LARGE, "the rule set is too long");
    if (EVP_Digest(text.data, text.size, digest, NULL, EVP_sha256(), NULL) != 1)
        return error_set(renderer->error, ERROR_CRYPTO, "SHA-256 failed");
    hex_encode(digest, 32, ret_digest);
    *ret_ruleset = buffer_take_string(&text);
    return 0;
}

int firewall_render(const FirewallInput *input, char **ret_ruleset,
                    char ret_digest[static FIREWALL_DIGEST_SIZE], Error *error)
{
    _cleanup_free_ Renderer *renderer = NEW(Renderer);
    renderer->input = input;
    renderer->error = error;
    int r = write_management(renderer);
    if (r == 0)
        r = write_services(renderer);
    if (r == 0)
        r = finish(renderer, ret_ruleset, ret_digest);
    buffer_done(&renderer->sets);
    buffer_done(&renderer->rules);
    return r;
}
