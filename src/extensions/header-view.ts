/** A header list as extensions read it. */
import { type HeaderList, headerValue, headerValues } from '../http/header-list.ts';
import type { HeaderView } from './extension.ts';

export function headerView(list: HeaderList): HeaderView {
  return {
    get: (name) => headerValue(list, name.toLowerCase()),
    getAll: (name) => headerValues(list, name.toLowerCase()),
    has: (name) => headerValue(list, name.toLowerCase()) !== undefined,
    *[Symbol.iterator]() {
      for (let i = 0; i < list.length; i += 2) yield [list[i] as string, list[i + 1] as string] as const;
    },
  };
}
