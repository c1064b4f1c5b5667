/** Which tunnels may share a session: equal targets only. */
import t from 'tap';
import { poolKey } from '../../../src/hbone/pool-key.ts';
import type { OuterLeg, TunnelTarget } from '../../../src/hbone/seam.ts';
import { plainSocket } from '../../../src/net/socket-spec.ts';
import { testIdentity } from '../../support/test-ca.ts';

const a = testIdentity('spiffe://cluster.local/ns/a/sa/a');
const b = testIdentity('spiffe://cluster.local/ns/b/sa/b');
const target: TunnelTarget = {
  peer: { ip: '10.0.0.1', port: 15008 },
  sourceIdentity: a,
  expectedIdentities: [b],
  socket: plainSocket,
};

const outer: OuterLeg = { expectedIdentities: [a], authority: 'a.example:80', headers: [] };

t.test('every field of a target tells sessions apart', async (t) => {
  const different: TunnelTarget[] = [
    { ...target, peer: { ip: '10.0.0.2', port: 15008 } },
    { ...target, peer: { ip: '10.0.0.1', port: 15006 } },
    { ...target, sourceIdentity: b },
    { ...target, expectedIdentities: [a] },
    { ...target, expectedIdentities: [a, b] },
    { ...target, socket: { ...plainSocket, source: '10.0.0.9' } },
    { ...target, socket: { ...plainSocket, source: '10.0.0.9', transparent: true } },
    { ...target, socket: { ...plainSocket, mark: 0x539 } },
    { ...target, socket: { ...plainSocket, namespace: { fd: 7, key: '4:1' } } },
    { ...target, socket: { ...plainSocket, namespace: { fd: 7, key: '4:2' } } },
    { ...target, outer },
    { ...target, outer: { ...outer, expectedIdentities: [b] } },
    { ...target, outer: { ...outer, authority: 'b.example:80' } },
    { ...target, outer: { ...outer, headers: [['baggage', 'service.name=a']] } },
  ];
  const keys = new Set([target, ...different].map(poolKey));
  t.equal(keys.size, different.length + 1);
});

t.test('what does not matter does not tell them apart', async (t) => {
  t.equal(
    poolKey({ ...target, expectedIdentities: [a, b] }),
    poolKey({ ...target, expectedIdentities: [b, a] }),
    'the order of the ids',
  );
  const inNamespace = (fd: number) => poolKey({ ...target, socket: { ...plainSocket, namespace: { fd, key: '4:1' } } });
  t.equal(inNamespace(7), inNamespace(8), 'the descriptor of the namespace');
});
