/** Access log formats: every command on one request, on a TCP connection, and what peers cannot do to a line. */
import fc from 'fast-check';
import t from 'tap';
import { defaultJsonLabels, defaultTextFormat } from '../../../../src/route/telemetry/default-format.ts';
import type { TrafficFacts } from '../../../../src/route/telemetry/facts.ts';
import { jsonFormat, labelReaders } from '../../../../src/route/telemetry/json-format.ts';
import { textFormat } from '../../../../src/route/telemetry/log-format.ts';
import { headerFacts } from '../../../../src/waypoint/telemetry/header-facts.ts';
import { requestFacts, tcpFacts } from '../../../support/traffic-facts.ts';

function line(format: string, facts: TrafficFacts): string {
  const compiled = textFormat(format);
  if ('problem' in compiled) throw new Error(compiled.problem);
  return compiled.line(facts);
}

t.test("Istio's default line of a request", async (t) => {
  t.equal(
    line(defaultTextFormat, requestFacts),
    '[2026-01-05T10:20:30.123Z] "GET /old?q=1 HTTP/1.1" 200 - via_upstream - "-" 5 11 42 30 "10.0.0.9" "curl/8" ' +
      '"id-1" "reviews:9080" "envoy://connect_originate/10.9.0.7:9080" inbound-vip|9080|http|reviews.shop.svc ' +
      '10.9.0.3:4444 10.96.0.7:9080 10.9.0.2:51544 - shop/route/0/0\n',
  );
});

t.test('a TCP connection has dashes where a request would be', async (t) => {
  t.equal(
    line(defaultTextFormat, tcpFacts),
    '[2026-01-05T10:20:30.123Z] "- - -" 0 UF - upstream_connect_failure "no route" 5 11 42 - "-" "-" "-" "-" "-" ' +
      'inbound-vip|9080|tcp|reviews.shop.svc - 10.96.0.7:9080 10.9.0.2:51544 - -\n',
  );
});

t.test('commands', async (t) => {
  const cases: [string, string][] = [
    ['%START_TIME(%Y/%m/%d %H:%M:%S.%3f %s %z)%', '2026/01/05 10:20:30.123 1767608430 +0000'],
    ['%START_TIME(%b %e %a %I%p %f %F %T %y %%)%', 'Jan  5 Mon 10AM 123000000 2026-01-05 10:20:30 26 %'],
    ['%EMIT_TIME%', '2026-01-05T10:20:30.165Z'],
    ['%REQ(:METHOD)% %REQ(:PATH)% %REQ(:SCHEME)%', 'GET /new?q=1 http'],
    ['%REQUEST_HEADER(USER-AGENT):3%', 'cur'],
    ['%REQ(NONE?USER-AGENT)% %REQ(NONE)% %REQ(NONE?ALSO)%', 'curl/8 - -'],
    ['%REQ_WITHOUT_QUERY(X-ENVOY-ORIGINAL-PATH?:PATH)%', '/old'],
    ['%PATH(NQ)% %PATH(WQ:PATH)% %PATH%', '/old /new?q=1 /old?q=1'],
    ['%RESP(X-B)% %RESPONSE_HEADER(x-c)% %RESP(:STATUS)%', 'b - 200'],
    ['%TRAILER(GRPC-STATUS)% %RESPONSE_TRAILER(x)%', '5 -'],
    ['%PROTOCOL% %UPSTREAM_PROTOCOL%', 'HTTP/1.1 HTTP/2'],
    ['%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%', '- -'],
    ['%BYTES_RECEIVED% %BYTES_SENT% %DOWNSTREAM_WIRE_BYTES_SENT% %DOWNSTREAM_HEADER_BYTES_SENT%', '5 11 111 100'],
    ['%DURATION% %REQUEST_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%', '42 2 32 10'],
    ['%COMMON_DURATION(DS_RX_BEG:US_RX_BEG:us)% %COMMON_DURATION(DS_RX_END:DS_TX_END)%', '32500 40'],
    ['%UPSTREAM_HOST_NAME% %UPSTREAM_REMOTE_ADDRESS% %UPSTREAM_REMOTE_PORT%', 'reviews-1 10.9.0.7:15008 15008'],
    ['%UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %UPSTREAM_REQUEST_ATTEMPT_COUNT%', '10.9.0.3 1'],
    ['%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_PORT%', '10.9.0.2 9080'],
    ['%DOWNSTREAM_DIRECT_LOCAL_ADDRESS%', '10.9.0.3:15008'],
    [
      '%DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_LOCAL_URI_SAN%',
      'spiffe://td/ns/shop/sa/web spiffe://td/ns/shop/sa/waypoint',
    ],
    ['%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(NUMBER)% %GRPC_STATUS_NUMBER%', 'NotFound NOT_FOUND 5 5'],
    ['%TRACE_ID% %ROUTE_NAME%', '0af7651916cd43dd8448eb211c80319c shop/route/0/0'],
    ['%CEL(size(request.path))% %CEL(request.headers["user-agent"] + "!")%', '8 curl/8!'],
    ['%FILTER_STATE(downstream_peer:FIELD:workload)%', 'web'],
    ['100%% %REQ(X-%)%', '100% -'],
    ['no command', 'no command'],
  ];
  for (const [format, expected] of cases) {
    t.equal(line(format, { ...requestFacts, request: { ...requestFacts.request, grpc: true } }), expected, format);
  }
  t.equal(
    line('%RESPONSE_FLAGS_LONG%', { ...tcpFacts, flags: 'UF,URX,XX' }),
    'UpstreamConnectionFailure,UpstreamRetryLimitExceeded,XX',
  );
  t.equal(line('%RESPONSE_CODE_DETAILS%', { ...requestFacts, details: 'a b' }), 'a_b');
  t.equal(line('%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%', { ...requestFacts, details: 'a b' }), 'a b');
});

