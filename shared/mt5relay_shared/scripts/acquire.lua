-- Take the lease if it is free, and charge a crash to whatever the last holder left running.
--
-- KEYS  1 lease   2 fence   3 running
-- ARGV  1 worker id   2 nonce   3 expiry in ms   4 prefix of request markers
--       5 how long a crash is remembered, ms
--       6 'redis' where Redis itself was in trouble a moment ago, which may have cost the last
--         holder its lease: then nothing is charged
--
-- Answers  {now, 'acquired', value, ids that were running, separated by spaces}
--          {now, 'held', value, remaining ms}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local mine = ARGV[1] .. ':' .. ARGV[2] .. ':'

local held = redis.call('GET', KEYS[1])
if held then
  if string.sub(held, 1, #mine) == mine then
    return {now, 'acquired', held, ''} -- re-sent: already yours
  end
  return {now, 'held', held, redis.call('PTTL', KEYS[1])}
end

local value = mine .. redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], value, 'PX', ARGV[3])
local running = ARGV[6] ~= 'redis' and redis.call('GET', KEYS[3]) or ''
for id in string.gmatch(running, '%S+') do
  local marker = ARGV[4] .. id
  local counted = redis.pcall('HINCRBY', marker, 'crashes', 1)
  if type(counted) == 'table' then -- a gateway wrote something there that is no count
    redis.pcall('HSET', marker, 'crashes', 1)
  end
  if redis.call('PTTL', marker) < tonumber(ARGV[5]) then
    redis.call('PEXPIRE', marker, ARGV[5])
  end
end
redis.call('DEL', KEYS[3])
return {now, 'acquired', value, running}
