#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The layout solver next to COIN-BC, MiniZinc (Gecode) and Z3, on the same problems in the same run.

Usage: compare-solvers.py BUILD_DIRECTORY [--seconds N] [PROBLEM...]

Debian packages: minizinc, coinor-cbc, z3; what is missing is said and left out. (Debian's MiniZinc comes without its
COIN-BC plug-in, so COIN-BC gets the linear model as a file.) The others are asked easier
questions than ours: `any` = some valid layout; `first` = only the first entry of the preference vector (the largest
machine and how many of it). They are given the number of distinct layouts of our answer, or 24 when there is none.
Ours always finds the whole vector, or proves and explains. Times are wall times of the whole process."""

import argparse
import itertools
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

PROBLEMS = ["p7", "p7-tight", "p7-plain", "p7-scarce", "p7-fitting", "p7-infeasible", "k6", "k10"]


class Problem:
    def __init__(self, text):
        self.services, self.cant = {}, []
        for line in text.splitlines():
            word, *rest = line.split()
            if word == "nodes":
                self.nodes = int(rest[0])
            elif word == "hardware":
                self.hardware = rest
            elif word == "images":
                self.images = rest
            elif word == "cant":
                self.cant.append(rest)
            elif word == "service":
                given = dict(itertools.zip_longest(*[iter(rest[1:])] * 2))
                self.services[rest[0]] = {
                    "min": int(given.get("min", 1)),
                    "max": min(int(given.get("max", self.nodes)), self.nodes),
                    "hw": given.get("hw", "").split(",") if given.get("hw") else self.hardware,
                    "im": given.get("im", "").split(",") if given.get("im") else self.images,
                }


def minizinc_model(problem, kinds, wants_first):
    names = list(problem.services)
    index = {name: i + 1 for i, name in enumerate(names)}
    lines = [
        f"int: n = {problem.nodes}; set of int: K = 1..{kinds}; set of int: S = 1..{len(names)};",
        "array[K,S] of var bool: has; array[K] of var 0..n: count; array[K,S] of var 0..n: on;",
        f"array[K] of var 1..{len(problem.hardware)}: hw; array[K] of var 1..{len(problem.images)}: im;",
        "constraint sum(count) = n;",
        "constraint forall(k in K)(exists(s in S)(has[k,s]));",
        "constraint forall(k in K, s in S)(on[k,s] <= count[k] /\\ on[k,s] <= n * bool2int(has[k,s]) /\\ "
        "on[k,s] >= count[k] - n * (1 - bool2int(has[k,s])));",
    ]
    for name, service in problem.services.items():
        s = index[name]
        lines.append(f"constraint sum(k in K)(on[k,{s}]) >= {service['min']} /\\ "
                     f"sum(k in K)(on[k,{s}]) <= {service['max']};")
        for variable, key, types in (("hw", "hw", problem.hardware), ("im", "im", problem.images)):
            if len(service[key]) < len(types):
                allowed = ",".join(str(types.index(t) + 1) for t in sorted(set(service[key])))
                lines.append(f"constraint forall(k in K)(has[k,{s}] -> {variable}[k] in {{{allowed}}});")
    for members in problem.cant:
        both = " /\\ ".join(f"has[k,{index[m]}]" for m in members)
        lines.append(f"constraint forall(k in K)(not ({both}));")
    if wants_first:
        lines.append("constraint count[1] >= 1;")
        lines.append("solve maximize (n + 1) * sum(s in S)(bool2int(has[1,s])) + count[1];")
        lines.append('output ["objective=\\((n + 1) * sum(s in S)(bool2int(fix(has[1,s]))) + fix(count[1]))\\n"];')
    else:
        lines.append("solve satisfy;")
    return "\n".join(lines) + "\n"


def linear_model(problem, kinds, wants_first):
    """The CPLEX LP format."""
    n, rows, binary, general = problem.nodes, [], [], []
    for k in range(kinds):
        general.append(f"c{k}")
        rows.append(" + ".join(f"x{k}{name}" for name in problem.services) + " >= 1")
        for variable, types in (("h", problem.hardware), ("i", problem.images)):
            rows.append(" + ".join(f"{variable}{k}_{t}" for t in types) + " = 1")
            binary += [f"{variable}{k}_{t}" for t in types]
        for name, service in problem.services.items():
            binary.append(f"x{k}{name}")
            general.append(f"y{k}{name}")
            rows.append(f"y{k}{name} - c{k} <= 0")
            rows.append(f"y{k}{name} - {n} x{k}{name} <= 0")
            rows.append(f"y{k}{name} - c{k} - {n} x{k}{name} >= -{n}")
            for variable, key, types in (("h", "hw", problem.hardware), ("i", "im", problem.images)):
                if len(service[key]) < len(types):
                    allowed = " - ".join(f"{variable}{k}_{t}" for t in sorted(set(service[key])))
                    rows.append(f"x{k}{name} - {allowed} <= 0")
        for members in problem.cant:
            rows.append(" + ".join(f"x{k}{m}" for m in members) + f" <= {len(members) - 1}")
    rows.append(" + ".join(f"c{k}" for k in range(kinds)) + f" = {n}")
    for name, service in problem.services.items():
        total = " + ".join(f"y{k}{name}" for k in range(kinds))
        rows += [f"{total} >= {service['min']}", f"{total} <= {service['max']}"]
    goal = "0 c0"
    if wants_first:
        rows.append("c0 >= 1")
        goal = " + ".join(f"{n + 1} x0{name}" for name in problem.services) + " + c0"
    bounds = [f" 0 <= {v} <= {n}" for v in general]
    return "\n".join(["Maximize", f" obj: {goal}", "Subject To"] + [f" r{i}: {row}" for i, row in enumerate(rows)] +
                     ["Bounds"] + bounds + ["Binaries"] + [f" {v}" for v in binary] + ["Generals"] +
                     [f" {v}" for v in general] + ["End", ""])


def z3_model(problem, kinds, wants_first):
    out = []
    for k in range(kinds):
        out.append(f"(declare-const c{k} Int)(assert (and (>= c{k} 0) (<= c{k} {problem.nodes})))")
        out.append(f"(declare-const h{k} Int)(declare-const i{k} Int)")
        out.append(f"(assert (and (>= h{k} 0) (< h{k} {len(problem.hardware)}) (>= i{k} 0) "
                   f"(< i{k} {len(problem.images)})))")
        for name in problem.services:
            out.append(f"(declare-const x{k}{name} Bool)")
        out.append("(assert (or " + " ".join(f"x{k}{name}" for name in problem.services) + "))")
        for name, service in problem.services.items():
            for variable, key, types in (("h", "hw", problem.hardware), ("i", "im", problem.images)):
                if len(service[key]) < len(types):
                    allowed = " ".join(f"(= {variable}{k} {types.index(t)})" for t in sorted(set(service[key])))
                    out.append(f"(assert (=> x{k}{name} (or {allowed})))")
        for members in problem.cant:
            out.append("(assert (not (and " + " ".join(f"x{k}{m}" for m in members) + ")))")
    out.append("(assert (= " + str(problem.nodes) + " (+ 0 " + " ".join(f"c{k}" for k in range(kinds)) + ")))")
    for name, service in problem.services.items():
        total = "(+ 0 " + " ".join(f"(ite x{k}{name} c{k} 0)" for k in range(kinds)) + ")"
        out.append(f"(assert (and (>= {total} {service['min']}) (<= {total} {service['max']})))")
    if wants_first:
        size = "(+ 0 " + " ".join(f"(ite x0{name} 1 0)" for name in problem.services) + ")"
        out.append(f"(assert (>= c0 1))(maximize (+ (* {problem.nodes + 1} {size}) c0))")
    out.append("(check-sat)" + ("(get-objectives)" if wants_first else ""))
    return "\n".join(out) + "\n"


def run(command, seconds):
    start = time.monotonic()
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=seconds + 5, check=False)
        return time.monotonic() - start, done.stdout
    except subprocess.TimeoutExpired:
        return time.monotonic() - start, "stopped"


def verdict(output):
    lines = [line.strip() for line in output.splitlines()]
    for sign, word in (("=====UNSATISFIABLE=====", "impossible"), ("unsat", "impossible"),
                       ("Problem is infeasible", "impossible"), ("Result - Problem proven infeasible", "impossible"),
                       ("Result - Stopped on time limit", "no answer"), ("Result - Optimal solution found", "optimal"),
                       ("==========", "optimal"), ("----------", "found"), ("sat", "found")):
        if any(line.startswith(sign) for line in lines):
            return word
    return "no answer"


def objective(output, solver):
    """What a `first` question found, or None."""
    pattern = {"coin-bc": r"^Objective value:\s+-?([0-9]+)", "z3": r"^\s*\(\(.*\) ([0-9]+)\)$",
               "minizinc gecode": r"^objective=([0-9]+)"}[solver]
    found = re.findall(pattern, output, re.MULTILINE)
    return int(found[-1]) if found else None


def peers(folder, problem, kinds, wants_first, seconds):
    if shutil.which("minizinc"):
        path = folder / "model.mzn"
        path.write_text(minizinc_model(problem, kinds, wants_first), encoding="ascii")
        yield "minizinc gecode", ["minizinc", "--solver", "gecode", "--time-limit", str(seconds * 1000), str(path)]
    if shutil.which("cbc"):
        path = folder / "model.lp"
        path.write_text(linear_model(problem, kinds, wants_first), encoding="ascii")
        yield "coin-bc", ["cbc", str(path), "sec", str(seconds), "solve"]
    if shutil.which("z3"):
        path = folder / "model.smt2"
        path.write_text(z3_model(problem, kinds, wants_first), encoding="ascii")
        yield "z3", ["z3", f"-T:{seconds}", str(path)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build")
    parser.add_argument("problems", nargs="*", default=PROBLEMS)
    parser.add_argument("--seconds", type=int, default=20)
    arguments = parser.parse_intermixed_args()
    bench = pathlib.Path(arguments.build) / "tests/bench/layout/bench_layout"
    for tool in ("minizinc", "cbc", "z3"):
        if not shutil.which(tool):
            print(f"{tool} is not installed and left out")
    print(f"{'problem':<15} {'question':<8} {'solver':<17} {'answer':<12} {'seconds':>9} {'ratio':>9}")
    with tempfile.TemporaryDirectory() as temporary:
        for name in arguments.problems:
            problem = Problem(subprocess.check_output([bench, "show", name], text=True))
            fields = subprocess.check_output([bench, "solve", name], text=True).split()
            answer, own, kinds = fields[3], float(fields[4]) / 1000, int(fields[6]) or 24
            print(f"{name:<15} {'all':<8} {'ours':<17} {answer:<12} {own:>9.5f} {1:>9}", flush=True)
            for wants_first in (False, True):
                for solver, command in peers(pathlib.Path(temporary), problem, kinds, wants_first,
                                             arguments.seconds):
                    seconds, output = run(command, arguments.seconds)
                    ratio = f"{seconds / own:.0f}"
                    if wants_first and verdict(output) in ("optimal", "found") and answer == "solved":
                        count, size = int(fields[7]), int(fields[9])
                        best = (problem.nodes + 1) * size + count
                        got = objective(output, solver)
                        if got is not None and (got > best or (got < best and verdict(output) == "optimal")):
                            sys.exit(f"{name}: {solver} finds {got} where we have {best}")
                    print(f"{name:<15} {'first' if wants_first else 'any':<8} {solver:<17} {verdict(output):<12} "
                          f"{seconds:>9.3f} {'>' if verdict(output) == 'no answer' else ''}{ratio:>8}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
