/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/profiles.h"

#include <errno.h>

enum { MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

const Profile profiles[] = {
    {"internal-server", ISSUER_SERVICES, CERTIFICATE_SERVER, 90 * DAY, 397 * DAY, PROFILE_HOSTS, false, true,
     "bastide:service:internal"},
    {"external-server", ISSUER_SERVICES, CERTIFICATE_SERVER, 90 * DAY, 397 * DAY, PROFILE_HOSTS, true, true,
     "bastide:service:external"},
    {"manager", ISSUER_SERVICES, CERTIFICATE_SERVER | CERTIFICATE_CLIENT, 90 * DAY, 397 * DAY, PROFILE_HOSTS,
     false, true, "bastide:service:manager"},
    {"provisioner", ISSUER_PROVISIONERS, CERTIFICATE_CLIENT, 7 * DAY, 30 * DAY, PROFILE_PROVISIONER, false,
     false, NULL},
    {"cluster-server", ISSUER_CLUSTERS, CERTIFICATE_SERVER, 30 * DAY, 90 * DAY, PROFILE_HOSTS, true, false,
     NULL},
    {0},
};

const Profile *profile_find(const char *name)
{
    for (const Profile *profile = profiles; profile->name; profile++)
        if (string_equal(profile->name, name))
            return profile;
    return NULL;
}

void certificate_order_done(CertificateOrder *order)
{
    string_list_done(&order->dns_names);
    string_list_done(&order->uris);
}

static bool dns_name_is_acceptable(const char *name, bool is_wildcard_allowed)
{
    if (is_wildcard_allowed && string_starts_with(name, "*.")) {
        name += 2;
        /* "*.example" would cover a whole top-level domain. */
        if (!strchr(name, '.'))
            return false;
    }
    return hostname_is_valid(name);
}

static bool has_address(const CertificateOrder *order, const char *text)
{
    IpAddress address;

    if (ip_address_parse(text, &address) < 0)
        return false;
    for (size_t i = 0; i < order->ip_address_count; i++)
        if (order->ip_addresses[i].size == address.size &&
            memcmp(order->ip_addresses[i].bytes, address.bytes, address.size) == 0)
            return true;
    return false;
}

/* Old software still reads the common name as a host name, so what looks like one must be among the names. */
static int check_common_name(const CertificateOrder *order, Error *error)
{
    const char *name = order->common_name;
    IpAddress address;

    if (string_is_empty(name) || strlen(name) > 64 || string_has_control(name, strlen(name), NULL))
        return error_set_field(error, ERROR_BAD_FIELD, "common_name",
                               "the common name must be 1 to 64 printable characters");
    if ((strchr(name, '.') || ip_address_parse(name, &address) >= 0) && !has_address(order, name) &&
        !string_list_contains(&order->dns_names, name))
        return error_set_field(error, ERROR_BAD_FIELD, "common_name",
                               "the common name looks like a host name and must then be one of the names");
    return 0;
}

static int check_hosts(const CertificateOrder *order, Error *error)
{
    const Profile *profile = order->profile;

    if (order->uris.count > 0)
        return error_set_field(error, ERROR_BAD_FIELD, "uri", "the profile %s takes no URI", profile->name);
    if (order->dns_names.count + order->ip_address_count == 0)
        return error_set_field(error, ERROR_BAD_FIELD, "dns_name",
                               "the profile %s needs a DNS name or an address", profile->name);
    for (size_t i = 0; i < order->dns_names.count; i++)
        if (!dns_name_is_acceptable(order->dns_names.items[i], profile->is_wildcard_allowed))
            return error_set_field(error, ERROR_BAD_FIELD, "dns_name",
                                   "\"%.100s\" is not a DNS name that the profile %s takes",
                                   order->dns_names.items[i], profile->name);
    return check_common_name(order, error);
}

static int check_provisioner(const CertificateOrder *order, Error *error)
{
    const char *id;

    if (order->dns_names.count > 0 || order->ip_address_count > 0 || order->uris.count != 1 ||
        !string_starts_with(order->uris.items[0], PROVISIONER_URI))
        return error_set_field(error, ERROR_BAD_FIELD, "uri",
                               "a provisioner's certificate has one name: the URI " PROVISIONER_URI "<id>");
    id = order->uris.items[0] + strlen(PROVISIONER_URI);
    if (!id_is_valid(id))
        return error_set_field(error, ERROR_BAD_FIELD, "uri",
                               "the URI does not end in the id of a provisioner");
    if (!string_equal(order->common_name, id))
        return error_set_field(error, ERROR_BAD_FIELD, "common_name",
                               "a provisioner's common name is its id");
    return 0;
}

int profile_check(const CertificateOrder *order, Error *error)
{
    const Profile *profile = order->profile;

    if (order->dns_names.count > CERTIFICATE_NAMES_MAX || order->ip_address_count > CERTIFICATE_NAMES_MAX)
        return error_set(error, ERROR_TOO_LARGE, "a certificate may have at most %d names of a kind",
                         CERTIFICATE_NAMES_MAX);
    if (order->life_seconds > profile->maximum_life ||
        (order->life_seconds > 0 && order->life_seconds < MINUTE))
        return error_set_field(error, ERROR_BAD_FIELD, "life_seconds",
                               "certificates of the profile %s live 60 to %u seconds", profile->name,
                               profile->maximum_life);
    return profile->names == PROFILE_PROVISIONER ? check_provisioner(order, error)
                                                 : check_hosts(order, error);
}
