# SPDX-License-Identifier: Apache-2.0
"""What the check-* programs share: the files of the project and how a finding is shown."""

import argparse
import pathlib
import subprocess
import sys

# Folders whose content is data, made by tools, or of others.
SKIPPED = ("tests/fuzz/corpus/", "console/dist/", "console/node_modules/")


def parse_root(description):
    """The root of the tree, from the command line or from where the program stands."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent,
                        help="top folder of the source tree")
    return parser.parse_args().root.resolve()


def list_files(root):
    """Paths relative to the root: what git knows or would add; every file where there is no git."""
    if (root / ".git").exists():
        output = subprocess.run(["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                                check=True, stdout=subprocess.PIPE).stdout.decode()
        names = sorted(set(filter(None, output.split("\0"))))
    else:
        names = sorted(str(path.relative_to(root)) for path in root.rglob("*")
                       if not any(part.startswith((".", "build")) for part in path.relative_to(root).parts))
    return [name for name in names
            if not name.startswith(SKIPPED) and (root / name).is_file() and not (root / name).is_symlink()]


def finish(findings, checked, what):
    """Prints the findings ("file:line: rule: text") and ends the program."""
    for name, line, rule, text in sorted(findings):
        print(f"{name}:{line}: {rule}: {text}")
    if findings:
        print(f"{len(findings)} findings in {checked} {what}", file=sys.stderr)
        sys.exit(1)
    print(f"{checked} {what}, nothing found")
