-- One heartbeat: prolong the lease, publish health, append events. All under the lease, so that a
-- worker that was paused past its time can no longer speak for the terminal.
--
-- KEYS  1 lease   2 health   3 events
-- ARGV  1 lease value   2 lease expiry in ms   3 health expiry in ms   4 about how many events to keep
--       5 number of events   then each event as JSON   then health as field, value, ...
--
-- Answers  {now, 'FENCED'} or {now, 'ok'}; now is the server's time in ms
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {now, 'FENCED'}
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local events = tonumber(ARGV[5])
for i = 6, 5 + events do
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], '*', 'event', ARGV[i])
end
if #ARGV > 5 + events then
  redis.call('HSET', KEYS[2], unpack(ARGV, 6 + events))
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return {now, 'ok'}
