/* SPDX-License-Identifier: Apache-2.0 */
#include "domain/topology/hostname.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>

#include "base/string.h"

int node_hostname(const char *cluster_name, uint64_t cluster_number, uint32_t node_number, const char *suffix,
                  char destination[static HOSTNAME_LIMIT + 1])
{
    char tail[48] = "";
    int r = cluster_number > 0
                ? string_print(tail, sizeof(tail), "%" PRIu64 "-%" PRIu32, cluster_number, node_number)
                : string_print(tail, sizeof(tail), "-%" PRIu32, node_number);
    if (r < 0)
        return r;
    if (suffix && *suffix == '.')
        suffix++;
    if (string_is_empty(suffix))
        suffix = "local";
    char label[HOSTNAME_LABEL_LIMIT + 1];
    size_t length = 0, limit = HOSTNAME_LABEL_LIMIT - strlen(tail);
    for (const char *p = cluster_name; *p && length < limit; p++) {
        char c = *p == '_' || *p == '.' ? '-' : (char)tolower((unsigned char)*p);
        /* A host name begins with a letter. */
        if (length == 0 && !isalpha((unsigned char)c))
            continue;
        label[length++] = c;
    }
    if (length == 0)
        label[length++] = 'n';
    label[length] = '\0';
    r = string_print(destination, HOSTNAME_LIMIT + 1, "%s%s.%s", label, tail, suffix);
    if (r < 0)
        return r;
    return hostname_is_valid(destination) ? 0 : -EINVAL;
}
