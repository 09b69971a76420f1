# Sourced by `run`: etcd's Go client where etcdctl has no flag for it, and what becomes of clients that require a leader.

PROBE="$CACHE/bin/probe"
for line in "a%2Fb ok" "a/b ok" "% ok" "host:2379 ok"; do echo "$line"; done >"$WORK/authorities"
same "Go client: any authority" "$(cat "$WORK/authorities")" "$(timeout 60 "$PROBE" authority "$ETCDCTL_ENDPOINTS" 2>&1)"
same "Go client: sixty puts of a megabyte" "puts ok" "$(timeout 120 "$PROBE" large-puts "$ETCDCTL_ENDPOINTS" 2>&1)"

# Three members, two of which are killed.
PORTS=$(python3 -c 'import socket
s = [socket.socket() for _ in range(6)]
[x.bind(("127.0.0.1", 0)) for x in s]
print(*[x.getsockname()[1] for x in s])')
read -r -a PORT <<<"$PORTS"
CLUSTER=n0=http://127.0.0.1:${PORT[3]},n1=http://127.0.0.1:${PORT[4]},n2=http://127.0.0.1:${PORT[5]}
for n in 0 1 2; do
    "$BIN/bonsai" coordinator --name "n$n" --data-dir "$WORK/leader$n" --initial-cluster "$CLUSTER" --log-level error \
        --listen-client-urls "http://127.0.0.1:${PORT[n]}" --advertise-client-urls "http://127.0.0.1:${PORT[n]}" \
        --listen-peer-urls "http://127.0.0.1:${PORT[n + 3]}" --initial-advertise-peer-urls "http://127.0.0.1:${PORT[n + 3]}" \
        >"$WORK/leader$n.log" 2>&1 </dev/null &
    PIDS[leader$n]=$!
done
LONELY=127.0.0.1:${PORT[0]}
for _ in $(seq 100); do curl -fsS -m 1 "http://$LONELY/health" >/dev/null 2>&1 && break; sleep 0.1; done
ETCDCTL_ENDPOINTS=$LONELY timeout 30 "$ETCDCTL" watch a >"$WORK/lonely.out" 2>&1 </dev/null &
WATCH=$!
sleep 1
stop leader1 KILL
stop leader2 KILL
wait "$WATCH" || true
same "etcdctl watch ends where the leader is lost" "Error: watch is canceled by the server" "$(grep -o 'Error: watch is canceled by the server' "$WORK/lonely.out" | head -1)"
same "Go client: a leader is required" \
    "$(lines "get (serializable) etcdserver: no leader" "get (serializable, not required) ok" "watch etcdserver: no leader")" \
    "$(timeout 30 "$PROBE" no-leader "$LONELY" 2>&1)"
stop leader0
