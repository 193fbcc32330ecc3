-- Gives a process's sign of life, and returns the nodes that live.
--
-- KEYS: all nodes, by when they count as dead. ARGV: the node, '' for none; milliseconds for which
-- this sign is good; '1' for its first one.
-- A node that is late is dead, and stays so: others may have taken its entries away already.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local node = ARGV[1]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if node ~= '' and (ARGV[3] == '1' or redis.call('ZSCORE', KEYS[1], node)) then
  redis.call('ZADD', KEYS[1], now + ARGV[2], node)
end
return redis.call('ZRANGE', KEYS[1], 0, -1)
