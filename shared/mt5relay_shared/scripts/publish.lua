-- Replace a hash that tells how things are: who waits, how often each account was logged in to.
--
-- KEYS  1 lease   2 the hash
-- ARGV  1 lease value   2 expiry in ms   then field, value, ...
--
-- Answers  {'FENCED'} or {'ok'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'FENCED'}
end
redis.call('DEL', KEYS[2])
for from = 3, #ARGV, 1000 do -- unpack is bounded by the Lua stack
  redis.call('HSET', KEYS[2], unpack(ARGV, from, math.min(from + 999, #ARGV)))
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return {'ok'}
