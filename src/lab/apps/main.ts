/**
 * Runs one sample program: `main.ts KIND`. Settings by environment: APP_PORT, APP_LISTEN (an address), POD_NAME, APP_VERSION, APP_FAILING (so many
 * first requests answer 503), DETAILS_HOST, REVIEWS_HOST, RATINGS_HOST. Prints `listening on PORT` when it is ready.
 */
import type { AddressInfo } from 'node:net';
import { createDetails } from './details.ts';
import { createProductpage } from './productpage.ts';
import { createRatings } from './ratings.ts';
import { createReviews } from './reviews.ts';
import { type AppHandler, type AppIdentity, createApp } from './server.ts';

const { env } = process;
const [, , kind = ''] = process.argv;
const identity: AppIdentity = { pod: env.POD_NAME ?? kind, version: env.APP_VERSION ?? 'v1' };
const server = createApp(identity, makeHandler(), {
  failing: Number(env.APP_FAILING ?? 0),
  onRequest: (line) => console.log(line),
});

server.on('error', (error) => {
  console.error(`cannot serve ${kind}: ${error.message}`);
  process.exit(1);
});
server.listen({ port: Number(env.APP_PORT ?? 9080), host: env.APP_LISTEN }, () =>
  console.log(`listening on ${(server.address() as AddressInfo).port}`),
);

process.once('SIGTERM', () => {
  server.close();
  server.closeIdleConnections();
});

function makeHandler(): AppHandler {
  switch (kind) {
    case 'productpage':
      return createProductpage(env.DETAILS_HOST ?? 'details:9080', env.REVIEWS_HOST ?? 'reviews:9080');
    case 'details':
      return createDetails();
    case 'reviews':
      return createReviews(identity, env.RATINGS_HOST ?? 'ratings:9080');
    case 'ratings':
      return createRatings();
    default:
      console.error(`no sample program ${JSON.stringify(kind)}`);
      return process.exit(2);
  }
}
