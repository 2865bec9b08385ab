# SPDX-License-Identifier: MIT
"""The results as JSON, and as tables: the ratios with their aims, and what was measured."""

import json

import disk
import lens
import net
from results import Results, summary


def write_json(document, out):
    (out / "results.json").write_text(json.dumps(document, indent=1) + "\n")


def load(path):
    return json.loads(path.read_text())


def of(document):
    """The results of a document, to look up in."""
    results = Results()
    results.values = document["results"]
    return results


def keys_below(results, prefix):
    """The distinct next parts of the names that begin with `prefix`/."""
    found = {name[len(prefix) + 1:].split("/")[0] for name in results.values if name.startswith(prefix + "/")}
    return sorted(found, key=float)


# ---- Ratios and aims -----------------------------------------------------------


class Aim:
    """One row: a ratio, and what it should be (None: only reported)."""

    def __init__(self, smp, name, ratio, at_least=None, at_most=None, remark="", rounds=True):
        self.smp, self.name, self.ratio, self.remark = smp, name, ratio, remark
        self.at_least, self.at_most = at_least, at_most
        self.rounds = rounds  # else the spread is over something else

    @property
    def aim(self):
        if self.at_least is not None:
            return f">= {self.at_least:.2f}"
        return f"<= {self.at_most:.2f}" if self.at_most is not None else "report"

    @property
    def verdict(self):
        """`open`: missed, but other rounds of this very run met it."""
        if self.at_least is None and self.at_most is None:
            return ""
        if self.at_least is not None:
            return "met" if self.ratio["median"] >= self.at_least else \
                   "open" if self.rounds and self.ratio["high"] >= self.at_least else "missed"
        return "met" if self.ratio["median"] <= self.at_most else \
               "open" if self.rounds and self.ratio["low"] <= self.at_most else "missed"

    def as_json(self):
        return {"smp": self.smp, "name": self.name, **self.ratio, "aim": self.aim, "verdict": self.verdict,
                "remark": self.remark}


def echo_peaks(results, base, config, what="sustained_per_s"):
    """The best rate of each round, and the best median."""
    loads = keys_below(results, f"{base}/{config}")
    rates = [results.values[f"{base}/{config}/{load}/{what}"]["values"] for load in loads]
    if not rates:
        return None
    medians = [summary(values)["median"] for values in rates]
    return [max(values) for values in zip(*rates)], max(medians)


def ratio_of(above, below):
    return summary([a / b for a, b in zip(above, below) if b])


def net_aims(results, smp):
    base = f"net/{smp}cpu/echo1024"
    stock, user = echo_peaks(results, base, "stock"), echo_peaks(results, base, "udrv")
    if stock and user:
        peak = ratio_of(user[0], stock[0])
        yield Aim(smp, "UDP echo peak, 1,024 B", peak, at_least=1.0)
        yield Aim(smp, "UDP echo peak, 1,024 B: further aim", peak, at_least=1.25)
        came_back = [echo_peaks(results, base, config, "echoes_per_s")[0] for config in ("udrv", "stock")]
        yield Aim(smp, "UDP echo peak, 1,024 B, as it came back (host's CPU short or not)", ratio_of(*came_back))
        for size in (64, 1472):
            other = f"net/{smp}cpu/echo{size}"
            a, b = echo_peaks(results, other, "udrv"), echo_peaks(results, other, "stock")
            if a and b:
                yield Aim(smp, f"UDP echo peak, {size:,} B", ratio_of(a[0], b[0]))
        for load in ("0.25", "0.50", "0.75"):
            cost = results.ratio(f"{base}/udrv/{load}/cpu_us_per_echo", f"{base}/stock/{load}/cpu_us_per_echo")
            if cost:
                yield Aim(smp, f"CPU per echo at {load} of the in-kernel peak", cost, at_most=1.0)
        yield from overload(results, smp, base, user)
        loads = keys_below(results, f"{base}/udrv")
        trip = results.ratio(f"{base}/udrv/{loads[0]}/rtt_p50_us", f"{base}/stock/{loads[0]}/rtt_p50_us")
        if trip:
            yield Aim(smp, f"round trip, median, at {loads[0]} of the in-kernel peak", trip, at_most=1.25)
    for way in ("out", "in"):
        rate = results.ratio(*(f"net/{smp}cpu/tcp/{config}/{way}_megabits_per_s" for config in ("udrv", "stock")))
        if rate:
            yield Aim(smp, f"TCP {way}", rate, at_least=1.0)
    for config, at_least in (("tap", 2.0), ("reflect", None)):
        other = echo_peaks(results, base, config)
        if user and other:
            highest = keys_below(results, f"{base}/{config}")[-1]
            kept_up = other[1] >= 0.98 * results.get(f"{base}/{config}/{highest}/offered_per_s")["median"]
            yield Aim(smp, f"UDP echo peak against {net.LABELS[config]}", ratio_of(user[0], other[0]), at_least=at_least,
                      remark="which kept up with the highest load" if kept_up else "")


