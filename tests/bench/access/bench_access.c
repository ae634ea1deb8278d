/* SPDX-License-Identifier: Apache-2.0 */
/* The time of one decision about access, with and without an object, over all permissions and built-in roles:
 * `bench_access`. The sum keeps the compiler from leaving anything out. */

#include <stdio.h>
#include <time.h>

#include "domain/access/access.h"

enum { ROUNDS = 20000 };

static double seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double measure(const AccessObject *object, unsigned long *allowed)
{
    unsigned long count = 0;
    double start = seconds();
    for (unsigned round = 0; round < ROUNDS; round++)
        for (unsigned role = ACCESS_ROLE_DEFAULT; role < _ACCESS_ROLE_MAX; role++) {
            Principal who = {.username = round % 2 ? "ann" : "bob", .tenant = "acme", .is_member = true};
            permission_set_add(&who.rights, (Permission)(PERMISSION_OPEN + 1 + role % 3));
            permission_set_add(&who.rights, PERMISSION_CLUSTER_GET);
            for (unsigned p = PERMISSION_OPEN + 1; p < _PERMISSION_MAX; p++, count++)
                *allowed += access_decide(&who, (Permission)p, object).is_allowed;
        }
    return (seconds() - start) / (double)count * 1e9;
}

int main(void)
{
    unsigned long allowed = 0;
    AccessObject object = {.tenant = "acme", .kind = "cluster", .id = "c", .owner = "bob"};
    for (unsigned v = 0; v < _VISIBILITY_MAX; v++) {
        object.visibility = (Visibility)v;
        object.rights = v == VISIBILITY_PRIVATE ? GRANT_READ : 0;
        printf("a decision about a %s object: %.1f ns\n", visibility_to_string((Visibility)v),
               measure(&object, &allowed));
    }
    printf("a decision without an object: %.1f ns\n", measure(NULL, &allowed));
    double start = seconds();
    PermissionSet all = {0};
    for (unsigned i = 0; i < ROUNDS; i++) {
        PermissionSet set = access_role_permissions((AccessRole)(1 + i % (_ACCESS_ROLE_MAX - 1)));
        permission_set_unite(&all, &set);
    }
    printf("the set of a role: %.1f ns\n", (seconds() - start) / ROUNDS * 1e9);
    return allowed == 0 || !permission_set_has(&all, PERMISSION_STATUS_GET);
}
