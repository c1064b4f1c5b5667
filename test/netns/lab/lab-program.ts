/**
 * A program of the lab for the clean-up test, run as a process of its own: `end` builds and ends, `wait` stays until a
 * signal, `handle` handles SIGINT itself. Says `ready` when the lab stands.
 */
import { oneNodeTopology } from '../../../src/lab/bookinfo.ts';
import { enterLab } from '../../../src/lab/enter.ts';
import { createLab } from '../../../src/lab/lab.ts';

const mode = process.argv[2];
const entry = await enterLab({ handlesSignals: mode === 'handle' });
if (entry.kind === 'unavailable') throw new Error(entry.cause);

const onLine = (name: string, line: string) => console.log(`[${name}] ${line}`);
const lab = await createLab({ topology: oneNodeTopology(), redirection: { mode: 'host' }, apps: false, onLine });
const shell = lab.spawn('sleep', {
  name: 'shell',
  argv: ['sh', '-c', 'trap "echo interrupted" INT; echo up; while :; do sleep 1; done'],
});
await shell.waitForLine((line) => line === 'up');
if (mode === 'handle') {
  let interrupts = 0;
  process.on('SIGINT', () => {
    console.log(`interrupt ${++interrupts}`);
    void lab.close().then(() => process.exit(3));
  });
}
console.log('ready');
if (mode === 'end') {
  await lab.close();
  process.exit(0);
}
