// The worker of worker-threads.test.ts: a connected pair with a watcher on one end, ended as workerData says.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import {
  closeFd,
  interfaceName,
  openNamespace,
  seqpacketAccept,
  seqpacketConnect,
  seqpacketListen,
  seqpacketReceive,
  seqpacketSend,
  watchFd,
} from 'node-tproxy-native';

const folder = mkdtempSync(join(tmpdir(), 'native-'));
const listener = seqpacketListen(join(folder, 'socket'), 1);
const client = seqpacketConnect(join(folder, 'socket'));
const server = seqpacketAccept(listener) ?? -1;
rmSync(folder, { recursive: true });
closeFd(openNamespace('/proc/thread-self/ns/net'));
interfaceName(1);

function closeAll(): void {
  for (const fd of [listener, client, server]) closeFd(fd);
}

const watcher = watchFd(server, 'r', () => {
  seqpacketReceive(server, 10, 0);
  switch (workerData) {
    case 'close':
      watcher.close();
      closeAll();
      break;
    case 'leave-open':
      watcher.unref();
      break;
    case 'terminate':
      parentPort?.postMessage('ready');
      break;
    case 'exit-in-callback':
      process.exit(5);
      break;
    default:
      throw new Error('from the callback');
  }
});
seqpacketSend(client, Buffer.from('go'));
