# Sourced by `run`: alarms, quota, defragmentation, hashes, and snapshots both ways between the coordinator and etcd.

ETCDUTL="$CACHE/bin/etcdutl"
MEMBER=$(ctl endpoint status -w json | sed -E 's/.*"member_id":([0-9]+).*/\1/')
HERE=$ETCDCTL_ENDPOINTS

# --- alarms
says "alarm list" "" alarm list
says "alarm disarm (none stands)" "" alarm disarm
curl -sS "http://$HERE/v3/maintenance/alarm" -d "{\"action\":\"ACTIVATE\",\"memberID\":\"$MEMBER\",\"alarm\":\"NOSPACE\"}" >/dev/null
says "alarm list (NOSPACE)" "memberID:$MEMBER alarm:NOSPACE " alarm list
says "put (NOSPACE)" "Error: etcdserver: mvcc: database space exceeded" put full 1
says "lease grant (NOSPACE)" "Error: failed to grant lease (etcdserver: mvcc: database space exceeded)" lease grant 10
says "del (NOSPACE)" 0 del nowhere
says "get (NOSPACE)" "$(lines c 3)" get c
like "endpoint health (NOSPACE)" "Active Alarm\(s\): NOSPACE" endpoint health
like "endpoint status (NOSPACE)" "memberID:$MEMBER alarm:NOSPACE" endpoint status -w json
says "alarm disarm" "memberID:$MEMBER alarm:NOSPACE " alarm disarm
says "put (disarmed)" OK put full 1

# --- defragmentation and hashes
like "defrag" "Finished defragmenting etcd member\[$HERE\]" defrag
says "get (defragmented)" "$(lines c 3)" get c
like "endpoint hashkv" "^$HERE, [0-9]+, [0-9]+$" endpoint hashkv
FIRST=$(ctl endpoint hashkv)
ctl put hashed 1 >/dev/null
if [ "$FIRST" = "$(ctl endpoint hashkv)" ]; then failed "etcdctl endpoint hashkv (after a put)" "$FIRST"; else passed "etcdctl endpoint hashkv (after a put)"; fi
like "endpoint hashkv (future)" "required revision is a future revision" endpoint hashkv --rev=100000
like "downgrade validate" "Downgrade validate success, cluster version 3\.6" downgrade validate 3.5.0
like "downgrade validate (no such)" "invalid downgrade target version" downgrade validate 3.2.0
like "downgrade enable" "Downgrade enable success, cluster version 3\.6" downgrade enable 3.5.0
like "downgrade enable (again)" "cluster has a downgrade job in progress" downgrade enable 3.5.0
like "endpoint status (downgrade)" '"downgradeInfo":\{"enabled":true,"targetVersion":"3\.5\.0"\}' endpoint status -w json
like "downgrade cancel" "Downgrade cancel success, cluster version 3\.6" downgrade cancel
like "downgrade validate (cancelled)" "Downgrade validate success, cluster version 3\.6" downgrade validate 3.5

# --- a snapshot of the coordinator, looked at and restored by etcd's own tool, and served by a real etcd
printf '\n%s\n\n\n' "$(for n in $(seq 120); do echo "put snap/$n value-$n"; done)" | timeout 30 "$ETCDCTL" txn >/dev/null
KEPT=$(ctl lease grant 1000 | awk '{print $2}')
ctl put --lease="$KEPT" snap/leased x >/dev/null
HASH=$(ctl endpoint hashkv | cut -d, -f2-)
KEYS=$(ctl get --prefix "" --keys-only | grep -c .)
REVISION=$(ctl get nowhere -w json | sed -E 's/.*"revision":([0-9]+).*/\1/')
like "snapshot save" "^Snapshot saved at $WORK/snapshot.db" snapshot save "$WORK/snapshot.db"
if [ -x "$ETCDUTL" ]; then
    STATUS=$(timeout 60 "$ETCDUTL" snapshot status "$WORK/snapshot.db" 2>&1 || true)
    same "etcdutl snapshot status" "$REVISION, $KEYS" "$(cut -d' ' -f2-3 <<<"$STATUS" | tr -d '\n' | sed 's/,$//')"
    rm -rf "$WORK/etcd"
    if timeout 60 "$ETCDUTL" snapshot restore "$WORK/snapshot.db" --data-dir "$WORK/etcd" >"$WORK/restore.log" 2>&1; then
        passed "etcdutl snapshot restore"
    else
        failed "etcdutl snapshot restore" "$(tail -n 1 "$WORK/restore.log")"
    fi
