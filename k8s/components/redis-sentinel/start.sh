# Writes what this pod's Redis and its sentinel begin with. Who is the master, another pod's sentinel
# says; if none answers, it is as it was here before; at the very first start it is the first pod.
set -eu
: "${SELF:=$(hostname).redis}"
: "${PEERS:=redis-0.redis redis-1.redis redis-2.redis}"
: "${FILES:=/etc/drawbridge}" "${SECRETS:=/run/secrets/redis-sentinel}" "${DATA:=/data}"
: "${REDIS_PORT:=6379}" "${SENTINEL_PORT:=26379}"
umask 077

REDISCLI_AUTH=$(cat "$SECRETS/sentinel-password")
export REDISCLI_AUTH
master=
for peer in $PEERS; do
  if [ "$peer" != "$SELF" ] && [ -z "$master" ]; then
    master=$(timeout 3 redis-cli -e --user sentinel -h "$peer" -p "$SENTINEL_PORT" \
      sentinel get-master-addr-by-name main 2>/dev/null | head -n 1) || master=
  fi
done
if [ -z "$master" ] && [ -f "$DATA/redis.conf" ]; then
  master=$(sed -n 's/^replicaof "\{0,1\}\([^" ]*\).*/\1/p' "$DATA/redis.conf" | tail -n 1)
  : "${master:=$SELF}"
fi
: "${master:=${PEERS%% *}}"

{
  cat "$FILES/redis.conf" "$FILES/replication.conf" "$SECRETS/replication-password.conf"
  echo "replica-announce-ip $SELF"
  [ "$master" = "$SELF" ] || echo "replicaof $master $REDIS_PORT"
} > "$DATA/redis.conf.new"

# Its id is always the same, or the others would count the former one as one that may still vote.
id=$(printf %s "$SELF" | sha1sum | cut -c 1-40)
{
  cat "$FILES/sentinel.conf"
  echo "dir $DATA"
  echo "sentinel myid $id"
  echo "sentinel announce-ip $SELF"
  echo "sentinel monitor main $master $REDIS_PORT 2"
  echo "sentinel down-after-milliseconds main 5000"
  echo "sentinel failover-timeout main 30000"
  cat "$SECRETS/sentinel-users.conf"
  # What it has promised to whom, so that it does not vote twice.
  sed -n '/^sentinel \(current-epoch\|leader-epoch\|config-epoch\) /p' "$DATA/sentinel.conf" 2>/dev/null || :
} > "$DATA/sentinel.conf.new"
mv "$DATA/redis.conf.new" "$DATA/redis.conf"
mv "$DATA/sentinel.conf.new" "$DATA/sentinel.conf"