def overload(results, smp, base, user):
    """The rate at 1.5 times the load of the own peak, or at the highest load there was."""
    for load in keys_below(results, f"{base}/udrv"):
        offered = results.get(f"{base}/udrv/{load}/offered_per_s")["median"]
        over = offered / user[1]
        held = results.values[f"{base}/udrv/{load}/sustained_per_s"]["values"]
        if over >= 1.5:
            break
    if over > 1:
        yield Aim(smp, f"rate held at {over:.2f} times the own peak", ratio_of(held, user[0]),
                  at_least=0.95 if over >= 1.5 else None, remark="" if over >= 1.5 else "no load of this run was 1.5 times the own peak")


def disk_aims(results, smp):
    base = f"disk/{smp}cpu"
    for kind in disk.KINDS:
        sectors = keys_below(results, f"{base}/read/{kind}/udrv")
        pairs = {n: [results.ratio(f"{base}/read/{kind}/udrv/{n}/{what}", f"{base}/read/{kind}/stock/{n}/{what}")
                     for what in ("mib_per_s", "cpu_us_per_read")] for n in sectors}
        pairs = {n: pair for n, pair in pairs.items() if all(pair)}
        if not pairs:
            continue
        worst = min(pairs, key=lambda n: pairs[n][0]["median"])
        yield Aim(smp, f"{kind}: contiguous reads, worst transfer size", pairs[worst][0], at_least=1.0,
                  remark=f"{worst} sectors")
        yield Aim(smp, f"{kind}: contiguous reads, median of all sizes",
                  summary([pair[0]["median"] for pair in pairs.values()]), at_least=1.0,
                  remark="spread over the sizes", rounds=False)
        if "1" in pairs:
            yield Aim(smp, f"{kind}: CPU of a read of 1 sector", pairs["1"][1], at_most=1.1)
        large = [pair[1]["median"] for n, pair in pairs.items() if int(n) >= 128]
        if large:
            yield Aim(smp, f"{kind}: CPU of reads of 128 sectors and more", summary(large), at_most=1.0,
                      remark="median of, and spread over, the sizes", rounds=False)
    for kind in disk.KINDS:
        for job in ("randread32", "randwrite32", "randread1", "randwrite1"):
            rate = results.ratio(*(f"{base}/{job}/{kind}/{config}/iops" for config in ("udrv", "stock")))
            if rate:
                name = f"{kind}: 4 KiB {job.rstrip('0123456789')}, depth {job.lstrip('randewit')}"
                yield Aim(smp, name, rate, at_least=1.0 if kind == "ahci" and job.endswith("32") else None)
    for job in ("randread32", "randwrite32"):
        for other, aim in (("nbd", 2.0), ("ublk", None)):
            rate = results.ratio(*(f"{base}/{job}/ahci/{config}/iops" for config in ("udrv", other)))
            if rate:
                yield Aim(smp, f"ahci: 4 KiB {job[:-2]}, depth 32, against {disk.LABELS[other]}", rate, at_least=aim)


def aims(document):
    results = of(document)
    found = []
    for smp in document["smp"]:
        found += net_aims(results, smp)
        found += disk_aims(results, smp)
        found += [Aim(smp, name, ratio, at_most=aim) for name, ratio, aim in lens.ratios(results, smp)]
    return found


# ---- Tables ---------------------------------------------------------------------


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows] + [""]


def number(value):
    if value is None:
        return "-"
    median = value["median"]
    return f"{median:,.0f}" if abs(median) >= 100 else f"{median:.1f}" if abs(median) >= 10 else f"{median:.2f}"


