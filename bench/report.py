"""Rows of the table: printed as they come, kept in build/bench.json, shown as README shows them."""

import json
from dataclasses import asdict, dataclass


@dataclass
class Row:
    case: str
    what: str
    measured: str
    budget: str  # "": a figure without one
    ok: bool = True
    python: str = ""  # the Python agent-server's figure, in the same run
    ratio: str = ""  # how many times better ours is

    def verdict(self):
        return ("ok" if self.ok else "MISSED") if self.budget else ""


class Report:
    def __init__(self, machine):
        self.machine = machine
        self.rows = []
        self.skipped = []
        self.case = ""

    def row(self, what, measured, budget="", ok=True, python="", ratio=""):
        row = Row(self.case, what, measured, budget, bool(ok), python, ratio)
        self.rows.append(row)
        print(f"{row.verdict():6} {what}: {measured}"
              + (f" · budget {budget}" if budget else "")
              + (f" · Python {python}" + (f" ({ratio})" if ratio else "") if python else ""), flush=True)

    def skip(self, what, why):
        self.skipped.append(f"{what}: {why}")
        print(f"skipped {what}: {why}", flush=True)

    def missed(self):
        return [r for r in self.rows if not r.ok]

    def save(self, path):
        path.write_text(json.dumps({"machine": self.machine, "rows": [asdict(r) for r in self.rows],
                                    "skipped": self.skipped}, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path):
        saved = json.loads(path.read_text())
        report = cls(saved["machine"])
        report.rows = [Row(**r) for r in saved["rows"]]
        report.skipped = saved["skipped"]
        return report


def machine_line(m):
    return (f"{m['cpu']}, {m['cores']} cores, {m['memory_gb']} GB, {m['system']}, Linux {m['kernel']}, {m['file_system']} with an "
            f"fdatasync of {m['fdatasync_p50_ms']:.2f} ms (p50); load before: {m['load_before']:.1f}; handsd {m['version']}"
            + (f"; sizes times {m['scale']:g}: figures for development only" if m["scale"] != 1 else ""))


def markdown(report):
    """README's two tables."""
    lines = [machine_line(report.machine), "", "| what (`scripts/bench CASE`) | measured | budget | |", "|---|---|---|---|"]
    lines += [f"| {r.what} (`{r.case}`) | {r.measured} | {r.budget} | {r.verdict()} |" for r in report.rows]
    compared = [r for r in report.rows if r.python]
    if compared:
        version = report.machine.get("python_server", "")
        lines += ["", f"| in the same run | handsd | Python agent-server {version} | |", "|---|---|---|---|"]
        lines += [f"| {r.what} (`{r.case}`) | {r.measured} | {r.python} | {r.ratio} |" for r in compared]
    lines += ["", *(f"Skipped: {s}." for s in report.skipped)]
    return "\n".join(lines).rstrip()
