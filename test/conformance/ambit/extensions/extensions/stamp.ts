/** Writes its name into the request on the way there and into the response on the way back. */
import type { CreateExtension, HeaderView } from 'ambit/extension';

export const createExtension: CreateExtension = (config) => {
  const { stamp } = config as { readonly stamp: string };
  const added = (headers: HeaderView, name: string) => ({
    headers: { set: { [name]: `${headers.get(name) ?? ''}${stamp}` } },
  });
  return {
    requestHeaders: ({ headers }) => added(headers, 'x-way'),
    responseHeaders: ({ headers }) => added(headers, 'x-back'),
  };
};
