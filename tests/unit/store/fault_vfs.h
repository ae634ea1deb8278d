/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* SQLite's way to the file system, with faults on demand: the N-th write or sync from now on fails. Becomes
 * the default of the process when installed. */

typedef enum Fault { FAULT_NONE, FAULT_DISK_FULL, FAULT_WRITE, FAULT_SYNC } Fault;

void fault_vfs_install(void);
/* The `number`-th (from 1) write (or sync) fails, and with is_lasting all later ones. */
void fault_vfs_arm(Fault fault, unsigned number, int is_lasting);
/* How often a fault struck since it was armed. */
unsigned fault_vfs_hits(void);
