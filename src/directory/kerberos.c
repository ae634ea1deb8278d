/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/kerberos.h"

#include <errno.h>
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/secret.h"

struct Kerberos {
    const KerberosSettings *settings;
    char *replay_cache; /* "file2:PATH" */
};

static gss_OID_desc spnego = {6, (void *)(uintptr_t) "\x2b\x06\x01\x05\x05\x02"};
/* MIT's own names of mechanisms are not writable through this header, nor need they be. */
static const gss_OID_desc kerberos_mechanism = {9,
                                                (void *)(uintptr_t) "\x2a\x86\x48\x86\xf7\x12\x01\x02\x02"};

static void describe(OM_uint32 major, OM_uint32 minor, char text[static KERBEROS_NAME_MAX])
{
    const struct {
        OM_uint32 code;
        int type;
    } parts[] = {{major, GSS_C_GSS_CODE}, {minor, GSS_C_MECH_CODE}};
    *text = '\0';
    for (size_t i = 0; i < ELEMENTSOF(parts); i++) {
        OM_uint32 ignored, more = 0;
        gss_buffer_desc message = GSS_C_EMPTY_BUFFER;
        if (parts[i].code == 0 || gss_display_status(&ignored, parts[i].code, parts[i].type, GSS_C_NO_OID,
                                                     &more, &message) != GSS_S_COMPLETE)
            continue;
        size_t used = strlen(text);
        (void)string_print(text + used, KERBEROS_NAME_MAX - used, "%s%.*s", used > 0 ? ": " : "",
                           (int)message.length, (const char *)message.value);
        (void)gss_release_buffer(&ignored, &message);
    }
}

static int failed(Error *error, ErrorCode code, OM_uint32 major, OM_uint32 minor, const char *what)
{
    char text[KERBEROS_NAME_MAX];
    describe(major, minor, text);
    return error_set(error, code, "%s: %s", what, text);
}

/* The manager's side
 * -----------------------------------------------------------------------------------------------------------
 */

static OM_uint32 only_kerberos(OM_uint32 *minor, gss_cred_id_t credential)
{
    gss_OID_desc mechanism = kerberos_mechanism;
    gss_OID_set_desc set = {1, &mechanism};
    return gss_set_neg_mechs(minor, credential, &set);
}

/* Tickets for this principal alone, whatever else is in the file of keys. */
static OM_uint32 acquire(const Kerberos *kerberos, OM_uint32 *minor, gss_cred_id_t *ret_credential)
{
    gss_key_value_element_desc elements[] = {{"keytab", kerberos->settings->keytab},
                                             {"rcache", kerberos->replay_cache}};
    gss_key_value_set_desc store = {ELEMENTSOF(elements), elements};
    gss_OID_set_desc mechanisms = {1, &spnego};
    gss_buffer_desc text = {strlen(kerberos->settings->principal), kerberos->settings->principal};
    gss_name_t name = GSS_C_NO_NAME;
    OM_uint32 ignored;
    OM_uint32 major = gss_import_name(minor, &text, (gss_OID)GSS_KRB5_NT_PRINCIPAL_NAME, &name);
    if (GSS_ERROR(major))
        return major;
    major = gss_acquire_cred_from(minor, name, GSS_C_INDEFINITE, &mechanisms, GSS_C_ACCEPT, &store,
                                  ret_credential, NULL, NULL);
    (void)gss_release_name(&ignored, &name);
    if (!GSS_ERROR(major))
        major = only_kerberos(minor, *ret_credential);
    return major;
}

static int check_settings(const KerberosSettings *settings, Error *error)
{
    const struct {
        const char *field, *value;
    } needed[] = {{"kerberos.principal", settings->principal}, {"kerberos.realm", settings->realm}};
    for (size_t i = 0; i < ELEMENTSOF(needed); i++)
        if (string_is_empty(needed[i].value))
            return error_set_field(error, ERROR_CONFIGURATION, needed[i].field, "Kerberos needs '%s'.",
                                   needed[i].field);
    if (access(settings->keytab, R_OK) < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "Reading %s", settings->keytab);
    return 0;
}

int kerberos_new(const KerberosSettings *settings, const char *replay_cache, Kerberos **ret_kerberos,
                 Error *error)
{
    int r = check_settings(settings, error);
    if (r < 0)
        return r;
    _cleanup_(kerberos_free_pointer) Kerberos *kerberos = NEW(Kerberos);
    kerberos->settings = settings;
    kerberos->replay_cache = string_format("file2:%s", replay_cache);
    gss_cred_id_t credential = GSS_C_NO_CREDENTIAL;
    OM_uint32 minor = 0, ignored, major = acquire(kerberos, &minor, &credential);
    (void)gss_release_cred(&ignored, &credential);
    if (GSS_ERROR(major))
        return failed(error, ERROR_CONFIGURATION, major, minor, "The keys of 'kerberos.principal'");
    *ret_kerberos = TAKE_PTR(kerberos);
    return 0;
}

Kerberos *kerberos_free(Kerberos *kerberos)
{
    if (!kerberos)
        return NULL;
    free(kerberos->replay_cache);
    free(kerberos);
    return NULL;
}

bool kerberos_may_use_local(const Kerberos *kerberos, const char *username)
{
    return string_list_contains(&kerberos->settings->local_accounts, username);
}

