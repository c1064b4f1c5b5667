/** Bookinfo's reviews: v1 shows no stars, v2 black ones, v3 red ones; the stars come from ratings. */
import { type AppHandler, type AppIdentity, type AppRequest, json } from './server.ts';
import { fetchJson } from './upstream.ts';

const texts = {
  Reviewer1: 'An extremely entertaining play by Shakespeare. The slapstick humour is refreshing!',
  Reviewer2:
    'Absolutely fun and entertaining. The play lacks thematic depth when compared to other plays by Shakespeare.',
};

export function createReviews(identity: AppIdentity, ratingsHost: string): AppHandler {
  const color = { v1: undefined, v2: 'black', v3: 'red' }[identity.version];
  return async (request) => {
    if (request.method !== 'GET' || !request.path.startsWith('/reviews/')) return undefined;
    const id = request.path.slice('/reviews/'.length);
    const rate = color === undefined ? () => ({}) : await ratingOf(ratingsHost, id, color, request);
    const reviews = Object.entries(texts).map(([reviewer, text]) => ({ reviewer, text, ...rate(reviewer) }));
    return json(200, { id, podname: identity.pod, version: identity.version, reviews });
  };
}

async function ratingOf(host: string, id: string, color: string, cause: AppRequest) {
  const answer = await fetchJson(host, `/ratings/${id}`, cause);
  if (answer.kind === 'failed' || answer.status !== 200) {
    return () => ({ rating: { error: 'Ratings service is currently unavailable' } });
  }
  const { ratings } = answer.value as { ratings: Record<string, number> };
  return (reviewer: string) => ({ rating: { stars: ratings[reviewer], color } });
}