t.test('what is no command is a problem, not a blank', async (t) => {
  for (const [format, expected] of [
    ['%NOTHING%', /no such command/],
    ['%REQ%', /takes a header/],
    ['%REQ(a?b?c)%', /takes a header/],
    ['%DURATION(x)%', /no argument/],
    ['100%', /not a command/],
    ['%START_TIME(%Q)%', /%Q is not known/],
    ['%CEL(nothing.here)%', /not known/],
    ['%COMMON_DURATION(A:B)%', /takes two/],
    ['%PATH(XX)%', /takes WQ/],
    ['%GRPC_STATUS(X)%', /takes CAMEL/],
    ['%FILTER_STATE(x)%', /downstream_peer/],
    ['x'.repeat(20_000), /longer/],
  ] as const) {
    const compiled = textFormat(format);
    t.match('problem' in compiled && compiled.problem, expected, format.slice(0, 40));
  }
});

t.test('JSON keeps types, and is null for what is missing', async (t) => {
  const compiled = jsonFormat(defaultJsonLabels);
  if ('problem' in compiled) throw new Error(compiled.problem);
  const record = JSON.parse(compiled.line(requestFacts));
  t.match(record, {
    response_code: 200,
    bytes_sent: 11,
    duration: 42,
    method: 'GET',
    path: '/old?q=1',
    upstream_service_time: '30',
  });
  t.equal(record.requested_server_name, null);
  t.same(Object.keys(record), Object.keys(defaultJsonLabels));
  const own = jsonFormat({ a: { b: 'x %REQ(NONE)% y', n: 1, t: true }, c: '%PROTOCOL%' });
  if ('problem' in own) throw new Error(own.problem);
  t.same(JSON.parse(own.line(tcpFacts)), { a: { b: 'x - y', n: 1, t: true }, c: null });
  t.match(jsonFormat({ a: '%NOPE%' }), { problem: /a: %NOPE%/ });
  t.match(labelReaders({ a: {} }), { problem: /must be a text/ });
});

t.test('no text of a peer ends a line, leaves its quotation marks or steers a terminal', async (t) => {
  const json = jsonFormat({ agent: '%REQ(USER-AGENT)%', mixed: 'a %REQ(USER-AGENT)%' });
  if ('problem' in json) throw new Error(json.problem);
  const text = textFormat('"%REQ(USER-AGENT)%"\n');
  if ('problem' in text) throw new Error(text.problem);
  const hostile = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(fc.constantFrom('"', '\\', '\n', '\r', '\u2028', '\x1b', '\x9b', '\0', 'a')).map((list) => list.join('')),
  );
  fc.assert(
    fc.property(hostile, (agent) => {
      const facts = {
        ...requestFacts,
        request: { ...requestFacts.request, headers: headerFacts(['user-agent', agent]) },
      };
      const written = text.line(facts);
      const safe = /^"(?:[^"\\\p{Cc}\u2028\u2029]|\\["\\]|\\u[0-9a-f]{4})*"\n$/u.test(written);
      const object = json.line(facts);
      const short = agent.slice(0, 4096);
      return safe && !/[\p{Cc}\u2028\u2029]/u.test(object.slice(0, -1)) && JSON.parse(object).agent === short;
    }),
  );
  const long = line('%REQ(USER-AGENT)%', {
    ...requestFacts,
    request: { ...requestFacts.request, headers: headerFacts(['user-agent', 'x'.repeat(100_000)]) },
  });
  t.equal(long.length, 4096);
});
