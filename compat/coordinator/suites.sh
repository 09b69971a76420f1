#!/usr/bin/env bash
# Sourced by `run`: other projects' own tests. What passes on a real etcd (3.7.3, one member for the Rust crate, three for
# Python's; 3.6.16 for etcd's own) is in *.expected, a name a line; that is a check each.

SUITES=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ETCD_SUITE="$CACHE/etcd-tests-v3.6.16"
RUST_SUITE="$CACHE/etcd-client-0.21.1"
PYTHON_SUITE="$CACHE/etcd3-0.12.0"

# verdicts SUITE EXPECTED PASSED: one check a name of EXPECTED, passed if it is in PASSED.
verdicts() {
    local name
    while IFS= read -r name; do
        if grep -qxF -- "$name" "$3"; then
            passed "$1 $name"
        else
            failed "$1 $name" "it passes on etcd; see $WORK/$1.log"
        fi
    done <"$2"
}

# They turn authentication on and off, and expect root to be there and tokens to end soon.
rust_suite() {
    start etcd-client-server coordinator --data-dir "$WORK/etcd-client" --auth-token-ttl 2 \
        --listen-client-urls http://127.0.0.1:0 --listen-peer-urls http://127.0.0.1:0 || return 0
    local at
    at=$(address client)
    # A flag beside the variable would be refused.
    ETCDCTL_ENDPOINTS="$at" timeout 30 "$ETCDCTL" user add root:rootpwd >/dev/null 2>&1 || true
    ETCDCTL_ENDPOINTS="$at" timeout 30 "$ETCDCTL" role add root >/dev/null 2>&1 || true
    ETCDCTL_ENDPOINTS="$at" timeout 30 "$ETCDCTL" user grant-role root root >/dev/null 2>&1 || true
    # One adds members that are not there, and two ask for RangeStream, which is etcd 3.7's.
    (cd "$RUST_SUITE" && ETCD_TEST=$at CARGO_TARGET_DIR="$RUST_SUITE/target" timeout 420 cargo test -q --tests --no-fail-fast -- \
        --test-threads=1 --format=pretty --include-ignored --skip test_cluster --skip test_get_stream) \
        >"$WORK/etcd-client.log" 2>&1 || true
    sed -nE 's/^test ([^ ]+)( - should panic)? \.\.\. ok$/\1/p' "$WORK/etcd-client.log" | sort -u >"$WORK/etcd-client.passed"
    stop etcd-client-server
    verdicts etcd-client "$SUITES/etcd-client.expected" "$WORK/etcd-client.passed"
}

