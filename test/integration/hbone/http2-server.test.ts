/**
 * RFC 9113 as a server, one row for each rule: octets that a client sends, and what becomes of the stream and the session.
 * A row names each consequence that the RFC leaves room for. `node` names what nghttp2 does beyond that: for the record, not
 * for others. Windows and bytes are in `http2-server-flow.test.ts`, masses of frames in `http2-floods.test.ts`.
 */
import { onEachEngine } from '../../support/http2-engines.ts';
import {
  ack,
  connectBlock,
  connectTo,
  data,
  endHeaders,
  endStream,
  frame,
  frameType,
  goAway,
  headerBlock,
  largestWindow,
  padded,
  paddedData,
  ping,
  preface,
  reset,
  setting,
  settings,
  windowUpdate,
  withPriority,
  word,
} from '../../support/http2-frames.ts';
import { outcomeOf, type WireRow, wireWorld } from '../../support/wire-world.ts';

type Rows = Readonly<Record<string, WireRow>>;

const nothing = ['nothing'] as const;
const protocolError = ['session PROTOCOL_ERROR'] as const;
const sizeError = ['session FRAME_SIZE_ERROR'] as const;
const compressionError = ['session COMPRESSION_ERROR'] as const;
/** A malformed request (§8.1.1): a stream error, or an answer that says so. */
const malformed = ['stream PROTOCOL_ERROR', 'answer 400'] as const;

const open = (id = 1) => connectTo(id, 'sink:1');
const request = (...fields: readonly (readonly [string, string])[]) =>
  frame(frameType.headers, endHeaders, 1, Buffer.concat([connectBlock('sink:1'), headerBlock(fields)]));
const headers = (block: Buffer, flags = endHeaders, id = 1) => frame(frameType.headers, flags, id, block);
const block = connectBlock('sink:1');
const join = (...parts: readonly Buffer[]) => Buffer.concat(parts);
const headOf = (length: number, type: number, flags: number, id: number) => {
  const head = frame(type, flags, id);
  head.writeUIntBE(length, 0, 3);
  return head;
};
const tooLarge = 1024 * 1024 + 1;

const beginnings: Rows = {
  '§3.4 a request of HTTP/1.1 in place of the preface': {
    after: Buffer.alloc(0),
    sends: Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n'),
    result: [...protocolError, 'closed'],
    node: ['session INTERNAL_ERROR'],
  },
  '§3.4 HEADERS in place of the first SETTINGS': { after: preface, sends: open(), result: protocolError },
  '§3.4 PING in place of the first SETTINGS': { after: preface, sends: ping('early'), result: protocolError },
  '§3.4 an acknowledgment in place of the first SETTINGS': {
    after: preface,
    sends: frame(frameType.settings, ack, 0),
    result: protocolError,
  },
  '§3.4 streams right behind the first SETTINGS': { sends: open(), result: nothing },
};

