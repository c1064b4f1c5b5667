/** A lab without proxies for tests of the bench's loads: a client, an origin, and a pod for origins that fail. */
import t from 'tap';
import { idle, loads } from '../../../bench/loads/loads.ts';
import { type Load, type PortName, ports, type Turn } from '../../../bench/model.ts';
import type { Lab } from '../../../src/lab/lab.ts';
import type { LabNode, LabPod, Topology } from '../../../src/lab/topology.ts';
import { missing } from '../../support/programs.ts';
import { insideLab } from '../lab/inside.ts';

const addresses = { client: '10.244.1.4', origin: '10.244.2.4', failing: '10.244.2.5' } as const;

/** True inside a lab and with all programs; else registers a skipped test that says what is missing. */
export async function canRunLoads(): Promise<boolean> {
  const lacking = missing('nginx', 'wrk', 'h2load', 'iperf3');
  if (lacking === false) return insideLab();
  t.test('the programs of the loads', { skip: lacking }, async () => {});
  return false;
}

export const idleConnections = 500;
export const ratePerSecond = 1000;
/** The bench's loads, the idle one smaller. */
export const smallLoads = loads.map((load) => (load.key === 'idle' ? idle(idleConnections) : load));

export function smallLoad(key: string): Load {
  const load = smallLoads.find((each) => each.key === key);
  if (load === undefined) throw new TypeError(`no load ${key}`);
  return load;
}

/** From the client, for one second. */
export function plainTurn(lab: Lab, to: 'origin' | 'failing', sample: () => void = () => {}): Turn {
  const system = {
    key: 'direct',
    name: 'no proxy',
    layer: 'none',
    ours: false,
    settings: '',
    serves: new Set(Object.keys(ports) as PortName[]),
    pod: 'client',
    host: addresses[to],
    proxies: () => [],
  } as const;
  return { lab, system, seconds: 1, ratePerSecond, sample };
}

export function plainTopology(): Topology {
  const node = (name: string, i: number): LabNode => ({
    name,
    ip: `172.18.0.${i}`,
    podCidr: `10.244.${i}.0/24`,
    gateway: `10.244.${i}.1`,
    ztunnelIp: `10.244.${i}.2`,
  });
  const pod = (name: keyof typeof addresses, on: string): LabPod => ({
    name,
    namespace: 'default',
    serviceAccount: name,
    node: on,
    ip: addresses[name],
    labels: {},
    captured: false,
  });
  return {
    nodes: [node('node-a', 1), node('node-b', 2)],
    pods: [pod('client', 'node-a'), pod('origin', 'node-b'), pod('failing', 'node-b')],
    services: [],
  };
}