# etcd's tests/common and tests/e2e, with the coordinator as `etcd`. They start one to five members on ports from 20000 on.
# Each runs in a process of its own, since one that fails has the others of its process left out. Where each of the two
# suites can have a network of its own they run side by side: most of their time is waiting. One that passes is not in
# the list: TestCtlV3AuthCertCNWithWithConcurrentOperation hashes 100 passwords and has 40 seconds for it.
etcd_suites() {
    local bin="$WORK/etcd-bin" suite apart=() pids=()
    mkdir -p "$bin"
    printf '#!/bin/sh\nexec "%s/bonsai" coordinator "$@"\n' "$BIN" >"$bin/etcd"
    chmod +x "$bin/etcd"
    ln -sf "$CACHE/bin/etcdctl" "$CACHE/bin/etcdutl" "$bin/"
    if unshare -n ip link set lo up 2>/dev/null; then
        apart=(unshare -n sh -c 'ip link set lo up && exec "$@"' sh)
    fi
    for suite in common e2e; do
        # Their log's format and their endpoints are their own.
        (
            unset BONSAI_LOG_FORMAT ETCDCTL_ENDPOINTS
            cd "$ETCD_SUITE/tests/$suite"
            once() { timeout 180 "${apart[@]}" "$ETCD_SUITE/$suite.test" -bin-dir "$bin" -test.v -test.run "^$1\$" </dev/null; }
            while read -r name; do
                # They have deadlines in seconds, and the machine may have other work.
                once "$name" || { echo "ONCE MORE: $name" && once "$name"; } || true
            done <"$SUITES/etcd-$suite.expected"
        ) >"$WORK/etcd-$suite.log" 2>&1 &
        pids+=($!)
        [ ${#apart[@]} -gt 0 ] || wait "${pids[-1]}" || true
    done
    wait "${pids[@]}" || true
    for suite in common e2e; do
        sed -nE 's/^--- PASS: ([^ ]+) .*$/\1/p' "$WORK/etcd-$suite.log" | sort -u >"$WORK/etcd-$suite.passed"
        sed -n 's/^ONCE MORE: /note: it took two tries: /p' "$WORK/etcd-$suite.log"
        verdicts "etcd-$suite" "$SUITES/etcd-$suite.expected" "$WORK/etcd-$suite.passed"
    done
}

# Three members, with the names that the tests look for to stop two of them.
python_suite() {
    local ports number cluster="" waited=0
    mapfile -t ports < <(free_ports 6)
    for number in 0 1 2; do
        cluster+="${cluster:+,}pifpaf$number=http://127.0.0.1:${ports[number + 3]}"
    done
    for number in 0 1 2; do
        "$BIN/bonsai" coordinator --name "pifpaf$number" --data-dir "$WORK/pifpaf$number" \
            --listen-client-urls "http://127.0.0.1:${ports[number]}" \
            --advertise-client-urls "http://127.0.0.1:${ports[number]}" \
            --listen-peer-urls "http://127.0.0.1:${ports[number + 3]}" \
            --initial-advertise-peer-urls "http://127.0.0.1:${ports[number + 3]}" \
            --initial-cluster "$cluster" --initial-cluster-state new >"$WORK/pifpaf$number.log" 2>&1 </dev/null &
        PIDS[pifpaf$number]=$!
    done
    until curl -fsS -m 1 "http://127.0.0.1:${ports[0]}/health" >/dev/null 2>&1; do
        waited=$((waited + 1))
        if [ "$waited" -gt 200 ]; then
            failed "etcd3: three members" "$(tail -n 1 "$WORK/pifpaf0.log")"
            return 0
        fi
        sleep 0.1
    done
    # They give etcdctl its endpoints by flag, which it refuses beside the variable.
    (unset ETCDCTL_ENDPOINTS && cd "$PYTHON_SUITE/etcd3-0.12.0" &&
        PATH="$CACHE/bin:$PATH" PYTHON_ETCD_HTTP_URL="http://127.0.0.1:${ports[0]}" timeout 420 "$PYTHON_SUITE/venv/bin/python" -m pytest -q -rA --no-header -p no:cacheprovider tests/test_etcd3.py) \
        >"$WORK/etcd3.log" 2>&1 || true
    sed -nE 's/^PASSED [^:]+::(.*)$/\1/p' "$WORK/etcd3.log" | sort -u >"$WORK/etcd3.passed"
    for number in 0 1 2; do stop "pifpaf$number"; done
    verdicts etcd3 "$SUITES/etcd3.expected" "$WORK/etcd3.passed"
}

"$SUITES/suites-install" >"$WORK/suites-install.log" 2>&1 || true
if [ -e "$ETCD_SUITE/done" ]; then
    etcd_suites
else
    failed "etcd's own tests are installed" "$(tail -n 1 "$WORK/suites-install.log")"
fi
if [ -e "$RUST_SUITE/done" ]; then
    rust_suite
else
    failed "etcd-client's tests are installed" "$(tail -n 1 "$WORK/suites-install.log")"
fi
if [ -e "$PYTHON_SUITE/done" ]; then
    python_suite
else
    failed "etcd3's tests are installed" "$(tail -n 1 "$WORK/suites-install.log")"
fi
