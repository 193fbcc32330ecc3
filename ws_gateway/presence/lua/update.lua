-- Says which entries of one process are in a channel, and which are not any more.
--
-- KEYS: the channel's entries (client -> value), its users and its nodes (each -> how many).
-- ARGV: milliseconds to keep them; then pairs of client and value, '' for one that has gone.
-- A value begins with its node's 16 characters, the length of the user's name in four hexadecimal
-- digits, and that name.
local function count(value, by)
  local node, length = string.sub(value, 1, 16), tonumber(string.sub(value, 17, 20), 16)
  if length == nil then
    return -- nobody of us has written it
  end
  local user = string.sub(value, 21, 20 + length)
  if redis.call('HINCRBY', KEYS[3], node, by) <= 0 then
    redis.call('HDEL', KEYS[3], node)
  end
  if redis.call('HINCRBY', KEYS[2], user, by) <= 0 then
    redis.call('HDEL', KEYS[2], user)
  end
end

for i = 2, #ARGV, 2 do
  local client, value = ARGV[i], ARGV[i + 1]
  local before = redis.call('HGET', KEYS[1], client) or ''
  if before ~= value then
    if before ~= '' then
      count(before, -1)
    end
    if value == '' then
      redis.call('HDEL', KEYS[1], client)
    else
      redis.call('HSET', KEYS[1], client, value)
      count(value, 1)
    end
  end
end
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, ARGV[1])
end
return redis.status_reply('OK')
