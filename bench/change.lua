-- Each request of wrk changes or deletes an object by SEAWAY_BENCH_VERB: PUT and PATCH turn to the EndpointSlices
-- of the data set, DELETE to what create.lua made in the same round.
local verb = os.getenv("SEAWAY_BENCH_VERB")
local run = os.getenv("SEAWAY_BENCH_ROUND") or "0"
local count = tonumber(os.getenv("SEAWAY_BENCH_OBJECTS"))
local number = 0
local services = "/api/v1/namespaces/default/services/"
local slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/"
local slice = '{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"web-%d","labels":{"kubernetes.io/service-name":"web-%d"}},"addressType":"IPv4","ports":[{"name":"","port":8080}],"endpoints":[%s]}'
local patch = '{"metadata":{"annotations":{"bench/number":"%s-%d"}}}'

local function endpoints(turn)
  local list = {}
  for index = 1, 10 do
    list[index] = string.format('{"addresses":["10.1.%d.%d"],"conditions":{"ready":true}}', turn % 250, index)
  end
  return table.concat(list, ",")
end

request = function()
  number = number + 1
  local at = number % count
  if verb == "PUT" then
    return wrk.format("PUT", slices .. "web-" .. at, nil, string.format(slice, at, at, endpoints(number)))
  elseif verb == "PATCH" then
    return wrk.format("PATCH", slices .. "web-" .. at, nil, string.format(patch, run, number))
  end
  local pair = math.floor((number + 1) / 2)
  return wrk.format("DELETE", (number % 2 == 1 and services or slices) .. "c" .. run .. "-" .. pair, nil, "")
end
