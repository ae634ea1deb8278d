/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The certificates of the manager's listeners, recorded as every other one is. Any thread but the loop's. */

#include "api/api_internal.h"

int certificates_note_listeners(Api *api, Error *error);
