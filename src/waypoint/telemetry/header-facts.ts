/** Header lists as telemetry asks them. */
import { type HeaderList, headerBytes, headerValue, joinedHeader } from '../../http/header-list.ts';
import type { HeaderFacts } from '../../route/telemetry/facts.ts';

export function headerFacts(list: HeaderList): HeaderFacts {
  return {
    get: (name) => joinedHeader(list, name),
    first: (name) => headerValue(list, name),
    get bytes() {
      return headerBytes(list);
    },
  };
}
