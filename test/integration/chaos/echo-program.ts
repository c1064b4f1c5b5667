/** A listener as the proxies have it, in a process of its own whose descriptors can be taken away: echoes, and says what fails. */
import process from 'node:process';
import { systemClock } from '../../../src/base/clock.ts';
import { errorCode } from '../../../src/base/errors.ts';
import { listen } from '../../../src/net/listener.ts';
import { onLoopback } from '../../support/relay-world.ts';

const { address } = await listen(onLoopback, {
  clock: systemClock,
  onSocket: (socket) => void socket.pipe(socket),
  onAcceptError: (error) => process.stdout.write(`${errorCode(error)}\n`),
});
process.stdout.write(`port ${address.port}\n`);
