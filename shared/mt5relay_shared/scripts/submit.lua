-- Accept requests, attach to those in flight, or say why not. Idempotent by request id.
-- One call submits everything that one gateway asks in a moment.
--
-- KEYS  1 requests   2 lease   3 health   4 queue   5 shares
--       then for each request   request:<id>, reply:<id>
-- ARGV  1 key of the reply stream to notify, or ''
--       2 most requests that may wait, 0 for no bound
--       3 most of them from this gateway, 0 for no bound but its share
--       4 how long a marker outlives the deadline, ms
--       then for each request   fingerprint, request as JSON, timeout in ms, account
--
-- Answers a list: the server's time in ms, then for each request a list that starts with a word:
--   stored <reply>           it was answered before
--   attached <entry id>      it is in flight; this gateway will be told too
--   accepted <entry id>      it is queued
--   conflict                 the id is taken by another body
--   refused <code> <ms>      NO_WORKER, CIRCUIT_OPEN, QUEUE_FULL or TOO_LATE; ms is when to come back
--                            (TOO_LATE: the estimated wait), 0 where unknown
local ROOM = 8 -- a gateway may hold so many times the places that are left
local SHARES_KEPT_MS = 7200000 -- longer than any request may wait

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local gateway, limit, own_limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local listener = gateway ~= '' and 'to:' .. gateway or 'kept' -- else somebody collects the reply

-- What all requests of the call are weighed by, looked up when the first needs it.
local waiting, own, health
local function look()
  waiting = redis.call('XLEN', KEYS[1])
  own = waiting > 0 and tonumber(redis.call('HGET', KEYS[5], gateway)) or 0
  health = redis.call('HMGET', KEYS[3], 'breaker', 'breaker_retry_at_ms', 'estimated_wait_ms')
  health.has_worker = redis.call('EXISTS', KEYS[2]) == 1
end

local function estimate(account)
  local turn = redis.call('HGET', KEYS[4], account)
  if turn then -- somebody waits for this account already: this request rides along
    return math.max(0, cjson.decode(turn).by_ms - now)
  end
  return tonumber(health[3]) or 0
end

local function refusal(account, timeout_ms)
  if not health.has_worker then
    return {'refused', 'NO_WORKER', 0}
  elseif health[1] == 'OPEN' then
    return {'refused', 'CIRCUIT_OPEN', math.max(0, (tonumber(health[2]) or now) - now)}
  elseif limit > 0 and own >= ROOM * (limit - waiting) or own_limit > 0 and own >= own_limit then
    -- One gateway alone gets 8/9 of the places, two 8/17 each, and a newcomer always finds some.
    -- When to come back: by then the next of the accounts in the line has had its turn.
    local turn_ms = estimate(account) / math.max(1, redis.call('HLEN', KEYS[4]))
    return {'refused', 'QUEUE_FULL', math.max(100, math.floor(turn_ms))}
  elseif waiting > 0 then
    local wait_ms = estimate(account)
    if wait_ms > timeout_ms then
      return {'refused', 'TOO_LATE', wait_ms}
    end
  end
end

local function accept(marker, known, fingerprint, body, timeout_ms)
  -- A server out of memory refuses a script's first write alone, so that must be one which adds.
  local entry = redis.call('XADD', KEYS[1], '*', 'request', body)
  local deadline = tonumber(string.match(entry, '^%d+')) + timeout_ms
  redis.call('HSET', marker, 'entry', entry, 'fingerprint', fingerprint, 'deadline', deadline,
    listener, '1')
  if known[3] then
    redis.call('HDEL', marker, 'dropped')
  end
  redis.call('PEXPIRE', marker, timeout_ms + ARGV[4])
  if waiting == 0 then
    redis.call('DEL', KEYS[5]) -- a miscount ends with an empty queue
  end
  waiting, own = waiting + 1, own + 1
  return {'accepted', entry}
end

local function submit(marker, reply, fingerprint, body, timeout_ms, account)
  -- A key of another type takes the id; it must not refuse the other requests of the call.
  local known, stored = redis.pcall('HMGET', marker, 'entry', 'fingerprint', 'dropped'), nil
  if not known.err then
    stored = redis.pcall('GET', reply)
  end
  if known.err or type(stored) == 'table' or known[2] and known[2] ~= fingerprint then
    return {'conflict'}
  end
  if stored then
    return {'stored', stored}
  end
  if known[1] then
    redis.call('HSET', marker, listener, '1')
    return {'attached', known[1]}
  end
  if not waiting then
    look()
  end
  return refusal(account, timeout_ms) or accept(marker, known, fingerprint, body, timeout_ms)
end

local answers, accepted = {now}, 0
for i = 0, (#KEYS - 5) / 2 - 1 do
  local fingerprint, body, timeout_ms, account = unpack(ARGV, 5 + 4 * i, 8 + 4 * i)
  local answer = submit(
    KEYS[6 + 2 * i], KEYS[7 + 2 * i], fingerprint, body, tonumber(timeout_ms), account)
  if answer[1] == 'accepted' then
    accepted = accepted + 1
  end
  answers[#answers + 1] = answer
end
if accepted > 0 then
  redis.call('HINCRBY', KEYS[5], gateway, accepted)
  redis.call('PEXPIRE', KEYS[5], SHARES_KEPT_MS)
end
return answers
