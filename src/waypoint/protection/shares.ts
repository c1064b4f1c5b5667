/** How many requests or tunnels each client has begun. A client with none is not in the table. */
import { type AdmissionLimits, type AdmissionVerdict, decideShare } from './admission.ts';

/** One client's count; kept by who asks for it often. */
export interface Share {
  count: number;
}

export class Shares {
  readonly #limits: AdmissionLimits;
  readonly #clients = new Map<string, Share>();
  #all = 0;

  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
  }

  get all(): number {
    return this.#all;
  }

  get clients(): number {
    return this.#clients.size;
  }

  decide(client: string): AdmissionVerdict {
    const share = this.#clients.get(client);
    return decideShare(this.#limits, this.#all, share?.count ?? 0, this.#clients.size + (share === undefined ? 1 : 0));
  }

  begin(client: string): void {
    this.#all++;
    const share = this.#clients.get(client);
    if (share === undefined) this.#clients.set(client, { count: 1 });
    else share.count++;
  }

  end(client: string): void {
    const share = this.#clients.get(client);
    if (share === undefined) return;
    this.#all--;
    if (--share.count === 0) this.#clients.delete(client);
  }
}