int kerberos_map_principal(const char *principal, const char *realm,
                           char ret_username[static KERBEROS_NAME_MAX])
{
    const char *at = strchr(principal, '@');
    size_t length = at ? (size_t)(at - principal) : 0;
    if (length == 0 || length >= KERBEROS_NAME_MAX || !string_equal(at + 1, realm))
        return -EINVAL;
    memcpy(ret_username, principal, length);
    ret_username[length] = '\0';
    return identifier_is_valid(ret_username) ? 0 : -EINVAL;
}

static int read_owner(const Kerberos *kerberos, gss_name_t owner, char ret_username[static KERBEROS_NAME_MAX],
                      char ret_reason[static KERBEROS_NAME_MAX])
{
    gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
    gss_OID type = GSS_C_NO_OID;
    OM_uint32 minor = 0, ignored, major = gss_display_name(&minor, owner, &text, &type);
    if (GSS_ERROR(major)) {
        describe(major, minor, ret_reason);
        return 0;
    }
    char principal[KERBEROS_NAME_MAX];
    bool fits = text.length < sizeof(principal) && !memchr(text.value, 0, text.length) &&
                gss_oid_equal(type, GSS_KRB5_NT_PRINCIPAL_NAME);
    memcpy(principal, text.value, fits ? text.length : 0);
    principal[fits ? text.length : 0] = '\0';
    (void)gss_release_buffer(&ignored, &text);
    if (kerberos_map_principal(principal, kerberos->settings->realm, ret_username) == 0)
        return 1;
    (void)string_print(ret_reason, KERBEROS_NAME_MAX, "'%s' is nobody of the realm %s", principal,
                       kerberos->settings->realm);
    return 0;
}

int kerberos_accept(Kerberos *kerberos, const void *token, size_t size,
                    char ret_username[static KERBEROS_NAME_MAX], char ret_reason[static KERBEROS_NAME_MAX])
{
    gss_cred_id_t credential = GSS_C_NO_CREDENTIAL;
    gss_ctx_id_t context = GSS_C_NO_CONTEXT;
    gss_name_t owner = GSS_C_NO_NAME;
    gss_buffer_desc input = {size, (void *)(uintptr_t)token}, output = GSS_C_EMPTY_BUFFER;
    OM_uint32 minor = 0, ignored, flags = 0;
    *ret_username = *ret_reason = '\0';
    OM_uint32 major = acquire(kerberos, &minor, &credential);
    if (!GSS_ERROR(major))
        major = gss_accept_sec_context(&minor, &context, credential, &input, GSS_C_NO_CHANNEL_BINDINGS,
                                       &owner, NULL, &output, &flags, NULL, NULL);
    int r = 0;
    if (major != GSS_S_COMPLETE)
        describe(major, minor, ret_reason);
    else if (flags & GSS_C_ANON_FLAG)
        (void)string_copy(ret_reason, KERBEROS_NAME_MAX, "the ticket names nobody");
    else
        r = read_owner(kerberos, owner, ret_username, ret_reason);
    (void)gss_release_buffer(&ignored, &output);
    (void)gss_release_name(&ignored, &owner);
    (void)gss_delete_sec_context(&ignored, &context, GSS_C_NO_BUFFER);
    (void)gss_release_cred(&ignored, &credential);
    return r;
}

/* The client's side
 * -----------------------------------------------------------------------------------------------------------
 */

static char *header_value(const gss_buffer_desc *token)
{
    static const char prefix[] = "Negotiate ";
    size_t size = 4 * ((token->length + 2) / 3) + 1;
    char *value = memory_new(sizeof(prefix) - 1 + size);
    memcpy(value, prefix, sizeof(prefix) - 1);
    base64_encode(token->value, token->length, value + sizeof(prefix) - 1);
    return value;
}

int kerberos_authorization(const char *host, char **ret_value, Error *error)
{
    _cleanup_free_ char *service = string_format("HTTP@%s", host);
    gss_buffer_desc text = {strlen(service), service}, token = GSS_C_EMPTY_BUFFER;
    gss_name_t target = GSS_C_NO_NAME;
    gss_ctx_id_t context = GSS_C_NO_CONTEXT;
    OM_uint32 minor = 0, ignored, major = gss_import_name(&minor, &text, GSS_C_NT_HOSTBASED_SERVICE, &target);
    if (!GSS_ERROR(major))
        major = gss_init_sec_context(&minor, GSS_C_NO_CREDENTIAL, &context, target, &spnego,
                                     GSS_C_REPLAY_FLAG, GSS_C_INDEFINITE, GSS_C_NO_CHANNEL_BINDINGS,
                                     GSS_C_NO_BUFFER, NULL, &token, NULL, NULL);
    int r = GSS_ERROR(major) ? failed(error, ERROR_UNAUTHENTICATED, major, minor, "Kerberos")
            : token.length == 0 || token.length > KERBEROS_TOKEN_MAX
                ? error_set(error, ERROR_PROTOCOL, "Kerberos gave no token of a usable size.")
                : 0;
    if (r >= 0)
        *ret_value = header_value(&token);
    memory_wipe(token.value, token.length);
    (void)gss_release_buffer(&ignored, &token);
    (void)gss_delete_sec_context(&ignored, &context, GSS_C_NO_BUFFER);
    (void)gss_release_name(&ignored, &target);
    return r;
}
