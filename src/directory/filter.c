/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/filter.h"

#include <errno.h>
#include <ldap.h>

#include "base/string.h"

static const char USERNAME[] = "{username}", NAME[] = "{dn}";

static void append_escaped(Buffer *buffer, const char *value)
{
    for (const char *c = value ?: ""; *c; c++) {
        bool is_plain = *c > ' ' && *c < 0x7f && !strchr("*()\\&|!=<>~", *c);
        if (is_plain)
            (void)buffer_append_byte(buffer, (uint8_t)*c);
        else
            (void)buffer_append_format(buffer, "\\%02x", (unsigned)(unsigned char)*c);
    }
}

int directory_filter_append(Buffer *buffer, const char *pattern, const char *username, const char *dn)
{
    for (const char *c = pattern; *c;) {
        if (string_starts_with(c, USERNAME)) {
            append_escaped(buffer, username);
            c += strlen(USERNAME);
        } else if (string_starts_with(c, NAME)) {
            append_escaped(buffer, dn);
            c += strlen(NAME);
        } else {
            (void)buffer_append_byte(buffer, (uint8_t)*c++);
        }
    }
    return buffer->has_overflowed ? -E2BIG : 0;
}

bool directory_filter_is_valid(const char *pattern)
{
    unsigned depth = 0;
    if (string_is_empty(pattern) || *pattern != '(' || string_has_control(pattern, strlen(pattern), NULL))
        return false;
    for (const char *c = pattern; *c; c++) {
        if (*c == '{' && !string_starts_with(c, USERNAME) && !string_starts_with(c, NAME))
            return false;
        if (*c == '(')
            depth++;
        else if (*c == ')' && (depth == 0 || (--depth == 0 && c[1])))
            return false;
    }
    return depth == 0;
}

char *directory_name_normalise(const char *name)
{
    LDAPDN parsed = NULL;
    char *text = NULL, *result = NULL;
    if (string_is_empty(name) || strlen(name) > DIRECTORY_NAME_MAX ||
        ldap_str2dn(name, &parsed, LDAP_DN_FORMAT_LDAPV3) != LDAP_SUCCESS)
        return NULL;
    if (parsed && ldap_dn2str(parsed, &text, LDAP_DN_FORMAT_LDAPV3) == LDAP_SUCCESS &&
        !string_is_empty(text) && strlen(text) <= DIRECTORY_NAME_MAX)
        result = string_duplicate(text);
    for (char *c = result; c && *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    ldap_memfree(text);
    ldap_dnfree(parsed);
    return result;
}
