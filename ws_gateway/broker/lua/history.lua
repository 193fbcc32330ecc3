-- Read what a stream holds, and where it is, in one step.
--
-- KEYS: the stream, its meta data (see publish.lua).
-- ARGV: 1 limit (0 none, -1 all), 2 since, "" for no such bound, 3 "1" for the newest first,
--       4 meta ttl in ms, "0" to begin no stream and keep none longer, 5 an epoch if a new one is needed,
--       6, 7 and 8 epoch, offset and mark that the caller has seen.
-- Returns: top offset, epoch, mark of the top, entries.

local meta = redis.call('HMGET', KEYS[2], 'e', 's', 'm')
local epoch, top, mark = meta[1], tonumber(meta[2] or '0'), meta[3] or '0'
local highest = '18446744073709551615'

local function lost()
  -- A new epoch was lost, and the one before is back: they are in the order of their making.
  if #epoch == #ARGV[6] and epoch < ARGV[6] then
    return true
  end
  local seen = tonumber(ARGV[7])
  if epoch ~= ARGV[6] or seen == 0 then
    return false
  end
  if top <= seen then
    return top < seen or mark ~= ARGV[8]
  end
  -- The offset was given a second time, if another entry has it now.
  local entry = redis.call('XRANGE', KEYS[1], ARGV[7] .. '-0', ARGV[7] .. '-' .. highest, 'COUNT', 1)
  return entry[1] ~= nil and entry[1][1] ~= ARGV[7] .. '-' .. ARGV[8]
end

if not epoch and ARGV[4] == '0' then
  return {0, '', '0', {}}
end
if not epoch then
  redis.call('DEL', KEYS[1])  -- what is left of an earlier epoch
end
if not epoch or lost() then
  epoch = ARGV[5]
  redis.call('HSET', KEYS[2], 'e', epoch, 's', string.format('%.0f', top))
end
if ARGV[4] ~= '0' then
  local keep = tonumber(ARGV[4])
  if top == 0 then
    -- Anybody who may subscribe can think of names without end; who is subscribed looks again.
    keep = math.min(keep, 3600000)
  end
  redis.call('PEXPIRE', KEYS[2], string.format('%.0f', keep))
end

local entries = {}
if ARGV[1] ~= '0' then
  local command, from, to = 'XRANGE', '-', '+'
  if ARGV[3] == '1' then
    command, from = 'XREVRANGE', '+'
    to = '-'
    if ARGV[2] ~= '' then
      from = '(' .. ARGV[2] .. '-0'
    end
  elseif ARGV[2] ~= '' then
    from = '(' .. ARGV[2] .. '-' .. highest
  end
  if ARGV[1] == '-1' then
    entries = redis.call(command, KEYS[1], from, to)
  else
    entries = redis.call(command, KEYS[1], from, to, 'COUNT', ARGV[1])
  end
end
return {top, epoch, mark, entries}
