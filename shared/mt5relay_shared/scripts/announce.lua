-- Publish the worker's public sealing key, under the lease.
--
-- KEYS  1 lease   2 sealing-key
-- ARGV  1 lease value   2 key as JSON
--
-- Answers  {'FENCED'} or {'ok'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'FENCED'}
end
redis.call('SET', KEYS[2], ARGV[2])
return {'ok'}
