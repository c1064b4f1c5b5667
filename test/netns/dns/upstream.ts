/** A name server on port 53, UDP and TCP: the address of every name is that of whoever asks; TXT is too long for UDP. */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { answerMessage, ipData, types } from '../../support/dns-messages.ts';
import { frame } from '../../support/dns-upstream.ts';

function answerTo(query: Buffer, from: string, transport: 'udp' | 'tcp'): Buffer {
  const type = query.readUInt16BE(query.indexOf(0, 12) + 1);
  if (type === types.A) return answerMessage(query, [{ type, data: ipData(from) }]);
  if (type !== types.TXT) return answerMessage(query, [], { flags: 0x8183 });
  if (transport === 'udp') return answerMessage(query, [], { flags: 0x8380 });
  return answerMessage(query, [{ type, data: Buffer.concat([Buffer.from([from.length]), Buffer.from(from)]) }]);
}

const udp = createSocket('udp4');
udp.on('message', (query, { address, port }) => udp.send(answerTo(query, address, 'udp'), port, address));
udp.bind(53, '0.0.0.0');
createServer((socket) => {
  socket.on('error', () => {});
  socket.on('data', (bytes: Buffer) =>
    socket.write(frame(answerTo(bytes.subarray(2), socket.remoteAddress ?? '', 'tcp'))),
  );
}).listen(53, '0.0.0.0', () => console.log('listening'));
