#!/usr/bin/env bash
# A newcomer's first hour: from a clone to a model of one's own rows, served, in six commands and with no file edited. Ends 0 when the served
# model answered. SOURCE: what to clone (default: this checkout). SLUICE_VENV: an environment to take in place of `make setup`'s hour on a slow line.
set -euo pipefail
# shellcheck disable=SC2046,SC2329
source=${SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
work=$(mktemp -d "${TMPDIR:-/tmp}/newcomer.XXXXXX")
server=
end() {
  # the server is a child of the shell that typed it
  [ -z "$server" ] || { kill $(pgrep -P "$server") "$server" 2> /dev/null || true; wait "$server" 2> /dev/null || true; }
  rm -rf "$work"
}
trap end EXIT
cd "$work"
typed=0
# What a person types: said, counted, done.
type_() {
  typed=$((typed + 1))
  echo "[$typed] \$ $*" >&2
  "$@"
}
setup() { if [ -n "${SLUICE_VENV:-}" ]; then ln -s "$SLUICE_VENV" .venv; else make setup "TORCH=${TORCH:-cpu}"; fi; }
activate() {
  # shellcheck source=/dev/null
  . .venv/bin/activate
  # a borrowed environment has the code of another checkout
  [ -z "${SLUICE_VENV:-}" ] || { export PYTHONPATH=$PWD; sluice() { python -m sluice "$@"; }; }
}
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

# The newcomer's own rows: customers who leave, made up with a rule and chance.
python3 - > rows.csv << 'ROWS'
import random

random.seed(5)
print("months,calls,plan,spent,leaves")
for _ in range(1200):
    months, calls, plan = random.randint(1, 60), random.randint(0, 9), random.choice(["basic", "plus", "pro"])
    spent = round(random.gauss({"basic": 10, "plus": 20, "pro": 40}[plan], 3), 2)
    odds = 0.35 * calls - 0.08 * months + (0.8 if plan == "basic" else 0.0)
    print(months, calls, plan, spent, "yes" if odds + random.gauss(0, 0.7) > 0 else "no", sep=",")
ROWS
head -2 rows.csv | tail -1 > row

type_ git clone --quiet "$source" sluice
cd sluice
type_ setup
type_ activate
type_ sluice init my-model --data ../rows.csv --label leaves
type_ sluice run my-model
type_ sluice serve my-model --port "$port" &
server=$!

IFS=, read -r months calls plan spent _ < ../row
body="{\"instances\": [{\"months\": $months, \"calls\": $calls, \"plan\": \"$plan\", \"spent\": $spent}]}"
for _ in $(seq 120); do
  if answer=$(curl -sf -H 'Content-Type: application/json' -d "$body" "http://127.0.0.1:$port/v1/models/my-model:predict"); then
    echo "$answer"
    [ -z "$(git status --porcelain --untracked-files=no)" ] || { echo "a file of the project was edited" >&2; exit 1; }
    echo "served after 6 commands" >&2
    exit 0
  fi
  kill -0 "$server" 2> /dev/null || { echo "the server ended" >&2; exit 1; }
  sleep 0.5
done
echo "the server did not answer within a minute" >&2
exit 1
