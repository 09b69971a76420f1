# Users, roles and permissions as a person types them. Read by security.sh: one line, one call of etcdctl; its answer is in
# auth.expected, written by the original. `as USER:PASSWORD` goes before what follows; `as nobody` ends it.

# --- off
auth status
user add root --new-user-password=rootpw
user add root --new-user-password=other
user grant-role root root
user get root
user get root --detail
role list
role get root
role add root
user add alice:alicepw
user add bob:bobpw
user add nopw --no-password
user list
user get nobody
role add reader
role add reader
role grant-permission reader read k
role grant-permission reader read r/ s
role grant-permission reader readwrite w/ --prefix
role grant-permission reader write z --from-key
role grant-permission reader read z a
role grant-permission reader read a a
role grant-permission reader read ""
role grant-permission nobody read k
role get reader
user grant-role alice reader
user grant-role alice reader
user grant-role alice nobody
user grant-role nobody reader
put k 1
put r/1 1
put w/1 1
put z1 1
put secret 1
auth enable
auth enable

# --- nobody in particular
get k
put k 2
del k
get k --consistency=s
compact 3
lease grant 100
lease list
lease revoke 1234
lease timetolive 1234
lease keep-alive --once 1234
watch k
auth status
auth disable
user list
user get alice
role list
role get reader
user add eve:evepw
member list
member add x --peer-urls=http://127.0.0.1:1
member remove 1234
endpoint status
alarm list
alarm disarm
defrag
snapshot save SNAPSHOT
move-leader 1234

# --- wrong words
as alice:wrong
get k
as nosuch:x
get k
as nopw:x
get k
as root:rootpw
auth status
user list
get k
put k 2
user delete root
user revoke-role root root
role delete root

# --- permissions
as alice:alicepw
get k
get k l
get k --from-key
get k --prefix
get "" --prefix
get secret
get r/1
get r/ --prefix
get r/ r0
get r/ s
get r/ t
get a --consistency=s
get k --consistency=s
get z a
get s r
put k 3
put w/1 2
put w/1 3 --prev-kv
put z1 2
put z1 2 --prev-kv
put secret 2
get z1
del w/1 --prev-kv
del w/ --prefix
del w/ x --range
del z1
del z1 --prev-kv
del z --from-key
del a --from-key
compact 3
auth status
auth disable
user list
user get alice
user get root
role get reader
role get root
role list
user add eve:evepw
user passwd alice --interactive=false
role add x
member add x --peer-urls=http://127.0.0.1:1
member remove 1234
alarm list
alarm disarm
defrag
move-leader 1234
watch secret
watch k z
watch "" --prefix

# --- transactions
txn 'value("k") = "2"' 'get k' 'get r/1'
txn 'value("secret") = "2"' 'get k' 'get k'
txn '' 'get k' 'get secret'
txn 'value("k") = "2"' 'put w/2 1' 'put secret 1'
txn 'value("k") = "2"' 'get k' 'del secret'
txn '' 'put w/2 5' 'put w/2 6'
txn '' 'get w/2' ''

# --- leases
as root:rootpw
lease grant 1000 LEASE
put k 5 --lease=LEASE
as alice:alicepw
lease timetolive LEASE --keys
lease timetolive LEASE
lease revoke LEASE
lease keep-alive --once LEASE
put w/9 1 --lease=LEASE
lease list
as root:rootpw
put secret 5 --lease=LEASE
as alice:alicepw
lease timetolive LEASE --keys
lease list
as root:rootpw
lease revoke LEASE
as alice:alicepw
lease grant 1000 LEASE
put w/9 1 --lease=LEASE
lease keep-alive --once LEASE
lease revoke LEASE
lease revoke LEASE

# --- changes
as root:rootpw
role revoke-permission reader k
role revoke-permission reader k
role revoke-permission reader nothing
role get reader
as alice:alicepw
get k
as root:rootpw
user revoke-role alice reader
user revoke-role alice reader
as alice:alicepw
get r/1
user get alice
role get reader
as root:rootpw
user delete alice
user delete alice
as alice:alicepw
get r/1
as root:rootpw
role delete reader
role delete reader
user grant-role bob root
as bob:bobpw
user list
put k 6
user revoke-role bob root
user list
as root:rootpw
auth disable
as nobody
get k
user delete root
role delete root
user list
role list
