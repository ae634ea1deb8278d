/* SPDX-License-Identifier: Apache-2.0 */
#include "domain/catalog/provider-type.h"

#include "base/string.h"
#include "domain/catalog/tokens.h"

#define SECRET   PROVIDER_FIELD_SENSITIVE
#define OVERRIDE PROVIDER_FIELD_OVERRIDE
#define USER     PROVIDER_FIELD_USER
#define TEXT(field, text, flag_bits, value)                                                                  \
    {                                                                                                        \
        field, text, PROVIDER_FIELD_TEXT, flag_bits, value                                                   \
    }

static const ProviderField sandbox_fields[] = {
    {"network", "Private network of the hosts (CIDR)", PROVIDER_FIELD_NETWORK, 0, NULL},
    {0},
};

static const ProviderField hosts_fields[] = {
    {"pool", "Machines to take nodes from", PROVIDER_FIELD_POOL, 0, NULL},
    {0},
};

static const ProviderField aws_fields[] = {
    TEXT("api_user", "Access key id", 0, NULL),
    TEXT("api_password", "Secret access key", SECRET, NULL),
    TEXT("ssh_keypair", "Key pair", OVERRIDE, NULL),
    TEXT("ssh_key_resource", "SSH key", OVERRIDE, NULL),
    TEXT("aws_region", "Region", 0, "us-east-1"),
    TEXT("security_groups", "Security groups", OVERRIDE, "default"),
    TEXT("security_group_ids", "Security group ids", OVERRIDE, NULL),
    TEXT("subnet_id", "Subnet id", OVERRIDE, NULL),
    TEXT("aws_root_ebs_size", "Size of the root volume (GB)", OVERRIDE, "10"),
    TEXT("aws_root_ebs_delete_on_term", "Delete the root volume with the machine", OVERRIDE, "true"),
    TEXT("aws_root_ebs_volume_type", "Type of the root volume", OVERRIDE, "standard"),
    TEXT("dedicated_instance", "Dedicated instance", OVERRIDE, NULL),
    TEXT("associate_public_ip", "Public address", OVERRIDE, "true"),
    TEXT("provider_hostname", "Host name of the provider", OVERRIDE, NULL),
    TEXT("availability_zone", "Availability zone", OVERRIDE, NULL),
    TEXT("iam_instance_profile", "Instance profile", OVERRIDE, NULL),
    TEXT("placement_group", "Placement group", OVERRIDE, NULL),
    {0},
};

static const ProviderField digitalocean_fields[] = {
    TEXT("api_user", "User", 0, NULL),
    TEXT("api_password", "Token", SECRET, NULL),
    TEXT("ssh_keypair", "Key pair", 0, NULL),
    TEXT("ssh_key_resource", "SSH key", 0, NULL),
    TEXT("digitalocean_region", "Region", OVERRIDE, "nyc2"),
    {0},
};

static const ProviderField google_fields[] = {
    TEXT("google_project", "Project", 0, NULL),
    TEXT("google_client_email", "Service account", 0, NULL),
    TEXT("api_key_resource", "API key", SECRET, NULL),
    TEXT("ssh_key_resource", "SSH key", 0, NULL),
    TEXT("zone_name", "Zone", OVERRIDE, "us-central1-a"),
    TEXT("ssh_user", "SSH user", 0, NULL),
    TEXT("google_data_disk_size_gb", "Size of the data disk (GB)", OVERRIDE, "200"),
    TEXT("google_data_disk_type", "Type of the data disk", OVERRIDE, "standard"),
    TEXT("google_root_disk_size_gb", "Size of the root disk (GB)", OVERRIDE, "10"),
    TEXT("google_root_disk_type", "Type of the root disk", OVERRIDE, NULL),
    TEXT("bootstrap_interface", "Address used for SSH", OVERRIDE, "access_v4"),
    TEXT("external_ip", "External address", OVERRIDE, "true"),
    TEXT("auto_restart", "Restart automatically", OVERRIDE, NULL),
    TEXT("provider_hostname", "Host name of the provider", OVERRIDE, NULL),
    TEXT("network", "Network", OVERRIDE, "default"),
    {0},
};

