/** Bookinfo's ratings: stars by reviewer, kept in memory and replaceable by POST. */
import { type AppHandler, json } from './server.ts';

export function createRatings(): AppHandler {
  let ratings: unknown = { Reviewer1: 5, Reviewer2: 4 };
  return ({ path, method, body }) => {
    if (!path.startsWith('/ratings/')) return undefined;
    if (method === 'POST') ratings = JSON.parse(body.toString());
    return json(200, { id: Number(path.slice('/ratings/'.length)), ratings });
  };
}
