# Sourced by `run`: the other services on a real etcd in the coordinator's place.

FREE=$(free_ports 1)
"$CACHE/bin/etcd" --data-dir "$WORK/etcd-of-others" --listen-client-urls "http://127.0.0.1:$FREE" \
    --advertise-client-urls "http://127.0.0.1:$FREE" --listen-peer-urls http://127.0.0.1:0 --log-level error \
    >"$WORK/etcd-of-others.log" 2>&1 </dev/null &
PIDS[etcd-of-others]=$!
WAITED=0
until curl -fsS -m 1 "http://127.0.0.1:$FREE/health" >/dev/null 2>&1 || [ "$WAITED" -ge 300 ]; do
    WAITED=$((WAITED + 1))
    sleep 0.1
done
DEMO=$(timeout 300 "$BIN/bonsai" demo flights --coordinator "127.0.0.1:$FREE" --any-port --data "$WORK/demo" --out "$WORK/demo-out" 2>&1 </dev/null || true)
for told in '26,398 flights replayed' '62 came too late' '1,763 windows' '26,336 flights in them' '94 served airports' \
    '41,603 zip codes' '3,217 counties'; do
    if grep -q "✓ $told" <<<"$DEMO"; then
        passed "demo flights with a real etcd: $told"
    else
        failed "demo flights with a real etcd: $told" "$(tail -n 2 <<<"$DEMO" | tr '\n' ' ')"
    fi
done
if grep -q '^    coordinator ' <<<"$DEMO"; then
    failed "demo flights with a real etcd: no coordinator of its own" "it started one"
else
    passed "demo flights with a real etcd: no coordinator of its own"
fi
# What the demo and the broker left in it, read with its own client. The broker's key went with its lease.
same "demo flights with a real etcd: its result is there" 1 "$(ETCDCTL_ENDPOINTS="127.0.0.1:$FREE" ctl get --prefix /bonsai/demo --keys-only | grep -c result)"
# Who is there: one key a service while the stack is up, none after.
registered() { ETCDCTL_ENDPOINTS="127.0.0.1:$FREE" ctl get --prefix /bonsai/services/ --keys-only | grep -c /; }
"$BIN/bonsai" up --detach --any-port --data "$WORK/demo" >"$WORK/registered.log" 2>&1 </dev/null || true
"$BIN/bonsai" status --wait 60s --data "$WORK/demo" >>"$WORK/registered.log" 2>&1 </dev/null || true
same "registry on a real etcd: log-broker, name node, data node, stream, batch" 5 "$(registered)"
same "registry on a real etcd: bonsai env finds the broker" 1 \
    "$("$BIN/bonsai" env --data "$WORK/elsewhere" --coordinator "127.0.0.1:$FREE" | grep -c '^export BOOTSTRAP_SERVERS=127')"
"$BIN/bonsai" down --data "$WORK/demo" >>"$WORK/registered.log" 2>&1 </dev/null || true
same "registry on a real etcd: nothing is left after down" 0 "$(registered || true)"
stop etcd-of-others
