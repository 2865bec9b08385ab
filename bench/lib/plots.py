# SPDX-License-Identifier: MIT
"""The paper's two figures, by gnuplot: throughput (left) and CPU (right)."""

import subprocess

import disk
import net
from machine import BenchError
from report import keys_below, of

STYLE = """
set border 31 lw 1
set tics nomirror
set ytics nomirror
set y2tics
set grid ytics lc rgb '#dddddd' lw 1
set key above maxrows 2 samplen 2.5 spacing 1.1 {font}
set yrange [0:*]
set y2range [0:105]
set y2label 'CPU [%]'
set style line 1 lc rgb '#000000' pt 7 ps 0.6 lw 1.5
set style line 2 lc rgb '#c0392b' pt 9 ps 0.7 lw 1.5
set style line 3 lc rgb '#2c6fbb' pt 5 ps 0.5 lw 1.5
set style line 4 lc rgb '#7f7f7f' pt 13 ps 0.7 lw 1.5
"""
TERMINALS = {"svg": "set terminal svg size 760,480 font 'Helvetica,13' background '#ffffff'",
             "png": "set terminal pngcairo size 1140,720 font 'Helvetica,15' background '#ffffff'"}
LINES = {"stock": 1, "udrv": 2, "tap": 3, "nbd": 3, "reflect": 4, "ublk": 4}


def curve(results, names):
    """Rows of x, y, its low and high, CPU."""
    rows = []
    for x, y, cpu in names:
        x = results.get(x) if isinstance(x, str) else {"median": x}
        y, cpu = results.get(y), results.get(cpu)
        if x and y and cpu:
            rows.append((x["median"], y["median"], y["low"], y["high"], cpu["median"]))
    return sorted(rows)


def net_curves(results, smp):
    base = f"net/{smp}cpu/echo1024"
    for config in net.CONFIGS:
        names = [tuple(f"{base}/{config}/{load}/{field}" for field in ("offered_per_s", "megabits_per_s", "cpu_percent"))
                 for load in keys_below(results, f"{base}/{config}")]
        rows = [(x * 1024 * 8e-6, *rest) for x, *rest in curve(results, names)]
        if rows:
            yield config, net.LABELS[config], rows


def disk_curves(results, smp, kind):
    base = f"disk/{smp}cpu/read/{kind}"
    for config in disk.KINDS[kind][2]:
        names = [(int(n), f"{base}/{config}/{n}/mib_per_s", f"{base}/{config}/{n}/cpu_percent")
                 for n in keys_below(results, f"{base}/{config}")]
        rows = curve(results, names)
        if rows:
            yield config, disk.LABELS[config], rows


def draw(out, name, title, settings, curves):
    data, plots = [], []
    for config, label, rows in curves:
        data.append(f"$d_{config} << EOD\n" + "\n".join(" ".join(f"{v:.4f}" for v in row) for row in rows) + "\nEOD")
        line = LINES[config]
        plots.append(f"$d_{config} using 1:2:3:4 with yerrorlines ls {line} title '{label}'")
        plots.append(f"$d_{config} using 1:5 axes x1y2 with lines ls {line} dt 2 title '{label}, CPU'")
    if not plots:
        return []
    written = []
    for kind, terminal in TERMINALS.items():
        file = f"{name}.{kind}"
        script = "\n".join([terminal, f"set output '{file}'", STYLE.replace("{font}", "font ',10'"),
                            f"set title \"{title}\"", settings, *data, "plot " + ", \\\n".join(plots)])
        done = subprocess.run(["gnuplot"], input=script, cwd=out, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"gnuplot could not draw {file}: {done.stderr.strip().splitlines()[-1]}")
        written.append(file)
    return written


def write(document, out):
    results = of(document)
    written = []
    for smp in document["smp"]:
        cpus = f"{smp} CPU" + ("s" if smp > 1 else "")
        written += draw(out, f"udp-echo-{smp}cpu", f"UDP echo, 1,024-byte payload, {cpus}",
                        "set xlabel 'Offered load [Mb/s]'\nset ylabel 'Throughput [Mb/s]'\nset xrange [0:*]",
                        net_curves(results, smp))
        for kind in disk.KINDS:
            written += draw(out, f"read-{kind}-{smp}cpu", f"Contiguous direct reads, {kind}, {cpus}",
                            "set xlabel 'Transfer size [sectors of 512 B]'\nset ylabel 'Throughput [MiB/s]'\n"
                            "set logscale x 2\nset xrange [1:8192]\nset xtics (1,2,4,8,16,32,64,128,256,512,1024,"
                            "2048,4096,8192)", disk_curves(results, smp, kind))
    return written
