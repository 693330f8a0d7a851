-- Accept a request, attach to the one in flight, or say why not. Idempotent by request id.
--
-- KEYS  1 requests   2 request:<id>   3 reply:<id>   4 lease   5 health   6 queue
-- ARGV  1 request id   2 fingerprint of the body   3 request as JSON
--       4 key of the reply stream to notify, or ''   5 timeout in ms
--       6 most requests that may wait, 0 for no bound   7 how long the marker outlives the deadline, ms
--       8 account
--
-- Answers a list that starts with the server's time in ms and a word:
--   stored <reply>           it was answered before
--   attached <entry id>      it is in flight; this gateway will be told too
--   accepted <entry id>      it is queued
--   conflict                 the id is taken by another body
--   refused <code> <ms>      NO_WORKER, CIRCUIT_OPEN, QUEUE_FULL or TOO_LATE; ms is when to come back
--                            (TOO_LATE: the estimated wait), 0 where unknown
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local marker = redis.call('HMGET', KEYS[2], 'entry', 'fingerprint')
if marker[2] and marker[2] ~= ARGV[2] then
  return {now, 'conflict'}
end
local stored = redis.call('GET', KEYS[3])
if stored then
  return {now, 'stored', stored}
end
if marker[1] then
  if ARGV[4] ~= '' then
    redis.call('HSET', KEYS[2], 'to:' .. ARGV[4], '1')
  end
  return {now, 'attached', marker[1]}
end

local waiting = redis.call('XLEN', KEYS[1])
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
elseif tonumber(ARGV[6]) > 0 and waiting >= tonumber(ARGV[6]) then
  return {now, 'refused', 'QUEUE_FULL', math.max(100, estimate)}
elseif waiting > 0 and estimate > tonumber(ARGV[5]) then
  return {now, 'refused', 'TOO_LATE', estimate}
end

local entry = redis.call('XADD', KEYS[1], '*', 'request', ARGV[3])
local arrived = tonumber(string.match(entry, '^%d+'))
redis.call('HSET', KEYS[2], 'entry', entry, 'fingerprint', ARGV[2],
  'deadline', arrived + tonumber(ARGV[5]))
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[2], 'to:' .. ARGV[4], '1')
end
redis.call('PEXPIRE', KEYS[2], tonumber(ARGV[5]) + tonumber(ARGV[7]))
return {now, 'accepted', entry}
