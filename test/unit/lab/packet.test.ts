/** Decoding of captured packets: headers as on the wire, and nothing from what is cut short. */
import fc from 'fast-check';
import t from 'tap';
import { decodePacket } from '../../../src/lab/packet.ts';

const ipv4 = 0x0800;
const ipv6 = 0x86dd;

t.test('a TCP packet shows its addresses, ports, flags and payload', async (t) => {
  const packet = decodePacket(ipv4, ipv4Packet(6, tcpSegment(0x12, 'hello')));
  t.match(packet, { protocol: 'tcp', source: '10.244.1.4', sourcePort: 40000, destination: '10.244.2.5' });
  t.match(packet, { destinationPort: 9080, flags: { syn: true, ack: true, fin: false, rst: false } });
  t.equal(packet?.payload.toString(), 'hello');
});

t.test('Ethernet padding after the packet is not payload', async (t) => {
  const padded = Buffer.concat([ipv4Packet(6, tcpSegment(0x10, '')), Buffer.alloc(6)]);
  t.match(decodePacket(ipv4, padded), { payloadLength: 0 });
});

t.test('a payload cut by the capture keeps its true length', async (t) => {
  const packet = decodePacket(ipv4, ipv4Packet(6, tcpSegment(0x10, 'hello')).subarray(0, 42));
  t.equal(packet?.payloadLength, 5);
  t.equal(packet?.payload.toString(), 'he');
});

t.test('UDP and IPv6 are decoded too', async (t) => {
  const datagram = Buffer.from([0x9c, 0x40, 0, 53, 0, 11, 0, 0, 1, 2, 3]);
  t.match(decodePacket(ipv4, ipv4Packet(17, datagram)), { protocol: 'udp', destinationPort: 53, payloadLength: 3 });
  const header = Buffer.alloc(40);
  header.writeUInt16BE(datagram.length, 4);
  header[6] = 17;
  header[23] = 1;
  header[39] = 2;
  t.match(decodePacket(ipv6, Buffer.concat([header, datagram])), { source: '::1', destination: '::2' });
});

t.test('later fragments, other protocols and short packets decode to nothing', async (t) => {
  const fragment = ipv4Packet(6, tcpSegment(0x10, 'x'));
  fragment.writeUInt16BE(100, 6);
  t.equal(decodePacket(ipv4, fragment), undefined);
  t.equal(decodePacket(ipv4, ipv4Packet(1, Buffer.alloc(8))), undefined);
  t.equal(decodePacket(0x0806, ipv4Packet(6, tcpSegment(0, ''))), undefined);
});

t.test('no bytes make it throw', async () => {
  fc.assert(
    fc.property(fc.constantFrom(ipv4, ipv6), fc.uint8Array({ maxLength: 100 }), (protocol, bytes) => {
      decodePacket(protocol, Buffer.from(bytes));
    }),
  );
});

function ipv4Packet(protocol: number, segment: Buffer): Buffer {
  const header = Buffer.from([0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 244, 1, 4, 10, 244, 2, 5]);
  header.writeUInt16BE(header.length + segment.length, 2);
  return Buffer.concat([header, segment]);
}

function tcpSegment(flags: number, payload: string): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt16BE(40000, 0);
  header.writeUInt16BE(9080, 2);
  header[12] = 5 << 4;
  header[13] = flags;
  return Buffer.concat([header, Buffer.from(payload)]);
}
