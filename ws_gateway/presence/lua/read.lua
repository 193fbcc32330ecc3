-- Returns how many entries and users a channel has, which nodes they are of, and the entries
-- themselves unless there are more than the limit.
--
-- KEYS: as in update.lua. ARGV: the limit.
local clients = redis.call('HLEN', KEYS[1])
local entries = false
if clients <= tonumber(ARGV[1]) then
  entries = redis.call('HGETALL', KEYS[1])
end
return { clients, redis.call('HLEN', KEYS[2]), redis.call('HKEYS', KEYS[3]), entries }
