/**
 * Ends of a tunnel that the test itself holds, in a pod of the lab: a client with any certificate at all, and a server
 * that stands where a proxy would and writes down what it was sent.
 */
import type { IncomingHttpHeaders } from 'node:http';
import {
  type ClientHttp2Session,
  connect as connectHttp2,
  createSecureServer,
  type ServerHttp2Stream,
} from 'node:http2';
import { createServer, type Server, type Socket } from 'node:net';
import path from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { bind, closeFd, createSocket, listen as listenFd, openNamespace } from 'node-tproxy-native';
import type { Test } from 'tap';
import type { LabMesh } from '../../../src/app/lab-mesh.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { type CertificateAuthority, openAuthority } from '../../../src/identity/authority.ts';
import { createKey } from '../../../src/identity/csr.ts';
import type { LabNamespace } from '../../../src/lab/namespace.ts';
import { connectFrom } from '../../../src/lab/sockets.ts';

export interface PeerCertificate {
  readonly key: Buffer;
  readonly cert: string;
}

/** The mesh's own authority, from the control plane's files. */
export function meshAuthority(mesh: LabMesh): Promise<CertificateAuthority> {
  return authorityIn(path.dirname(mesh.trustRootFile), false);
}

/** One that nobody in the mesh trusts. */
export function foreignAuthority(mesh: LabMesh): Promise<CertificateAuthority> {
  return authorityIn(path.join(mesh.lab.directory, 'foreign-authority'), true);
}

function authorityIn(folder: string, create: boolean): Promise<CertificateAuthority> {
  return openAuthority({ folder, create, trustDomain: 'cluster.local', clock: systemClock });
}

/** `lifeMs` below zero: it has expired already. */
export async function issue(ca: CertificateAuthority, uri: string, lifeMs = 3_600_000): Promise<PeerCertificate> {
  const { keyPem, publicKey } = await createKey();
  const leaf = await ca.issue({ publicKey, names: [{ type: 'url', value: uri }], lifeMs });
  return { key: keyPem, cert: leaf.chainPem.join('') };
}

export interface ConnectAttempt {
  readonly place: string;
  readonly host: string;
  readonly port: number;
  readonly authority: string;
  /** Undefined: the client shows none. */
  readonly certificate: PeerCertificate | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  /** CONNECT unless told. */
  readonly method?: string;
  /** Of an earlier connection, to be resumed. */
  readonly session?: Buffer | undefined;
}

export type ConnectOutcome =
  | {
      readonly kind: 'answered';
      readonly status: number;
      /** Subject alternative name of the server's certificate. */
      readonly server: string;
      readonly protocol: string | null;
      /** What a later connection may try to go on with instead of a handshake in full; undefined: nothing was given. */
      readonly session: Buffer | undefined;
      /** This one did without a handshake in full. */
      readonly resumed: boolean;
    }
  /** The connection ended without an answer. */
  | { readonly kind: 'closed' };

/** One CONNECT on a connection of its own, ended after the answer. */
export async function attemptConnect(mesh: LabMesh, attempt: ConnectAttempt): Promise<ConnectOutcome> {
  const { place, host, port, certificate } = attempt;
  const raw = await connectFrom(mesh.lab.namespace(place), { host, port });
  // TLS has no half-closed connection: a server that says no by FIN alone must be heard.
  raw.allowHalfOpen = false;
  const { rootsPem } = await meshAuthority(mesh);
  const socket = connectTls({
    socket: raw,
    ca: rootsPem,
    ALPNProtocols: ['h2'],
    minVersion: 'TLSv1.3',
    // Workloads are named by URI and never by host.
    checkServerIdentity: () => undefined,
    ...(certificate === undefined ? {} : certificate),
    ...(attempt.session === undefined ? {} : { session: attempt.session }),
  });
  const session = connectHttp2(`https://${host}`, { createConnection: () => socket });
  try {
    return await outcomeOf(session, socket, attempt);
  } finally {
    session.destroy();
    raw.destroy();
  }
}

