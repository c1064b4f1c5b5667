/** What wrk 4.1.0, h2load 1.52.0 and iperf3 3.12 printed, some lines and fields that nobody reads left out. */

export const wrk = {
  through: `Running 1s test @ http://127.0.0.1:9080/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.38ms    1.82ms  19.64ms   91.71%
    Req/Sec    24.53k     7.16k   38.05k    80.00%
  24507 requests in 1.01s, 11.66MB read
Requests/sec:  24283.40
Transfer/sec:     11.56MB
{"requests":24507,"microseconds":1009208,"p50":765,"p90":2936,"p99":8961,"p999":19498,"errors":{"connect":0,"read":0,"write":0,"status":0,"timeout":0}}
`,
  unavailable: `Running 1s test @ http://127.0.0.1:9080/bad
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.46ms    1.78ms  19.53ms   91.28%
    Req/Sec    22.40k     4.33k   30.53k    80.00%
  22402 requests in 1.01s, 7.99MB read
  Non-2xx or 3xx responses: 22402
Requests/sec:  22246.81
Transfer/sec:      7.93MB
{"requests":22402,"microseconds":1006976,"p50":872,"p90":3092,"p99":9504,"p999":18427,"errors":{"connect":0,"read":0,"write":0,"status":22402,"timeout":0}}
`,
  killed: `Running 2s test @ http://127.0.0.1:9080/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     0.99ms    1.65ms  22.28ms   92.69%
    Req/Sec    29.71k     8.72k   42.72k    70.00%
  29664 requests in 2.24s, 14.12MB read
  Socket errors: connect 0, read 32, write 17020, timeout 0
Requests/sec:  13232.32
Transfer/sec:      6.30MB
{"requests":29664,"microseconds":2241783,"p50":436,"p90":2241,"p99":7065,"p999":22243,"errors":{"connect":0,"read":32,"write":17020,"status":0,"timeout":0}}
`,
};

export const h2load = {
  through: `starting benchmark...
spawning thread #0: 8 total client(s). Timing-based test with 0s of warm-up time and 1s of main duration for measurements.
Warm-up started for thread #0.
progress: 100% of clients started
Warm-up phase is over for thread #0.
Main benchmark duration is started for thread #0.
Application protocol: h2c
Main benchmark duration is over for thread #0. Stopping all clients.
Stopped all clients for thread #0

finished in 1.01s, 16932.00 req/s, 6.75MB/s
requests: 16932 total, 16964 started, 16932 done, 16932 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 16932 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 6.75MB (7077968) total, 826.76KB (846600) headers (space savings 50.00%), 5.65MB (5926200) data
                     min         max         mean         sd        +/- sd
time for request:       23us     13.06ms      1.71ms      2.19ms    85.32%
time for connect:     2.86ms      3.02ms      2.95ms        57us    75.00%
time to 1st byte:     3.39ms      5.86ms      5.51ms       859us    87.50%
req/s           :    2055.84     2273.00     2114.49       70.01    87.50%
`,
  unavailable: `starting benchmark...
spawning thread #0: 8 total client(s). Timing-based test with 0s of warm-up time and 1s of main duration for measurements.
Application protocol: h2c

finished in 1.01s, 17332.00 req/s, 4.45MB/s
requests: 17332 total, 17364 started, 17332 done, 0 succeeded, 17332 failed, 0 errored, 0 timeout
status codes: 0 2xx, 0 3xx, 0 4xx, 17332 5xx
traffic: 4.45MB (4662700) total, 913.99KB (935928) headers (space savings 45.45%), 3.26MB (3414404) data
                     min         max         mean         sd        +/- sd
time for request:       81us     11.89ms      1.73ms      1.90ms    86.26%
time for connect:       89us       198us       150us        37us    75.00%
time to 1st byte:     7.20ms      7.43ms      7.33ms        76us    75.00%
req/s           :    2068.56     2275.68     2166.07       64.49    75.00%
`,
  refused: `starting benchmark...
spawning thread #0: 8 total client(s). Timing-based test with 0s of warm-up time and 1s of main duration for measurements.

finished in 1.01s, 0.00 req/s, 0B/s
requests: 0 total, 0 started, 0 done, 0 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 0 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 0B (0) total, 0B (0) headers (space savings 0.00%), 0B (0) data
                     min         max         mean         sd        +/- sd
time for request:        0us         0us         0us         0us     0.00%
time for connect:        0us         0us         0us         0us     0.00%
time to 1st byte:        0us         0us         0us         0us     0.00%
req/s           :       0.00        0.00        0.00        0.00   100.00%
`,
  killed: `starting benchmark...
spawning thread #0: 8 total client(s). Timing-based test with 0s of warm-up time and 2s of main duration for measurements.
Application protocol: h2c

finished in 2.03s, 10534.50 req/s, 4.20MB/s
requests: 21069 total, 21101 started, 21069 done, 21069 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 21069 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 8.40MB (8807234) total, 1.00MB (1053450) headers (space savings 50.00%), 7.03MB (7374150) data
                     min         max         mean         sd        +/- sd
time for request:       79us     13.78ms      1.07ms      1.40ms    88.71%
time for connect:       82us       223us       157us        53us    62.50%
time to 1st byte:     5.53ms      5.77ms      5.67ms        77us    75.00%
req/s           :    3344.61     3496.17     3413.98       66.95    62.50%
`,
};

export const iperf3 = {
  through: `{
	"start":	{"version":	"iperf 3.12"},
	"end":	{
		"sum_sent":	{"start":	0, "end":	1.019781, "seconds":	1.019781, "bytes":	1530920960,
			"bits_per_second":	12009801790.776646, "retransmits":	6, "sender":	true},
		"sum_received":	{"start":	0, "end":	1.031498, "seconds":	1.031498, "bytes":	1528299520,
			"bits_per_second":	11853048828.015177, "sender":	true}
	}
}
`,
  refused: `{
	"start":	{
		"connected":	[],
		"version":	"iperf 3.12",
		"system_info":	"Linux"
	},
	"intervals":	[],
	"end":	{
	},
	"error":	"unable to connect to server: Connection refused"
}
`,
};
