// The worker of namespaces.test.ts: makes sockets in another namespace, reports which one its thread is in afterwards.
import { parentPort, workerData } from 'node:worker_threads';
import { closeFd, createSocket, enterNamespace, namespaceIdentity, openNamespace } from 'node-tproxy-native';

if (workerData.mode === 'move') {
  closeFd(createSocket({ family: 4, netnsFd: workerData.fd }));
  enterNamespace(workerData.home);
}
for (let round = 0; round < workerData.rounds; round++) {
  closeFd(createSocket({ family: 4, netnsFd: workerData.fd }));
}
const home = openNamespace('/proc/thread-self/ns/net');
parentPort?.postMessage(namespaceIdentity(home));
closeFd(home);
