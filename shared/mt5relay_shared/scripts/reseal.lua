-- Put a re-sealed credential in the place of the one that it was made from, under the lease. What
-- an operator enrolled or removed meanwhile stays as it is.
--
-- KEYS  1 lease   2 accounts
-- ARGV  1 lease value   2 account   3 envelope that it was made from   4 envelope
--
-- Answers  {'FENCED'}, or {'ok', 1 where it is in its place now, else 0}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'FENCED'}
end
local found = redis.call('HGET', KEYS[2], ARGV[2])
if found == ARGV[3] then
  redis.call('HSET', KEYS[2], ARGV[2], ARGV[4])
end
return {'ok', (found == ARGV[3] or found == ARGV[4]) and 1 or 0}
