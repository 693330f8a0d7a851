-- Forget what was running when a worker lost its lease through no fault of a request, so that the next
-- worker charges no crash. Only while no other worker holds the lease.
--
-- KEYS  1 lease   2 running
-- ARGV  1 lease value of the worker that ends
--
-- Answers  1 when it was forgotten, else 0
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[2])
