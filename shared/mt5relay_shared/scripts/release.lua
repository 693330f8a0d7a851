-- Give the lease back, so that the next worker need not wait for its expiry.
--
-- KEYS  1 lease   2 health
-- ARGV  1 lease value
--
-- Answers  1 when it was mine, else 0
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1], KEYS[2])
return 1