static const ProviderField joyent_fields[] = {
    TEXT("api_user", "User", 0, NULL),
    TEXT("api_password", "Password", SECRET, NULL),
    TEXT("ssh_keypair", "Key pair", 0, NULL),
    TEXT("ssh_key_resource", "SSH key", 0, NULL),
    TEXT("joyent_version", "API version", 0, "~7.0"),
    TEXT("joyent_api_url", "API address", OVERRIDE, NULL),
    {0},
};

static const ProviderField openstack_fields[] = {
    TEXT("api_user", "User", 0, NULL),
    TEXT("api_password", "Password", SECRET, NULL),
    TEXT("openstack_tenant", "Tenant", 0, NULL),
    TEXT("openstack_auth_url", "Address of the identity service", 0, NULL),
    TEXT("ssh_keypair", "Key pair", 0, NULL),
    TEXT("ssh_key_resource", "SSH key", 0, NULL),
    TEXT("availability_zone", "Availability zone", OVERRIDE, NULL),
    TEXT("floating_ip", "Floating address", OVERRIDE, NULL),
    TEXT("network_ids", "Network ids", OVERRIDE, NULL),
    TEXT("openstack_ssl_verify_peer", "Verify the certificate of the identity service", 0, NULL),
    TEXT("security_groups", "Security groups", OVERRIDE, "default"),
    TEXT("user_data_resource", "User data", USER, NULL),
    {0},
};

static const ProviderField rackspace_fields[] = {
    TEXT("api_user", "User", 0, NULL),
    TEXT("api_password", "API key", SECRET, NULL),
    TEXT("rackspace_region", "Region", OVERRIDE, "dfw"),
    TEXT("rackconnect_wait", "Wait for RackConnect", USER, NULL),
    TEXT("ssh_keypair", "Key pair", USER, NULL),
    TEXT("ssh_key_resource", "SSH key", USER, NULL),
    {0},
};

#define REQUIRED(...) ((const char *const[]){__VA_ARGS__, NULL})

static const ProviderType types[] = {
    {"sandbox", "Hosts on this machine", true, sandbox_fields, {0}},
    {"hosts", "Machines that exist already", true, hosts_fields, {REQUIRED("pool")}},
    {"aws",
     "Amazon EC2",
     false,
     aws_fields,
     {REQUIRED("api_user", "api_password", "ssh_keypair", "ssh_key_resource", "aws_region",
               "security_groups"),
      REQUIRED("api_user", "api_password", "ssh_keypair", "ssh_key_resource", "aws_region",
               "security_group_ids", "subnet_id")}},
    {"digitalocean",
     "DigitalOcean",
     false,
     digitalocean_fields,
     {REQUIRED("api_user", "api_password", "ssh_keypair", "ssh_key_resource", "digitalocean_region")}},
    {"google",
     "Google Compute Engine",
     false,
     google_fields,
     {REQUIRED("google_project", "google_client_email", "api_key_resource", "ssh_key_resource",
               "zone_name")}},
    {"joyent",
     "Joyent",
     false,
     joyent_fields,
     {REQUIRED("api_user", "api_password"), REQUIRED("api_user", "ssh_keypair", "ssh_key_resource")}},
    {"openstack",
     "OpenStack",
     false,
     openstack_fields,
     {REQUIRED("api_user", "api_password", "openstack_tenant", "openstack_auth_url", "ssh_keypair",
               "ssh_key_resource")}},
    {"rackspace",
     "Rackspace",
     false,
     rackspace_fields,
     {REQUIRED("api_user", "api_password", "rackspace_region")}},
};

const ProviderType *provider_type_find(const char *name)
{
    for (size_t i = 0; i < ELEMENTSOF(types); i++)
        if (string_equal(types[i].name, name))
            return &types[i];
    return NULL;
}

size_t provider_type_count(void)
{
    return ELEMENTSOF(types);
}

const ProviderType *provider_type_at(size_t index)
{
    return index < ELEMENTSOF(types) ? &types[index] : NULL;
}

const ProviderField *provider_type_field(const ProviderType *type, const char *name)
{
    for (const ProviderField *field = type->fields; field->name; field++)
        if (string_equal(field->name, name))
            return field;
    return NULL;
}

bool provider_field_is_sensitive(const char *type, const char *field)
{
    const ProviderType *known = provider_type_find(type);
    const ProviderField *row = known ? provider_type_field(known, field) : NULL;
    return row && (row->flags & PROVIDER_FIELD_SENSITIVE);
}

