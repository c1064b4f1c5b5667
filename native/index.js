// The package's door: loads the built addon and names what it exports. The contract is index.d.ts.
// Each thread loads it anew; nothing is shared between threads but the process's descriptors.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

// The sanitized build is chosen by a switch, never by a path, so the environment cannot name a library to load.
const variant = process.env.AMBIT_NATIVE_ASAN === '1' ? '.asan' : '';
const file = fileURLToPath(new URL(`./build/node-tproxy-native${variant}.node`, import.meta.url));

if (!existsSync(file)) {
  const build = fileURLToPath(new URL('./build.mjs', import.meta.url));
  const error = new Error(`node-tproxy-native is not built (no ${file}): run node ${build}`);
  throw Object.assign(error, { code: 'ERR_NATIVE_NOT_BUILT' });
}

export const {
  createSocket,
  bind,
  listen,
  acceptConnection,
  dropSyns,
  originalDestination,
  localAddress,
  peerAddress,
  getMark,
  getTransparent,
  openNamespace,
  namespaceIdentity,
  isNetworkNamespace,
  enterNamespace,
  closeFd,
  dupFd,
  seqpacketListen,
  seqpacketAccept,
  seqpacketConnect,
  seqpacketSend,
  seqpacketReceive,
  watchFd,
  createEpoll,
  epollAdd,
  epollWait,
  receiveBytes,
  sendBytes,
  sendChunks,
  connectSocket,
  takeSocketError,
  shutdownSending,
  resetConnection,
  packetSocket,
  receivePacket,
  interfaceName,
  setPdeathsig,
  setSubreaper,
  trimMemory,
} = createRequire(import.meta.url)(file);
