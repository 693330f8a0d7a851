-- Mark what goes onto the terminal now, so that a crash is charged to it alone, drop what nobody
-- waits for any more, and fetch the account's sealed credential on the same way.
--
-- KEYS  1 lease   2 running   3 accounts   4 requests   5 shares
--       then for each request   request:<id>
-- ARGV  1 lease value   2 consumer group   3 account   4 expiry of the mark in ms
--       5 '1' when a reply stream that is not there means that its gateway is gone, else ''
--       then for each request   entry id, request id, reply stream or ''
--
-- Nobody waits for a request that was submitted when each gateway that was to be told has withdrawn
-- (taken its field `to:<stream>` from the marker) or is gone, and nobody is to collect the reply. A
-- request that was added to the stream without the submit script is always waited for.
--
-- Answers  {'FENCED'}, or {'ok', sealed credential or false, entry ids of the dropped}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'FENCED'}
end

local there = {}
local function is_there(stream)
  if there[stream] == nil then
    there[stream] = redis.call('EXISTS', stream) == 1
  end
  return there[stream]
end

local function is_waited_for(marker, entry)
  local known, waited_for = {}, false
  local pairs_of = redis.pcall('HGETALL', marker)
  if pairs_of.err then -- a key of another type says nothing about who waits
    return true
  end
  for at = 1, #pairs_of, 2 do
    local field = pairs_of[at]
    known[field] = pairs_of[at + 1]
    if field == 'kept' then
      waited_for = true
    elseif string.sub(field, 1, 3) == 'to:' then
      waited_for = waited_for or ARGV[5] ~= '1' or is_there(string.sub(field, 4))
    end
  end
  if known.entry ~= entry then
    return known.dropped ~= entry -- a call that is sent again finds it dropped
  end
  return waited_for
end

-- No reply is stored: who asks again with this id finds it free, and its question unchanged.
local function drop(marker, entry, reply_to)
  redis.call('XACK', KEYS[4], ARGV[2], entry)
  if redis.call('XDEL', KEYS[4], entry) == 1 and redis.call('HINCRBY', KEYS[5], reply_to, -1) < 1 then
    redis.call('HDEL', KEYS[5], reply_to)
  end
  redis.call('HDEL', marker, 'entry', 'deadline')
  redis.call('HSET', marker, 'dropped', entry)
end

local running, dropped = {}, {}
for i = 0, #KEYS - 6 do
  local marker = KEYS[6 + i]
  local entry, id, reply_to = unpack(ARGV, 6 + 3 * i, 8 + 3 * i)
  if is_waited_for(marker, entry) then
    running[#running + 1] = id
  else
    drop(marker, entry, reply_to)
    dropped[#dropped + 1] = entry
  end
end
if #dropped == 0 then -- else the visit is planned anew
  redis.call('SET', KEYS[2], table.concat(running, ' '), 'PX', ARGV[4])
end
return {'ok', redis.call('HGET', KEYS[3], ARGV[3]), dropped}