def echo_table(results, smp):
    base = f"net/{smp}cpu/echo1024"
    fields = ("offered_per_s", "echoes_per_s", "sustained_per_s", "cpu_percent", "cpu_us_per_echo", "rtt_p50_us", "rtt_p99_us",
              "interrupts_per_packet", "context_switches_per_packet", "driver_calls_per_packet")
    rows = []
    for config in net.CONFIGS:
        for load in keys_below(results, f"{base}/{config}"):
            rows.append([net.LABELS[config], load] +
                        [number(results.get(f"{base}/{config}/{load}/{field}")) for field in fields])
    if rows:
        yield from [f"### UDP echo, 1,024 B, {smp} virtual CPU{'s' if smp > 1 else ''}", ""]
        yield from table(["driver", "load", "offered/s", "echoes/s", "sustained/s", "CPU %", "CPU us/echo", "RTT us", "p99 us",
                          "irqs/pkt", "switches/pkt", "driver calls/pkt"], rows)


def random_table(results, smp):
    rows = []
    for kind, (_, _, configs) in disk.KINDS.items():
        for job in ("randread1", "randread32", "randwrite1", "randwrite32"):
            for config in configs:
                base = f"disk/{smp}cpu/{job}/{kind}/{config}"
                if results.get(f"{base}/iops"):
                    rows.append([kind, job, disk.LABELS[config]] +
                                [number(results.get(f"{base}/{field}"))
                                 for field in ("iops", "latency_mean_us", "latency_p50_us", "latency_p99_us")])
    if rows:
        yield from [f"### 4 KiB at random, {smp} virtual CPU{'s' if smp > 1 else ''}", ""]
        yield from table(["disk", "job", "driver", "IOPS", "mean us", "p50 us", "p99 us"], rows)


def read_table(results, smp):
    for kind, (_, _, configs) in disk.KINDS.items():
        base = f"disk/{smp}cpu/read/{kind}"
        sizes = [n for n in keys_below(results, f"{base}/udrv") if int(n) & (int(n) - 1) == 0]
        rows = [[n] + [number(results.get(f"{base}/{config}/{n}/{field}"))
                       for field in ("mib_per_s", "cpu_us_per_read") for config in configs] for n in sizes]
        if rows:
            yield from [f"### Contiguous direct reads, {kind}, {smp} virtual CPU{'s' if smp > 1 else ''}", ""]
            yield from table(["sectors", *(f"{disk.LABELS[c]} {unit}" for unit in ("MiB/s", "CPU us/read")
                                           for c in configs)], rows)


# Against each other: the columns of what `bench/run trust` prints.
TRUST = (("udrv", "stock", "trusted / in-kernel"), ("untrusted", "stock", "untrusted / in-kernel"),
         ("untrusted", "udrv", "untrusted / trusted"))


def trust_figures(results, smp):
    """What is compared: its name, and the name of the figure, {} for the configuration."""
    base = f"trust/{smp}cpu"
    yield "UDP echo peak, 1,024 B", None
    for load in keys_below(results, f"{base}/echo1024/stock"):
        if float(load) <= 1:
            yield f"CPU per echo at {load} of the in-kernel peak", f"{base}/echo1024/{{}}/{load}/cpu_us_per_echo"
    for way in ("out", "in"):
        yield f"TCP {way}", f"{base}/tcp/{{}}/{way}_megabits_per_s"
    for sectors in keys_below(results, f"{base}/read/ahci/stock"):
        yield f"ahci: reads of {int(sectors) * 512:,} B", f"{base}/read/ahci/{{}}/{sectors}/mib_per_s"
    for sectors in keys_below(results, f"{base}/read/ahci/stock"):
        yield f"ahci: CPU of a read of {int(sectors) * 512:,} B", f"{base}/read/ahci/{{}}/{sectors}/cpu_us_per_read"
    for depth in (1, 32):
        yield f"ahci: 4 KiB randread, depth {depth}", f"{base}/randread{depth}/ahci/{{}}/iops"


def trust_table(results, smp):
    rows = []
    for name, key in trust_figures(results, smp):
        if key:
            stock = results.get(key.format("stock"))
            ratios = [results.ratio(key.format(above), key.format(below)) for above, below, _ in TRUST]
        else:
            peaks = {config: echo_peaks(results, f"trust/{smp}cpu/echo1024", config) for config in ("stock", "udrv", "untrusted")}
            if not all(peaks.values()):
                continue
            stock = summary(peaks["stock"][0])
            ratios = [ratio_of(peaks[above][0], peaks[below][0]) for above, below, _ in TRUST]
        if stock and all(ratios):
            unit = "1/s" if not key or key.endswith("iops") else results.values[key.format("stock")]["unit"]
            rows.append([name, f"{number(stock)} {unit}"] +
                        [f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})" for ratio in ratios])
    if rows:
        yield from [f"### Behind an IOMMU, {smp} virtual CPU{'s' if smp > 1 else ''}", ""]
        yield from table(["what", "in-kernel", *(title for _, _, title in TRUST)], rows)