typedef struct PoolHost {
    const char *address, *user, *host_key;
    int64_t port;
} PoolHost;

static void check_labels(Members *members, const json_t *value, const char *path, void *destination)
{
    if (!json_is_object(value)) {
        member_issue(members, path, "wrong_type", "must be an object of strings");
        return;
    }
    const char *name;
    json_t *label;
    json_object_foreach ((json_t *)(uintptr_t)value, name, label) {
        if (!name_is_valid(name))
            member_issue(members, path, "bad_name", "the label '%s' is not a valid name", name);
        (void)member_string(members, label, member_path(members, path, name));
    }
}

static const Member pool_host_members[] = {
    {"address", MEMBER_STRING, MEMBER_REQUIRED | MEMBER_NONEMPTY, offsetof(PoolHost, address), 0, 0, NULL},
    {"port", MEMBER_INTEGER, 0, offsetof(PoolHost, port), 1, 65535, NULL},
    {"user", MEMBER_NAME, 0, offsetof(PoolHost, user), 0, 0, NULL},
    {"host_key", MEMBER_STRING, MEMBER_REQUIRED | MEMBER_NONEMPTY, offsetof(PoolHost, host_key), 0, 0, NULL},
    {"labels", MEMBER_CUSTOM, 0, 0, 0, 0, check_labels},
    {0},
};

static void check_pool(Members *members, const json_t *value, const char *path)
{
    if (!member_is_array(members, value, path, 10000))
        return;
    if (json_array_size(value) == 0)
        member_issue(members, path, "empty", "must name at least one machine");
    size_t i;
    json_t *item;
    json_array_foreach (value, i, item) {
        const char *child = item_path(members, path, i);
        PoolHost host = {0};
        members_parse(members, item, child, pool_host_members, ISSUE_ERROR, &host);
        if (host.address && !token_is_address(host.address) && !hostname_is_valid(host.address))
            member_issue(members, member_path(members, child, "address"), "bad_address",
                         "must be an IPv4 or IPv6 address or a host name");
        if (host.host_key && !token_is_host_key(host.host_key))
            member_issue(
                members, member_path(members, child, "host_key"), "bad_host_key",
                "must be a public host key such as \"ssh-ed25519 AAAA...\" or a fingerprint \"SHA256:...\"");
    }
}

static void check_required(Members *members, const ProviderType *type, const json_t *fields, const char *path)
{
    const char *missing = NULL;
    for (size_t i = 0; i < ELEMENTSOF(type->required) && type->required[i]; i++) {
        const char *absent = NULL;
        for (const char *const *name = type->required[i]; *name && !absent; name++) {
            const ProviderField *field = provider_type_field(type, *name);
            if (!json_object_get(fields, *name) && !(field && field->preset))
                absent = *name;
        }
        if (!absent)
            return;
        missing = missing ? missing : absent;
    }
    if (!missing)
        return;
    if (type->has_executor)
        member_issue(members, member_path(members, path, missing), "missing", "is required for the type '%s'",
                     type->name);
    else
        member_warning(members, member_path(members, path, missing), "missing",
                       "is required for the type '%s'", type->name);
}

void provider_fields_check(Members *members, const char *type_name, const json_t *fields, const char *path)
{
    const ProviderType *type = provider_type_find(type_name);
    if (!type) {
        member_warning(members, "providertype", "unknown_reference", "the provider type '%s' is not known",
                       type_name);
        return;
    }
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)fields, name, value) {
        const char *child = member_path(members, path, name);
        const ProviderField *field = provider_type_field(type, name);
        if (!field && type->has_executor)
            member_issue(members, child, "unknown_member", "is not a field of the type '%s'", type->name);
        else if (!field)
            member_warning(members, child, "unknown_member", "is not a field of the type '%s'", type->name);
        else if (field->type == PROVIDER_FIELD_POOL)
            check_pool(members, value, child);
        else if (field->type == PROVIDER_FIELD_NETWORK) {
            const char *text = member_string(members, value, child);
            if (text && !token_is_cidr(text))
                member_issue(members, child, "bad_address", "must be a network such as \"10.77.0.0/16\"");
        }
    }
    check_required(members, type, fields, path);
}
