-- Publish who waits, so that a request that can ride along is not refused for the length of the line.
--
-- KEYS  1 lease   2 queue
-- ARGV  1 lease value   2 expiry in ms   then account, turn as JSON, ...
--
-- Answers  {'FENCED'} or {'ok'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'FENCED'}
end
redis.call('DEL', KEYS[2])
if #ARGV > 2 then
  redis.call('HSET', KEYS[2], unpack(ARGV, 3))
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
return {'ok'}