BUDGET = (("cpu_us", "CPU us"), ("guest_us", "guest's code"), ("emulator_us", "QEMU"), ("host_us", "host's kernel"),
          ("eventfd_write_us", "waking QEMU's threads"), ("interrupts", "interrupts"), ("switches", "switches"),
          ("driver_calls", "driver calls"))
ECHO_BUDGET = (*BUDGET, ("rtt_p50_us", "RTT us"))
READ_BUDGET = (("took_us", "us"), *BUDGET)


def budget_rows(results, base, label, columns):
    for point in keys_below(results, base):
        found = [results.get(f"{base}/{point}/{key}") for key, _ in columns]
        if all(found):
            yield [label, point, *(number(one) for one in found)]


def budget_table(results, smp):
    base = f"budget/{smp}cpu"
    rows = [row for config in net.CONFIGS
            for row in budget_rows(results, f"{base}/echo/{config}", net.LABELS[config], ECHO_BUDGET)]
    if rows:
        yield from ["### Where the time of an echo goes, one virtual CPU: microseconds, and times an echo", ""]
        yield from table(["driver", "load", *(title for _, title in ECHO_BUDGET)], rows)
    for kind, (_, _, configs) in disk.KINDS.items():
        rows = [row for config in configs
                for row in budget_rows(results, f"{base}/read/{kind}/{config}", disk.LABELS[config], READ_BUDGET)]
        if rows:
            yield from [f"### Where the time of a read goes, {kind}, one virtual CPU: microseconds, and times a read", ""]
            yield from table(["driver", "sectors", *(title for _, title in READ_BUDGET)], rows)


def lens_table(results, smp):
    rows = [[title, label, *(number(value) for value in values)]
            for title, label, values in lens.table_rows(results, smp)]
    if rows:
        yield from [f"### Instructions of an echo and of a request, {smp} virtual CPU{'s' if smp > 1 else ''}", "",
                    "By QEMU's instruction clock, application and its peer included; below, lower is better. "
                    "The shares are of perf's samples, in percent.", ""]
        yield from table(["work", "driver", "instructions", "us at 2 ns", "switches", "interrupts", *lens.SHARE_TITLES],
                         rows)


def stolen(results):
    """How much of the time a virtual CPU was ready but this machine had other work."""
    found = [entry["median"] for name, entry in results.values.items() if name.endswith("/stolen_percent")]
    return summary(found)


def write_summary(document, out):
    results = of(document)
    machine = document["machine"]
    rows = [(f"{aim.smp}", aim.name + (f" ({aim.remark})" if aim.remark else ""), f"{aim.ratio['median']:.2f}",
             f"{aim.ratio['low']:.2f} to {aim.ratio['high']:.2f}", aim.aim, aim.verdict) for aim in aims(document)]
    commit = (document["commit"] or "unknown")[:12] + (" with changes" if document["changed"] else "")
    where = "on real hardware" if machine["accelerator"] == "none" else f"QEMU {machine['qemu']} ({machine['accelerator']})"
    lines = [f"`bench/run {document['what']}`, {document['mode']}, {document['rounds']} rounds, commit {commit}, "
             f"{document['started']}, {document['seconds'] / 60:.0f} min.", "",
             f"Machine: {machine['cpu']}, {machine['cpus']} CPUs, {machine['system']}; {where}; "
             f"kernel under test {document['guest_kernel']}.", ""]
    busy = stolen(results)
    if busy and busy["median"] > 5:
        lines += [f"This machine was busy with other work: a virtual CPU that could have run waited "
                  f"{busy['median']:.0f}% of the time (up to {busy['high']:.0f}% at one point). The peaks of the ratios "
                  "are corrected for that (see sustained/s); latencies and disks are not."
                  + (" Measure again on an idle machine." if busy["median"] > 20 else ""), ""]
    if rows:
        lines += ["### Ratios user-level / in-kernel, medians of the rounds", ""]
        lines += table(["CPUs", "what", "ratio", "rounds", "aim", ""], rows)
    for smp in document["smp"]:
        for part in (lens_table, budget_table, trust_table, echo_table, read_table, random_table):
            lines += part(results, smp)
    lines += [f"Not measured: {name}: {why}." for name, why in document["absent"].items()]
    text = "\n".join(lines) + "\n"
    (out / "summary.md").write_text(text)
    return text
