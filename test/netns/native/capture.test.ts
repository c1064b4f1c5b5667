// Capturing packets on one interface, on all, and in another namespace.
import dgram from 'node:dgram';
import { once } from 'node:events';
import {
  bind,
  type CapturedPacket,
  closeFd,
  createSocket,
  interfaceName,
  packetSocket,
  receivePacket,
  watchFd,
} from 'node-tproxy-native';
import t from 'tap';
import { descriptorsLeftOpen } from '../../unit/native/descriptors.ts';
import { createNamespace, inOwnNamespace, run } from './own-namespace.ts';

const payload = 'captured';

/** Sends one datagram over loopback to a socket of our own. */
async function sendDatagram(netnsFd?: number): Promise<void> {
  const receiver = createSocket({ family: 4, type: 'dgram', netnsFd });
  bind(receiver, '127.0.0.1', 5353);
  const fd = createSocket({ family: 4, type: 'dgram', netnsFd });
  bind(fd, '127.0.0.1', 5354);
  const sender = dgram.createSocket('udp4');
  const listening = once(sender, 'listening');
  sender.bind({ fd });
  await listening;
  await new Promise((resolve) => sender.send(payload, 5353, '127.0.0.1', resolve));
  sender.close();
  closeFd(receiver);
}

/** The first `count` packets that arrive. */
function capture(fd: number, count: number, maxBytes = 2048): Promise<CapturedPacket[]> {
  return new Promise((resolve) => {
    const packets: CapturedPacket[] = [];
    const watcher = watchFd(fd, 'r', () => {
      for (let packet = receivePacket(fd, maxBytes); packet; packet = receivePacket(fd, maxBytes)) packets.push(packet);
      if (packets.length < count) return;
      watcher.close();
      resolve(packets);
    });
  });
}

await inOwnNamespace(import.meta.url, () => {
  for (const name of [1, 'lo', 'any'] as const) {
    t.test(`a datagram over loopback is captured on ${name}, leaving and arriving`, async (t) => {
      const fd = packetSocket(name);
      t.teardown(() => closeFd(fd));
      t.equal(receivePacket(fd, 100), undefined);
      const captured = capture(fd, 2);
      await sendDatagram();
      const packets = await captured;
      t.same(
        packets.map(({ packetType }) => packetType),
        ['outgoing', 'host'],
      );
      for (const packet of packets) {
        t.equal(interfaceName(packet.interfaceIndex), 'lo');
        t.equal(packet.protocol, 0x0800);
        t.equal(packet.length, 28 + payload.length);
        t.equal(packet.data.readUInt16BE(22), 5353, 'from the IPv4 header on');
        t.equal(packet.data.subarray(28).toString(), payload);
      }
    });
  }

  t.test('a packet longer than asked for is cut, and tells its own length', async (t) => {
    const fd = packetSocket('lo');
    t.teardown(() => closeFd(fd));
    const captured = capture(fd, 1, 20);
    await sendDatagram();
    const [packet] = await captured;
    t.equal(packet?.data.length, 20);
    t.equal(packet?.length, 28 + payload.length);
  });

  t.test('a capture in another namespace sees its packets and not ours', async (t) => {
    const other = await createNamespace(t);
    const there = packetSocket('lo', other.fd);
    const here = packetSocket('lo');
    t.teardown(() => [there, here].forEach(closeFd));
    const captured = capture(there, 1);
    await sendDatagram(other.fd);
    t.equal((await captured)[0]?.data.subarray(28).toString(), payload);
    t.equal(receivePacket(here, 100), undefined);
  });

  t.test('a capture of an interface that goes away is told so', async (t) => {
    run('ip', 'link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1');
    run('ip', 'link', 'set', 'v0', 'up');
    const fd = packetSocket('v0');
    t.teardown(() => closeFd(fd));
    const told = Promise.withResolvers<void>();
    const watcher = watchFd(fd, 'r', (status) => {
      if (status === 0) return void receivePacket(fd, 100);
      watcher.close();
      told.resolve();
    });
    run('ip', 'link', 'set', 'v0', 'down');
    await told.promise;
    t.throws(() => receivePacket(fd, 100), { code: 'ENETDOWN', syscall: 'recvfrom' });
  });

  t.test('an interface that does not exist is ENODEV and leaves nothing open', async (t) => {
    const left = await descriptorsLeftOpen(10, () => {
      t.throws(() => packetSocket('absent0'), { code: 'ENODEV', syscall: 'ioctl(SIOCGIFINDEX)', message: /absent0$/ });
      t.throws(() => packetSocket('a-name-too-long-for-an-interface'), { code: 'ENODEV' });
      t.throws(() => packetSocket(4242), { code: 'ENODEV', syscall: 'bind' });
    });
    t.equal(left, 0);
  });
});