const framing: Rows = {
  '§4.1 the reserved bit is ignored on HEADERS': { sends: headers(block, endHeaders, 0x80000001), result: nothing },
  '§4.1 the reserved bit is ignored on DATA': {
    sends: join(open(), frame(frameType.data, 0, 0x80000001, Buffer.from('x'))),
    result: nothing,
  },
  '§4.1 the reserved bit is ignored on SETTINGS and PING': {
    sends: join(frame(frameType.settings, 0, 0x80000000), frame(frameType.ping, 0, 0x80000000, Buffer.alloc(8))),
    result: nothing,
  },
  '§6.9 the reserved bit of an increment is ignored': {
    sends: join(open(), frame(frameType.windowUpdate, 0, 1, word(0x80000001))),
    result: nothing,
  },
  '§4.1 an unknown type is ignored on the connection': {
    sends: frame(0xfe, 0xff, 0, Buffer.alloc(99)),
    result: nothing,
  },
  '§4.1 an unknown type is ignored on a stream': {
    sends: join(open(), frame(0x0b, 0xff, 1, Buffer.alloc(99))),
    result: nothing,
  },
  '§4.1 an unknown type is ignored on an idle stream': { sends: frame(0x42, 0, 77), result: nothing },
  '§4.1 unknown flags are ignored on HEADERS': { sends: headers(block, endHeaders | (0xd2 - 0x80)), result: nothing },
  '§4.1 unknown flags are ignored on DATA': { sends: join(open(), data(1, 'x', 0xf6)), result: nothing },
  '§4.1 unknown flags are ignored on SETTINGS, PING, WINDOW_UPDATE and RST_STREAM': {
    sends: join(
      frame(frameType.settings, 0xfe, 0),
      frame(frameType.ping, 0xfe, 0, Buffer.alloc(8)),
      frame(frameType.windowUpdate, 0xff, 0, word(1)),
      open(),
      frame(frameType.reset, 0xff, 1, word(8)),
    ),
    result: nothing,
  },
  '§4.2 DATA as large as SETTINGS_MAX_FRAME_SIZE': {
    sends: join(open(), data(1, Buffer.alloc(tooLarge - 1))),
    result: nothing,
  },
  '§4.2 DATA beyond SETTINGS_MAX_FRAME_SIZE, known from its head': {
    sends: join(open(), headOf(tooLarge, frameType.data, 0, 1)),
    result: [...sizeError, 'stream FRAME_SIZE_ERROR'],
  },
  '§4.2 HEADERS beyond SETTINGS_MAX_FRAME_SIZE': {
    sends: headOf(tooLarge, frameType.headers, endHeaders, 1),
    result: sizeError,
  },
  '§4.2 an unknown type beyond SETTINGS_MAX_FRAME_SIZE': { sends: headOf(0xffffff, 0xfe, 0, 0), result: sizeError },
  ...Object.fromEntries(
    (
      [
        ['PING', frameType.ping, 0, [0, 7, 9]],
        ['SETTINGS', frameType.settings, 0, [1, 5, 7]],
        ['WINDOW_UPDATE on the connection', frameType.windowUpdate, 0, [0, 3, 5]],
        ['WINDOW_UPDATE on a stream', frameType.windowUpdate, 1, [0, 3, 5]],
        ['RST_STREAM', frameType.reset, 1, [0, 3, 5]],
        ['GOAWAY', frameType.goAway, 0, [0, 7]],
      ] as const
    ).flatMap(([name, type, id, sizes]) =>
      sizes.map((size) => [
        `§4.2 ${name} of ${size} octets`,
        { sends: join(open(), frame(type, 0, id, Buffer.alloc(size, 1))), result: sizeError },
      ]),
    ),
  ),
  '§6.3 PRIORITY of 4 octets': {
    sends: join(open(), frame(frameType.priority, 0, 1, Buffer.alloc(4, 1))),
    result: ['stream FRAME_SIZE_ERROR', ...sizeError],
  },
  '§6.3 PRIORITY of 6 octets': {
    sends: join(open(), frame(frameType.priority, 0, 1, Buffer.alloc(6, 1))),
    result: ['stream FRAME_SIZE_ERROR', ...sizeError],
  },
};

const hpack = (...bytes: readonly number[]): WireRow => ({
  sends: headers(join(block, Buffer.from(bytes))),
  result: compressionError,
});