function outcomeOf(session: ClientHttp2Session, socket: TLSSocket, attempt: ConnectAttempt): Promise<ConnectOutcome> {
  const { authority, method = 'CONNECT', headers = {} } = attempt;
  const path = method === 'CONNECT' ? {} : { ':scheme': 'https', ':path': '/' };
  return new Promise((resolve, reject) => {
    let given: Buffer | undefined;
    socket.on('session', (session) => {
      given = session;
    });
    const timer = setTimeout(() => reject(new Error('neither answer nor end within 10 s')), 10_000);
    const settle = (outcome: ConnectOutcome) => {
      clearTimeout(timer);
      resolve(outcome);
    };
    session.on('error', () => settle({ kind: 'closed' }));
    session.on('close', () => settle({ kind: 'closed' }));
    const stream = session.request({ ':method': method, ':authority': authority, ...path, ...headers });
    stream.on('error', () => settle({ kind: 'closed' }));
    stream.on('close', () => settle({ kind: 'closed' }));
    stream.on('response', (response) => {
      const server = socket.getPeerX509Certificate()?.subjectAltName ?? '';
      const status = Number(response[':status']);
      const resumed = socket.isSessionReused();
      settle({ kind: 'answered', status, server, protocol: socket.getProtocol(), session: given, resumed });
    });
  });
}

export interface RecordedConnect {
  readonly method: string;
  readonly authority: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Address of the connection's other end. */
  readonly peer: string;
  readonly local: string;
  /** Subject alternative name of the client's certificate. */
  readonly client: string;
  readonly protocol: string | null;
  readonly alpn: string | false | null;
}

export interface RecorderPlace {
  readonly place: string;
  readonly port: number;
  /** Of the certificate it shows. */
  readonly identity: string;
  /** Takes what TPROXY hands over, as ztunnel does. */
  readonly transparent?: boolean;
}

/** Stands where a proxy would, and answers every CONNECT with 503. `first` is the first one it gets. */
export async function recordConnect(
  t: Pick<Test, 'teardown'>,
  mesh: LabMesh,
  at: RecorderPlace,
): Promise<{ readonly first: Promise<RecordedConnect> }> {
  const ca = await meshAuthority(mesh);
  const certificate = await issue(ca, at.identity);
  const tls = createSecureServer({ ...certificate, ca: ca.rootsPem, requestCert: true, rejectUnauthorized: true });
  const open = new Set<Socket>();
  const listener = await listen(mesh.lab.namespace(at.place), at, (socket) => {
    open.add(socket);
    socket.on('error', () => {});
    tls.emit('connection', socket);
  });
  t.teardown(() => {
    for (const socket of open) socket.destroy();
    listener.close();
  });
  const first = new Promise<RecordedConnect>((resolve, reject) => {
    tls.on('tlsClientError', reject);
    tls.on('stream', (stream: ServerHttp2Stream, head) => {
      stream.on('error', () => {});
      resolve(record(stream.session?.socket as TLSSocket, head));
      stream.respond({ ':status': 503 }, { endStream: true });
    });
  });
  return { first };
}

function record(socket: TLSSocket, head: IncomingHttpHeaders): RecordedConnect {
  const headers = Object.entries(head).filter(([name]) => !name.startsWith(':'));
  return {
    method: String(head[':method']),
    authority: String(head[':authority']),
    headers: Object.fromEntries(headers.map(([name, value]) => [name, String(value)])),
    peer: String(socket.remoteAddress),
    local: `${socket.localAddress}:${socket.localPort}`,
    client: socket.getPeerX509Certificate()?.subjectAltName ?? '',
    protocol: socket.getProtocol(),
    alpn: socket.alpnProtocol,
  };
}

async function listen(
  namespace: LabNamespace,
  { port, transparent = false }: RecorderPlace,
  onConnection: (socket: Socket) => void,
): Promise<Server> {
  const netnsFd = openNamespace(namespace.path);
  const mark = transparent ? { mark: 0x402 } : {};
  const fd = createSocket({ family: 4, netnsFd, transparent, reuseAddress: true, ...mark });
  closeFd(netnsFd);
  bind(fd, transparent ? '127.0.0.1' : '0.0.0.0', port);
  listenFd(fd, 128);
  const server = createServer(onConnection);
  await new Promise<void>((resolve) => server.listen({ fd }, resolve));
  return server;
}
