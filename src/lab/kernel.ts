/** The addon's only door in this room: sockets made in another namespace, packet capture, and descriptor passing. */
export {
  bind,
  closeFd,
  createSocket,
  interfaceName,
  listen,
  openNamespace,
  packetSocket,
  receivePacket,
  type SeqpacketRecord,
  seqpacketAccept,
  seqpacketConnect,
  seqpacketListen,
  seqpacketReceive,
  seqpacketSend,
  type Watcher,
  watchFd,
} from 'node-tproxy-native';