const headerBlocks: Rows = {
  '§4.3 index 0': hpack(0x80),
  '§4.3 an index behind both tables': hpack(0xff, 0x80, 0x01),
  '§4.3 a name of an index behind both tables': hpack(0x7f, 0x80, 0x01, 0x01, 0x61),
  '§4.3 a number without end': hpack(0xff, ...Array<number>(12).fill(0xff), 0x01),
  '§4.3 a number that is cut': hpack(0xff, 0x80),
  '§4.3 a string beyond the block': hpack(0x00, 0x0a, 0x61, 0x62),
  '§4.3 a field that is cut behind its name': hpack(0x00, 0x01, 0x61),
  '§4.3 Huffman code with EOS': hpack(0x00, 0x01, 0x61, 0x84, 0xff, 0xff, 0xff, 0xff),
  '§4.3 Huffman code with padding of zeros': hpack(0x00, 0x01, 0x61, 0x81, 0x18),
  '§4.3 Huffman code with a whole octet of padding': hpack(0x00, 0x01, 0x61, 0x82, 0x1f, 0xff),
  '§4.3 a table larger than SETTINGS_HEADER_TABLE_SIZE': {
    sends: headers(join(Buffer.from([0x3f, 0xe2, 0x1f]), block)),
    result: compressionError,
  },
  '§4.3 a table size behind a field': hpack(0x20),
  '§4.3 two table sizes at the beginning': {
    sends: headers(join(Buffer.from([0x20, 0x3f, 0xe1, 0x1f]), block)),
    result: nothing,
  },
  '§4.3 HPACK errors in a block that is refused anyway': {
    sends: headers(Buffer.concat([headerBlock([['UPPER', 'x']]), Buffer.from([0x80])])),
    result: compressionError,
    node: [...malformed],
  },
  '§4.3 Huffman code, well formed': {
    // www.example.com, RFC 7541 C.4.1.
    sends: headers(join(block, Buffer.from([0x00, 0x01, 0x61, 0x8c]), Buffer.from('f1e3c2e5f23a6ba0ab90f4ff', 'hex'))),
    result: nothing,
  },
  '§6.2 padding and priority before a block': {
    sends: headers(join(Buffer.from([3]), word(0), Buffer.from([16]), block, Buffer.alloc(3)), 0x2c),
    result: nothing,
  },
  '§6.2 padding longer than HEADERS': {
    sends: headers(join(Buffer.from([block.length + 1]), block), endHeaders | padded),
    result: protocolError,
  },
  '§6.2 HEADERS with the flag PADDED and no octet': {
    sends: headers(Buffer.alloc(0), endHeaders | padded),
    result: [...sizeError, ...protocolError],
  },
  '§6.2 HEADERS too short for its priority': {
    sends: headers(Buffer.alloc(4), endHeaders | withPriority),
    result: [...sizeError, ...protocolError],
  },
  '§6.10 CONTINUATION of an octet each, and empty ones': {
    sends: join(
      headers(block.subarray(0, 1), 0),
      ...[1, 2, 3, 4].map((at) => frame(frameType.continuation, 0, 1, block.subarray(at, at + 1))),
      frame(frameType.continuation, 0, 1),
      frame(frameType.continuation, endHeaders, 1, block.subarray(5)),
    ),
    result: nothing,
  },
  '§6.10 CONTINUATION without HEADERS': {
    sends: join(open(), frame(frameType.continuation, endHeaders, 1, block)),
    result: protocolError,
  },
  '§6.10 CONTINUATION on an idle stream': {
    sends: frame(frameType.continuation, endHeaders, 1, block),
    result: protocolError,
  },
  ...Object.fromEntries(
    (
      [
        ['HEADERS of another stream', headers(block, endHeaders, 3)],
        ['HEADERS of the same stream', headers(block)],
        ['CONTINUATION of another stream', frame(frameType.continuation, endHeaders, 3, block)],
        ['DATA', data(1, 'x')],
        ['PING', ping('between')],
        ['SETTINGS', settings()],
        ['WINDOW_UPDATE', windowUpdate(0, 1)],
        ['RST_STREAM', reset(1, 'CANCEL')],
        ['PRIORITY', frame(frameType.priority, 0, 3, Buffer.alloc(5))],
        ['a frame of an unknown type', frame(0xfe, 0, 0)],
      ] as const
    ).map(([name, between]) => [
      `§6.10 ${name} within a header block`,
      { sends: join(headers(block.subarray(0, 3), 0), between), result: protocolError },
    ]),
  ),
};

const halfClosed = connectTo(1, 'take:1', endStream);
const streamClosed = ['stream STREAM_CLOSED', 'session STREAM_CLOSED'] as const;
/** §5.1 closed: an error, unless the frame may have crossed a reset of ours. */
const onClosed = [...streamClosed, 'nothing'] as const;

