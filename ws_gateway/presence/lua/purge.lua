-- Takes the entries of dead nodes out of a channel, a part at a time: the channel may be large.
--
-- KEYS: as in update.lua. ARGV: a cursor, '0' to begin with; how many to look at; the nodes.
-- Returns the cursor to go on with, '0' at the end.
local dead = {}
for i = 3, #ARGV do
  dead[ARGV[i]] = true
end
local found = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
for i = 1, #found[2], 2 do
  local value = found[2][i + 1]
  local length = tonumber(string.sub(value, 17, 20), 16)
  if length ~= nil and dead[string.sub(value, 1, 16)]
    and redis.call('HDEL', KEYS[1], found[2][i]) == 1 then
    local user = string.sub(value, 21, 20 + length)
    if redis.call('HINCRBY', KEYS[2], user, -1) <= 0 then
      redis.call('HDEL', KEYS[2], user)
    end
  end
end
if found[1] == '0' then
  for node in pairs(dead) do
    redis.call('HDEL', KEYS[3], node)
  end
end
return found[1]
