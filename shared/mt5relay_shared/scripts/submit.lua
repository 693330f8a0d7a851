-- Accept a request, attach to the one in flight, or say why not. Idempotent by request id.
--
-- KEYS  1 requests   2 request:<id>   3 reply:<id>   4 lease   5 health   6 queue   7 shares
-- ARGV  1 request id   2 fingerprint of the body   3 request as JSON
--       4 key of the reply stream to notify, or ''   5 timeout in ms
--       6 most requests that may wait, 0 for no bound   7 how long the marker outlives the deadline, ms
--       8 account   9 most of them from this gateway, 0 for no bound but its share
--
-- Answers a list that starts with the server's time in ms and a word:
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

-- Note who waits: a gateway that is told, or somebody who collects the stored reply.
local function wait_for_reply()
  redis.call('HSET', KEYS[2], ARGV[4] ~= '' and 'to:' .. ARGV[4] or 'kept', '1')
end

local marker = redis.call('HMGET', KEYS[2], 'entry', 'fingerprint')
if marker[2] and marker[2] ~= ARGV[2] then
  return {now, 'conflict'}
end
local stored = redis.call('GET', KEYS[3])
if stored then
  return {now, 'stored', stored}
end
if marker[1] then
  wait_for_reply()
  return {now, 'attached', marker[1]}
end

local waiting = redis.call('XLEN', KEYS[1])
local limit, own_limit = tonumber(ARGV[6]), tonumber(ARGV[9])
local own = waiting > 0 and tonumber(redis.call('HGET', KEYS[7], ARGV[4])) or 0
local health = redis.call('HMGET', KEYS[5], 'breaker', 'breaker_retry_at_ms', 'estimated_wait_ms')
local estimate = tonumber(health[3]) or 0
local turn = redis.call('HGET', KEYS[6], ARGV[8])
if turn then -- somebody waits for this account already: this request rides along
  estimate = math.max(0, cjson.decode(turn).by_ms - now)
end
if redis.call('EXISTS', KEYS[4]) == 0 then
  return {now, 'refused', 'NO_WORKER', 0}
elseif health[1] == 'OPEN' then
  return {now, 'refused', 'CIRCUIT_OPEN', math.max(0, (tonumber(health[2]) or now) - now)}
elseif limit > 0 and own >= ROOM * (limit - waiting) or own_limit > 0 and own >= own_limit then
  -- One gateway alone gets 8/9 of the places, two 8/17 each, and a newcomer always finds some.
  -- When to come back: by then the next of the accounts in the line has had its turn.
  local turn_ms = estimate / math.max(1, redis.call('HLEN', KEYS[6]))
  return {now, 'refused', 'QUEUE_FULL', math.max(100, math.floor(turn_ms))}
elseif waiting > 0 and estimate > tonumber(ARGV[5]) then
  return {now, 'refused', 'TOO_LATE', estimate}
end

-- A server out of memory refuses a script's first write alone, so that must be one which adds.
local entry = redis.call('XADD', KEYS[1], '*', 'request', ARGV[3])
local arrived = tonumber(string.match(entry, '^%d+'))
redis.call('HSET', KEYS[2], 'entry', entry, 'fingerprint', ARGV[2],
  'deadline', arrived + tonumber(ARGV[5]))
redis.call('HDEL', KEYS[2], 'dropped')
wait_for_reply()
if waiting == 0 then
  redis.call('DEL', KEYS[7]) -- a miscount ends with an empty queue
end
redis.call('HINCRBY', KEYS[7], ARGV[4], 1)
redis.call('PEXPIRE', KEYS[7], SHARES_KEPT_MS)
redis.call('PEXPIRE', KEYS[2], tonumber(ARGV[5]) + tonumber(ARGV[7]))
return {now, 'accepted', entry}