fi
if [ -x "$CACHE/bin/etcd" ] && [ -d "$WORK/etcd" ]; then
    REAL=127.0.0.1:$((20000 + RANDOM % 9000))
    "$CACHE/bin/etcd" --data-dir "$WORK/etcd" --listen-client-urls "http://$REAL" --advertise-client-urls "http://$REAL" \
        --listen-peer-urls http://127.0.0.1:0 --log-level error >"$WORK/etcd.log" 2>&1 </dev/null &
    PIDS[etcd]=$!
    for _ in $(seq 100); do curl -fsS -m 1 "http://$REAL/readyz" >/dev/null 2>&1 && break; sleep 0.1; done
    ETCDCTL_ENDPOINTS=$REAL
    same "etcd on the coordinator's snapshot: HashKV" "$HASH" "$(ctl endpoint hashkv | cut -d, -f2-)"
    says "etcd on the coordinator's snapshot: get" "$(lines snap/7 value-7)" get snap/7
    like "etcd on the coordinator's snapshot: its leases" "attached keys\(\[snap/leased\]\)" lease timetolive --keys "$KEPT"
    says "etcd on the coordinator's snapshot: it goes on" OK put snap/new 1
    # And a coordinator on what etcdutl restored.
    rm -rf "$WORK/bumped"
    "$ETCDUTL" snapshot restore "$WORK/snapshot.db" --bump-revision 1000000 --mark-compacted --data-dir "$WORK/bumped" >/dev/null 2>&1 || true
    start bumped coordinator --data-dir "$WORK/bumped" --listen-client-urls http://127.0.0.1:0 --listen-peer-urls http://127.0.0.1:0
    ETCDCTL_ENDPOINTS=$(address client)
    like "coordinator on etcdutl's directory: the revision" "\"revision\":$((REVISION + 1000000))," get nowhere -w json
    says "coordinator on etcdutl's directory: get" "$(lines snap/7 value-7)" get snap/7
    like "coordinator on etcdutl's directory: what is before is compacted" "required revision has been compacted" get --rev="$REVISION" snap/7
    BUMPED=$(ctl endpoint hashkv | cut -d, -f2-)
    stop bumped
    # The same by our own restore, and by etcd: HashKV counts the mark of the new revision.
    "$BIN/bonsai" coordinator restore "$WORK/snapshot.db" --bump-revision 1000000 --mark-compacted --data-dir "$WORK/bumped-here" >/dev/null 2>&1 || true
    start bumped coordinator --data-dir "$WORK/bumped-here" --listen-client-urls http://127.0.0.1:0 --listen-peer-urls http://127.0.0.1:0
    ETCDCTL_ENDPOINTS=$(address client)
    same "coordinator restore --bump-revision: HashKV" "$BUMPED" "$(ctl endpoint hashkv | cut -d, -f2-)"
    stop bumped
    ETCDCTL_ENDPOINTS=$REAL
    # And back.
    ctl user add root:pw >/dev/null
    HASH=$(ctl endpoint hashkv | cut -d, -f2-)
    ctl snapshot save "$WORK/etcd.db" >/dev/null
    stop etcd
    check "coordinator restore (of etcd's snapshot)" "$BIN/bonsai" coordinator restore "$WORK/etcd.db" --data-dir "$WORK/migrated"
    start migrated coordinator --data-dir "$WORK/migrated" --listen-client-urls http://127.0.0.1:0 --listen-peer-urls http://127.0.0.1:0
    ETCDCTL_ENDPOINTS=$(address client)
    same "coordinator on etcd's snapshot: HashKV" "$HASH" "$(ctl endpoint hashkv | cut -d, -f2-)"
    says "coordinator on etcd's snapshot: get" "$(lines snap/new 1)" get snap/new
    says "coordinator on etcd's snapshot: users" root user list
    stop migrated
    ETCDCTL_ENDPOINTS=$HERE
fi

# --- the quota
start small coordinator --data-dir "$WORK/small" --listen-client-urls http://127.0.0.1:0 --listen-peer-urls http://127.0.0.1:0 \
    --quota-backend-bytes=100000
ETCDCTL_ENDPOINTS=$(address client)
head -c 30000 /dev/zero | tr '\0' x >"$WORK/value"
for _ in 1 2 3 4; do LAST=$(timeout 30 "$ETCDCTL" put large <"$WORK/value" 2>&1 | grep -v '^{"level"' || true); done
same "etcdctl put (over the quota)" "Error: etcdserver: mvcc: database space exceeded" "$LAST"
like "alarm list (over the quota)" "alarm:NOSPACE" alarm list
REVISION=$(ctl get nowhere -w json | sed -E 's/.*"revision":([0-9]+).*/\1/')
like "compact --physical (over the quota)" "compacted revision" compact --physical "$REVISION"
like "defrag (over the quota)" "Finished defragmenting" defrag
like "alarm disarm (there is room again)" "alarm:NOSPACE" alarm disarm
says "put (there is room again)" OK put small 1
stop small
ETCDCTL_ENDPOINTS=$HERE

# --- auto-compaction by revisions is looked at every five minutes only; by period in a tenth of it
start brief coordinator --data-dir "$WORK/brief" --listen-client-urls http://127.0.0.1:0 --listen-peer-urls http://127.0.0.1:0 \
    --auto-compaction-mode=periodic --auto-compaction-retention=2s
ETCDCTL_ENDPOINTS=$(address client)
ctl put brief 1 >/dev/null; ctl put brief 2 >/dev/null
for _ in $(seq 60); do
    COMPACTED=$(ctl get brief --rev=2)
    [ "$COMPACTED" = "$(lines brief 1)" ] || break
    sleep 0.2
done
same "auto-compaction (periodic)" "Error: etcdserver: mvcc: required revision has been compacted" "$COMPACTED"
stop brief
ETCDCTL_ENDPOINTS=$HERE
