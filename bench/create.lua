-- Each request of wrk creates another Service, or the EndpointSlice of the one before.
local number = 0
local service = '{"apiVersion":"v1","kind":"Service","metadata":{"name":"c%s-%d"},"spec":{"selector":{"app":"c%d"},"ports":[{"port":80,"targetPort":8080}]}}'
local slice = '{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"c%s-%d","labels":{"kubernetes.io/service-name":"c%s-%d"}},"addressType":"IPv4","ports":[{"name":"","port":8080}],"endpoints":[{"addresses":["10.1.2.3"]},{"addresses":["10.1.2.4"]}]}'
local run = os.getenv("SEAWAY_BENCH_ROUND") or "0"

request = function()
  number = number + 1
  local pair = math.floor((number + 1) / 2)
  if number % 2 == 1 then
    return wrk.format("POST", "/api/v1/namespaces/default/services", nil, string.format(service, run, pair, pair))
  end
  return wrk.format("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", nil,
    string.format(slice, run, pair, run, pair))
end
