#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Packs a bundle folder into a .tar.gz: the manifest and what it lists, in sorted order, without times and owners, so that
the same files always give the same bytes and the same digest.

usage: pack-bundle.py FOLDER ARCHIVE
"""

import gzip
import io
import json
import pathlib
import sys
import tarfile


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    names = ["manifest.json"] + sorted(list(manifest["scripts"]) + list(manifest.get("files", {})))
    present = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    if present != set(names):
        sys.exit(f"{folder}: the manifest and the folder differ: {sorted(present ^ set(names))}")
    with open(sys.argv[2], "wb") as output, gzip.GzipFile(filename="", fileobj=output, mode="wb", mtime=0) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for name in names:
                content = (folder / name).read_bytes()
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                entry.mode = 0o755 if name in manifest["scripts"] else 0o644
                archive.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    main()
