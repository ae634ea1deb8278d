# SPDX-License-Identifier: Apache-2.0
"""The check-* programs find what they should, with file and line, and nothing in a clean tree."""

import pathlib
import subprocess
import sys

import pytest

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"
LICENCE = "/* SPDX-License-Identifier: Apache-2.0 */\n"
PROSE = "/* What this is for a test, which thread may call it (any), and who owns what (nobody). */\n"


def run(check, root):
    result = subprocess.run([sys.executable, TOOLS / check, "--root", root], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, check=False)
    return result.returncode, result.stdout


def write(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("folder, line, problem", [
    ("base", '#include "store/store.h"', "base must not include store/store.h"),
    ("domain", '#include "store/store.h"', "domain must not include store/store.h"),
    ("domain", '  #  include "net/http_server.h"', "domain must not include"),
    ("keeper", '#include "manager/main.h"', "keeper must not include manager/main.h"),
    ("provisioner", '#include "runner/main.h"', "provisioner must not include runner/main.h"),
    ("base", '#include "string.h"', 'name the folder: "base/string.h"'),
    ("base", "#include <base/string.h>", 'use "base/string.h"'),
    ("base", '#include "nowhere/string.h"', "no folder src/nowhere"),
])
def test_layers_refuses(tmp_path, folder, line, problem):
    write(tmp_path, "src/base/string.h", LICENCE)
    write(tmp_path, f"src/{folder}/a.c", LICENCE + line + "\n")
    status, output = run("check-layers", tmp_path)
    assert status == 1
    assert output.startswith(f"src/{folder}/a.c:2: layer: {problem}")


@pytest.mark.parametrize("folder, line", [
    ("store", '#include "base/string.h"'),
    ("domain", '#include "model/plan.h"'),
    ("provisioner", '#include "runner/protocol.h"'),
    ("api", '#include "engine/engine.h"'),
    ("base", "#include <sys/stat.h>"),
    ("base", "#include <net/if.h>"),
    ("base", '/* #include "store/store.h" */'),
])
def test_layers_accepts(tmp_path, folder, line):
    write(tmp_path, f"src/{folder}/a.c", LICENCE + line + "\n")
    assert run("check-layers", tmp_path)[0] == 0


def test_layers_refuses_unknown_folder(tmp_path):
    write(tmp_path, "src/elsewhere/a.c", LICENCE)
    assert run("check-layers", tmp_path) == (1, "src/elsewhere/a.c:1: layer: this folder is not in the table of "
                                                "tools/check-layers\n")


BODY = "int f(void)\n{\n%s}\n"


@pytest.mark.parametrize("name, text, place", [
    ("a.c", "int x;\n", "1: licence"),
    ("a.py", "#!/usr/bin/python3\nx = 1\n", "1: licence"),
    ("a.c", LICENCE + "int x;\t/* */\n", "2: tab"),
    ("a.c", LICENCE + "int x; \n", "2: trailing-space"),
    ("a.md", "text\r\n", "1: trailing-space"),
    ("a.c", LICENCE + "int x;", "2: last-line"),
    ("a.c", LICENCE + "/* TO" + "DO: more */\n", "2: unfinished"),
    ("a.c", LICENCE + 'const char *p = "/ho' + 'me/anna/x";\n', "2: personal-path"),
    ("a.md", "see /wo" + "rk/main\n", "1: personal-path"),
    ("a.c", LICENCE + BODY % "    strcpy(a, b);\n", "4: banned-call: strcpy(): use string_copy"),
    ("a.c", LICENCE + BODY % "    return atoi (a);\n", "4: banned-call"),
    ("a.c", LICENCE + BODY % ("    f();\n" * 81), "3: function-length: 81 lines"),
    ("a.c", LICENCE + BODY % (" " + "{" * 6 + "}" * 6 + "\n"), "4: nesting"),
    ("a.c", LICENCE + "\n" * 1000, "1001: file-length"),
    ("a.h", LICENCE + PROSE, "2: pragma-once"),
    ("a.h", LICENCE + "#pragma once\n/* Short. */\n", "1: header-prose"),
])
def test_source_refuses(tmp_path, name, text, place):
    write(tmp_path, "src/base/" + name, text)
    status, output = run("check-source", tmp_path)
    assert status == 1
    assert f"src/base/{name}:{place}" in output


@pytest.mark.parametrize("name, text", [
    ("a.c", LICENCE + BODY % ("    f();\n" * 80)),
    ("a.c", LICENCE + BODY % (" " + "{" * 5 + "}" * 5 + "\n")),
    ("a.c", LICENCE + '/* strcpy(a, b) */ const char *s = "system(1)";\n'),
    ("a.c", LICENCE + "int my_strcpy(void); int y = a.system(1), z = p->random(2);\n"),
    ("a.c", LICENCE + "/* check-source: allow banned-call, because the test wants it */\nint x = atoi(a);\n"),
    ("a.h", LICENCE + "#pragma once\n\n" + PROSE),
    ("rows.h", LICENCE + PROSE + "/* Included several times, so no include guard. */\n"),
    ("Makefile", "all:\n\ttrue\n"),
])
def test_source_accepts(tmp_path, name, text):
    write(tmp_path, "src/base/" + name, text)
    status, output = run("check-source", tmp_path)
    assert status == 0, output


def test_source_allow_needs_the_same_rule(tmp_path):
    write(tmp_path, "a.c", LICENCE + "/* check-source: allow tab, because of nothing */\nint x = atoi(a);\n")
    assert run("check-source", tmp_path)[0] == 1


def test_format(tmp_path):
    write(tmp_path, ".clang-format", "BasedOnStyle: LLVM\n")
    write(tmp_path, "a.c", "int x;\n")
    assert run("check-format", tmp_path)[0] == 0
    write(tmp_path, "b.c", "int x;\nint  y;\n")
    status, output = run("check-format", tmp_path)
    assert status == 1
    assert output == "b.c:2: format: code should be clang-formatted\n"


ROUTES = LICENCE + """const ApiRoute routes_system[] = {
    ROUTE(GET, "/version", OPEN, NO_TENANT, READ, NO_BODY, get_version, NULL, 200, "Version, and (no more)"),
    ROUTE(GET, "/things/{id}", THING_GET, NEEDS_TENANT, READ, NO_BODY, get_thing, NULL, 200, "A thing",
          .query = query_page, .object = &object_thing),
    ROUTE(PUT, "/things", THING_PUT, NEEDS_TENANT, WRITE, JSON_BODY, put_thing, "thing_put", 201, "Makes "
          "a thing", .fields = thing_fields),
    %s
    {0},
};
"""


def write_routes(root, row="", model="* `GET /version`: public\n"):
    write(root, "src/domain/access/permission-table.h", 'PERMISSION_ROW(THING_GET, "thing_get", TENANT, 0, "see")\n'
          'PERMISSION_ROW(THING_PUT, "thing_put", TENANT, 0, "make")\n')
    write(root, "docs/security-model.md", f"# Security model\n\n## Open routes\n\n{model}\n## Else\n\n* `GET /else`\n")
    write(root, "src/api/system.c", ROUTES % row)


def test_routes_accepts(tmp_path):
    write_routes(tmp_path)
    assert run("check-routes", tmp_path) == (0, "3 routes, nothing found\n")


@pytest.mark.parametrize("row, problem", [
    ('ROUTE(GET, "/x", , NO_TENANT, READ, NO_BODY, x, NULL, 200, "X"),', "permission: GET /x: there is no permission ''"),
    ('ROUTE(GET, "/x", THING, NO_TENANT, READ, NO_BODY, x, NULL, 200, "X"),', "permission: GET /x: there is no"),
    ('ROUTE(GET, "/x", THING_GET, NO_TENANT, READ, NO_BODY, x, NULL, 200, ""),', "summary: GET /x: say what"),
    ('ROUTE(GET, "/x", NO_TENANT, READ, NO_BODY, x, NULL, 200, "X"),', "row: a row has method, path, permission"),
    ('ROUTE(PUT, "/x", THING_PUT, NO_TENANT, WRITE, NO_BODY, x, NULL, 200, "X"),', "audit: PUT /x: what writes"),
    ('ROUTE(GET, "/things/new", THING_GET, NO_TENANT, READ, NO_BODY, x, NULL, 200, "X"),', "shadow: GET /things/new"),
    ('ROUTE(GET, "/x/{id}", THING_GET, NEEDS_TENANT, READ, NO_BODY, x, NULL, 200, "X"),', "object: GET /x/{id}: what names"),
    ('ROUTE(GET, "/x", OPEN, NO_TENANT, READ, NO_BODY, x, NULL, 200, "X"),', "open: GET /x is open to everybody"),
])
def test_routes_refuses(tmp_path, row, problem):
    write_routes(tmp_path, row)
    status, output = run("check-routes", tmp_path)
    assert status == 1
    assert output.startswith(f"src/api/system.c:8: {problem}")


def test_routes_refuses_a_model_that_promises_more(tmp_path):
    write_routes(tmp_path, model="* `GET /version`: public\n* `GET /gone`: was public\n")
    status, output = run("check-routes", tmp_path)
    assert status == 1
    assert output == "docs/security-model.md:6: open: GET /gone is listed, but no row of that kind is open\n"


def test_routes_refuses_a_tree_without_model(tmp_path):
    write_routes(tmp_path)
    (tmp_path / "docs/security-model.md").unlink()
    status, output = run("check-routes", tmp_path)
    assert status == 1 and "GET /version is open to everybody" in output
@pytest.mark.parametrize("text, problem", [
    ("[page](nowhere.md)", "'nowhere.md' does not exist"),
    ("![picture](pictures/none.svg)", "does not exist"),
    ("[part](other.md#no-such-part)", "there is no such heading"),
    ("[part](#no-such-part)", "there is no such heading"),
    ("[out](../../outside.md)", "leaves the source tree"),
    ("[root](/etc/passwd)", "leaves the source tree"),
    ("[page]: nowhere.md", "'nowhere.md' does not exist"),
    ('<img src="nowhere.svg">', "'nowhere.svg' does not exist"),
])
def test_links_refuses(tmp_path, text, problem):
    write(tmp_path, "docs/other.md", "# Other\n")
    write(tmp_path, "docs/page.md", f"# Page\n\n{text}\n")
    status, output = run("check-links", tmp_path)
    assert status == 1
    assert output.startswith("docs/page.md:3: link: ") and problem in output


def test_links_accepts(tmp_path):
    write(tmp_path, "docs/other.md", "# Other\n\n## What is `there`, yet\n\n## Twice\n\n## Twice\n")
    write(tmp_path, "README.md", "[a](docs/other.md), [b](docs/other.md#what-is-there-yet), [c](docs/other.md#twice-1),\n"
                                 "[web](https://example.org/x), `[no](nowhere.md)`, [folder](docs/)\n\n"
                                 "```\n[no](nowhere.md)\n```\n")
    assert run("check-links", tmp_path)[0] == 0