const states: Rows = {
  '§5.1 DATA on an idle stream': { sends: data(1, 'x'), result: protocolError },
  '§5.1 WINDOW_UPDATE on an idle stream': { sends: windowUpdate(1, 1), result: protocolError },
  '§5.1 RST_STREAM on an idle stream': { sends: reset(1, 'CANCEL'), result: protocolError },
  '§5.1 PRIORITY on an idle stream': { sends: frame(frameType.priority, 0, 1, Buffer.alloc(5)), result: nothing },
  '§5.1 DATA on an idle stream of ours': { sends: data(2, 'x'), result: protocolError },
  '§5.1 DATA behind END_STREAM': { sends: join(halfClosed, data(1, 'x')), result: streamClosed },
  '§5.1 DATA behind END_STREAM on DATA': {
    sends: join(connectTo(1, 'take:1'), data(1, 'x', endStream), data(1, 'x')),
    result: streamClosed,
  },
  '§5.1 HEADERS behind END_STREAM': { sends: join(halfClosed, headers(block, 5)), result: streamClosed },
  '§5.1 WINDOW_UPDATE and PRIORITY behind END_STREAM': {
    sends: join(halfClosed, windowUpdate(1, 1), frame(frameType.priority, 0, 1, Buffer.alloc(5))),
    result: nothing,
  },
  '§5.1 DATA on a stream that the client has reset': {
    sends: join(open(), reset(1, 'CANCEL'), data(1, 'x')),
    result: onClosed,
  },
  '§5.1 WINDOW_UPDATE and RST_STREAM on a stream that the client has reset': {
    sends: join(open(), reset(1, 'CANCEL'), windowUpdate(1, 1), reset(1, 'CANCEL')),
    result: onClosed,
  },
  '§5.1.1 HEADERS on a stream that the client has reset': {
    sends: join(open(), reset(1, 'CANCEL'), open()),
    result: [...streamClosed, ...protocolError],
    node: nothing,
  },
  '§5.1.1 a stream of an even number': { sends: open(2), on: 2, result: protocolError },
  '§5.1.1 a number below one that was used': {
    sends: join(open(5), open(3)),
    on: 3,
    result: [...protocolError, ...streamClosed],
    node: nothing,
  },
  '§5.1.1 DATA on a number that was passed over': {
    sends: join(open(5), data(3, 'x')),
    on: 3,
    result: [...protocolError, ...onClosed],
  },
  '§5.1.1 HEADERS on stream 0': { sends: headers(block, endHeaders, 0), result: protocolError },
  '§6.1 DATA on stream 0': { sends: data(0, 'x'), result: protocolError },
  '§6.3 PRIORITY on stream 0': {
    sends: frame(frameType.priority, 0, 0, Buffer.alloc(5)),
    result: protocolError,
    node: nothing,
  },
  '§6.4 RST_STREAM on stream 0': { sends: reset(0, 'CANCEL'), result: protocolError },
  '§6.5 SETTINGS on a stream': { sends: join(open(), frame(frameType.settings, 0, 1)), result: protocolError },
  '§6.6 PUSH_PROMISE from a client': {
    sends: join(open(), frame(frameType.pushPromise, endHeaders, 1, join(word(2), block))),
    result: protocolError,
  },
  '§6.7 PING on a stream': { sends: join(open(), frame(frameType.ping, 0, 1, Buffer.alloc(8))), result: protocolError },
  '§6.8 GOAWAY on a stream': {
    sends: join(open(), frame(frameType.goAway, 0, 1, Buffer.alloc(8))),
    result: protocolError,
  },
  '§5.3.1 HEADERS that depend on themselves (deprecated: tolerated, or the error of RFC 7540)': {
    sends: headers(join(word(1), Buffer.from([16]), block), endHeaders | withPriority),
    result: ['nothing', 'stream PROTOCOL_ERROR', ...protocolError],
  },
  '§5.3.1 PRIORITY that depends on itself (as above)': {
    sends: join(open(), frame(frameType.priority, 0, 1, join(word(1), Buffer.from([16])))),
    result: ['nothing', 'stream PROTOCOL_ERROR', ...protocolError],
  },
  '§6.1 DATA of padding alone': { sends: join(open(), paddedData(1, '', 255)), result: nothing },
  '§6.1 padding longer than DATA': {
    sends: join(open(), frame(frameType.data, padded, 1, Buffer.from([4, 1, 2, 3]))),
    result: protocolError,
  },
  '§6.1 padding of all of DATA': {
    sends: join(open(), frame(frameType.data, padded, 1, Buffer.from([3, 0, 0, 0]))),
    result: nothing,
  },
  '§6.1 DATA with the flag PADDED and no octet': {
    sends: join(open(), frame(frameType.data, padded, 1)),
    result: [...sizeError, ...protocolError],
  },
};

const set = (id: number, value: number, result: readonly string[]): WireRow => ({
  sends: join(open(), settings([id, value])),
  result,
});

