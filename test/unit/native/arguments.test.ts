// Argument reading is total: whatever is passed, a call throws an error that says what was wrong and leaves nothing open.
import { constants } from 'node:os';
import * as native from 'node-tproxy-native';
import t from 'tap';
import { descriptorsLeftOpen } from './descriptors.ts';

class GetterError extends Error {}

const throwing = new Proxy(
  {},
  {
    get() {
      throw new GetterError('a getter threw');
    },
  },
);

// None of these is right for any argument of the functions below, and no number here is an open descriptor.
const wrong: readonly unknown[] = [
  undefined,
  null,
  -1,
  1.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  2 ** 31 - 1,
  2 ** 53,
  '',
  'no such thing',
  'with\0zero',
  'x'.repeat(10_000),
  Symbol('symbol'),
  1n,
  {},
  [],
  [null],
  throwing,
  new Proxy([1], {}),
  Buffer.alloc(0),
  new Float64Array(1),
  new DataView(new ArrayBuffer(1)),
];

const functions: Readonly<Record<string, number>> = {
  createSocket: 1,
  bind: 3,
  listen: 2,
  acceptConnection: 1,
  dropSyns: 1,
  originalDestination: 1,
  localAddress: 1,
  peerAddress: 1,
  getMark: 1,
  getTransparent: 1,
  openNamespace: 1,
  namespaceIdentity: 1,
  isNetworkNamespace: 1,
  enterNamespace: 1,
  closeFd: 1,
  dupFd: 1,
  seqpacketListen: 2,
  seqpacketAccept: 1,
  seqpacketConnect: 1,
  seqpacketSend: 3,
  seqpacketReceive: 3,
  watchFd: 3,
  epollAdd: 3,
  epollWait: 2,
  receiveBytes: 2,
  sendBytes: 2,
  sendChunks: 2,
  connectSocket: 3,
  takeSocketError: 1,
  shutdownSending: 1,
  resetConnection: 1,
  packetSocket: 2,
  receivePacket: 2,
  interfaceName: 2,
  setPdeathsig: 1,
  setSubreaper: 1,
};

/** On the way of every byte: an errno is their result. */
const returnErrno = new Set(['receiveBytes', 'sendBytes', 'sendChunks', 'takeSocketError', 'shutdownSending']);

function isNamedError(error: unknown): boolean {
  if (error instanceof GetterError) return true;
  if (!(error instanceof Error) || !('code' in error)) return false;
  if (error instanceof TypeError)
    return error.code === 'ERR_INVALID_ARG_TYPE' && /^The "\w+" argument/.test(error.message);
  if (error instanceof RangeError)
    return error.code === 'ERR_OUT_OF_RANGE' && /^The "\w+" argument/.test(error.message);
  return 'syscall' in error && 'errno' in error && /^E[A-Z]+$/.test(String(error.code));
}

function* tuples(values: readonly unknown[], length: number): Generator<unknown[]> {
  if (length === 0) {
    yield [];
    return;
  }
  for (const rest of tuples(values, length - 1)) for (const value of values) yield [value, ...rest];
}

t.test('every exported function is under test', async (t) => {
  const withoutArguments = ['createEpoll', 'trimMemory'];
  t.same(Object.keys(native).sort(), [...Object.keys(functions), ...withoutArguments].sort());
});

for (const [name, length] of Object.entries(functions)) {
  t.test(`${name} refuses every combination of wrong arguments with a named error`, async (t) => {
    const call = Reflect.get(native, name) as (...values: unknown[]) => unknown;
    // The largest integer is no descriptor, but it is a backlog.
    const candidates = name === 'seqpacketListen' ? wrong.filter((value) => value !== 2 ** 31 - 1) : wrong;
    const surprises: unknown[] = [];
    const left = await descriptorsLeftOpen(1, () => {
      for (const values of tuples(candidates, length)) {
        try {
          const returned = call(...values);
          if (!returnErrno.has(name) || returned !== -constants.errno.EBADF) surprises.push({ values, returned });
        } catch (error) {
          if (!isNamedError(error)) surprises.push({ values, error });
        }
      }
    });
    t.same(surprises.slice(0, 3), []);
    t.throws(() => call(), { code: 'ERR_INVALID_ARG_TYPE' }, 'without any argument');
    t.equal(left, 0);
  });
}

t.test('each socket option is checked and named', async (t) => {
  const createSocket = native.createSocket as (options: unknown) => number;
  const options = ['reuseAddress', 'reusePort', 'v6Only', 'transparent', 'freebind', 'bindAddressNoPort', 'noDelay'];
  for (const option of options) {
    t.throws(() => createSocket({ family: 4, [option]: 1 }), {
      code: 'ERR_INVALID_ARG_TYPE',
      message: `The "${option}" argument must be a boolean`,
    });
  }
  for (const option of ['mark', 'userTimeoutMs', 'netnsFd']) {
    t.throws(() => createSocket({ family: 4, [option]: '1' }), {
      code: 'ERR_INVALID_ARG_TYPE',
      message: `The "${option}" argument must be an integer`,
    });
    t.throws(() => createSocket({ family: 4, [option]: 2 ** 32 }), {
      code: 'ERR_OUT_OF_RANGE',
      message: new RegExp(`"${option}" argument must be an integer from 0 to`),
    });
  }
  t.throws(() => createSocket({ family: 5 }), { code: 'ERR_OUT_OF_RANGE', message: /"family"/ });
  t.throws(() => createSocket({ family: 4, type: 'raw' }), { code: 'ERR_OUT_OF_RANGE', message: /"type"/ });
  t.throws(() => createSocket({ family: 4, keepAlive: true }), {
    code: 'ERR_INVALID_ARG_TYPE',
    message: /"keepAlive"/,
  });
  for (const [option, tooMuch] of Object.entries({ idleSec: 32_768, intervalSec: 32_768, count: 128 })) {
    for (const value of [0, tooMuch]) {
      t.throws(() => createSocket({ family: 4, keepAlive: { [option]: value } }), {
        code: 'ERR_OUT_OF_RANGE',
        message: new RegExp(`"${option}"`),
      });
    }
  }
});
