/** One request at one proxy: what came back and what the application saw, as facts by name that can be compared. */
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import type { SocketAddress } from '../../../src/base/address.ts';
import type { Arrival } from '../../conformance/support/echo-pods.ts';
import type { World } from '../../conformance/support/world.ts';
import { signToken } from '../../support/jwt-issuer.ts';
import { exchangeRaw, type RawAnswer } from '../../support/raw-http.ts';
import type { DifferentialRequest } from './requests.ts';

/** By name: `status`, `location`, `request header x-a`, … Absent: not there. */
export type Facts = ReadonlyMap<string, string>;

/** Whoever has not answered by then does not answer. */
const patienceMs = 4000;
/** What differs from one exchange to the next at one proxy. */
const random = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function dial({ ip, port }: SocketAddress): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, ip, () => resolve(socket));
    socket.once('error', reject);
  });
}

export async function observe(world: World, stream: Duplex, { text }: DifferentialRequest, id: string): Promise<Facts> {
  stream.on('error', () => {});
  const sent = (await withTokens(world, text)).replace('$ID', `x-echo-case: ${id}`);
  const head = sent.startsWith('HEAD ');
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<RawAnswer>((resolve) => {
    timer = setTimeout(() => resolve({ responses: [], closed: false }), patienceMs);
  });
  const answer = await Promise.race([exchangeRaw(stream, sent, 1, head), late]);
  clearTimeout(timer);
  stream.destroy();
  return factsOf(
    answer,
    world.pods.arrivals.filter(({ caseId }) => caseId === id),
  );
}

async function withTokens(world: World, text: string): Promise<string> {
  const [, json] = /\$TOKEN\((.*)\)/.exec(text) ?? [];
  if (json === undefined) return text;
  const { key, claims } = JSON.parse(json) as { key: string; claims: Record<string, unknown> };
  return text.replace(`$TOKEN(${json})`, await signToken(world.key(key), claims));
}

function factsOf({ responses, closed }: RawAnswer, arrivals: readonly Arrival[]): Facts {
  const facts = new Map<string, string>();
  const put = (name: string, value: string) => {
    const known = facts.get(name);
    facts.set(name, known === undefined ? value : `${known}, ${value}`);
  };
  const last = responses.at(-1);
  put('status', last === undefined ? (closed ? 'closed' : 'no answer') : String(last.status));
  const arrival = arrivals.at(-1);
  put('attempts', String(arrivals.length));
  if (arrival !== undefined) {
    put('backend', arrival.pod);
    put('method', arrival.method);
    put('path', arrival.path);
    put('host', arrival.host);
    put('body at the backend', arrival.body);
    for (const [name, value] of arrival.headers)
      if (name !== 'x-echo-case' && name !== 'host')
        put(`request header ${name}`, random.test(value) ? 'a UUID' : value);
  }
  if (last !== undefined) {
    if (arrival === undefined) put('body', last.body);
    for (const [name, value] of last.headers) {
      const lower = name.toLowerCase();
      put(`response header ${lower}`, lower === 'date' ? 'a date' : value);
    }
  }
  return facts;
}