const connection: Rows = {
  '§6.5.2 ENABLE_PUSH 2': set(setting.enablePush, 2, protocolError),
  '§6.5.2 ENABLE_PUSH 1 from a client': set(setting.enablePush, 1, nothing),
  '§6.5.2 INITIAL_WINDOW_SIZE 2^31': set(setting.initialWindowSize, 2 ** 31, ['session FLOW_CONTROL_ERROR']),
  '§6.5.2 INITIAL_WINDOW_SIZE 2^31-1': set(setting.initialWindowSize, largestWindow, nothing),
  '§6.5.2 MAX_FRAME_SIZE 2^14-1': set(setting.maxFrameSize, 16_383, protocolError),
  '§6.5.2 MAX_FRAME_SIZE 2^24': set(setting.maxFrameSize, 2 ** 24, protocolError),
  '§6.5.2 MAX_FRAME_SIZE 2^24-1': set(setting.maxFrameSize, 2 ** 24 - 1, nothing),
  '§6.5.2 HEADER_TABLE_SIZE 0': set(setting.headerTableSize, 0, nothing),
  '§6.5.2 HEADER_TABLE_SIZE 2^32-1': set(setting.headerTableSize, 2 ** 32 - 1, nothing),
  '§6.5.2 MAX_HEADER_LIST_SIZE 0 (advice)': set(setting.maxHeaderListSize, 0, nothing),
  '§6.5.2 an unknown setting': set(0xf0f0, 2 ** 32 - 1, nothing),
  '§6.5.3 an acknowledgment with a payload': {
    sends: frame(frameType.settings, ack, 0, Buffer.alloc(6)),
    result: sizeError,
  },
  '§6.7 an answer to a PING that nobody sent': {
    sends: ping('unasked', ack),
    result: nothing,
    node: ['session INTERNAL_ERROR'],
  },
  '§6.8 GOAWAY of a client: what runs goes on': { sends: join(open(), goAway(0)), result: nothing, alive: 'ping' },
  '§6.9 WINDOW_UPDATE of 0 on a stream': {
    sends: join(open(), windowUpdate(1, 0)),
    result: ['stream PROTOCOL_ERROR', ...protocolError],
  },
  '§6.9 WINDOW_UPDATE of 0 on the connection': { sends: windowUpdate(0, 0), result: protocolError },
  '§6.9.1 a stream window beyond 2^31-1': {
    sends: join(open(), windowUpdate(1, largestWindow)),
    result: ['stream FLOW_CONTROL_ERROR', 'session FLOW_CONTROL_ERROR'],
  },
  '§6.9.1 a connection window beyond 2^31-1': {
    sends: windowUpdate(0, largestWindow),
    result: ['session FLOW_CONTROL_ERROR'],
  },
  '§6.9.2 INITIAL_WINDOW_SIZE that takes a stream’s window beyond 2^31-1': {
    sends: join(open(), windowUpdate(1, largestWindow - 65_535), settings([setting.initialWindowSize, 65_536])),
    result: ['session FLOW_CONTROL_ERROR'],
  },
};

const fields = (list: readonly (readonly [string, string])[]): WireRow => ({
  sends: headers(headerBlock(list)),
  result: malformed,
});
const method = (name: string) => [':method', name] as const;
const authority = (name = 'sink:1') => [':authority', name] as const;

