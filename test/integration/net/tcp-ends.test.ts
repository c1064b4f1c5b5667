/** Ends of TCP connections, driven by hand and by net.Socket, held to the same. */
import t from 'tap';
import { tcpEndCompliance } from '../../support/tcp-end-compliance.ts';
import { byHand, byNode } from '../../support/tcp-ends.ts';

t.test('by hand', (t) => tcpEndCompliance(t, byHand));
t.test('by net.Socket', (t) => tcpEndCompliance(t, byNode));
