/** Bookinfo's details: facts about the one book of the shop. */
import { type AppHandler, json } from './server.ts';

export function createDetails(): AppHandler {
  return ({ path, method }) => {
    if (method !== 'GET' || !path.startsWith('/details/')) return undefined;
    return json(200, {
      id: Number(path.slice('/details/'.length)),
      author: 'William Shakespeare',
      year: 1595,
      type: 'paperback',
      pages: 200,
      publisher: 'PublisherA',
      language: 'English',
      'ISBN-10': '1234567890',
      'ISBN-13': '123-1234567890',
    });
  };
}
