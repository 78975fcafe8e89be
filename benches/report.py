"""The table: each server's figures, its share of the limit that was measured in the same run, and how it stands to the budget."""

import statistics

from workloads import WORKLOADS

MIB = 1024  # KiB in a MiB


def summary(rounds):
    """The median round of a target, figure by figure."""
    def middle(name):
        figures = [one[name] for one in rounds if one[name] is not None]
        return statistics.median(figures) if figures else None

    return {
        "per_second": middle("per_second"), "p50_us": middle("p50_us"), "p99_us": middle("p99_us"),
        "cpu_seconds_per_1000": middle("cpu_seconds_per_1000"), "answers": sum(one["answers"] for one in rounds),
        "failures": sum(one["failures"] for one in rounds),
        "first_failure": next((one["first_failure"] for one in rounds if one["first_failure"]), None),
        "spread": [round(one["per_second"]) for one in rounds],
    }


def markdown(results, ours, peers):
    """The whole report as text."""
    lines = ["# Bench " + results["date"], ""]
    lines += [f"- {name}: {version}" for name, version in results["versions"].items()]
    limits = results["limits"]
    cpu = results["limits_cpu"]
    told = [f"{name} {rate:,.0f}/s" + (f" ({cpu[name]:.4f} CPU s per 1,000)" if name in cpu else "") for name, rate in limits.items()]
    lines += ["- limits of this run: " + ", ".join(told), ""]
    lines += requests_table(results, ours, peers) + [""]
    lines += single_figures(results, ours, peers)
    return "\n".join(lines) + "\n"


def requests_table(results, ours, peers):
    """Rates: ours, each peer's, the share of the limit, times the better peer, the budget."""
    lines = [
        "| workload | " + " | ".join([ours, *peers]) + " | p50 / p99 | CPU s per 1,000 | share of limit | × peer | budget | |",
        "|---|" + "--:|" * (len(peers) + 6) + "---|",
    ]
    for workload in WORKLOADS:
        rows = results["workloads"].get(workload.key)
        if rows is None:
            continue
        mine = rows.get(ours)
        rates = [rate(rows.get(name)) for name in [ours, *peers]]
        if not mine:
            lines.append(f"| {workload.title} | " + " | ".join(rates) + " | | | | | | skipped |")
            continue
        limit = results["own_limits"].get(workload.key) or results["limits"].get(workload.limit)
        times, recorded = times_peer(workload, rows, mine, peers, limit)
        share = mine["per_second"] / limit if limit else None
        asked, verdict = judge(workload, mine, share, times, results["workloads"], ours)
        lines.append(
            f"| {workload.title} | " + " | ".join(rates)
            + f" | {millis(mine['p50_us'])} / {millis(mine['p99_us'])} | {number(mine['cpu_seconds_per_1000'])}"
            + f" | {number(share)} of {workload.limit} | {number(times)}{'*' if recorded else ''} | {asked} | {verdict} |"
        )
    lines += ["", "Rates are the median of the rounds. p50, p99, CPU: ours, ms and seconds."
              + ("" if peers else " *: against the recorded run of 2026-11-24, share of the limit over share of the limit.")]
    lines += [f"- failures: {workload.key}: {name}: {row['failures']}: {row['first_failure']}"
              for workload in WORKLOADS for name, row in results["workloads"].get(workload.key, {}).items() if row["failures"]]
    lines += [f"- skipped: {name}: {what}: {why}" for name, lacks in results["lacks"].items() for what, why in lacks.items()]
    return lines


def times_peer(workload, rows, mine, peers, limit):
    """Our rate over the better peer's; without a peer, over the recorded one (and True)."""
    best = max((rows[name]["per_second"] for name in peers if rows.get(name)), default=None)
    if best:
        return mine["per_second"] / best, False
    if workload.recorded and limit and not peers:
        return mine["per_second"] / limit / workload.recorded, True
    return None, False


