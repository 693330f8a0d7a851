-- Answer requests, once, under the lease: durable replies, notifications, snapshot, acknowledgement.
-- One call answers a whole visit. A re-sent call changes nothing and notifies nobody twice.
--
-- KEYS  1 lease   2 requests   3 running   4 snapshot:<account>   5 shares
--       then for each request   request:<id>, reply:<id>
-- ARGV  1 lease value   2 consumer group   3 fence
--       4 '1' when the terminal is done with everything in `running`, else ''
--       5 snapshot as JSON, or ''   6 as_of ms   7 sequence   8 'confirmed' or 'assumed'
--       9 snapshot expiry in ms   10 about how many entries a reply stream keeps
--       then for each request   entry id, request id, reply as JSON, reply stream or '', expiry in ms
--
-- Answers  {'FENCED'}, or {'ok', how many replies were first}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'FENCED'}
end

-- Entries to be taken off the stream, and their places off their gateways' shares, by gateway.
local settled = {}
local function settle(entry, reply_to)
  settled[reply_to] = settled[reply_to] or {}
  table.insert(settled[reply_to], entry)
  return redis.call('XACK', KEYS[2], ARGV[2], entry)
end

-- A reply key of another type holds no reply. Answers whether this reply is the first.
local function store(reply_key, reply, expiry)
  if redis.call('SET', reply_key, reply, 'NX', 'PX', expiry) then
    return true
  end
  local stored = redis.pcall('GET', reply_key)
  if type(stored) == 'table' then
    redis.call('SET', reply_key, reply, 'PX', expiry)
    return true
  end
  return false
end

-- The fields of a marker. A key of another type is no marker and is removed.
local function fields_of(marker)
  local fields = redis.pcall('HKEYS', marker)
  if fields.err then
    redis.call('DEL', marker)
    return {}
  end
  return fields
end

-- The fingerprint stays as long as the reply: the id keeps meaning the same question.
local function keep_fingerprint(marker, fields, expiry)
  local others = {}
  for _, field in ipairs(fields) do
    if field ~= 'fingerprint' then
      others[#others + 1] = field
    end
  end
  for from = 1, #others, 512 do -- unpack is bounded by the Lua stack
    redis.call('HDEL', marker, unpack(others, from, math.min(from + 511, #others)))
  end
  if #others < #fields then
    redis.call('PEXPIRE', marker, expiry)
  end
end

-- Gateways write markers: what is told is a reply stream of this terminal, and no other key.
local REPLY_STREAMS = string.sub(KEYS[1], 1, -#'lease' - 1) .. 'replies:'
local function stream_in(field)
  if string.sub(field, 1, 3 + #REPLY_STREAMS) == 'to:' .. REPLY_STREAMS then
    return string.sub(field, 4)
  end
end

local streams, order, first = {}, {}, 0
local function notify(stream, id, reply)
  if not streams[stream] then
    streams[stream] = {}
    order[#order + 1] = stream
  end
  local fields = streams[stream]
  fields[#fields + 1] = id
  fields[#fields + 1] = reply
end

-- What to tell an entry whose id was answered before: that answer, unless it was another question's.
local function second_answer(stored, reply)
  local readable, first = pcall(cjson.decode, stored)
  local second = cjson.decode(reply)
  if not readable or type(first) ~= 'table'
    or (first.account == second.account and first.operation == second.operation) then
    return stored
  end
  local time = redis.call('TIME')
  return cjson.encode({
    status = 'error', v = 1, id = second.id, account = second.account,
    operation = second.operation,
    error = {
      code = 'VALIDATION_FAILED', retryable = false, request_id = second.id,
      message = 'id: it was used for another question; use a new id for this one',
      occurred_at_ms = time[1] * 1000 + math.floor(time[2] / 1000),
    },
  })
end

for i = 0, (#KEYS - 5) / 2 - 1 do
  local marker, reply_key = KEYS[6 + 2 * i], KEYS[7 + 2 * i]
  local entry, id, reply, reply_to, expiry = unpack(ARGV, 11 + 5 * i, 15 + 5 * i)
  local was_pending = settle(entry, reply_to)
  if store(reply_key, reply, expiry) then
    first = first + 1
    local told = {}
    local fields = fields_of(marker)
    for _, field in ipairs(fields) do
      local stream = stream_in(field)
      if stream then
        told[stream] = true
        notify(stream, id, reply)
      end
    end
    if reply_to ~= '' and not told[reply_to] then
      notify(reply_to, id, reply)
    end
    keep_fingerprint(marker, fields, expiry)
  elseif was_pending == 1 and reply_to ~= '' then
    notify(reply_to, id, second_answer(redis.call('GET', reply_key), reply)) -- a second entry
  end
end

for reply_to, entries in pairs(settled) do
  local places = 0
  for from = 1, #entries, 512 do -- unpack is bounded by the Lua stack
    places = places + redis.call('XDEL', KEYS[2], unpack(entries, from, math.min(from + 511, #entries)))
  end
  if places > 0 and redis.call('HINCRBY', KEYS[5], reply_to, -places) < 1 then
    redis.call('HDEL', KEYS[5], reply_to)
  end
end

for _, stream in ipairs(order) do
  local fields = streams[stream]
  for from = 1, #fields, 512 do -- unpack is bounded by the Lua stack
    -- The reply is stored already: one key of another type must not stop everybody's answers.
    redis.pcall('XADD', stream, 'NOMKSTREAM', 'MAXLEN', '~', ARGV[10], '*',
      unpack(fields, from, math.min(from + 511, #fields)))
  end
end

if ARGV[5] ~= '' then
  local kept = redis.pcall('HMGET', KEYS[4], 'fence', 'sequence')
  if kept.err then -- a key of another type is no snapshot; no time to live removes it
    redis.call('PEXPIRE', KEYS[4], 0)
    kept = {}
  end
  local fence, sequence = tonumber(kept[1]) or -1, tonumber(kept[2]) or -1
  if tonumber(ARGV[3]) > fence or (tonumber(ARGV[3]) == fence and tonumber(ARGV[7]) > sequence) then
    redis.call('HSET', KEYS[4], 'data', ARGV[5], 'as_of', ARGV[6], 'fence', ARGV[3],
      'sequence', ARGV[7], 'synchronized', ARGV[8])
    redis.call('PEXPIRE', KEYS[4], ARGV[9])
  end
end
if ARGV[4] == '1' then
  redis.call('DEL', KEYS[3])
end
return {'ok', first}
