/** Datagram sockets count among the descriptors that are in use, however they end. */
import { once } from 'node:events';
import t from 'tap';
import { closeDatagrams, connectDatagrams } from '../../../src/net/datagrams.ts';
import { descriptorLimits, descriptorUse } from '../../../src/net/descriptors.ts';
import { eventually } from '../../support/eventually.ts';

const plain = { mark: undefined, namespace: undefined };
const used = () => descriptorUse(descriptorLimits()).used;

t.test('a socket for a question is counted until it is closed', async (t) => {
  const before = used();
  const socket = await connectDatagrams({ ip: '127.0.0.1', port: 9 }, plain);
  t.equal(used(), before + 1);
  const closed = once(socket, 'close');
  closeDatagrams(socket);
  await closed;
  t.equal(used(), before);
});

t.test('one that could not be connected is not', async (t) => {
  const before = used();
  // A broadcast address, which takes a permission that was not asked for.
  await t.rejects(connectDatagrams({ ip: '255.255.255.255', port: 9 }, plain), { code: 'NET_SOCKET' });
  await eventually('it is closed', () => used() === before);
});