def judge(workload, mine, share, times, all_rows, ours):
    """(the budget in words, met or how far)."""
    asked, fractions = [], []
    for name, least in workload.budgets.items():
        if name == "limit":
            got, words = share, f"≥ {least} of limit"
        elif name == "peer":
            got, words = times, f"≥ {least}× peer"
        else:
            other = all_rows.get(name, {}).get(ours)
            got = mine["per_second"] / other["per_second"] if other else None
            words = f"≥ {least} of {name}" + (f" (is {got:.2f})" if got is not None else "")
        asked.append(words)
        if got is not None:
            fractions.append(got / least)
    return ", ".join(asked), verdict(min(fractions)) if fractions else ""


def single_figures(results, ours, peers):
    """Memory, disk, start and the storm."""
    names = [ours, *peers]
    lines = ["| figure | " + " | ".join(names) + " | budget | |", "|---|" + "--:|" * len(names) + "--:|---|"]
    for title, key, words, limit in FIGURES:
        figures = {name: results["figures"].get(name, {}) for name in names}
        if not any(key in figure for figure in figures.values()):
            continue
        cells = [text_of(figures[name].get(key)) for name in names]
        mine = figures[ours].get(key)
        asked = limit(figures[ours]) if limit else None
        stands = verdict(asked / mine) if asked and mine else ""
        lines.append(f"| {title.format(**results['populations'])} | " + " | ".join(cells) + f" | {words} | {stands} |")
    return lines


# (title, key, budget in words, the budget from the server's own figures)
FIGURES = [
    ("RSS idle, MiB", "idle_mib", "≤ 20", lambda own: 20),
    ("RSS with {tokens:,} tokens, MiB", "tokens_mib", "≤ 64 (at 50,000)", lambda own: 64),
    ("RSS with {secrets:,} secrets, MiB", "secrets_mib", "≤ 96 (at 100,000)", lambda own: 96),
    ("the same after a restart, MiB", "secrets_restarted_mib", "", None),
    ("disk for {secrets:,} secrets, times their values", "secrets_disk_times", "≤ 2", lambda own: 2),
    ("disk for {tokens:,} tokens, MiB", "tokens_disk_mib", "", None),
    ("seeding {secrets:,} secrets, a second", "secrets_per_second", "", None),
    ("seeding {tokens:,} tokens, a second", "tokens_per_second", "", None),
    ("start to sealed API, empty, ms", "start_empty_ms", "≤ 50", lambda own: 50),
    ("start to sealed API, {secrets:,} secrets, ms", "start_ms", "≤ 50", lambda own: 50),
    ("unseal to first read, ms", "unseal_ms", "≤ 20", lambda own: 20),
    ("p99 of reads before the storm, ms", "read_before_ms", "", None),
    ("p99 of reads, {expiring:,} tokens expire at once, ms", "read_storm_ms", "≤ 2× before",
     lambda own: 2 * own.get("read_before_ms", 0)),
    ("p99 of health before the storm, ms", "health_before_ms", "", None),
    ("p99 of health in the storm, ms", "health_storm_ms", "≤ 2× before", lambda own: 2 * own.get("health_before_ms", 0)),
    ("longest read in the storm, ms", "read_storm_max_ms", "", None),
    ("drained after, s (polled)", "drained_s", "", None),
    ("binary, MiB", "binary_mib", "≤ 30", lambda own: 30),
]


def verdict(fraction):
    """How much of a budget was reached."""
    return "met" if fraction >= 1 else f"**{fraction:.2f}**"


def rate(row):
    """A cell."""
    return f"{row['per_second']:,.0f}/s" if row else "–"


def millis(us):
    """A cell."""
    return "–" if us is None else f"{us / 1000:.2f}"


def number(value):
    """A cell."""
    return "–" if value is None else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def text_of(value):
    """A cell."""
    if value is None or isinstance(value, str):
        return value or "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
