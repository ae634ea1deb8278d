/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The process that stands behind one running step; see step.h. */

#include "runner/step.h"

/* In the child of a fork: never returns. Keeps the lock open until it exits. */
_noreturn_ void supervisor_main(const RunnerState *state, const StepRequest *request, int lock);
