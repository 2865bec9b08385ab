#!/bin/bash
# SPDX-License-Identifier: MIT
# docs/performance.md has what bench/model prints, each line, and bench/model starts from the counts in
# docs/benchmark-tables.md.
set -uo pipefail
# shellcheck source=tests/static/lib/common.sh
. "$(dirname "$0")/lib/common.sh"

bench/model >"$tmp/out"
while IFS= read -r line; do
    fail "docs/performance.md does not have what bench/model prints: $line"
done < <(grep -vxF -f docs/performance.md "$tmp/out")
lines=$(grep -c . "$tmp/out")
[ "$lines" -ge 30 ] || fail "bench/model printed only $lines lines"

# The counts that are committed, as the page of tables has them; and other counts are another estimate.
rows=$(python3 -B - "$tmp/other.json" <<'PYTHON'
import json, pathlib, sys
sys.path.insert(0, "bench/lib")
import lens, report
document = report.load(pathlib.Path("bench/lib/lens_seen.json"))
for title, label, values in lens.table_rows(report.of(document), 1):
    print("|", " | ".join([title, label, *map(report.number, values[:4])]), "|")
for name, entry in document["results"].items():
    if "/udrv/" in name and name.endswith("/instructions"):
        entry["values"] = [2 * value for value in entry["values"]]
pathlib.Path(sys.argv[1]).write_text(json.dumps(document))
PYTHON
)
[ "$(wc -l <<<"$rows")" -ge 4 ] || fail "bench/lib/lens_seen.json has only: $rows"
while IFS= read -r row; do
    grep -qxF -e "$row" docs/benchmark-tables.md || fail "docs/benchmark-tables.md has no row $row"
done <<<"$rows"
ratio() { awk -F'|' '$2 ~ /^ ahci, 4 KiB / && $3 == " PCID " && !seen++ { print $6 + 0 }'; }
was=$(ratio <"$tmp/out")
is=$(bench/model "$tmp/other.json" | ratio)
awk -v was="$was" -v is="$is" 'BEGIN { exit !(was > 1 && is > 1.4 * was) }' ||
    fail "twice the instructions of the user-level driver: the ratio went from $was to $is"

# What is no result of the lens is refused.
echo '{' >"$tmp/broken.json"
echo '{"commit": null, "smp": [1], "results": {}}' >"$tmp/empty.json"
for file in broken empty; do
    if bench/model "$tmp/$file.json" >"$tmp/out" 2>&1; then
        fail "bench/model took $file.json"
    fi
    grep -q "^bench/model: cannot .*bench/run lens" "$tmp/out" || fail "of $file.json it says: $(cat "$tmp/out")"
done
finish "$lines lines of bench/model are in docs/performance.md"
