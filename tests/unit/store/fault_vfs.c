/* SPDX-License-Identifier: Apache-2.0 */

#include "fault_vfs.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

typedef struct FaultFile {
    sqlite3_file base;
    sqlite3_file *real; /* right behind this */
} FaultFile;

static sqlite3_vfs *real_vfs, fault_vfs;
static atomic_int armed, lasting, left;
static atomic_uint hits;

void fault_vfs_arm(Fault fault, unsigned number, int is_lasting)
{
    atomic_store(&armed, FAULT_NONE);
    atomic_store(&left, (int)number);
    atomic_store(&lasting, is_lasting);
    atomic_store(&hits, 0);
    atomic_store(&armed, (int)fault);
}

unsigned fault_vfs_hits(void)
{
    return atomic_load(&hits);
}

static int strikes(int is_sync)
{
    const int fault = atomic_load(&armed);
    if (fault == FAULT_NONE || (fault == FAULT_SYNC) != is_sync)
        return SQLITE_OK;
    const int now = atomic_fetch_sub(&left, 1);
    if (now > 1 || (now < 1 && !atomic_load(&lasting)))
        return SQLITE_OK;
    atomic_fetch_add(&hits, 1);
    return fault == FAULT_SYNC ? SQLITE_IOERR_FSYNC : fault == FAULT_WRITE ? SQLITE_IOERR_WRITE : SQLITE_FULL;
}

#define REAL(file) (((FaultFile *)(file))->real)

static int file_close(sqlite3_file *file)
{
    return REAL(file)->pMethods->xClose(REAL(file));
}

static int file_read(sqlite3_file *file, void *data, int size, sqlite3_int64 offset)
{
    return REAL(file)->pMethods->xRead(REAL(file), data, size, offset);
}

static int file_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    const int code = strikes(0);
    if (code == SQLITE_OK)
        return REAL(file)->pMethods->xWrite(REAL(file), data, size, offset);
    /* A disk that fills up takes the first half. */
    if (size > 1)
        (void)REAL(file)->pMethods->xWrite(REAL(file), data, size / 2, offset);
    return code;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return REAL(file)->pMethods->xTruncate(REAL(file), size);
}

static int file_sync(sqlite3_file *file, int flags)
{
    const int code = strikes(1);
    return code == SQLITE_OK ? REAL(file)->pMethods->xSync(REAL(file), flags) : code;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return REAL(file)->pMethods->xFileSize(REAL(file), size);
}

static int file_lock(sqlite3_file *file, int level)
{
    return REAL(file)->pMethods->xLock(REAL(file), level);
}

static int file_unlock(sqlite3_file *file, int level)
{
    return REAL(file)->pMethods->xUnlock(REAL(file), level);
}

static int file_check_lock(sqlite3_file *file, int *result)
{
    return REAL(file)->pMethods->xCheckReservedLock(REAL(file), result);
}

static int file_control(sqlite3_file *file, int operation, void *argument)
{
    return REAL(file)->pMethods->xFileControl(REAL(file), operation, argument);
}

static int file_sector_size(sqlite3_file *file)
{
    return REAL(file)->pMethods->xSectorSize(REAL(file));
}

static int file_characteristics(sqlite3_file *file)
{
    return REAL(file)->pMethods->xDeviceCharacteristics(REAL(file));
}

static int file_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **address)
{
    return REAL(file)->pMethods->xShmMap(REAL(file), page, size, extend, address);
}

static int file_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    return REAL(file)->pMethods->xShmLock(REAL(file), offset, count, flags);
}

static void file_shm_barrier(sqlite3_file *file)
{
    REAL(file)->pMethods->xShmBarrier(REAL(file));
}

static int file_shm_unmap(sqlite3_file *file, int is_last)
{
    return REAL(file)->pMethods->xShmUnmap(REAL(file), is_last);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_lock,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
    .xShmMap = file_shm_map,
    .xShmLock = file_shm_lock,
    .xShmBarrier = file_shm_barrier,
    .xShmUnmap = file_shm_unmap,
};

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
    (void)vfs;
    FaultFile *fault = (FaultFile *)file;
    fault->real = (sqlite3_file *)(fault + 1);
    const int code = real_vfs->xOpen(real_vfs, name, fault->real, flags, ret_flags);
    fault->base.pMethods = fault->real->pMethods ? &methods : NULL;
    return code;
}

void fault_vfs_install(void)
{
    if (real_vfs)
        return;
    real_vfs = sqlite3_vfs_find(NULL);
    memcpy(&fault_vfs, real_vfs, sizeof(fault_vfs));
    fault_vfs.pNext = NULL;
    fault_vfs.zName = "fault";
    fault_vfs.szOsFile = (int)sizeof(FaultFile) + real_vfs->szOsFile;
    fault_vfs.xOpen = vfs_open;
    (void)sqlite3_vfs_register(&fault_vfs, 1);
}
