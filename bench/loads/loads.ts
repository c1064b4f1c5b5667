/** The loads of the bench, in the order they are run. */
import type { Load } from '../model.ts';
import { runH2load } from './h2load.ts';
import { runIperf3 } from './iperf3.ts';
import { holdIdle, runTcpload } from './tcpload.ts';
import { runWrk } from './wrk.ts';

const both = ['l4', 'l7'] as const;
const l4 = ['l4'] as const;

export const loads: readonly Load[] = [
  keptAlive(1),
  { ...keptAlive(32), quick: true },
  keptAlive(256),
  {
    key: 'h2c-32',
    name: 'HTTP/2, 8 connections of 4 streams',
    unit: 'request',
    port: 'h2c',
    layers: both,
    run: (turn) => runH2load(turn, { connections: 8, streams: 4 }),
  },
  {
    key: 'fixed-rate',
    name: 'fixed rate, 32 connections, kept alive',
    unit: 'request',
    port: 'http',
    layers: both,
    fixedRate: true,
    quick: true,
    run: (turn) => runTcpload(turn, { mode: 'rate', port: 'http', connections: 32 }),
  },
  {
    key: 'connections',
    name: 'new connections, 8 at a time, one byte each way',
    unit: 'connection',
    port: 'echo',
    layers: l4,
    quick: true,
    run: (turn) => runTcpload(turn, { mode: 'connect', port: 'echo', connections: 8 }),
  },
  {
    key: 'new-requests',
    name: 'requests, 8 at a time, a new connection each',
    unit: 'request',
    port: 'http',
    layers: both,
    run: (turn) => runWrk(turn, { connections: 8, keepAlive: false }),
  },
  bulk('up', 1),
  { ...bulk('down', 1), quick: true },
  bulk('up', 8),
  bulk('down', 8),
  {
    key: 'ping-pong',
    name: 'one byte to and fro on one connection',
    unit: 'round trip',
    port: 'echo',
    layers: l4,
    quick: true,
    run: (turn) => runTcpload(turn, { mode: 'ping-pong', port: 'echo', connections: 1 }),
  },
  idle(10_000),
];

/** Ended by its count: opens so many connections, which need as many descriptors of every program on the way. */
export function idle(connections: number): Load {
  return {
    key: 'idle',
    name: `${connections} idle connections`,
    unit: 'idle connection',
    port: 'echo',
    layers: l4,
    run: (turn) => holdIdle(turn, connections),
  };
}

function keptAlive(connections: number): Load {
  return {
    key: `requests-${connections}`,
    name: connections === 1 ? '1 connection, kept alive' : `${connections} connections, kept alive`,
    unit: 'request',
    port: 'http',
    layers: both,
    run: (turn) => runWrk(turn, { connections, keepAlive: true }),
  };
}

function bulk(direction: 'up' | 'down', streams: number): Load {
  return {
    key: `bulk-${direction}-${streams}`,
    name: `bulk ${direction}, ${streams === 1 ? '1 stream' : `${streams} streams`}`,
    unit: 'GB',
    port: 'bulk',
    layers: l4,
    run: (turn) => runIperf3(turn, { direction, streams }),
  };
}
