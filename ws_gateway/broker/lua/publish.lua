-- Number, keep and deliver one publication, in one step.
--
-- KEYS: the stream, its meta data, the result under the idempotency key (unused without one).
-- ARGV: 1 Redis channel, 2 payload, 3 mark, 4 history size, 5 history ttl, 6 meta ttl (both in ms),
--       7 an epoch if a new one is needed, 8 and 9 epoch and offset that the caller has seen,
--       10 version, 11 version epoch, 12 "1" to send the previous payload too,
--       13 ttl of the result in ms, "0" without an idempotency key.
-- Returns: offset, epoch, receivers, 1 if nothing was published.
--
-- Meta data: e epoch, s top offset, m mark of the top, v version, ve version epoch.
-- An entry's id is OFFSET-MARK. A publication with an offset is published as
-- "1 OFFSET EPOCH MARK PREVIOUS-MARK LENGTH\n", the payload of that length, the previous payload.

local once = ARGV[13] ~= '0'
if once then
  local first = redis.call('HMGET', KEYS[3], 's', 'e', 'r')
  if first[1] then
    return {tonumber(first[1]), first[2], tonumber(first[3]), 1}
  end
end

local offset, epoch, receivers = 0, '', 0
if ARGV[4] == '0' then
  receivers = redis.call('PUBLISH', ARGV[1], ARGV[2])
else
  local meta = redis.call('HMGET', KEYS[2], 'e', 's', 'm', 'v', 've')
  epoch = meta[1] or ARGV[7]
  local top = tonumber(meta[2] or '0')
  local previous = meta[3] or '0'
  if not meta[1] then
    redis.call('DEL', KEYS[1])  -- what is left of an earlier epoch
  end
  -- The tail was lost: offsets are about to be given a second time. Where a new epoch was lost
  -- with it, the one before is back; epochs of one length are in the order of their making.
  if epoch == ARGV[8] and top < tonumber(ARGV[9]) or #epoch == #ARGV[8] and epoch < ARGV[8] then
    epoch = ARGV[7]
  end
  if ARGV[10] ~= '0' then
    -- As digits, not as numbers: of a version over 2^53, such as a time in nanoseconds, Lua would
    -- take several for the same.
    local known = meta[4] or '0'
    local newer = #ARGV[10] > #known or (#ARGV[10] == #known and ARGV[10] > known)
    if (meta[5] or '') == ARGV[11] and not newer then
      return {top, epoch, 0, 1}
    end
    redis.call('HSET', KEYS[2], 'v', ARGV[10], 've', ARGV[11])
  end
  local before = ''
  if ARGV[12] == '1' then
    local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
    if last[1] and last[1][1] == string.format('%.0f', top) .. '-' .. previous then
      before = last[1][2][2]
    end
  end
  offset = top + 1
  local number = string.format('%.0f', offset)
  redis.call('HSET', KEYS[2], 'e', epoch, 's', number, 'm', ARGV[3])
  redis.call('PEXPIRE', KEYS[2], ARGV[6])
  redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[4], number .. '-' .. ARGV[3], 'd', ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  receivers = redis.call('PUBLISH', ARGV[1], '1 ' .. number .. ' ' .. epoch .. ' ' .. ARGV[3]
    .. ' ' .. previous .. ' ' .. #ARGV[2] .. '\n' .. ARGV[2] .. before)
end

if once then
  redis.call('HSET', KEYS[3], 's', string.format('%.0f', offset), 'e', epoch, 'r', receivers)
  redis.call('PEXPIRE', KEYS[3], ARGV[13])
end
return {offset, epoch, receivers, 0}