const messages: Rows = {
  '§8.5 CONNECT with :path': fields([method('CONNECT'), authority(), [':path', '/']]),
  '§8.5 CONNECT with :scheme': fields([method('CONNECT'), authority(), [':scheme', 'https']]),
  '§8.5 CONNECT with :scheme and :path': fields([method('CONNECT'), authority(), [':scheme', 'https'], [':path', '/']]),
  '§8.5 CONNECT without :authority': fields([method('CONNECT')]),
  '§8.5 CONNECT with an empty :authority': fields([method('CONNECT'), authority('')]),
  'RFC 8441 §3 CONNECT with :protocol, which was not offered': fields([
    method('CONNECT'),
    authority(),
    [':scheme', 'https'],
    [':path', '/'],
    [':protocol', 'websocket'],
  ]),
  'GET is answered 400': {
    ...fields([method('GET'), authority(), [':scheme', 'https'], [':path', '/']]),
    result: ['answer 400'],
  },
  'POST with a body is answered 400': {
    sends: join(
      headers(headerBlock([method('POST'), authority(), [':scheme', 'https'], [':path', '/']])),
      data(1, 'a body'),
    ),
    result: ['answer 400'],
  },
  '§8.3.1 no :method': fields([authority()]),
  '§8.3.1 :method twice': fields([method('CONNECT'), method('CONNECT'), authority()]),
  '§8.3.1 :authority twice': fields([method('CONNECT'), authority(), authority()]),
  '§8.3 :status in a request': fields([method('CONNECT'), authority(), [':status', '200']]),
  '§8.3 an unknown pseudo header': fields([method('CONNECT'), authority(), [':x', 'y']]),
  '§8.3 a pseudo header behind a field': fields([method('CONNECT'), ['x', 'y'], authority()]),
  '§8.3 no field at all': { sends: headers(Buffer.alloc(0)), result: malformed },
  '§8.2.1 a name in capitals': { sends: request(['X-Upper', 'x']), result: malformed },
  '§8.2.2 connection': { sends: request(['connection', 'close']), result: malformed },
  '§8.2.2 keep-alive': { sends: request(['keep-alive', 'timeout=5']), result: malformed },
  '§8.2.2 proxy-connection': { sends: request(['proxy-connection', 'close']), result: malformed },
  '§8.2.2 transfer-encoding': { sends: request(['transfer-encoding', 'chunked']), result: malformed },
  '§8.2.2 upgrade': { sends: request(['upgrade', 'h2c']), result: malformed },
  '§8.2.2 te: gzip': { sends: request(['te', 'gzip']), result: malformed },
  '§8.2.2 te: trailers': { sends: request(['te', 'trailers']), result: nothing },
  '§8.2.1 a value of octets beyond ASCII': { sends: request(['x', '\xe9\xff']), result: nothing },
  '§8.1 trailers end a request': {
    sends: join(open(), data(1, 'x'), headers(headerBlock([['x', 'y']]), endHeaders | endStream)),
    result: nothing,
  },
  '§8.1 HEADERS in the middle of a stream, without END_STREAM': {
    sends: join(open(), data(1, 'x'), headers(headerBlock([['x', 'y']]))),
    result: ['stream PROTOCOL_ERROR', ...protocolError],
  },
  '§8.1 trailers with a pseudo header': {
    sends: join(open(), headers(headerBlock([[':path', '/']]), endHeaders | endStream)),
    result: ['stream PROTOCOL_ERROR'],
  },
  '§8.1 content behind a final refusal is ignored': {
    sends: join(connectTo(1, 'no:403'), data(1, 'content'), data(1, '', endStream)),
    result: ['answer 403'],
  },
  '§8.5 frames other than DATA and those of the stream’s management on a tunnel: HEADERS of a new request': {
    sends: join(open(), headers(block)),
    result: ['stream PROTOCOL_ERROR', ...protocolError],
  },
};

/** nghttp2 leaves such a field out: whoever decides must not see it. */
const unfit: Readonly<Record<string, readonly [string, string]>> = {
  'CR LF': ['x', 'a\r\nb: c'],
  'a line feed': ['x', 'a\nb'],
  'a carriage return': ['x', 'a\rb'],
  'a NUL': ['x', 'a\0b'],
  'a name with a space': ['x y', 'b'],
  'a name with a colon': ['x:y', 'b'],
  'a name with a NUL': ['x\0', 'b'],
  'an empty name': ['', 'b'],
  'a name of octets': ['x\xe9', 'b'],
};

for (const [table, rows] of Object.entries({ beginnings, framing, headerBlocks, states, connection, messages })) {
  void onEachEngine(table, async (t, make, engine) => {
    const world = await wireWorld(t, make);
    for (const [name, row] of Object.entries(rows)) {
      const accepted = [...row.result, ...(engine === 'node' ? (row.node ?? []) : [])];
      const outcome = await outcomeOf(world, row);
      t.ok(accepted.includes(outcome), `${name}: ${outcome}, of ${accepted.join(', ')}`);
    }
  });
}

void onEachEngine('§8.2.1 what a field cannot hold reaches nobody', async (t, make) => {
  const world = await wireWorld(t, make);
  for (const [name, field] of Object.entries(unfit)) {
    world.asked.length = 0;
    const outcome = await outcomeOf(world, { sends: request(field) });
    t.ok([...malformed, 'nothing'].includes(outcome), `${name}: ${outcome}`);
    const seen = world.asked.find(({ authority }) => authority === 'sink:1');
    t.equal(seen?.header(field[0]), undefined, `${name}: not handed on`);
  }
});
