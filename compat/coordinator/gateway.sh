# Sourced by `run`: the services as JSON, by curl.

# call PATH BODY [CURL'S FLAGS…]: what a call answers, without the header, whose ids differ.
call() {
    local path=$1 body=$2
    shift 2
    curl -sS -m 10 "http://$ETCDCTL_ENDPOINTS$path" -d "$body" "$@" | sed -E 's/"header":\{[^}]*\},?//g'
}
# JSON says NAME EXPECTED PATH BODY [FLAGS…]
json() {
    local name=$1 expected=$2
    shift 2
    same "curl $name" "$expected" "$(call "$@")"
}
json "/v3/kv/put" '{}' /v3/kv/put '{"key":"anNvbg==","value":"MQ=="}'
json "/v3/kv/range (count only)" '{"count":"1"}' /v3/kv/range '{"key":"anNvbg==","count_only":true}'
json "/v3/kv/range (camelCase, absent)" '{}' /v3/kv/range '{"key":"bm9uZQ==","rangeEnd":"bm9uZg==","keysOnly":true}'
json "/v3/kv/txn" '{"succeeded":true,"responses":[{"response_range":{"count":"1"}}]}' /v3/kv/txn \
    '{"compare":[{"key":"anNvbg==","target":"VERSION","version":"1"}],"success":[{"request_range":{"key":"anNvbg==","count_only":true}}]}'
json "/v3/kv/deleterange" '{"deleted":"1"}' /v3/kv/deleterange '{"key":"anNvbg=="}'
json "/v3/kv/range (refused)" '{"code":3,"message":"etcdserver: key is not provided"}400' /v3/kv/range '{}' -w '%{http_code}'
# A success carries the gRPC headers, a refusal does not: as grpc-gateway has it.
metadata() { curl -sS -m 10 -o /dev/null -D - "http://$ETCDCTL_ENDPOINTS$1" -d "$2" | grep -ic '^grpc-metadata-content-type: application/grpc'; }
same "curl -i /v3/kv/range (its gRPC headers)" 1 "$(metadata /v3/kv/range '{"key":"YQ=="}')"
same "curl -i /v3/kv/range (refused: none)" 0 "$(metadata /v3/kv/range '{}')"
json "/v3/lease/grant" '{"ID":"4711","TTL":"60"}' /v3/lease/grant '{"ID":"4711","TTL":60}'
json "/v3/lease/keepalive" '{"result":{"ID":"4711","TTL":"60"}}' /v3/lease/keepalive '{"ID":4711}'
json "/v3/kv/lease/revoke" '{}' /v3/kv/lease/revoke '{"ID":4711}'
json "/v3/lease/revoke (gone)" '{"code":5,"message":"etcdserver: requested lease not found"}404' \
    /v3/lease/revoke '{"ID":4711}' -w '%{http_code}'
json "/v3/lease/grant (for the lock)" '{"ID":"77","TTL":"60"}' /v3/lease/grant '{"ID":"77","TTL":60}'
json "/v3/lock/lock" '{"key":"anNvbi80ZA=="}' /v3/lock/lock '{"name":"anNvbg==","lease":"77"}'
json "/v3/lock/unlock" '{}' /v3/lock/unlock '{"key":"anNvbi80ZA=="}'
json "/v3/election/leader (nobody)" '{"code":2,"message":"election: no leader"}500' \
    /v3/election/leader '{"name":"c2VhdA=="}' -w '%{http_code}'
json "/v3/no/such/call" '{"code":5,"message":"Not Found"}404' /v3/no/such/call '{}' -w '%{http_code}'
same "curl -N /v3/watch" 2 "$(timeout 3 curl -sSN "http://$ETCDCTL_ENDPOINTS/v3/watch" \
    -d '{"create_request":{"key":"YQ=="}} {"create_request":{"key":"Yg=="}}' 2>/dev/null | grep -c '"created":true')"
same "curl -X POST /health" 405 "$(curl -sS -o /dev/null -w '%{http_code}' -X POST "http://$ETCDCTL_ENDPOINTS/health")"
same "curl /health?serializable=true" '{"health":"true","reason":""}' "$(page '/health?serializable=true')"
same "curl /readyz?verbose" "$(lines '[+]data_corruption ok' '[+]serializable_read ok' '[+]linearizable_read ok' '[+]non_learner ok' ok)" \
    "$(page '/readyz?verbose')"
same "curl /livez/serializable_read" ok "$(page /livez/serializable_read)"
# What dashboards draw.
METRICS=$(page /metrics)
for name in etcd_server_has_leader etcd_server_is_leader etcd_server_leader_changes_seen_total etcd_server_proposals_committed_total \
    etcd_server_proposals_applied_total etcd_server_proposals_pending etcd_server_proposals_failed_total \
    etcd_disk_wal_fsync_duration_seconds_bucket etcd_disk_backend_commit_duration_seconds_bucket \
    etcd_mvcc_db_total_size_in_bytes etcd_mvcc_db_total_size_in_use_in_bytes etcd_mvcc_put_total etcd_mvcc_delete_total \
    etcd_mvcc_range_total etcd_mvcc_txn_total etcd_debugging_mvcc_keys_total etcd_debugging_mvcc_watcher_total \
    etcd_debugging_mvcc_watch_stream_total etcd_debugging_mvcc_current_revision etcd_server_quota_backend_bytes \
    etcd_debugging_lease_granted_total etcd_server_version grpc_server_handled_total grpc_server_started_total \
    etcd_network_client_grpc_received_bytes_total \
    etcd_network_client_grpc_sent_bytes_total process_resident_memory_bytes process_open_fds; do
    if grep -qE "^$name[ {]" <<<"$METRICS"; then passed "curl /metrics: $name"; else failed "curl /metrics: $name" "it is not there"; fi
done
