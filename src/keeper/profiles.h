/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The rules of the profiles (authority.h has the table's type). No state; any thread. */

#include "keeper/authority.h"

#define PROVISIONER_URI "bastide:provisioner:"

/* Names, common name and life of an order against its profile. */
int profile_check(const CertificateOrder *order, Error *error);
