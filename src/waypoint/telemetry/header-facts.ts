/** Header lists as telemetry asks them. */
import { type HeaderList, headerBytes, headerValue, joinedHeader } from '../../http/header-list.ts';
import type { HeaderFacts } from '../../route/telemetry/facts.ts';

export function headerFacts(list: HeaderList): HeaderFacts {
  return new ListFacts(list);
}

/** No literal with a getter: it would be kept until the next whole collection (docs/performance.md). */
class ListFacts implements HeaderFacts {
  readonly #list: HeaderList;

  constructor(list: HeaderList) {
    this.#list = list;
  }

  get bytes(): number {
    return headerBytes(this.#list);
  }

  get(name: string): string | undefined {
    return joinedHeader(this.#list, name);
  }

  first(name: string): string | undefined {
    return headerValue(this.#list, name);
  }
}
