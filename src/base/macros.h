/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The language helpers that every file may use: cleanup attributes, ownership hand-over, sizes.
 * Any thread; no state. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define _cleanup_(function)                 __attribute__((cleanup(function)))
#define _printf_(format_index, first_index) __attribute__((__format__(__printf__, format_index, first_index)))
#define _warn_unused_                       __attribute__((warn_unused_result))
#define _unused_                            __attribute__((unused))
#define _noreturn_                          __attribute__((noreturn))

#define ELEMENTSOF(array) (sizeof(array) / sizeof((array)[0]))
#define MIN(a, b)         ((a) < (b) ? (a) : (b))
#define MAX(a, b)         ((a) > (b) ? (a) : (b))

/* Hands a pointer over: the variable is NULL afterwards, so its cleanup does nothing. */
#define TAKE_PTR(pointer)                                                                                    \
    ({                                                                                                       \
        __typeof__(pointer) *_taken_from = &(pointer);                                                       \
        __typeof__(pointer) _taken = *_taken_from;                                                           \
        *_taken_from = NULL;                                                                                 \
        _taken;                                                                                              \
    })

/* Hands a file descriptor over: the variable is -1 afterwards. */
#define TAKE_FD(descriptor)                                                                                  \
    ({                                                                                                       \
        int *_taken_from = &(descriptor);                                                                    \
        int _taken = *_taken_from;                                                                           \
        *_taken_from = -1;                                                                                   \
        _taken;                                                                                              \
    })

/* Defines `void <function>_pointer(type **)` for use with _cleanup_(); <function> must accept NULL. */
#define DEFINE_CLEANUP(type, function)                                                                       \
    static inline void function##_pointer(type **pointer)                                                    \
    {                                                                                                        \
        if (*pointer)                                                                                        \
            function(*pointer);                                                                              \
    }                                                                                                        \
    struct function##_semicolon_eater

/* Stays on in production: a restarted process beats a corrupted one. */
#define ASSERT(condition)                                                                                    \
    do {                                                                                                     \
        if (__builtin_expect(!(condition), 0))                                                               \
            assert_failed(#condition, __FILE__, __LINE__, __func__);                                         \
    } while (0)

_noreturn_ void assert_failed(const char *expression, const char *file, int line, const char *function);
