/** gRPC messages counted in passing, against a counter that has all bytes. */
import fc from 'fast-check';
import t from 'tap';
import { GrpcMessageCounter } from '../../../src/http/grpc-message-counter.ts';

function message(size: number, flag = 0): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = flag;
  prefix.writeUInt32BE(size, 1);
  return Buffer.concat([prefix, Buffer.alloc(size, 0xff)]);
}

t.test('messages are counted however they are cut into chunks', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(300), { maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 97 }), { minLength: 1, maxLength: 50 }),
      (sizes, cuts) => {
        const bytes = Buffer.concat(sizes.map((size) => message(size, size % 2)));
        const counter = new GrpcMessageCounter();
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const end = at + (cuts[i % cuts.length] as number);
          counter.take(bytes.subarray(at, end));
          at = end;
        }
        return counter.count === sizes.length;
      },
    ),
  );
});

t.test('a message counts once it has begun, one of 4 GiB included', async (t) => {
  const counter = new GrpcMessageCounter();
  counter.take(Buffer.from([0, 0xff, 0xff, 0xff, 0xff]));
  for (let i = 0; i < 100; i++) counter.take(Buffer.alloc(65_536));
  t.equal(counter.count, 1);
});

t.test('what is no gRPC is not counted', async (t) => {
  const counter = new GrpcMessageCounter();
  counter.take(Buffer.concat([message(3), Buffer.from('HTTP is not gRPC'), message(1)]));
  t.equal(counter.count, 1);
});
