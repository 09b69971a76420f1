# Sourced by the `run` of each folder; see README.md. Needs BIN; fills in BONSAI_CACHE and WORK.

: "${BIN:?set BIN to the directory that holds the bonsai program}"
export BONSAI_CACHE="${BONSAI_CACHE:-$HOME/.cache/bonsai-compat}"
SERVICE=$(basename "$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)")
CACHE="$BONSAI_CACHE/$SERVICE"
if [ -z "${WORK:-}" ]; then
    WORK=$(mktemp -d "${TMPDIR:-/tmp}/bonsai-$SERVICE.XXXXXX")
    OWN_WORK=1
fi
mkdir -p "$CACHE" "$WORK"
# The coordinator's log is JSON otherwise, and then it has no ready line on stdout.
export BONSAI_LOG_FORMAT=text
PASSED=0
FAILED=0
declare -A PIDS=()
READY=

# passed NAME / failed NAME WHY: one line a check.
passed() {
    PASSED=$((PASSED + 1))
    printf 'ok   %s\n' "$1"
}

failed() {
    FAILED=$((FAILED + 1))
    printf 'FAIL %s: %s\n' "$1" "${2:-}"
}

# check NAME COMMAND…: passes if the command exits with 0 within CHECK_SECONDS (60). Functions work too, without the limit.
check() {
    local name=$1 output status=0
    shift
    if [ "$(type -t "$1")" = function ]; then
        output=$("$@" 2>&1 </dev/null) || status=$?
    else
        output=$(timeout "${CHECK_SECONDS:-60}" "$@" 2>&1 </dev/null) || status=$?
    fi
    if [ "$status" -eq 0 ]; then
        passed "$name"
    else
        failed "$name" "exit $status: $(printf '%s' "$output" | tail -n 3 | tr '\n' ' ' | cut -c 1-300)"
    fi
}

# same NAME EXPECTED ACTUAL: passes if the two texts are equal.
same() {
    if [ "$2" = "$3" ]; then
        passed "$1"
    else
        failed "$1" "wanted '$(printf '%s' "$2" | head -c 200)', got '$(printf '%s' "$3" | head -c 200)'"
    fi
}

# start NAME ARGUMENTS…: starts a service, waits up to 30 s for its ready line, which it puts into READY.
start() {
    local name=$1 log="$WORK/$1.log" waited=0
    shift
    : >"$log"
    "$BIN/bonsai" "$@" >"$log" 2>&1 </dev/null &
    PIDS[$name]=$!
    # `ready` is the second word of the line that every service prints on stdout (log lines begin with a time).
    until READY=$(grep -m 1 -E '^[a-z-]+ ready( |$)' "$log"); do
        if ! kill -0 "${PIDS[$name]}" 2>/dev/null || [ "$waited" -ge 300 ]; then
            failed "start $name" "$(tail -n 3 "$log" | tr '\n' ' ')"
            return 1
        fi
        sleep 0.1
        waited=$((waited + 1))
    done
}

# address KEY: prints HOST:PORT of that name in the last ready line.
address() {
    printf '%s\n' "$READY" | tr ' ' '\n' | sed -n "s/^$1=//p"
}

# free_ports N: prints N ports that nobody has, below those that the kernel gives to connections and to port 0: a
# program may be started again with one.
free_ports() {
    python3 -c '
import random, socket, sys
held = {}
while len(held) < int(sys.argv[1]):
    port = random.randrange(20000, 32000)
    try:
        held[port] = held.get(port) or socket.create_server(("127.0.0.1", port))
    except OSError:
        continue
print(*held, sep="\n")' "$1"
}

# stop NAME [SIGNAL]: ends a service (TERM) and waits for it.
stop() {
    local pid=${PIDS[$1]:-}
    [ -n "$pid" ] || return 0
    unset "PIDS[$1]"
    kill "-${2:-TERM}" "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}

stop_all() {
    local name
    for name in "${!PIDS[@]}"; do
        stop "$name" "${1:-TERM}"
    done
}

# finish: the last line of a run; its exit code is the folder's.
finish() {
    stop_all TERM
    if [ -n "${OWN_WORK:-}" ] && [ "$FAILED" -eq 0 ]; then
        rm -rf "$WORK"
    elif [ "$FAILED" -ne 0 ]; then
        echo "logs are in $WORK"
    fi
    echo "$SERVICE: $PASSED passed, $FAILED failed"
    [ "$FAILED" -eq 0 ]
}

trap 'stop_all KILL' EXIT
