/** grpc-js behind the waypoint and in front of it, an Envoy on either side in the place of the ztunnels. */
import { once } from 'node:events';
import { type StatusObject, status } from '@grpc/grpc-js';
import t from 'tap';
import { missingEnvoy } from '../support/envoy.ts';
import { within } from '../support/eventually.ts';
import { grpcClient, startGrpcServer } from '../support/grpc.ts';
import { makeWaypointWorld, originHost } from './waypoint-world.ts';

t.test('gRPC through a waypoint', { skip: await missingEnvoy() }, async (t) => {
  const origin = await startGrpcServer(t);
  const world = await makeWaypointWorld(t, { origin, appProtocol: 'grpc' });
  const client = grpcClient(t, world.entry, originHost);

  await t.test('a unary call', async (t) => {
    t.equal(await client.echo('hello'), 'hello');
    t.equal(await client.echo(''), '');
  });

  await t.test('3 MiB each way', async (t) => {
    const large = 'large'.repeat(600_000);
    t.equal((await client.echo(large)) === large, true);
  });

  await t.test('a status in the trailers, with its message', async (t) => {
    t.match(await client.fail('because of ü'), { code: status.FAILED_PRECONDITION, details: 'because of ü' });
  });

  await t.test('messages of a stream are answered one by one while it is open', async (t) => {
    const chat = client.chat();
    for (const message of ['one', 'two', 'three']) {
      chat.write(Buffer.from(message));
      const [answer] = await within(`an answer to ${message}`, once(chat, 'data'));
      t.equal(String(answer), message);
    }
    chat.end();
    chat.resume();
    const [end] = await within('the status', once(chat, 'status'));
    t.equal(end.code, status.OK);
  });

  await t.test('100 calls at once', async (t) => {
    const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => client.echo(`call ${i}`)));
    t.same(
      answers,
      Array.from({ length: 100 }, (_, i) => `call ${i}`),
    );
  });

  await t.test('a cancelled stream leaves the others alone', async (t) => {
    const chat = client.chat();
    chat.on('error', () => {});
    chat.write(Buffer.from('one'));
    await within('an answer', once(chat, 'data'));
    // Not by `once`: it rejects on the error that comes with it.
    const cancelled = new Promise<StatusObject>((resolve) => chat.on('status', resolve));
    chat.cancel();
    t.equal((await within('the status', cancelled)).code, status.CANCELLED);
    t.equal(await client.echo('still here'), 'still here');
  });
});
